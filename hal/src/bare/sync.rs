//! Spin locks of the kernel: for tasks only, and for data that interrupt handlers touch as well.
//!
//! There is no kernel preemption, so a [`SpinLock`] need not mask anything: its holder runs on until it lets go, as long
//! as it doesn't sleep. An [`IrqLock`] masks interrupts on this CPU first; otherwise a handler could spin for ever on a
//! lock that the code it interrupted holds.
use super::irq;
use super::watchdog::{self, Kind};
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// Atomic types; the checkers of the host backends replace them.
pub mod atomic {
    pub use core::sync::atomic::*;
}

/// A lock for data that only tasks touch.
pub struct SpinLock<T: ?Sized>(SpinMutex<T>);
/// Guard of a [`SpinLock`].
pub type SpinGuard<'a, T> = SpinMutexGuard<'a, T>;

impl<T> SpinLock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(SpinMutex::new(value))
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, spinning until it is free. Task context.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.0.try_lock().unwrap_or_else(|| wait_for_lock(&self.0))
    }
    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.0.try_lock()
    }
    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// A lock for data that interrupt handlers touch as well; it masks interrupts while held.
pub struct IrqLock<T: ?Sized>(SpinMutex<T>);

/// Guard of an [`IrqLock`]. Guards of several locks may be dropped in any order: interrupts come back with the guard
/// that was taken while they were on, so that one must be dropped last.
pub struct IrqGuard<'a, T: ?Sized> {
    guard: ManuallyDrop<SpinMutexGuard<'a, T>>,
    was_enabled: bool,
    /// Interrupt state belongs to this CPU, so the guard stays on it.
    _not_send: core::marker::PhantomData<*mut ()>,
}

impl<T> IrqLock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(SpinMutex::new(value))
    }
}

impl<T: ?Sized> IrqLock<T> {
    /// Takes the lock, spinning until it is free. Any context.
    pub fn lock(&self) -> IrqGuard<'_, T> {
        let was_enabled = irq::disable();
        let guard = self.0.try_lock().unwrap_or_else(|| wait_for_lock(&self.0));
        IrqGuard { guard: ManuallyDrop::new(guard), was_enabled, _not_send: core::marker::PhantomData }
    }
    /// Takes the lock if it is free. Any context.
    pub fn try_lock(&self) -> Option<IrqGuard<'_, T>> {
        let was_enabled = irq::disable();
        let guard = self.0.try_lock();
        if guard.is_none() {
            irq::restore(was_enabled);
        }
        guard.map(|g| IrqGuard { guard: ManuallyDrop::new(g), was_enabled, _not_send: core::marker::PhantomData })
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

impl<T: ?Sized> Drop for IrqGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the guard is dropped here and nowhere else, and not used afterwards. It has to go before interrupts
        // come back, which the order of fields alone would not give.
        unsafe { ManuallyDrop::drop(&mut self.guard) };
        irq::restore(self.was_enabled);
    }
}

/// Waiting in a loop for another CPU, and saying so when it takes too long to be right.
pub(super) struct Patience {
    kind: Kind,
    spins: u32,
    since_ns: u64,
}

impl Patience {
    /// How often the clock is looked at.
    const SPINS: u32 = 1 << 14;

    pub(super) fn new(kind: Kind) -> Patience {
        Patience { kind, spins: 0, since_ns: 0 }
    }

    fn what(&self) -> &'static str {
        if self.kind == Kind::Answer { "other CPUs to forget translations" } else { "a spin lock" }
    }

    /// Spins once; the first time [`limit_ns`](super::watchdog::limit_ns) is passed, says on the console that this CPU waits, and
    /// where all CPUs are.
    pub(super) fn spin(&mut self) {
        core::hint::spin_loop();
        self.spins = self.spins.wrapping_add(1);
        if !self.spins.is_multiple_of(Self::SPINS) {
            return;
        }
        let now_ns = super::time::now_ns();
        match self.since_ns {
            0 => self.since_ns = now_ns,
            u64::MAX => {}
            since_ns if now_ns - since_ns < watchdog::limit_ns() => {}
            _ => {
                if let Some(turn) = watchdog::turn() {
                    self.since_ns = u64::MAX;
                    turn.report(self.kind, format_args!("waits for {}", self.what()));
                }
            }
        }
    }
}

/// Takes a lock that another CPU holds.
#[cold]
#[inline(never)]
fn wait_for_lock<T: ?Sized>(lock: &SpinMutex<T>) -> SpinMutexGuard<'_, T> {
    let mut patience = Patience::new(Kind::Lock);
    loop {
        // Looks without writing, so that the holder keeps the cache line.
        if !lock.is_locked()
            && let Some(guard) = lock.try_lock()
        {
            return guard;
        }
        patience.spin();
    }
}
