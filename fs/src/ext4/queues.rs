//! The two work queues of a file system: finishes of I/O, and what waits for the log and the device (QUE-1 to QUE-5).
use base::Result;
use base::sync::{Arc, SpinLock};
use base::workqueue::WorkQueue;

/// A work queue made on first use.
pub struct LazyQueue {
    make: fn() -> Result<Arc<WorkQueue>>,
    queue: SpinLock<Option<Arc<WorkQueue>>>,
}

/// The queues of one file system.
pub struct Queues {
    /// Finish steps F1 to F4: never waits for log or device flushes. A worker a CPU: of that which was interrupted.
    pub completion: LazyQueue,
    /// F5, which does. One worker: who waits here shares what is waited for.
    pub sync: LazyQueue,
}

impl LazyQueue {
    /// No queue yet.
    pub fn new(make: fn() -> Result<Arc<WorkQueue>>) -> Self {
        LazyQueue { make, queue: SpinLock::new(None) }
    }

    /// The queue, made if there is none. Of several first users exactly one queue survives; the others' were never handed out, so
    /// nothing is queued on them (QUE-2). Task context; may sleep. Errors: `ENOMEM`; a later call tries again (QUE-3).
    pub fn get(&self) -> Result<Arc<WorkQueue>> {
        if let Some(queue) = &*self.queue.lock() {
            return Ok(queue.clone());
        }
        let fresh = (self.make)()?;
        base::anchor!("que.create.before_publish", 0);
        base::mistake!("R42", *self.queue.lock() = None);
        let mut slot = self.queue.lock();
        let survivor = slot.get_or_insert_with(|| fresh.clone()).clone();
        drop(slot);
        Ok(survivor)
    }

    /// The queue, if it was made. No sleep.
    pub fn made(&self) -> Option<Arc<WorkQueue>> {
        self.queue.lock().clone()
    }

    /// Sleeps until what was queued has run. Task context.
    pub fn wait_idle(&self) {
        if let Some(queue) = self.made() {
            queue.wait_idle();
        }
    }

    /// Ends the queue at unmount: every request has ended, because each held its file (QUE-4).
    pub fn close(&self) {
        let queue = self.queue.lock().take();
        if let Some(queue) = queue {
            queue.wait_idle();
        }
    }
}

impl Queues {
    /// No queue yet.
    pub fn new() -> Self {
        let completion = LazyQueue::new(|| WorkQueue::per_cpu("ext4-end"));
        Queues { completion, sync: LazyQueue::new(|| WorkQueue::new("ext4-sync", 1)) }
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self::new()
    }
}
