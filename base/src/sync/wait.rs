//! Wait queues: sleep until a condition that somebody else makes true.
use crate::sched::{self, Task};
use crate::sync::IrqLock;
use alloc::vec::Vec;

/// Tasks that wait for a condition. The contract: make the condition true, then wake.
pub struct WaitQueue(IrqLock<Vec<Task>>);

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> Self {
        WaitQueue(IrqLock::new(Vec::new()))
    }

    /// Sleeps until `cond()` is true. Not interruptible. Task context.
    pub fn wait_until(&self, mut cond: impl FnMut() -> bool) {
        while !cond() {
            self.0.lock().push(sched::current());
            if cond() {
                break;
            }
            sched::park();
        }
    }

    /// Wakes every waiter. Any context, hard IRQ included; no allocation.
    pub fn wake_all(&self) {
        for task in self.0.lock().drain(..) {
            task.unpark();
        }
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}
