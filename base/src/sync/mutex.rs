//! A sleeping mutual-exclusion lock.
use super::{Rank, SpinLock, WaitQueue};
use core::ops::{Deref, DerefMut};

/// A lock whose waiters sleep. Task context only.
pub struct Mutex<T: ?Sized> {
    wait: WaitQueue,
    rank: Rank,
    inner: SpinLock<T>,
}

/// Guard of a [`Mutex`].
pub struct MutexGuard<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
    guard: Option<super::SpinGuard<'a, T>>,
}

impl<T> Mutex<T> {
    /// A free lock of the given rank.
    pub fn new(rank: Rank, value: T) -> Self {
        Mutex { wait: WaitQueue::new(), rank, inner: SpinLock::new(value) }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, sleeping until it is free.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let _ = self.rank;
        let mut guard = None;
        self.wait.wait_until(|| {
            guard = self.inner.try_lock();
            guard.is_some()
        });
        MutexGuard { lock: self, guard }
    }
    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.inner.try_lock().map(|g| MutexGuard { lock: self, guard: Some(g) })
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.guard.as_ref().expect("held until drop")
    }
}
impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("held until drop")
    }
}
impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.guard = None;
        self.lock.wait.wake_all();
    }
}
