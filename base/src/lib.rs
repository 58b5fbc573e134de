//! What every part of Sluice stands on.
//!
//! | module | contents |
//! |---|---|
//! | [`errno`] | the error type of every fallible call |
//! | [`sync`] | locks with ranks, wait queues |
//! | [`sched`] | tasks: spawn, park, unpark, sleep |
//! | [`workqueue`] | worker threads and embedded work items |
//! | [`block`] | bio, block device, plug; in the lab the gate and the RAM disk |
//! | [`memory`] | fallible allocation, shrinkers, planned failures |
//! | [`stats`] | event counters |
//! | [`mod@trace`] | typed events in a ring |
//! | [`lab`] | anchors and guards: the hooks of SEMANTICS A27 |
//! | `explore` | random schedules of a model; under shuttle only |
#![no_std]
extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

pub mod block;
pub mod errno;
#[cfg(shuttle)]
pub mod explore;
pub mod lab;
pub mod memory;
pub mod sched;
pub mod stats;
pub mod sync;
pub mod time;
pub mod trace;
pub mod workqueue;

pub use errno::{Errno, Result};
pub use hal::PAGE_SIZE;
pub use hal::crc32c;
pub use hal::mem::Page;
