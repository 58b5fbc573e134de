//! Threads of the host, as `base::sched` sees them.
pub use std::thread::{Thread, current, park, yield_now};

/// Parks until unparked or until `timeout_ns` nanoseconds have passed.
pub fn park_timeout(timeout_ns: u64) {
    std::thread::park_timeout(std::time::Duration::from_nanos(timeout_ns));
}
