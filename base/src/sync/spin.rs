//! The locks that spin, with the checks of debug builds around them.
//!
//! A [`SpinLock`] is for tasks: the kernel is not preempted, so its holder runs on until it lets go, provided that it does
//! not sleep. An [`IrqLock`] masks interrupts, because a handler that wants a lock which the code it interrupted holds
//! would spin for ever. Debug builds stop on a sleep under either and on a `SpinLock` taken in an interrupt.
#[cfg(debug_assertions)]
use crate::sched::with_inner;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// A lock for data that only tasks touch. Nobody sleeps while holding one.
pub struct SpinLock<T: ?Sized>(hal::sync::SpinLock<T>);

/// Guard of a [`SpinLock`].
#[must_use = "dropping the guard frees the lock"]
pub struct SpinGuard<'a, T: ?Sized> {
    guard: hal::sync::SpinGuard<'a, T>,
    _depth: SpinDepth,
}

impl<T> SpinLock<T> {
    /// A free lock around `value`. A leaf: nothing is locked while it is held, unless `docs/LOCKS.md` says so.
    pub fn new(value: T) -> Self {
        Self(hal::sync::SpinLock::new(value))
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, spinning until it is free. Task context.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let depth = SpinDepth::enter();
        SpinGuard { guard: self.0.lock(), _depth: depth }
    }
    /// Takes the lock if it is free. Task context.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.0.try_lock().map(|guard| SpinGuard { guard, _depth: SpinDepth::enter() })
    }
    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}
impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Counts, in debug builds, the spin locks that the current task holds.
struct SpinDepth {
    #[cfg(debug_assertions)]
    counted: bool,
    _task: PhantomData<*const ()>,
}

impl SpinDepth {
    #[inline]
    #[track_caller]
    fn enter() -> SpinDepth {
        #[cfg(debug_assertions)]
        assert!(!hal::irq::in_interrupt(), "a SpinLock is for tasks only; data of interrupts needs an IrqLock");
        SpinDepth {
            #[cfg(debug_assertions)]
            counted: with_inner(|t| t.spin_depth.fetch_add(1, core::sync::atomic::Ordering::Relaxed)).is_some(),
            _task: PhantomData,
        }
    }
}

impl Drop for SpinDepth {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        if self.counted {
            with_inner(|t| t.spin_depth.fetch_sub(1, core::sync::atomic::Ordering::Relaxed));
        }
    }
}

/// A lock for data that interrupt handlers touch as well; taken with interrupts off. Debug builds see a sleep under one by
/// the masked interrupts.
pub struct IrqLock<T: ?Sized>(hal::sync::IrqLock<T>);
/// Guard of an [`IrqLock`].
pub type IrqGuard<'a, T> = hal::sync::IrqGuard<'a, T>;

impl<T> IrqLock<T> {
    /// A free lock around `value`. A leaf: nothing is locked while it is held, unless `docs/LOCKS.md` says so.
    pub fn new(value: T) -> Self {
        Self(hal::sync::IrqLock::new(value))
    }
}

impl<T: ?Sized> IrqLock<T> {
    /// Takes the lock, spinning until it is free. Any context.
    #[inline]
    pub fn lock(&self) -> IrqGuard<'_, T> {
        self.0.lock()
    }
    /// Takes the lock if it is free. Any context.
    #[inline]
    pub fn try_lock(&self) -> Option<IrqGuard<'_, T>> {
        self.0.try_lock()
    }
    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

#[cfg(all(test, debug_assertions, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use crate::sched;

    #[test]
    #[should_panic(expected = "must not sleep under a SpinLock")]
    fn sleeping_under_a_spin_lock_is_a_bug() {
        let lock = SpinLock::new(());
        let _guard = lock.lock();
        sched::park();
    }

    #[test]
    #[should_panic(expected = "with interrupts masked")]
    fn sleeping_under_an_irq_lock_is_a_bug() {
        let lock = IrqLock::new(());
        let _guard = lock.lock();
        sched::yield_now();
    }

    #[test]
    #[should_panic(expected = "a SpinLock is for tasks only")]
    fn a_spin_lock_in_an_interrupt_is_a_bug() {
        let lock = SpinLock::new(());
        hal::irq::as_interrupt(|| drop(lock.lock()));
    }

    #[test]
    #[should_panic(expected = "an interrupt handler must not sleep")]
    fn sleeping_in_an_interrupt_is_a_bug() {
        hal::irq::as_interrupt(sched::park);
    }

    #[test]
    #[should_panic(expected = "NOW-1")]
    fn a_task_that_must_not_sleep_takes_no_lock_that_might() {
        let lock = crate::sync::Mutex::new(crate::sync::Rank::Leaf, ());
        let _no_sleep = crate::sched::NoSleep::begin();
        drop(lock.try_lock());
        drop(lock.lock());
    }

    #[test]
    #[should_panic(expected = "I10")]
    fn i10_sleeping_with_unsubmitted_folios_is_a_bug() {
        sched::set_unsubmitted(true);
        sched::park();
    }

    #[test]
    fn a_task_may_sleep_again_afterwards() {
        drop(sched::NoSleep::begin());
        sched::yield_now();
    }

    #[test]
    fn guards_leave_no_count_behind() {
        let (a, b) = (SpinLock::new(1), IrqLock::new(2));
        {
            let (a, b) = (a.lock(), b.lock());
            assert_eq!(*a + *b, 3);
        }
        assert!(a.try_lock().is_some() && b.try_lock().is_some());
        sched::yield_now();
    }
}
