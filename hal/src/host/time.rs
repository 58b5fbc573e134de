//! Time on the host.
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since an arbitrary start; never goes back.
pub fn now_ns() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Nanoseconds since 1970-01-01 UTC.
pub fn wall_clock_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}
