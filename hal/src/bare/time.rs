//! Time: monotonic nanoseconds, wall clock, one-shot timer.
use alloc::boxed::Box;

/// Nanoseconds since boot; never goes back. Any context.
pub fn now_ns() -> u64 {
    0
}

/// Nanoseconds since 1970-01-01 UTC. Any context.
pub fn wall_clock_ns() -> u64 {
    0
}

/// Makes the timer interrupt this CPU once, when [`now_ns`] reaches `deadline_ns` (at once if it has). Replaces the
/// deadline set before; `u64::MAX` means none. Any context.
pub fn set_deadline(deadline_ns: u64) {
    let _ = deadline_ns;
}

/// Sets the function that the timer interrupt calls, in hard interrupt context, on the CPU that had set the deadline.
/// Only the first call counts.
pub fn on_timer(handler: Box<dyn Fn() + Send + Sync>) {
    let _ = handler;
}
