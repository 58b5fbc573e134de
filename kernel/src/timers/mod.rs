//! Timers of programs: timerfd, `setitimer` and `timer_create`.
//!
//! | file | contents |
//! |---|---|
//! | `setting` | next expiry and interval (pure) |
//! | `queue` | armed timers, and the task that tells of their expiries |
//! | `posix` | those of `timer_create`, by their ids |
//!
//! Who waits for a timer alone needs none of this: sleeping until a deadline is the scheduler's. A timer tells somebody who does something
//! else meanwhile: it sends a signal, or wakes who polls many files.
//!
//! The lock of a timer is taken before that of the queue. The task holds neither when it tells.
mod posix;
mod queue;
mod setting;

pub use posix::{PosixTimer, PosixTimers};
pub use queue::{Timer, Timers};
pub use setting::Setting;
