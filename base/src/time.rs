//! Time: monotonic and wall clock, both in nanoseconds.
pub use hal::time::{now_ns, wall_clock_ns};
