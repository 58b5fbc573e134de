//! Worker threads and the work items they run. Items are embedded in what they finish, so that queueing cannot fail.
use crate::errno::Result;
use crate::sync::{Arc, IrqLock, atomic::AtomicBool, atomic::Ordering};

/// Something a worker can run. The item is embedded: queueing allocates nothing and is safe in hard IRQ.
pub trait Work: Send + Sync {
    /// The embedded link.
    fn link(&self) -> &WorkLink;
    /// Runs on a worker task; may sleep. The last reference may fall here.
    fn run(self: Arc<Self>);
}

/// The link of a [`Work`] item; an item is queued at most once at a time (SEMANTICS I9).
pub struct WorkLink {
    queued: AtomicBool,
    next: IrqLock<Option<Arc<dyn Work>>>,
}

impl WorkLink {
    /// An unqueued link.
    pub fn new() -> Self {
        WorkLink { queued: AtomicBool::new(false), next: IrqLock::new(None) }
    }
}
impl Default for WorkLink {
    fn default() -> Self {
        Self::new()
    }
}

/// A FIFO of work items with worker tasks of its own (SEMANTICS QUE-6).
pub struct WorkQueue {
    _private: (),
}

impl WorkQueue {
    /// Starts `workers` worker tasks. Errors: `ENOMEM`. Task context.
    pub fn new(_name: &str, _workers: usize) -> Result<Arc<WorkQueue>> {
        Err(crate::Errno::ENOMEM)
    }
    /// Queues `work`; false if it was queued already. Any context; no allocation, no free.
    pub fn queue(&self, work: Arc<dyn Work>) -> bool {
        let link = work.link();
        let fresh = !link.queued.swap(true, Ordering::AcqRel);
        link.next.lock().take();
        fresh
    }
}
