//! The task object, the same on every backend.
use super::backend;
use super::cputime::{CpuClock, CpuTimes};
use super::list::{LINKS, Link};
use crate::block::PlugState;
use crate::sync::atomic::AtomicBool;
use crate::sync::{Arc, RankStack, WaitQueue};
use alloc::boxed::Box;
use arrayvec::ArrayString;
use core::any::Any;
use core::sync::atomic::{AtomicBool as PlainBool, AtomicU32, AtomicU64, Ordering};

/// Bytes of a task's name that are kept.
pub const NAME_LEN: usize = 16;

/// What a task runs.
pub type Entry = Box<dyn FnOnce() + Send>;

/// A handle to a task. The task runs on whether or not handles to it exist.
#[derive(Clone)]
pub struct Task(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    id: u64,
    name: ArrayString<NAME_LEN>,
    data: hal::sync::SpinLock<Option<Arc<dyn Any + Send + Sync>>>,
    interrupted: AtomicBool,
    exited: AtomicBool,
    exit_wait: WaitQueue,
    pub(super) links: [Link; LINKS],
    pub(crate) plug: PlugState,
    /// Which experiment the task belongs to; see `lab`.
    #[cfg(feature = "lab")]
    pub(crate) scope: u64,
    pub(super) cpu: CpuClock,
    /// Where the backend keeps its part.
    pub(super) run: backend::RunState,

    // Kept by debug builds for their checks. Only the task itself touches these.
    pub(super) unsubmitted: PlainBool,
    pub(super) no_sleep: PlainBool,
    pub(crate) in_condition: PlainBool,
    #[cfg_attr(
        not(any(debug_assertions, feature = "lab")),
        allow(dead_code, reason = "only debug builds and the lab look")
    )]
    pub(crate) spin_depth: AtomicU32,
    #[cfg_attr(not(debug_assertions), allow(dead_code, reason = "only debug builds check"))]
    pub(crate) ranks: RankStack,
}

impl Inner {
    pub(super) fn new(name: &str, data: Arc<dyn Any + Send + Sync>) -> Arc<Inner> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let name = truncated(name);
        crate::trace::set_thread_name(id, &name);
        crate::trace::record(crate::trace::Kind::TaskStart, id, 0);
        Arc::new(Inner {
            id,
            name,
            data: hal::sync::SpinLock::new(Some(data)),
            interrupted: AtomicBool::new(false),
            exited: AtomicBool::new(false),
            exit_wait: WaitQueue::new(),
            links: core::array::from_fn(|_| Link::new()),
            plug: PlugState::new(),
            #[cfg(feature = "lab")]
            scope: crate::lab::scope_for_new_task(id),
            cpu: CpuClock::new(),
            run: backend::RunState::new(),
            unsubmitted: PlainBool::new(false),
            no_sleep: PlainBool::new(false),
            in_condition: PlainBool::new(false),
            spin_depth: AtomicU32::new(0),
            ranks: RankStack::new(),
        })
    }
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

fn truncated(name: &str) -> ArrayString<NAME_LEN> {
    let mut kept = ArrayString::new();
    name.chars().take_while(|&c| kept.try_push(c).is_ok()).for_each(drop);
    kept
}

impl Task {
    /// A number that no other task since boot has; never 0.
    pub fn id(&self) -> u64 {
        self.0.id
    }
    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// The value of the task's slot; `None` once the task has ended, so that a handle keeps no address space alive.
    pub fn data(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.data.lock().clone()
    }
    /// Replaces the value of the slot, for the task that the boot thread became. Task context.
    pub fn set_data(&self, data: Arc<dyn Any + Send + Sync>) {
        let old = self.0.data.lock().replace(data);
        drop(old);
    }
    /// Ends the task's current or next [`super::park`]. Any context; no allocation.
    pub fn unpark(&self) {
        backend::unpark(&self.0);
    }
    /// Asks the task to leave interruptible waits, and wakes it. If it runs user code, on this CPU or another, it comes back into the
    /// kernel. Any context.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::Release);
        backend::interrupt(&self.0);
    }
    /// The CPUs that may run the task, a bit for each; there may be more bits than CPUs.
    pub fn allowed_cpus(&self) -> u32 {
        backend::allowed(&self.0)
    }
    /// Changes where the task may run; one of the CPUs that run must be among them. It leaves a CPU that isn't when it next
    /// yields or sleeps. Tasks it starts may run where it may. Any context.
    pub fn set_allowed_cpus(&self, allowed: u32) {
        backend::set_allowed(&self.0, allowed);
    }
    /// Whether an interruption is asked for.
    pub fn interrupt_pending(&self) -> bool {
        self.0.interrupted.load(Ordering::Acquire)
    }
    /// Withdraws the interruption; says whether there was one.
    pub fn clear_interrupt(&self) -> bool {
        self.0.interrupted.swap(false, Ordering::AcqRel)
    }
    /// How long it has run.
    pub fn cpu_times(&self) -> CpuTimes {
        self.0.cpu.read(crate::time::now_ns())
    }
    /// Whether the task has ended.
    pub fn has_exited(&self) -> bool {
        self.0.exited.load(Ordering::Acquire)
    }
    /// Sleeps until the task has ended: everything it did happens before the return. Task context.
    pub fn join(&self) {
        debug_assert!(self.id() != super::current_id(), "a task waits for its own end");
        self.0.exit_wait.wait_until(|| self.has_exited());
    }
    /// Whether both handles mean the same task.
    pub fn is(&self, other: &Task) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl core::fmt::Debug for Task {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}#{}", self.name(), self.id())
    }
}

/// Wraps `entry` so that the end of the task is told, also when a test's task panics.
pub(super) fn until_exit(inner: Arc<Inner>, entry: Entry) -> Entry {
    struct TellExit(Arc<Inner>);
    impl Drop for TellExit {
        fn drop(&mut self) {
            let data = self.0.data.lock().take();
            drop(data);
            self.0.exited.store(true, Ordering::Release);
            self.0.exit_wait.wake_all();
        }
    }
    Box::new(move || {
        let _exit = TellExit(inner);
        entry();
    })
}

/// Runs `f` on the current task; `None` before the scheduler has started.
#[inline]
pub(crate) fn with_inner<R>(f: impl FnOnce(&Inner) -> R) -> Option<R> {
    backend::with_inner(f)
}

/// The body of [`super::might_sleep`].
#[cfg(debug_assertions)]
#[track_caller]
pub(super) fn check_sleep() {
    #[cfg(not(target_os = "none"))]
    if std::thread::panicking() {
        return;
    }
    with_inner(|t| {
        assert!(!hal::irq::in_interrupt(), "an interrupt handler must not sleep");
        assert!(hal::irq::enabled(), "a task must not sleep with interrupts masked (is an IrqLock held?)");
        assert!(t.spin_depth.load(Ordering::Relaxed) == 0, "a task must not sleep under a SpinLock");
        assert!(!t.in_condition.load(Ordering::Relaxed), "the condition of a wait queue must not sleep");
        assert!(!t.unsubmitted.load(Ordering::Relaxed), "I10: a task sleeps with folios marked and not submitted");
        assert!(!t.no_sleep.load(Ordering::Relaxed), "NOW-1: a request that must not wait may sleep here");
    });
}
