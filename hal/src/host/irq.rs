//! Interrupt context on the host: a mark on the thread that plays the interrupt.
use std::cell::Cell;

std::thread_local! { static DEPTH: Cell<u32> = const { Cell::new(0) }; }

/// True while this thread plays a hard interrupt.
pub fn in_interrupt() -> bool {
    DEPTH.with(|d| d.get() > 0)
}

/// Runs `f` as a hard interrupt handler would run: sleeping and allocating there is a bug.
pub fn as_interrupt<R>(f: impl FnOnce() -> R) -> R {
    DEPTH.with(|d| d.set(d.get() + 1));
    let r = f();
    DEPTH.with(|d| d.set(d.get() - 1));
    r
}
