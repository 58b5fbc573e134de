//! Tasks: the unit the scheduler runs. On the host a task is a thread of the backend.
pub use hal::thread::{Thread as Task, current, park, yield_now};

/// Parks until unparked or until [`crate::time::now_ns`] reaches `deadline_ns`. May return early.
pub fn park_until(deadline_ns: u64) {
    hal::thread::park_timeout(deadline_ns.saturating_sub(crate::time::now_ns()));
}
