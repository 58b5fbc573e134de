//! Processes, user memory, aio, system calls, and the wiring of Sluice.
//!
//! | module | contents |
//! |---|---|
//! | `start` | `kernel_main`: the stages of the boot, in order |
//! | [`words`], `cmdline` | the words of the command line, and what they ask for |
//! | `ktest` | runs the in-kernel tests |
//! | `panic` | last words |
//! | [`init`] | the first program |
//! | [`process`] | processes, threads, signals, futexes, program loading |
//! | [`mm`] | user memory |
//! | [`ipc`] | System V IPC: semaphores, and what they share with segments of memory |
//! | [`files`] | descriptors, and files that are not in a file system |
//! | [`aio`] | asynchronous I/O |
//! | [`syscall`] | the system calls |
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod aio;
#[cfg(target_os = "none")]
pub mod cmdline;
pub mod disks;
mod entropy;
pub mod files;
pub mod init;
pub mod ipc;
#[cfg(all(target_os = "none", feature = "ktest"))]
mod ktest;
pub mod locks;
pub mod mm;
pub mod process;
pub mod syscall;
pub mod timers;
pub mod words;

#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod proc;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod tree;

#[cfg(target_os = "none")]
pub use start::kernel_main;
