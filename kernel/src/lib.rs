//! Processes, user memory, aio, system calls, and the wiring of Sluice.
//!
//! | module | contents |
//! |---|---|
//! | `start` | `kernel_main`: the stages of the boot, in order |
//! | `cmdline` | what the command line asks for |
//! | `ktest` | runs the in-kernel tests |
//! | `panic` | last words |
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

// Hosted only until `base` and `fs` build for the bare target.
#[cfg(not(target_os = "none"))]
pub mod aio;
#[cfg(target_os = "none")]
pub mod cmdline;
#[cfg(not(target_os = "none"))]
mod entropy;
#[cfg(not(target_os = "none"))]
pub mod files;
#[cfg(not(target_os = "none"))]
pub mod init;
#[cfg(all(target_os = "none", feature = "ktest"))]
mod ktest;
#[cfg(not(target_os = "none"))]
pub mod mm;
#[cfg(not(target_os = "none"))]
pub mod process;
#[cfg(not(target_os = "none"))]
pub mod syscall;

#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod start;

#[cfg(target_os = "none")]
pub use start::kernel_main;
