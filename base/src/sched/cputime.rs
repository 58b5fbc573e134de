//! How long tasks run.
//!
//! The whole is exact: it is counted where a CPU goes from one task to another, or to or from idling, and costs a system call nothing. How much
//! of it was user code is an estimate: each tick of the timer counts for where it finds the CPU. A task that no tick has found is taken to
//! have been in user code all the time; one that runs alone has few ticks, as there is nobody to make way for.
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The CPU time of a task, or of several together, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTimes {
    /// In user code.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

impl CpuTimes {
    /// Both.
    pub fn total_ns(self) -> u64 {
        self.user_ns.saturating_add(self.system_ns)
    }

    /// `total_ns`, divided as the ticks that found the task in user code and in the kernel.
    fn divided(total_ns: u64, user: u32, kernel: u32) -> CpuTimes {
        let ticks = u128::from(user) + u128::from(kernel);
        let user_ns = match ticks {
            0 => total_ns,
            _ => (u128::from(total_ns) * u128::from(user) / ticks) as u64,
        };
        CpuTimes { user_ns, system_ns: total_ns - user_ns }
    }
}

impl core::ops::AddAssign for CpuTimes {
    fn add_assign(&mut self, other: CpuTimes) {
        self.user_ns = self.user_ns.saturating_add(other.user_ns);
        self.system_ns = self.system_ns.saturating_add(other.system_ns);
    }
}

/// How long all CPUs together had nothing to run.
static IDLE_NS: AtomicU64 = AtomicU64::new(0);
/// Ticks that found some task in user code, and in the kernel.
static TICKS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

/// A CPU had nothing to run for so long.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host counts for itself"))]
pub(super) fn was_idle(ns: u64) {
    IDLE_NS.fetch_add(ns, Relaxed);
}

/// What became of the CPU time since boot, all CPUs together: how long tasks ran, the kernel's among them, and how long there were none.
pub fn usage(cpus: u64) -> (CpuTimes, u64) {
    let idle_ns = IDLE_NS.load(Relaxed);
    let total_ns = crate::time::now_ns().saturating_mul(cpus).saturating_sub(idle_ns);
    let [user, kernel] = TICKS.each_ref().map(|ticks| ticks.load(Relaxed));
    (CpuTimes::divided(total_ns, user, kernel), idle_ns)
}

/// What the scheduler keeps for a task.
pub(super) struct CpuClock {
    /// Up to its last switch.
    used_ns: AtomicU64,
    /// When it began to run; 0: it does not run.
    since_ns: AtomicU64,
    user_ticks: AtomicU32,
    kernel_ticks: AtomicU32,
}

impl CpuClock {
    pub(super) fn new() -> CpuClock {
        CpuClock {
            used_ns: AtomicU64::new(0),
            since_ns: AtomicU64::new(0),
            user_ticks: AtomicU32::new(0),
            kernel_ticks: AtomicU32::new(0),
        }
    }
    /// The task runs from now on. The CPU calls it that runs it, as it does [`Self::stop`] and [`Self::tick`].
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host counts for itself"))]
    pub(super) fn start(&self, now_ns: u64) {
        self.since_ns.store(now_ns.max(1), Relaxed);
    }
    /// The task runs no longer.
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host counts for itself"))]
    pub(super) fn stop(&self, now_ns: u64) {
        let since_ns = self.since_ns.swap(0, Relaxed);
        if since_ns != 0 {
            self.used_ns.fetch_add(now_ns.saturating_sub(since_ns), Relaxed);
        }
    }
    /// The timer has found the task in user code, or not; nothing, if the CPU idles.
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host counts for itself"))]
    pub(super) fn tick(&self, in_user: bool) {
        if self.since_ns.load(Relaxed) != 0 {
            let ticks = if in_user { &self.user_ticks } else { &self.kernel_ticks };
            ticks.fetch_add(1, Relaxed);
            TICKS[usize::from(!in_user)].fetch_add(1, Relaxed);
        }
    }
    /// Up to now.
    pub(super) fn read(&self, now_ns: u64) -> CpuTimes {
        let since_ns = self.since_ns.load(Relaxed);
        let running_ns = if since_ns == 0 { 0 } else { now_ns.saturating_sub(since_ns) };
        let total_ns = self.used_ns.load(Relaxed).saturating_add(running_ns);
        CpuTimes::divided(total_ns, self.user_ticks.load(Relaxed), self.kernel_ticks.load(Relaxed))
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn time_counts_while_the_task_runs_and_ticks_divide_it() {
        let clock = CpuClock::new();
        clock.tick(false);
        clock.start(100);
        assert_eq!(clock.read(150), CpuTimes { user_ns: 50, system_ns: 0 });
        clock.stop(200);
        clock.stop(900);
        assert_eq!(clock.read(1000).total_ns(), 100);
        clock.start(1000);
        (0..3).for_each(|_| clock.tick(true));
        clock.tick(false);
        clock.stop(1300);
        assert_eq!(clock.read(5000), CpuTimes { user_ns: 300, system_ns: 100 });
        assert_eq!(CpuTimes::divided(u64::MAX, u32::MAX, u32::MAX).total_ns(), u64::MAX);
    }
}
