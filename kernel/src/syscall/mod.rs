//! System calls: from the registers of a thread to a handler and back.
//!
//! | file | contents |
//! |---|---|
//! | `table` | every call: number, handler, arguments, what it supports; also yields the names and `docs/SYSCALLS.md` |
//! | `args` | from registers to typed arguments |
//! | `memory`, `shm` | mmap and its family; System V shared memory |
//! | `sem`, `ipc` | System V semaphores; what they and shared memory have in common |
//! | `process`, `exec`, `wait` | clone and fork, exit; execve; wait4 |
//! | `identity`, `limits` | ids, groups and names; limits and usage |
//! | `signals` | actions, masks, kill |
//! | `time`, `timers`, `posix_timers` | clocks and sleeping; timers; those that a program makes |
//! | `futex` | futex |
//! | `aio` | io_setup and its family |
//! | `paths` | from a path in user memory to an inode |
//! | `open`, `read_write`, `seek` | open files |
//! | `stat`, `statfs`, `access`, `attrs`, `getdents` | what files are |
//! | `names`, `cwd`, `mounts` | the tree |
//! | `sync` | durability and space |
//! | `locks` | locks of files |
//! | `descriptors`, `pipes`, `poll` | descriptors and what they can be besides files |
//! | `fiemap` | the ioctl that tells of extents |
//! | `terminal` | the ioctls of terminals |
//! | `schedule` | priorities and policies, which are told and have no effect |
//! | `misc` | what fits nowhere else |
//!
//! # The way of a call
//!
//! `dispatch` indexes a flat table by number and calls the handler: no tracing, no locks and no reference counts on the way.
//! A handler has the shape `fn(&mut SyscallContext<'_>, ...) -> Result<u64>`; its arguments are typed in the table. The result
//! goes to `rax` as it is, an error as its negative number.
mod access;
mod aio;
mod args;
mod attrs;
mod cwd;
mod descriptors;
mod exec;
mod fiemap;
mod futex;
mod getdents;
mod identity;
mod ipc;
mod limits;
mod locks;
mod masked;
mod memory;
mod misc;
mod mounts;
mod names;
mod open;
mod paths;
mod pipes;
mod poll;
mod posix_timers;
mod process;
mod read_write;
mod schedule;
mod seek;
mod sem;
mod shm;
mod signals;
mod stat;
mod statfs;
mod sync;
mod table;
mod terminal;
mod time;
mod timers;
mod wait;

pub use args::{Register, UserAddr};
pub use identity::NAMES;
pub use stat::split_device;
pub use table::{TABLE_LEN, describe};

use crate::mm::AddressSpace;
use crate::process::{Process, Thread};
use base::stats::{self, Counter};
use base::sync::Arc;
use base::{Errno, Result};
use core::sync::atomic::{AtomicU64, Ordering};
use fs::vfs::File;
use hal::user::UserContext;

/// What a handler works with: the calling thread and its registers.
pub struct SyscallContext<'a> {
    /// The calling thread.
    pub thread: &'a Arc<Thread>,
    /// Its user state. Handlers of ordinary calls leave it alone.
    pub user: &'a mut UserContext,
}

impl<'a> SyscallContext<'a> {
    /// The argument registers in order.
    #[inline]
    fn arguments(&self) -> [Register; 6] {
        let regs = &self.user.regs;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9].map(Register)
    }
    /// The calling process.
    pub fn process(&self) -> &'a Process {
        &self.thread.process
    }
    /// Its memory, the active one.
    pub fn mm(&self) -> &'a AddressSpace {
        &self.thread.mm
    }
    /// The open file behind a descriptor. Errors: `EBADF`.
    pub fn file(&self, fd: u32) -> Result<Arc<File>> {
        self.thread.process.files.get(fd)
    }
}

/// A call's code behind its typed wrapper, which takes the arguments from the registers and returns what goes to `rax`.
pub type Handler = fn(&mut SyscallContext<'_>) -> u64;

/// A result as the program gets it.
#[inline]
fn to_register(result: Result<u64>) -> u64 {
    match result {
        Ok(value) => value,
        Err(errno) => errno.to_ret() as u64,
    }
}

/// Runs the call that the registers ask for and puts its result into `rax`.
#[inline]
pub fn dispatch(context: &mut SyscallContext<'_>) {
    let number = context.user.regs.rax;
    let handler = usize::try_from(number).ok().and_then(|n| table::HANDLERS.get(n).copied().flatten());
    context.user.regs.rax = match handler {
        Some(handler) => handler(context),
        None => to_register(unknown(number)),
    };
}

/// A call that does not exist here: counted, and named once on the log.
#[cold]
fn unknown(number: u64) -> Result<u64> {
    static NAMED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
    stats::count(Counter::UnknownSyscalls);
    let fresh = NAMED
        .get((number / 64) as usize)
        .is_none_or(|word| word.fetch_or(1 << (number % 64), Ordering::Relaxed) & (1 << (number % 64)) == 0);
    if fresh {
        log::warn!("system call {number} ({}) is not supported: ENOSYS", table::name(number).unwrap_or("no name"));
    }
    Err(Errno::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_call_is_counted_and_refused() {
        let before = stats::get(Counter::UnknownSyscalls);
        assert_eq!(unknown(499), Err(Errno::ENOSYS));
        assert_eq!(unknown(u64::MAX), Err(Errno::ENOSYS));
        assert!(stats::get(Counter::UnknownSyscalls) >= before + 2);
    }
}

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod hostile_tests;
