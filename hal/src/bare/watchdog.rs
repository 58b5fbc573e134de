//! What takes too long to be right is told on the console, with the stacks of all CPUs.
//!
//! Told are waits for a spin lock and for answers of other CPUs (`sync::Patience`), and what the scheduler sees of others
//! (`base::sched`). It changes nothing: who waits waits on.
use super::{backtrace, console, smp, time};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// An emulated CPU may stand still for seconds on a busy machine.
static LIMIT_NS: AtomicU64 = AtomicU64::new(10_000_000_000);
static REPORTS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
static QUIET_UNTIL_NS: AtomicU64 = AtomicU64::new(0);
static BUSY: AtomicBool = AtomicBool::new(false);

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A wait for a spin lock.
    Lock,
    /// A wait for other CPUs to forget translations.
    Answer,
    /// A CPU that does not take its timer's interrupt.
    Tick,
    /// A task that waits while a CPU halts that may run it.
    WakeUp,
}

/// After how long a wait is told, in nanoseconds. Any context.
pub fn limit_ns() -> u64 {
    LIMIT_NS.load(Ordering::Relaxed)
}

/// Sets [`limit_ns`], for waits that are told from now on; returns what it was. Any context.
pub fn set_limit_ns(limit_ns: u64) -> u64 {
    LIMIT_NS.swap(limit_ns, Ordering::Relaxed)
}

/// How often this was told since boot. Any context.
pub fn reports(kind: Kind) -> u32 {
    REPORTS[kind as usize].load(Ordering::Acquire)
}

/// The right to look and to tell: one CPU has it at a time, and for a while after something was told nobody, since whatever is
/// late then may be late by that.
#[must_use = "dropping it gives the turn back"]
pub struct Turn(());

/// The turn, if it is free. Any context; who does not get it tries again later.
pub fn turn() -> Option<Turn> {
    BUSY.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
    let turn = Turn(());
    (time::now_ns() >= QUIET_UNTIL_NS.load(Ordering::Relaxed)).then_some(turn)
}

impl Turn {
    /// Says on the console that this CPU does `what`, and where all CPUs are. Any context.
    pub fn report(&self, kind: Kind, what: core::fmt::Arguments<'_>) {
        console::write_fmt_unlocked(format_args!("\nwatchdog: cpu {} {what}\n", smp::cpu()));
        backtrace::scan(|address| console::write_fmt_unlocked(format_args!("  at {address:#x}\n")));
        smp::report_others();
        QUIET_UNTIL_NS.store(time::now_ns().saturating_add(limit_ns()), Ordering::Relaxed);
        REPORTS[kind as usize].fetch_add(1, Ordering::Release);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}
