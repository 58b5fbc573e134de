//! The watchdog, where there are several CPUs: each looks after the others when its timer goes off, at the latest after half the
//! limit (`hal::bare::watchdog`).
//!
//! | what | when it is told |
//! |---|---|
//! | a CPU does not take its timer's interrupt | it is overdue by the limit |
//! | a task waits while a CPU halts that may run it and that nobody has called: a missed wake-up | it has waited for the limit, and a quarter of it later still does |
//! | the same in the queue of the CPU that looks | at once: there its mark is gone as soon as a task comes |
//!
//! One CPU looks at a time, and none for a limit after something was told: what is late then may be late by that. Each is told once, and
//! a missed wake-up is made up for. A CPU that is called and does not come is the first case: it takes no tick either.
use super::super::task::Inner;
use super::queue::{CPUS, HALTING, Queue, lock, try_lock};
use super::{NOWHERE, place};
use core::sync::atomic::Ordering;
use hal::bare::smp;
use hal::bare::watchdog::{self, Kind};

/// A task that waits and should not.
struct Missed {
    task: u64,
    waits_ns: u64,
    /// The CPUs that may run it.
    may: u32,
}

/// The CPUs that may pick a task that is ready.
fn may_run(task: &Inner) -> u32 {
    match task.run.on() {
        NOWHERE => task.run.allowed(),
        cpu => 1 << cpu,
    }
}

/// This CPU looks after the others from now on, and they after it.
pub(super) fn begin() {
    hal::irq::with_disabled(|| {
        let mut queue = lock(smp::cpu());
        queue.watch(hal::time::now_ns());
        queue.set_timer();
    });
}

/// Looks after the others. In the timer interrupt of `cpu`, no queue locked.
pub(super) fn look(cpu: usize, now_ns: u64) {
    let Some(turn) = watchdog::turn() else { return };
    let limit_ns = watchdog::limit_ns();
    for late in (0..smp::online()).filter(|&other| other != cpu) {
        let timer = &CPUS[late].timer_ns;
        let due_ns = timer.load(Ordering::Relaxed);
        let told = || timer.compare_exchange(due_ns, u64::MAX, Ordering::Relaxed, Ordering::Relaxed);
        if due_ns.saturating_add(limit_ns) < now_ns && told().is_ok() {
            turn.report(Kind::Tick, format_args!("sees that cpu {late} does not take its tick"));
        }
    }
    for queue in 0..smp::online() {
        // A CPU that holds its lock for long is overdue.
        let missed = try_lock(queue).and_then(|mut locked| locked.missed(queue == cpu, limit_ns, now_ns));
        let Some(Missed { task, waits_ns, may }) = missed else { continue };
        let (halting, ms) = ((HALTING.marked() & may).trailing_zeros(), waits_ns / 1_000_000);
        let what = format_args!(
            "sees that task {task} waits for {ms} ms in the queue of cpu {queue} while cpu {halting} halts"
        );
        turn.report(Kind::WakeUp, what);
        place::call_one(may);
    }
}

impl Queue {
    /// Whether it is time to look; sets the time of the next look. On the CPU itself.
    pub(super) fn watch(&mut self, now_ns: u64) -> bool {
        let next_ns = now_ns.saturating_add(watchdog::limit_ns() / 2);
        let is_time = self.watch_ns <= now_ns;
        if is_time || self.watch_ns > next_ns {
            self.watch_ns = next_ns;
        }
        is_time
    }

    /// A task that waits here and should not, told for the first time. `mine`: this CPU looks, from an interrupt.
    fn missed(&mut self, mine: bool, limit_ns: u64, now_ns: u64) -> Option<Missed> {
        let marked = HALTING.marked();
        // An interrupt finds this CPU marked only while it halts.
        let at_once = if mine { marked & 1 << self.cpu() } else { 0 };
        let task = self.ready.find(|task| {
            let ready_ns = task.run.ready_ns.load(Ordering::Relaxed);
            let may = may_run(task);
            let long = may & marked != 0 && ready_ns.saturating_add(limit_ns) < now_ns;
            ready_ns != 0 && (may & at_once != 0 || long)
        })?;
        let (id, may) = (task.id(), may_run(&task));
        if may & at_once == 0 {
            let (suspect, since_ns) = self.suspect;
            if suspect != id {
                // A CPU that is about to halt is marked as well, and may just be about to take it.
                self.suspect = (id, now_ns);
            }
            if suspect != id || now_ns - since_ns < limit_ns / 4 {
                return None;
            }
        }
        let ready_ns = task.run.ready_ns.swap(0, Ordering::Relaxed);
        Some(Missed { task: id, waits_ns: now_ns.saturating_sub(ready_ns), may })
    }
}
