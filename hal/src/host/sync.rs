//! Locks of the host backend. First version: std only; the checkers replace the types below.

/// Atomic types that the checkers can watch.
pub mod atomic {
    pub use std::sync::atomic::*;
}

/// A lock for data that only tasks touch.
pub struct SpinLock<T: ?Sized>(std::sync::Mutex<T>);
/// A lock for data that interrupt handlers touch as well.
pub struct IrqLock<T: ?Sized>(std::sync::Mutex<T>);
/// Guard of a [`SpinLock`].
pub type SpinGuard<'a, T> = std::sync::MutexGuard<'a, T>;
/// Guard of an [`IrqLock`].
pub type IrqGuard<'a, T> = std::sync::MutexGuard<'a, T>;

macro_rules! lock {
    ($name:ident, $guard:ident) => {
        impl<T> $name<T> {
            /// A free lock around `value`.
            pub fn new(value: T) -> Self {
                Self(std::sync::Mutex::new(value))
            }
        }
        impl<T: ?Sized> $name<T> {
            /// Takes the lock, spinning until it is free.
            pub fn lock(&self) -> $guard<'_, T> {
                self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
            }
            /// Takes the lock if it is free.
            pub fn try_lock(&self) -> Option<$guard<'_, T>> {
                self.0.try_lock().ok()
            }
            /// The data, without locking: the borrow proves that nobody else has it.
            pub fn get_mut(&mut self) -> &mut T {
                self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
            }
        }
    };
}
lock!(SpinLock, SpinGuard);
lock!(IrqLock, IrqGuard);
