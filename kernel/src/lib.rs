//! Processes, user memory, aio, system calls, and the wiring of Sluice.
#![no_std]
extern crate alloc;

#[cfg(target_os = "none")]
mod panic;
