//! Locks of the host backend: the threads' own, or those of the checker that is chosen.
use super::irq::Masked;
use core::ops::{Deref, DerefMut};
#[cfg(loom)]
use loom::sync as backend;
#[cfg(shuttle)]
use shuttle::sync as backend;
#[cfg(not(any(loom, shuttle)))]
use std::sync as backend;
use std::sync::PoisonError;

/// Atomic types that the checkers can watch.
pub mod atomic {
    #[cfg(loom)]
    pub use loom::sync::atomic::*;
    #[cfg(shuttle)]
    pub use shuttle::sync::atomic::*;
    #[cfg(not(any(loom, shuttle)))]
    pub use std::sync::atomic::*;
}

/// A lock for data that only tasks touch.
pub struct SpinLock<T: ?Sized>(backend::Mutex<T>);
/// Guard of a [`SpinLock`].
pub type SpinGuard<'a, T> = backend::MutexGuard<'a, T>;

impl<T> SpinLock<T> {
    /// A free lock around `value`.
    pub fn new(value: T) -> Self {
        Self(backend::Mutex::new(value))
    }
}
impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, spinning until it is free.
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.0.try_lock().ok()
    }
    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock for data that interrupt handlers touch as well: interrupts count as masked while it is held.
pub struct IrqLock<T: ?Sized>(SpinLock<T>);

/// Guard of an [`IrqLock`]. The lock goes first, then the mask.
pub struct IrqGuard<'a, T: ?Sized> {
    guard: SpinGuard<'a, T>,
    _masked: Masked,
}

impl<T> IrqLock<T> {
    /// A free lock around `value`.
    pub fn new(value: T) -> Self {
        Self(SpinLock::new(value))
    }
}
impl<T: ?Sized> IrqLock<T> {
    /// Masks interrupts and takes the lock, spinning until it is free.
    pub fn lock(&self) -> IrqGuard<'_, T> {
        let masked = Masked::new();
        IrqGuard { guard: self.0.lock(), _masked: masked }
    }
    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<IrqGuard<'_, T>> {
        let masked = Masked::new();
        self.0.try_lock().map(|guard| IrqGuard { guard, _masked: masked })
    }
    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
impl<T: ?Sized> Deref for IrqGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}
impl<T: ?Sized> DerefMut for IrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
