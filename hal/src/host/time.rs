//! Time on the host: its own clocks, or under a checker a clock that only moves when somebody waits for it.
#[cfg(any(loom, shuttle))]
use core::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since an arbitrary start; never goes back.
#[cfg(not(any(loom, shuttle)))]
pub fn now_ns() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}

/// The clock of a model. It starts where the last run left it: models use differences only.
#[cfg(any(loom, shuttle))]
static MODEL_CLOCK_NS: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since an arbitrary start; never goes back. It moves when a thread waits for a deadline.
#[cfg(any(loom, shuttle))]
pub fn now_ns() -> u64 {
    MODEL_CLOCK_NS.load(Ordering::Relaxed)
}

/// Moves the clock of a model forward to `ns`.
#[cfg(any(loom, shuttle))]
pub(super) fn advance_to(ns: u64) {
    MODEL_CLOCK_NS.fetch_max(ns, Ordering::Relaxed);
}

/// The host's clock moves by itself.
#[cfg(not(any(loom, shuttle)))]
pub(super) fn advance_to(_ns: u64) {}

/// Nanoseconds since 1970-01-01 UTC.
pub fn wall_clock_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}
