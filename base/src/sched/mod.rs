//! Tasks: what the scheduler runs.
//!
//! | file | idea |
//! |---|---|
//! | `task` | [`Task`]: name, id, interruption, join; what the locks and the plug keep for each task |
//! | `cputime` | how long tasks run |
//! | `list` | a FIFO of tasks through links embedded in them |
//! | `idle` | which CPUs halt: no wake-up between CPUs is lost |
//! | `bare` | the kernel's scheduler: run queues, CPUs, time-outs, idling, reaping, the watchdog |
//! | `host` | a task is a thread of the host, or of the checker |
//!
//! The kernel is not preempted: a task runs until it sleeps, yields or ends. User mode is preempted by the timer: the loop
//! that runs a user thread calls [`preempt_point`] whenever it is back in the kernel.
//!
//! # Sleeping
//!
//! Everything that sleeps comes down to [`park`]. It checks in debug builds that the task may sleep ([`might_sleep`]) and
//! kicks the devices whose kick the task's plug holds back (LOCK-6). Wait queues are the way to wait for a condition;
//! nothing else should call [`park`].
mod cputime;
pub mod idle;
#[cfg(all(feature = "ktest", target_os = "none"))]
mod ktests;
mod list;
#[cfg(all(feature = "ktest", target_os = "none"))]
mod queue_ktests;
#[cfg(all(feature = "ktest", target_os = "none"))]
mod smp_ktests;
mod task;
#[cfg(all(feature = "ktest", target_os = "none"))]
mod watch_ktests;

#[cfg(target_os = "none")]
#[path = "bare/mod.rs"]
mod backend;
#[cfg(not(target_os = "none"))]
#[path = "host.rs"]
mod backend;

pub use cputime::{CpuTimes, usage};
pub(crate) use list::{TaskList, WAIT};
pub use task::{Entry, NAME_LEN, Task};
pub(crate) use task::{Inner, with_inner};

use crate::errno::Result;
use crate::sync::Arc;
use core::any::Any;
use core::sync::atomic::Ordering;

/// Starts the scheduler on this CPU; the caller becomes the first task. Once, before anything else of this module, after
/// the heap is there. Errors: `ENOMEM`. Elsewhere than in the kernel it does nothing.
pub fn init() -> Result<()> {
    backend::init()
}

/// Starts the other CPUs; returns how many run tasks now. Once, on the task that called [`init`]. Elsewhere than in the kernel it
/// does nothing.
pub fn start_other_cpus() -> usize {
    backend::start_other_cpus()
}

/// Starts a task that runs `entry`. The first [`NAME_LEN`] bytes of `name` are kept. Errors: `ENOMEM`. Task context.
pub fn spawn(name: &str, entry: Entry) -> Result<Task> {
    spawn_with(name, Arc::new(()), entry)
}

/// As [`spawn`], with a value for the task's slot: [`Task::data`].
pub fn spawn_with(name: &str, data: Arc<dyn Any + Send + Sync>, entry: Entry) -> Result<Task> {
    crate::memory::may_allocate()?;
    #[cfg(feature = "lab")]
    crate::lab::scope(); // The starter is a task from here on, so that the new one is in its scope.
    let inner = Inner::new(name, data);
    let body = task::until_exit(inner.clone(), entry);
    backend::start(&inner, body)?;
    Ok(Task(inner))
}

/// The task that runs; in an interrupt, the one it interrupted.
pub fn current() -> Task {
    Task(backend::current())
}

/// The id of the task that runs, 0 before there is one. Any context; a few instructions.
#[inline]
pub fn current_id() -> u64 {
    backend::current_id()
}

/// Sleeps until somebody unparks the task, at once if somebody did since the last park. May return early: callers test
/// their condition again. Task context.
pub fn park() {
    before_sleep();
    backend::park();
}

