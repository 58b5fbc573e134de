//! A sleeping readers-writer lock.
//!
//! # Who is woken
//!
//! A waiting writer announces itself, which keeps new readers out until a writer has had its turn: writers do not starve.
//! The last reader to leave wakes one writer, or the readers if no writer waits. A writer that leaves wakes the readers
//! first, which run first and so get their turn, and then one writer, which announces itself again: the writer that leaves
//! had withdrawn the announcement for all of them. Every hold that leaves the lock free wakes somebody if anybody waits, so
//! the lock is never free with all who want it asleep. A task that comes by while the lock is free may take it before the
//! one that was woken, which then waits for the next turn.
use super::rank::{self, HeldRank, Rank};
use super::wait::WaitQueue;
use core::ops::{Deref, DerefMut};
use hal::cell::{Exclusive, ShareCell, Shared};

/// Many readers or one writer; waiters sleep. Task context only.
pub struct RwLock<T: ?Sized> {
    rank: Rank,
    readers: WaitQueue,
    writers: WaitQueue,
    cell: ShareCell<T>,
}

impl<T> RwLock<T> {
    /// A free lock of the given rank.
    pub fn new(rank: Rank, value: T) -> Self {
        RwLock { rank, readers: WaitQueue::new(), writers: WaitQueue::new(), cell: ShareCell::new(value) }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock shared, sleeping while a writer has it or waits for it. The task must hold no sleeping lock of this
    /// rank or a later one; to read twice deadlocks when a writer comes between.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T> {
        self.read_ranked(rank::enter(self.rank))
    }
    /// As [`read`](Self::read) for one of several locks of one rank, among which the caller keeps an order of its own.
    #[inline]
    #[track_caller]
    pub fn read_nested(&self) -> ReadGuard<'_, T> {
        self.read_ranked(rank::enter_nested(self.rank))
    }
    /// Takes the lock exclusively, sleeping until nobody has it. Ranks as with [`read`](Self::read).
    #[inline]
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T> {
        self.write_ranked(rank::enter(self.rank))
    }
    /// As [`write`](Self::write) for one of several locks of one rank, among which the caller keeps an order of its own.
    #[inline]
    #[track_caller]
    pub fn write_nested(&self) -> WriteGuard<'_, T> {
        self.write_ranked(rank::enter_nested(self.rank))
    }
    /// Takes the lock shared if no writer has it or waits for it. Never sleeps.
    #[inline]
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.cell.try_shared().map(|data| self.read_guard(data, rank::enter_try(self.rank)))
    }
    /// Takes the lock exclusively if it is free. Never sleeps.
    #[inline]
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.cell.try_exclusive().map(|data| self.write_guard(data, rank::enter_try(self.rank)))
    }
    /// Whether somebody holds the lock exclusively at this moment: for assertions that the caller does.
    pub fn is_write_locked(&self) -> bool {
        self.cell.is_exclusive()
    }
    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.cell.get_mut()
    }

    #[inline]
    #[track_caller]
    fn read_ranked(&self, held: HeldRank) -> ReadGuard<'_, T> {
        crate::sched::might_sleep();
        match self.cell.try_shared() {
            Some(data) => self.read_guard(data, held),
            None => self.read_slowly(held),
        }
    }

    #[cold]
    fn read_slowly(&self, held: HeldRank) -> ReadGuard<'_, T> {
        let mut taken = None;
        self.readers.wait_until(|| {
            taken = self.cell.try_shared();
            taken.is_some()
        });
        self.read_guard(taken.expect("the wait ended with the lock taken"), held)
    }

    #[inline]
    #[track_caller]
    fn write_ranked(&self, held: HeldRank) -> WriteGuard<'_, T> {
        crate::sched::might_sleep();
        match self.cell.try_exclusive() {
            Some(data) => self.write_guard(data, held),
            None => self.write_slowly(held),
        }
    }

    #[cold]
    fn write_slowly(&self, held: HeldRank) -> WriteGuard<'_, T> {
        let mut taken = None;
        self.writers.wait_until(|| {
            // Announced anew each time: the writer before this one withdrew the announcement when it took the lock.
            self.cell.announce_writer();
            taken = self.cell.try_exclusive();
            taken.is_some()
        });
        self.write_guard(taken.expect("the wait ended with the lock taken"), held)
    }

    #[inline]
    fn read_guard<'a>(&'a self, data: Shared<'a, T>, held: HeldRank) -> ReadGuard<'a, T> {
        ReadGuard { data, _wake: WakeAfterRead(self), _held: held }
    }
    #[inline]
    fn write_guard<'a>(&'a self, data: Exclusive<'a, T>, held: HeldRank) -> WriteGuard<'a, T> {
        WriteGuard { data, _wake: WakeAfterWrite(self), _held: held }
    }
}

/// Shared guard of a [`RwLock`]. It stays with the task that took it.
#[must_use = "dropping the guard frees the lock"]
pub struct ReadGuard<'a, T: ?Sized> {
    // In this order: the lock is free before others are woken to take it.
    data: Shared<'a, T>,
    _wake: WakeAfterRead<'a, T>,
    _held: HeldRank,
}
/// Exclusive guard of a [`RwLock`]. It stays with the task that took it.
#[must_use = "dropping the guard frees the lock"]
pub struct WriteGuard<'a, T: ?Sized> {
    data: Exclusive<'a, T>,
    _wake: WakeAfterWrite<'a, T>,
    _held: HeldRank,
}

struct WakeAfterRead<'a, T: ?Sized>(&'a RwLock<T>);

impl<T: ?Sized> Drop for WakeAfterRead<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Two readers that leave together may both find the lock free and wake; if neither does, a third holds it.
        if self.0.cell.is_free() && self.0.writers.wake_one() == 0 {
            self.0.readers.wake_all();
        }
    }
}

struct WakeAfterWrite<'a, T: ?Sized>(&'a RwLock<T>);

impl<T: ?Sized> Drop for WakeAfterWrite<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.readers.wake_all();
        self.0.writers.wake_one();
    }
}

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}
impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}
impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
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

    fn until(mut cond: impl FnMut() -> bool) {
        while !cond() {
            sched::yield_now();
        }
    }

    #[test]
    fn a_waiting_writer_keeps_new_readers_out_and_has_its_turn() {
        let lock = Arc::new(RwLock::new(Rank::Inode, 0));
        let reader = lock.read();
        let other = lock.clone();
        let writer = sched::spawn("writer", Box::new(move || *other.write() = 1)).unwrap();
        until(|| lock.writers.waiters() == 1);
        assert!(lock.try_read().is_none(), "a new reader would let the writer starve");
        let other = lock.clone();
        let late = sched::spawn("late", Box::new(move || assert_eq!(*other.read(), 1))).unwrap();
        until(|| lock.readers.waiters() == 1);
        drop(reader);
        writer.join();
        late.join();
    }

    #[test]
    fn writers_do_not_lose_updates() {
        let lock = Arc::new(RwLock::new(Rank::Inode, 0));
        let add = |lock: Arc<RwLock<i32>>| {
            move || {
                for i in 0..500 {
                    if i % 3 == 0 { *lock.write() += 3 } else { drop(lock.read()) }
                }
            }
        };
        let tasks: Vec<Task> = (0..4).map(|_| sched::spawn("adder", Box::new(add(lock.clone()))).unwrap()).collect();
        tasks.iter().for_each(Task::join);
        assert_eq!(*lock.read(), 4 * 167 * 3);
    }
}
