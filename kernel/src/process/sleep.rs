//! Interruptible sleeping until a deadline.
use super::Thread;
use base::{Errno, Result, sched, time};

/// When a wait gives up, in monotonic nanoseconds; `None`: never.
pub type Deadline = Option<u64>;

/// Sleeps until `ready()` gives a result, with whoever changes it unparking the task; `Ok(None)` when the deadline passes first.
/// Task context; holds nothing. Errors: `EINTR`.
///
/// No wake-up is lost: an unpark between the test and the park leaves a token that the park takes.
pub fn sleep_interruptible<R>(
    thread: &Thread,
    deadline: Deadline,
    mut ready: impl FnMut() -> Option<R>,
) -> Result<Option<R>> {
    loop {
        if let Some(result) = ready() {
            return Ok(Some(result));
        }
        if thread.interrupted() {
            return Err(Errno::EINTR);
        }
        match deadline {
            None => sched::park(),
            Some(at_ns) if time::now_ns() >= at_ns => return Ok(None),
            Some(at_ns) => sched::park_until(at_ns),
        }
    }
}
