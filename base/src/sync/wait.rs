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
    InterruptionOrDeadlineNs(u64),
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

    /// As [`wait_interruptible`](Self::wait_interruptible), but gives up when [`crate::time::now_ns`] reaches `deadline_ns`; false if the
    /// condition is not true then. Errors: `EINTR`. Task context.
    #[inline]
    #[track_caller]
    pub fn wait_interruptible_deadline(&self, deadline_ns: u64, mut cond: impl FnMut() -> bool) -> Result<bool> {
        sched::might_sleep();
        let came_true = cond() || self.sleep(&mut cond, Limit::InterruptionOrDeadlineNs(deadline_ns));
        if !came_true && sched::current().interrupt_pending() { Err(Errno::EINTR) } else { Ok(came_true) }
    }

    /// Wakes every waiter; says how many. Any context, hard IRQ included; no allocation.
    #[inline]
    pub fn wake_all(&self) -> usize {
        if self.is_idle() { 0 } else { self.wake(usize::MAX) }
    }

    /// Wakes the waiter that came first; says how many (0 or 1). Only where any waiter can use what came true. Any context,
    /// hard IRQ included; no allocation.
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
        let mut waiter = Waiter { queue: self, task: &task, was_woken: false };
        loop {
            waiter.enter();
            fence(Ordering::SeqCst);
            if sched::in_condition(cond) {
                waiter.was_woken = false;
                return true;
            }
            match limit {
                Limit::None => sched::park(),
                Limit::Interruption | Limit::InterruptionOrDeadlineNs(_) if task.interrupt_pending() => return false,
                Limit::Interruption => sched::park(),
                Limit::DeadlineNs(at_ns) | Limit::InterruptionOrDeadlineNs(at_ns) if crate::time::now_ns() >= at_ns => {
                    return false;
                }
                Limit::DeadlineNs(at_ns) | Limit::InterruptionOrDeadlineNs(at_ns) => sched::park_until(at_ns),
            }
            // Taken out by a waker: mostly the condition is true now, and there is no need to enter again to see it.
            if !waiter.is_in() && sched::in_condition(cond) {
                core::mem::forget(waiter);
                return true;
            }
            waiter.was_woken |= !waiter.is_in();
        }
    }
}

/// A stay in the queue. Ending it by itself, the task takes itself out, or hands on the wake-up that did.
struct Waiter<'a> {
    queue: &'a WaitQueue,
    task: &'a Task,
    /// A waker took the task out and the condition was not true then.
    was_woken: bool,
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
        let was_in = list.remove(&self.task.0);
        if was_in {
            self.queue.waiting.store(self.queue.waiting.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
        drop(list);
        if !was_in || self.was_woken {
            self.queue.wake_one();
        }
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use crate::sync::atomic::AtomicBool;
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    struct Site {
        queue: WaitQueue,
        permits: AtomicU32,
    }
    impl Site {
        fn new() -> Arc<Site> {
            Arc::new(Site { queue: WaitQueue::new(), permits: AtomicU32::new(0) })
        }
        fn take(&self) -> bool {
            let less_one = |n: u32| n.checked_sub(1);
            self.permits.fetch_update(Ordering::AcqRel, Ordering::Acquire, less_one).is_ok()
        }
        fn give(&self) {
            self.permits.fetch_add(1, Ordering::Release);
            self.queue.wake_one();
        }
        /// Until `n` tasks stand in the queue; a test has no other way to see that somebody sleeps.
        fn until_waiting(&self, n: usize) {
            while self.queue.waiters() != n {
                sched::yield_now();
            }
        }
    }
    fn spawn(body: impl FnOnce() + Send + 'static) -> Task {
        sched::spawn("waiter", Box::new(body)).unwrap()
    }

    #[test]
    fn each_permit_wakes_one_waiter() {
        let site = Site::new();
        let waiters: Vec<Task> = (0..3)
            .map(|_| {
                let site = site.clone();
                spawn(move || site.queue.wait_until(|| site.take()))
            })
            .collect();
        site.until_waiting(3);
        site.give();
        site.until_waiting(2);
        site.give();
        site.give();
        waiters.iter().for_each(Task::join);
        assert_eq!((site.permits.load(Ordering::Relaxed), site.queue.waiters()), (0, 0));
    }

    #[test]
    fn a_deadline_ends_the_wait_and_leaves_the_queue() {
        let site = Site::new();
        assert!(!site.queue.wait_until_deadline(crate::time::now_ns() + 1_000_000, || site.take()));
        assert_eq!(site.queue.waiters(), 0);
        site.permits.store(1, Ordering::Relaxed);
        assert!(site.queue.wait_until_deadline(0, || site.take()));
    }

    #[test]
    fn a_wait_with_both_limits_ends_by_either() {
        let site = Site::new();
        assert_eq!(
            site.queue.wait_interruptible_deadline(crate::time::now_ns() + 1_000_000, || site.take()),
            Ok(false)
        );
        sched::current().interrupt();
        assert_eq!(site.queue.wait_interruptible_deadline(u64::MAX, || site.take()), Err(Errno::EINTR));
        site.permits.store(1, Ordering::Relaxed);
        assert_eq!(site.queue.wait_interruptible_deadline(u64::MAX, || site.take()), Ok(true));
        assert!(sched::current().clear_interrupt());
        assert_eq!(site.queue.waiters(), 0);
    }

    #[test]
    fn an_interruption_ends_only_interruptible_waits() {
        let site = Site::new();
        let (a, b) = (site.clone(), site.clone());
        let stubborn = spawn(move || a.queue.wait_until(|| a.take()));
        site.until_waiting(1);
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        let soft = spawn(move || {
            assert_eq!(b.queue.wait_interruptible(|| b.take()), Err(Errno::EINTR));
            assert!(sched::current().clear_interrupt() && !sched::current().interrupt_pending());
            flag.store(true, Ordering::Release);
        });
        site.until_waiting(2);
        stubborn.interrupt();
        soft.interrupt();
        soft.join();
        assert!(ended.load(Ordering::Acquire) && !stubborn.has_exited());
        site.give();
        stubborn.join();
    }

    #[test]
    fn a_waiter_that_leaves_hands_on_the_wake_up_it_took() {
        let site = Site::new();
        let (a, b) = (site.clone(), site.clone());
        // The first in the queue is taken out by the wake-up, but leaves because it is interrupted.
        let first = spawn(move || {
            let gives_up = a.queue.wait_interruptible(|| false);
            assert_eq!(gives_up, Err(Errno::EINTR));
        });
        site.until_waiting(1);
        let second = spawn(move || b.queue.wait_until(|| b.take()));
        site.until_waiting(2);
        first.interrupt();
        site.give();
        first.join();
        second.join();
    }

    #[test]
    #[should_panic(expected = "the condition of a wait queue must not sleep")]
    #[cfg(debug_assertions)]
    fn a_condition_that_sleeps_is_a_bug() {
        let site = Site::new();
        let mut tests = 0;
        site.queue.wait_until(|| {
            tests += 1;
            if tests > 1 {
                sched::park();
            }
            false
        });
    }
}
