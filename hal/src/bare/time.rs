//! Time: monotonic nanoseconds, wall clock, one-shot timer.
use super::percpu::this_cpu;
use super::{apic, irq, rtc, tsc};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use tsc::khz as tsc_khz;

static ON_TIMER: spin::Once<Box<dyn Fn() + Send + Sync>> = spin::Once::new();
/// The wall clock when [`now_ns`] was 0.
static BOOT_WALL_NS: AtomicU64 = AtomicU64::new(0);

/// Starts the clocks.
pub(super) fn init() {
    tsc::calibrate();
    BOOT_WALL_NS.store(rtc::read_ns().saturating_sub(now_ns()), Relaxed);
}

/// Nanoseconds since boot; never goes back. Any context.
#[inline]
pub fn now_ns() -> u64 {
    tsc::ns_since_start()
}

/// Nanoseconds since 1970-01-01 UTC. Any context.
pub fn wall_clock_ns() -> u64 {
    BOOT_WALL_NS.load(Relaxed) + now_ns()
}

/// Makes the timer interrupt this CPU once, when [`now_ns`] reaches `deadline_ns` (at once if it has). Replaces the
/// deadline set before; `u64::MAX` means none. Any context.
pub fn set_deadline(deadline_ns: u64) {
    irq::with_disabled(|| {
        this_cpu().deadline_ns.set(deadline_ns);
        arm(deadline_ns);
    });
}

/// Starts the timer. A deadline farther away than the timer reaches is armed again by the interrupt.
fn arm(deadline_ns: u64) {
    if deadline_ns == u64::MAX {
        apic::start_timer(0);
    } else {
        apic::start_timer(tsc::timer_ticks(deadline_ns.saturating_sub(now_ns())));
    }
}

/// Sets the function that the timer interrupt calls, in hard interrupt context, on the CPU that had set the deadline.
/// Only the first call counts.
pub fn on_timer(handler: Box<dyn Fn() + Send + Sync>) {
    ON_TIMER.call_once(|| handler);
}

/// The timer's interrupt. It may come early: its clock and the TSC were measured apart.
pub(super) fn timer_interrupt() {
    let deadline = &this_cpu().deadline_ns;
    if now_ns() < deadline.get() {
        arm(deadline.get());
        return;
    }
    deadline.set(u64::MAX);
    if let Some(handler) = ON_TIMER.get() {
        handler();
    }
}
