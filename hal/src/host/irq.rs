//! Interrupt context on the host: marks on the thread that plays the interrupt or holds interrupts masked.
use super::thread::local;
use core::marker::PhantomData;

/// True while this thread plays a hard interrupt.
pub fn in_interrupt() -> bool {
    local(|l| l.interrupt_depth.get() > 0)
}

/// Whether interrupts could arrive: false in an interrupt and while they are masked.
pub fn enabled() -> bool {
    local(|l| l.interrupt_depth.get() == 0 && l.mask_depth.get() == 0)
}

/// Runs `f` as a hard interrupt handler would run: sleeping and allocating there is a bug.
pub fn as_interrupt<R>(f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            local(|l| l.interrupt_depth.set(l.interrupt_depth.get() - 1));
        }
    }
    local(|l| l.interrupt_depth.set(l.interrupt_depth.get() + 1));
    let _leave = Leave;
    f()
}

/// Runs `f` with interrupts masked.
pub fn with_disabled<R>(f: impl FnOnce() -> R) -> R {
    let _masked = Masked::new();
    f()
}

/// Interrupts are masked on this thread while it lives.
pub(super) struct Masked(PhantomData<*const ()>);

impl Masked {
    pub(super) fn new() -> Masked {
        local(|l| l.mask_depth.set(l.mask_depth.get() + 1));
        Masked(PhantomData)
    }
}
impl Drop for Masked {
    fn drop(&mut self) {
        local(|l| l.mask_depth.set(l.mask_depth.get() - 1));
    }
}
