//! Locks that programs take on files: fcntl(2) and flock(2). They are advice: no read or write looks at them.
//!
//! | file | contents |
//! |---|---|
//! | `ranges` | the locks of one file (pure) |
//! | `table` | those of all files; waiting |
//!
//! | | belongs to | ends | inherited by fork |
//! |---|---|---|---|
//! | `F_SETLK`, `F_SETLKW` | the process | when it closes any descriptor of the file, and with it | no |
//! | `F_OFD_SETLK`, `F_OFD_SETLKW` | the open file description | with its last descriptor and request | with the descriptor |
//! | `flock` | the open file description | the same | the same |
//!
//! One spin lock orders all of it, and one queue has all who wait: they are few, and each looks again when somebody gives a lock up.
//!
//! # What it does not do
//!
//! No leases, no mandatory locks. A deadlock is found among processes only, as on Linux: a description does not wait.
mod ranges;
mod table;

pub use ranges::{Kind, Lock, Owner, Span};
pub use table::{LockTable, Request, Space};
