//! Poll queues: wait queues of files, which a task can watch many of at once.
//!
//! Who sleeps for one file does so as in a [`WaitQueue`]. Who waits for whichever of several comes first leaves a [`Listener`] with each,
//! and looks at all of them after it is called. The contract is that of a wait queue: make it true, then wake; enter, then look. Of the
//! fence of the waker and that of [`PollQueue::listen`] one comes first: the waker sees the listener, or the listener's look sees what came
//! true (R40).
use super::{Arc, IrqLock, WaitQueue};
use crate::errno::{Errno, Result};
use crate::sync::atomic::{AtomicU32, Ordering, fence};
use alloc::vec::Vec;

/// Is told that something has changed: what, it finds out by looking.
pub trait Listener: Send + Sync {
    /// Any context, hard IRQ included: it unparks a task or queues work, and looks at nothing, since the queue's lock is held.
    fn changed(self: Arc<Self>);
}

/// A wait queue with listeners.
pub struct PollQueue {
    sleepers: WaitQueue,
    /// Listeners in `list`: lets a waker see without the lock that there are none.
    listening: AtomicU32,
    list: IrqLock<Vec<Arc<dyn Listener>>>,
}

impl PollQueue {
    /// An empty queue.
    pub fn new() -> Self {
        PollQueue { sleepers: WaitQueue::new(), listening: AtomicU32::new(0), list: IrqLock::new(Vec::new()) }
    }

    /// As [`WaitQueue::wait_interruptible`].
    pub fn wait_interruptible(&self, cond: impl FnMut() -> bool) -> Result<()> {
        self.sleepers.wait_interruptible(cond)
    }

    /// As [`WaitQueue::wait_interruptible_deadline`].
    pub fn wait_interruptible_deadline(&self, deadline_ns: u64, cond: impl FnMut() -> bool) -> Result<bool> {
        self.sleepers.wait_interruptible_deadline(deadline_ns, cond)
    }

    /// Wakes every sleeper and calls every listener. Any context, hard IRQ included; no allocation.
    pub fn wake_all(&self) {
        // Its fence stands before the look at the listeners too.
        self.sleepers.wake_all();
        if self.listening.load(Ordering::Relaxed) != 0 {
            self.list.lock().iter().for_each(|listener| listener.clone().changed());
        }
    }

    /// From now on the listener is called; the caller looks once more after this. One that comes twice leaves twice. Task context. Errors:
    /// `ENOMEM`.
    pub fn listen(&self, listener: Arc<dyn Listener>) -> Result<()> {
        let mut list = self.list.lock();
        list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        list.push(listener);
        self.listening.store(list.len() as u32, Ordering::Relaxed);
        drop(list);
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// The listener is called no more. Task context.
    pub fn leave<L: Listener + ?Sized>(&self, listener: &Arc<L>) {
        let mut list = self.list.lock();
        let at = list.iter().position(|other| core::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(listener)));
        let gone = at.map(|at| list.swap_remove(at));
        self.listening.store(list.len() as u32, Ordering::Relaxed);
        drop(list);
        drop(gone);
    }
}

impl Default for PollQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;

    struct Calls(AtomicU32);
    impl Listener for Calls {
        fn changed(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_listener_is_called_while_it_listens() {
        let (queue, calls) = (PollQueue::new(), Arc::new(Calls(AtomicU32::new(0))));
        queue.wake_all();
        queue.listen(calls.clone()).unwrap();
        queue.listen(calls.clone()).unwrap();
        queue.wake_all();
        queue.leave(&calls);
        queue.wake_all();
        queue.leave(&calls);
        queue.wake_all();
        assert_eq!(calls.0.load(Ordering::Relaxed), 3);
        assert_eq!(Arc::strong_count(&calls), 1);
    }
}
