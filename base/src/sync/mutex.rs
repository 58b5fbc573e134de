//! A sleeping mutual-exclusion lock.
use super::rank::{self, HeldRank, Rank};
use super::wait::WaitQueue;
use core::ops::{Deref, DerefMut};
use hal::cell::{Exclusive, ShareCell};

/// A lock whose waiters sleep. Task context only. Free to take and give back it costs one atomic operation each, and a look
/// at the wait queue.
pub struct Mutex<T: ?Sized> {
    rank: Rank,
    waiters: WaitQueue,
    cell: ShareCell<T>,
}

impl<T> Mutex<T> {
    /// A free lock of the given rank.
    pub fn new(rank: Rank, value: T) -> Self {
        Mutex { rank, waiters: WaitQueue::new(), cell: ShareCell::new(value) }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, sleeping until it is free. The task must hold no sleeping lock of this rank or a later one.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.lock_ranked(rank::enter(self.rank))
    }

    /// As [`lock`](Self::lock) for one of several locks of one rank, among which the caller keeps an order of its own.
    #[inline]
    #[track_caller]
    pub fn lock_nested(&self) -> MutexGuard<'_, T> {
        self.lock_ranked(rank::enter_nested(self.rank))
    }

    /// Takes the lock if it is free. Never sleeps, so no order is asked of it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.cell.try_exclusive().map(|data| self.guard(data, rank::enter_try(self.rank)))
    }

    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.cell.get_mut()
    }

    #[inline]
    #[track_caller]
    fn lock_ranked(&self, held: HeldRank) -> MutexGuard<'_, T> {
        crate::sched::might_sleep();
        match self.cell.try_exclusive() {
            Some(data) => self.guard(data, held),
            None => self.lock_slowly(held),
        }
    }

    #[cold]
    fn lock_slowly(&self, held: HeldRank) -> MutexGuard<'_, T> {
        let mut taken = None;
        self.waiters.wait_until(|| {
            taken = self.cell.try_exclusive();
            taken.is_some()
        });
        self.guard(taken.expect("the wait ended with the lock taken"), held)
    }

    #[inline]
    fn guard<'a>(&'a self, data: Exclusive<'a, T>, held: HeldRank) -> MutexGuard<'a, T> {
        MutexGuard { data, _wake: WakeNext(&self.waiters), _held: held }
    }
}

/// Guard of a [`Mutex`]. It stays with the task that took it.
#[must_use = "dropping the guard frees the lock"]
pub struct MutexGuard<'a, T: ?Sized> {
    // In this order: the lock is free before the next one is woken to take it.
    data: Exclusive<'a, T>,
    _wake: WakeNext<'a>,
    _held: HeldRank,
}

struct WakeNext<'a>(&'a WaitQueue);

impl Drop for WakeNext<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.wake_one();
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}
impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use crate::sched::{self, Task};
    use crate::sync::Arc;
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    #[test]
    fn tasks_take_turns() {
        let lock = Arc::new(Mutex::new(Rank::Leaf, 0));
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        let add = |lock: Arc<Mutex<u32>>| move || (0..500).for_each(|_| *lock.lock() += 1);
        let tasks: Vec<Task> = (0..4).map(|_| sched::spawn("adder", Box::new(add(lock.clone()))).unwrap()).collect();
        while lock.waiters.waiters() != 4 {
            sched::yield_now();
        }
        drop(held);
        tasks.iter().for_each(Task::join);
        assert_eq!(*lock.lock(), 2000);
    }
}
