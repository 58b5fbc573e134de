//! Locks with ranks, and wait queues.
//!
//! | type | may sleep | in hard IRQ | what it protects |
//! |---|---|---|---|
//! | [`SpinLock`] | no | no | short sections between tasks |
//! | [`IrqLock`] | no | yes | leaf data that interrupt handlers touch |
//! | [`Mutex`], [`RwLock`] | yes | no | long sections: inode, invalidate, extent locks |
//! | [`WaitQueue`] | yes | wake only | a condition that another task or an interrupt makes true |
//!
//! Every lock is made with its [`Rank`]; debug builds stop on a task that takes a rank at or below one it holds
//! (`docs/LOCKS.md`).
mod mutex;
mod rank;
mod rwlock;
mod wait;

pub use alloc::sync::{Arc, Weak};
pub use hal::sync::atomic;
pub use mutex::{Mutex, MutexGuard};
pub use rank::Rank;
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use wait::WaitQueue;

/// A lock for data that only tasks touch. Nobody sleeps while holding one.
pub struct SpinLock<T: ?Sized>(hal::sync::SpinLock<T>);
/// A lock for data that interrupt handlers touch as well; taken with interrupts off.
pub struct IrqLock<T: ?Sized>(hal::sync::IrqLock<T>);
/// Guard of a [`SpinLock`].
pub type SpinGuard<'a, T> = hal::sync::SpinGuard<'a, T>;
/// Guard of an [`IrqLock`].
pub type IrqGuard<'a, T> = hal::sync::IrqGuard<'a, T>;

macro_rules! lock {
    ($name:ident, $guard:ident) => {
        impl<T> $name<T> {
            /// A free lock around `value`. A leaf: nothing is locked while it is held, unless `docs/LOCKS.md` says so.
            pub fn new(value: T) -> Self {
                Self(hal::sync::$name::new(value))
            }
        }
        impl<T: ?Sized> $name<T> {
            /// Takes the lock, spinning until it is free.
            pub fn lock(&self) -> $guard<'_, T> {
                self.0.lock()
            }
            /// Takes the lock if it is free.
            pub fn try_lock(&self) -> Option<$guard<'_, T>> {
                self.0.try_lock()
            }
            /// The data, without locking: the borrow proves that nobody else has it.
            pub fn get_mut(&mut self) -> &mut T {
                self.0.get_mut()
            }
        }
    };
}
lock!(SpinLock, SpinGuard);
lock!(IrqLock, IrqGuard);
