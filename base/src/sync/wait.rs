//! Wait queues: sleep until a condition that somebody else makes true.
//!
//! # The contract
//!
//! ```text
//!   the one who waits                      the one who wakes
//!   -----------------                      -----------------
//!   W1  enter the queue                    K1  make the condition true
//!   W2  fence (SeqCst)                     K2  fence (SeqCst)
//!   W3  test the condition; true: leave    K3  is anybody in the queue? no: done
//!   W4  park                               K4  take the waiters out, unpark each
//! ```
//!
//! **Make the condition true, then wake.** The condition may be read from atomics (`Relaxed` is enough for the wake-up; what
//! else it publishes needs `Acquire`) or under a spin lock. It is called several times, must not sleep, and must not wake
//! this very queue.
//!
//! # Why no wake-up is lost (R40)
//!
//! Of the two fences one comes first in the order of all SeqCst fences. If W2 comes first, K3 sees the waiter: K4 unparks
//! it, and should it not be parked yet, the token makes W4 return at once. If K2 comes first, W3 sees the condition true
//! and there is no W4. So never does the one miss the condition *and* the other miss the waiter, and K3, which nearly
//! always finds nobody, costs a fence and a load.
//!
//! A waiter that was taken out by [`WaitQueue::wake_one`] and leaves for another reason (its condition came true by
//! itself, the deadline passed, it was interrupted) hands the wake-up on; else it would be lost for those behind it.
//!
//! Waiters stand in the queue through a link in their task: waking allocates and frees nothing and may be done from a hard
//! interrupt. Waiters are unparked under the queue's lock, so a task is out of the list before it can enter the next one.
use crate::errno::{Errno, Result};
use crate::sched::{self, Task, TaskList, WAIT};
use crate::sync::IrqLock;
use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// Tasks that wait for a condition, in order of arrival.
pub struct WaitQueue {
    /// How many tasks `list` holds: lets a waker see without the lock that there are none.
    waiting: AtomicU32,
    list: IrqLock<TaskList<WAIT>>,
}

/// What besides the condition ends a wait.
#[derive(Clone, Copy)]
enum Limit {
    None,
    DeadlineNs(u64),
    Interruption,
}

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> Self {
        WaitQueue { waiting: AtomicU32::new(0), list: IrqLock::new(TaskList::new()) }
    }

    /// Sleeps until `cond()` is true; an interruption of the task doesn't end it. Task context.
    #[inline]
    #[track_caller]
    pub fn wait_until(&self, mut cond: impl FnMut() -> bool) {
        sched::might_sleep();
        if !cond() {
            self.sleep(&mut cond, Limit::None);
        }
    }

    /// As [`wait_until`](Self::wait_until), but gives up when [`crate::time::now_ns`] reaches `deadline_ns`; false if the
    /// condition is not true then. Task context.
    #[inline]
    #[track_caller]
    pub fn wait_until_deadline(&self, deadline_ns: u64, mut cond: impl FnMut() -> bool) -> bool {
        sched::might_sleep();
        cond() || self.sleep(&mut cond, Limit::DeadlineNs(deadline_ns))
    }

    /// As [`wait_until`](Self::wait_until), but gives up when the task is interrupted ([`Task::interrupt`]). Errors: `EINTR`;
    /// the interruption stays pending. Task context.
    #[inline]
    #[track_caller]
    pub fn wait_interruptible(&self, mut cond: impl FnMut() -> bool) -> Result<()> {
        sched::might_sleep();
        if cond() || self.sleep(&mut cond, Limit::Interruption) { Ok(()) } else { Err(Errno::EINTR) }
    }

    /// Wakes every waiter; says how many. Any context, hard IRQ included; no allocation.
    #[inline]
    pub fn wake_all(&self) -> usize {
        if self.is_idle() { 0 } else { self.wake(usize::MAX) }
    }

    /// Wakes the waiter that came first; says how many (0 or 1). Any context, hard IRQ included; no allocation.
    #[inline]
    pub fn wake_one(&self) -> usize {
        if self.is_idle() { 0 } else { self.wake(1) }
    }

    /// How many tasks wait at this moment. For tests and counters.
    pub fn waiters(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) as usize
    }

    /// K2 and K3.
    #[inline]
    fn is_idle(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// K4.
    #[cold]
    fn wake(&self, most: usize) -> usize {
        let mut list = self.list.lock();
        let mut woken = 0;
        while woken < most
            && let Some(task) = list.pop_front()
        {
            self.waiting.store(self.waiting.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            task.unpark();
            woken += 1;
        }
        woken
    }

    /// W1 to W4 until the condition is true (true) or the limit is met (false).
    #[cold]
    fn sleep(&self, cond: &mut dyn FnMut() -> bool, limit: Limit) -> bool {
        let task = sched::current();
        let waiter = Waiter { queue: self, task: &task };
        loop {
            waiter.enter();
            fence(Ordering::SeqCst);
            if sched::in_condition(cond) {
                return true;
            }
            match limit {
                Limit::None => sched::park(),
                Limit::Interruption if task.interrupt_pending() => return false,
                Limit::Interruption => sched::park(),
                Limit::DeadlineNs(at_ns) if crate::time::now_ns() >= at_ns => return false,
                Limit::DeadlineNs(at_ns) => sched::park_until(at_ns),
            }
            // Taken out by a waker: mostly the condition is true now, and there is no need to enter again to see it.
            if !waiter.is_in() && sched::in_condition(cond) {
                core::mem::forget(waiter);
                return true;
            }
        }
    }
}

/// A stay in the queue. Ending it by itself, the task takes itself out, or hands on the wake-up that did.
struct Waiter<'a> {
    queue: &'a WaitQueue,
    task: &'a Task,
}

impl Waiter<'_> {
    fn is_in(&self) -> bool {
        TaskList::<WAIT>::is_linked(&self.task.0)
    }

    fn enter(&self) {
        if self.is_in() {
            return;
        }
        let mut list = self.queue.list.lock();
        list.push_back(self.task.0.clone());
        self.queue.waiting.store(self.queue.waiting.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut list = self.queue.list.lock();
        if list.remove(&self.task.0) {
            self.queue.waiting.store(self.queue.waiting.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        } else {
            drop(list);
            self.queue.wake_one();
        }
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}
