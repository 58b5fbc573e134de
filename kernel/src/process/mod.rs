//! Processes and threads.
//!
//! | file | contents |
//! |---|---|
//! | `system` | what all processes share: ids, the process table, futexes |
//! | `process` | a process: memory, descriptors, credentials, limits, signal actions, exit status |
//! | `thread` | a thread: its task, signal mask, pending signals |
//! | `credentials` | user and group ids |
//! | `rlimit` | resource limits |
//! | `signal` | signal numbers, sets and actions (pure) |
//! | `siginfo`, `pending` | what comes with a signal; signals that wait |
//! | `delivery` | what a pending signal does to a thread: frame, handler, death |
//! | `stop` | stopping and continuing a process |
//! | `futex`, `robust` | waiting on a word of user memory; whose owner has died |
//! | `memory` | an address space with its aio contexts |
//! | `family` | parents and children, waiting for what happens to them |
//! | `jobs` | process groups, sessions and their terminals |
//! | `clone` | new threads, new processes |
//! | `exec` | a program in the place of another |
//! | `load`, `elf`, `stack` | from an open file to a program that can start |
//! | `run` | the loop that runs user code, and the end of a thread |
//! | `oom` | who ends when there is no memory left |
//! | `sleep` | interruptible sleeping until a deadline |
//!
//! # Life of a thread
//!
//! ```text
//!   spawn ──▶ run loop ──▶ exit: clear_child_tid, leave the process ──▶ the last one: the process ends
//!              │    ▲
//!              ▼    │
//!       system call, fault, interrupt
//! ```
//!
//! Execve lets another thread go on in the place of its caller, on the same task: so a thread's memory never changes.
//!
//! A process that must die (`exit_group`, a fatal signal) is marked once with its status; every thread is interrupted and ends
//! itself when it is next back in the run loop. Nobody ends a thread from outside: it may hold locks.
//!
//! # What it does not do
//!
//! No tracing of processes, no core dumps, no capabilities: root may do what there is to do, and nobody else may.
mod clone;
mod credentials;
mod delivery;
mod elf;
mod exec;
mod family;
mod futex;
mod jobs;
mod load;
mod memory;
mod oom;
mod pending;
#[allow(clippy::module_inception)]
mod process;
mod rlimit;
mod robust;
mod run;
mod siginfo;
mod signal;
mod sleep;
mod stack;
mod stop;
mod system;
mod thread;

pub use clone::{CloneRequest, Fork, clone_process, clone_thread};
pub use credentials::Credentials;
pub use delivery::sigreturn;
pub use exec::{exec, start_program};
pub use family::{Change, Changes, Child, Family, Which};
pub use futex::{FutexKey, FutexTable, MATCH_ANY as FUTEX_MATCH_ANY};
pub use jobs::{Claim, Standing};
pub use load::{Program, STACK_TOP};
pub use memory::Memory;
pub use process::{ExitStatus, Process, ProgramFile};
pub use rlimit::{Limits, RLimit, most_tasks};
pub use run::{exit_thread_now, run_thread};
pub use siginfo::{SigInfo, TICK_NS};
pub use signal::{Action, SigSet, Signal, SignalActions};
pub use sleep::{Deadline, sleep_interruptible};
pub use system::System;
pub use thread::{AltStack, Thread};

#[cfg(test)]
mod fork_tests;
#[cfg(test)]
mod job_tests;
#[cfg(test)]
pub(crate) mod tests;
