//! Kernel threads: a guarded stack and a saved context. Scheduling them is up to `base::sched`.
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

/// A kernel thread.
pub struct Kthread {
    data: Arc<dyn Any + Send + Sync>,
}

impl Kthread {
    /// A thread that will run `entry`, with interrupts on, once it is switched to. `None` when memory is short.
    pub fn new(entry: Box<dyn FnOnce() + Send>, data: Arc<dyn Any + Send + Sync>) -> Option<Arc<Kthread>> {
        let _ = (entry, data);
        None
    }
    /// What the creator attached.
    pub fn data(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.data
    }
    /// True once the entry has returned.
    pub fn exited(&self) -> bool {
        false
    }
}

/// The thread that runs on this CPU. Any context (in an interrupt: the interrupted thread).
pub fn current() -> Arc<Kthread> {
    loop {
        core::hint::spin_loop();
    }
}

/// Calls `f` with the thread that runs on this CPU, without counting a reference.
pub fn with_current<R>(f: impl FnOnce(&Kthread) -> R) -> R {
    f(&current())
}

/// Makes the thread that called `boot` (the boot stack) known with `data`. Once, before the first switch.
pub fn adopt_boot_thread(data: Arc<dyn Any + Send + Sync>) -> Arc<Kthread> {
    let _ = data;
    current()
}

/// Sets the function that a thread calls, with interrupts on, when its entry has returned. It must switch away and never be switched back
/// to. Only the first call counts.
pub fn on_exit(hook: fn() -> !) {
    let _ = hook;
}

/// Saves this thread and runs `next`. Returns when somebody switches back. Called with interrupts off, returns with
/// them off. Panics if `next` runs already or has exited.
pub fn switch_to(next: &Arc<Kthread>) {
    let _ = next;
}

/// Asks this CPU to leave user mode: [`super::user::UserContext::run`] returns `Trap::Interrupt` before it enters user
/// mode, as long as the mark is set. Any context.
pub fn set_need_resched() {}

/// Clears the mark; says whether it was set.
pub fn take_need_resched() -> bool {
    false
}
