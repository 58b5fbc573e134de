//! System V IPC: what its kinds of objects have in common, and semaphores.
//!
//! | file | contents |
//! |---|---|
//! | `owner` | whose an object is, and who may do what with it |
//! | `registry` | objects by id and by key |
//! | `operation` | what a call does with the semaphores of a set, and its wait |
//! | `set` | a set of semaphores: its values, the operations on them, who waits (no system around it) |
//! | `semaphores` | the sets of a system, and the calls on them |
//! | `undo` | what a thread's end takes back (`SEM_UNDO`) |
//!
//! Shared memory, the other kind there is, stands in [`crate::mm::segments`]: most of it is about mappings.
//!
//! # What it does not do
//!
//! No message queues, no namespaces.
mod operation;
mod owner;
mod registry;
mod semaphores;
mod set;
mod undo;

pub use operation::{Operation, VALUE_MAX, Waiting, Wanted};
pub use owner::Owner;
pub use registry::{MOST, Object, Registry};
pub use semaphores::{SEMAPHORES_MAX, Semaphores, SetRequest};
pub use set::{SET_MAX, SetInfo};
pub use undo::{SemUndo, UndoList};

/// Flag of the calls that find an object by its key: make it if there is none.
pub const IPC_CREAT: u32 = 0o1000;
/// With [`IPC_CREAT`]: there must be none yet.
pub const IPC_EXCL: u32 = 0o2000;

#[cfg(test)]
mod tests;