/// As [`park`], but no longer than until [`crate::time::now_ns`] reaches `deadline_ns`.
pub fn park_until(deadline_ns: u64) {
    before_sleep();
    backend::park_until(deadline_ns);
}

/// Sleeps until [`crate::time::now_ns`] reaches `deadline_ns`; cannot be interrupted. Task context.
pub fn sleep_until(deadline_ns: u64) {
    while crate::time::now_ns() < deadline_ns {
        park_until(deadline_ns);
    }
}

/// The CPU that runs the current task, from 0; it may be another one as soon as the task sleeps or yields. Any context.
pub fn cpu() -> usize {
    backend::cpu()
}

/// How many CPUs run tasks. Any context.
pub fn cpus() -> usize {
    backend::cpus()
}

/// Lets the other tasks that are ready run first. Task context.
pub fn yield_now() {
    before_sleep();
    backend::yield_now();
}

/// Yields if the timer or a wake-up from an interrupt asked for it. For the loop that runs a user thread; cheap when there
/// is nothing to do.
#[inline]
pub fn preempt_point() {
    backend::preempt_point();
}

/// Stops debug builds if the current task may not sleep here: in an interrupt, with interrupts masked, under a spin lock,
/// inside the condition of a wait queue, with folios that are marked for writeback and not submitted (I10), or while a
/// [`NoSleep`] lives.
#[inline]
#[track_caller]
pub fn might_sleep() {
    #[cfg(debug_assertions)]
    task::check_sleep();
}

/// Says that the current task has folios marked for writeback that no device knows of yet; while it has, it must not sleep
/// (LOCK-6, I10).
#[inline]
pub fn set_unsubmitted(unsubmitted: bool) {
    if cfg!(debug_assertions) {
        with_inner(|t| t.unsubmitted.store(unsubmitted, Ordering::Relaxed));
    }
}

/// While it lives, the current task must not sleep: debug builds stop at everything that might, whether or not it would have to
/// this time (NOW-1). So a test that comes through a path proves it for every state of the locks on the way. Not nested.
#[must_use = "the task may sleep again once this is dropped"]
pub struct NoSleep {
    _not_send: core::marker::PhantomData<*const ()>,
}

impl NoSleep {
    /// Begins. Task context; nothing in builds without debug assertions.
    #[inline]
    pub fn begin() -> NoSleep {
        NoSleep::set(true);
        NoSleep { _not_send: core::marker::PhantomData }
    }

    #[inline]
    fn set(on: bool) {
        if cfg!(debug_assertions) {
            with_inner(|t| t.no_sleep.store(on, Ordering::Relaxed));
        }
    }
}

impl Drop for NoSleep {
    #[inline]
    fn drop(&mut self) {
        NoSleep::set(false);
    }
}

/// Whether an anchor may stop the current task: always on the host; in the kernel not in an interrupt or under a spin lock.
#[cfg(feature = "lab")]
pub(crate) fn may_stop_here() -> bool {
    let spins = with_inner(|t| t.spin_depth.load(Ordering::Relaxed)).unwrap_or(1) > 0;
    !cfg!(target_os = "none") || (hal::irq::enabled() && !hal::irq::in_interrupt() && !spins)
}

/// [`park`] without the checks and duties of a sleep: a stop at an anchor is not part of the program.
#[cfg(feature = "lab")]
pub(crate) fn park_in_lab() {
    backend::park();
}

/// Tests a wait queue's condition; debug builds stop if it sleeps.
pub(crate) fn in_condition(cond: &mut dyn FnMut() -> bool) -> bool {
    if !cfg!(debug_assertions) {
        return cond();
    }
    with_inner(|t| t.in_condition.store(true, Ordering::Relaxed));
    let met = cond();
    with_inner(|t| t.in_condition.store(false, Ordering::Relaxed));
    met
}

/// What every sleep owes first.
#[track_caller]
fn before_sleep() {
    might_sleep();
    crate::block::kick_plugged();
}
