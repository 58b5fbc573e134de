//! Processes, user memory, aio, system calls, and the wiring of Sluice.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

// Hosted only until `base` and `fs` build for the bare target.
#[cfg(not(target_os = "none"))]
pub mod aio;
#[cfg(not(target_os = "none"))]
mod entropy;
#[cfg(not(target_os = "none"))]
pub mod files;
#[cfg(not(target_os = "none"))]
pub mod init;
#[cfg(not(target_os = "none"))]
pub mod mm;
#[cfg(not(target_os = "none"))]
pub mod process;
#[cfg(not(target_os = "none"))]
pub mod syscall;

#[cfg(target_os = "none")]
mod panic;
