//! Asynchronous I/O: contexts, requests and events (SEMANTICS A20).
//!
//! | file | contents |
//! |---|---|
//! | `ring` | slots and events of a context: the accounting, nothing else (pure) |
//! | `mapped` | the ring as the program sees it |
//! | `completions` | the ring under its lock, who waits on it, the end of a context |
//! | `request` | a slot: what a request in flight carries, and its completion |
//! | `iocb` | the ABI's iocb and its validation (AIO-3) |
//! | `context` | a context, and the table of a process |
//! | `poll` | requests that wait for a file to have something to tell |
//! | `submit` | from an iocb to a request in flight |
//!
//! # Life of a slot
//!
//! | state | who owns it | counted as |
//! |---|---|---|
//! | free | the context's list | – |
//! | in flight | the request's `Completion`, on its way through the file system | in flight |
//! | event | the ring | ready |
//! | being reaped | a caller of io_getevents that copies it out | reaping |
//!
//! In flight + ready + reaping never exceed the size of the ring, so that a completion always finds room (AIO-4).
//!
//! # Order of a completion
//!
//! The file system calls it on a worker task after everything the outcome promises is true (F1 to F5). Then: the slot is
//! free, the event is in the ring, waiters whose number is reached are woken, the eventfd is signalled, and last a destroyer is
//! told: when it sees nothing in flight it can take everything down.
//!
//! # What user space sees
//!
//! A context's id is the address of its ring, which is mapped into the process, as in Linux: a library can take events there without a
//! call. The kernel accounts for slots and events in memory of its own; `mapped` says how little of the ring it believes (AIO-15).
mod completions;
mod context;
mod iocb;
mod mapped;
mod poll;
mod request;
mod ring;
mod submit;

pub use completions::{Completions, Ready, Waited};
pub use context::{AioContext, AioTable};
pub use iocb::Iocb;
pub use mapped::MappedRing;
pub use ring::{Event, Ring};

#[cfg(test)]
mod tests;
