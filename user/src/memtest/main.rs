//! The memory of processes, as programs see it.
//!
//!   memtest             all checks
//!   memtest pressure    what takes all memory there is, and must not take the kernel along: for a machine with little of it
//!   memtest overflow    runs over the end of its stack: the status is 42 if a handler on an alternate stack has seen it where the stack's
//!                       limit is (memtest itself runs it)
//!   memtest hog, bomb, maps, pipes, shared
//!                       takes memory of one kind until there is none
//!
//! | file | checks |
//! |---|---|
//! | `shared` | memory that processes share, and waiting in it |
//! | `areas` | mremap, mlock, madvise, limits, stacks |
//! | `pressure` | no memory left |
//!
//! Exit status: 0 if everything was as it must be; 1 if not.
mod areas;
mod pressure;
mod shared;

use linux_raw_sys::general as abi;
use std::process::ExitCode;
use user::sys::{Errno, Memory, PAGE, raw};

type Outcome = Result<(), String>;
type Check = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    let checks = match std::env::args().nth(1).as_deref() {
        None => [shared::CHECKS, areas::CHECKS].concat(),
        Some("pressure") => pressure::CHECKS.to_vec(),
        Some("overflow") => areas::overflow(),
        Some(kind) => return pressure::take(kind),
    };
    // All of them, even after one has failed.
    let failed = checks.into_iter().filter(|&(name, check)| !told(name, check)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(name: &str, check: fn() -> Outcome) -> bool {
    let outcome = check();
    match &outcome {
        Ok(()) => println!("memtest: {name}: ok"),
        Err(text) => println!("memtest: {name}: FAILED: {text}"),
    }
    outcome.is_ok()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Outcome {
    if seen == expected { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {expected:?}")) }
}

fn call(what: &'static str) -> impl Fn(Errno) -> String {
    move |errno| format!("{what}: {errno:?}")
}

/// mmap of `pages` pages of `fd`, or without a file, for loads and stores.
fn map(pages: usize, flags: u32, fd: Option<u64>) -> Result<Memory, String> {
    let prot = u64::from(abi::PROT_READ | abi::PROT_WRITE);
    let (flags, fd) = fd.map_or((flags | abi::MAP_ANONYMOUS, u64::MAX), |fd| (flags, fd));
    let at = raw(abi::__NR_mmap, [0, (pages * PAGE) as u64, prot, flags.into(), fd, 0]).map_err(call("mmap"))?;
    Ok(Memory::of_kernel(at, pages * PAGE))
}

/// Runs `body` in a child, which ends with what it returns; the child's id.
fn fork(body: impl FnOnce() -> u8) -> Result<u64, String> {
    let pid = raw(abi::__NR_fork, [0; 6]).map_err(call("fork"))?;
    if pid == 0 {
        let _ = raw(abi::__NR_exit_group, [body().into(), 0, 0, 0, 0, 0]);
    }
    Ok(pid)
}

/// How the child `pid` has ended: its status as wait4 gives it.
fn wait(pid: u64) -> Result<u64, String> {
    let status = Memory::new(PAGE);
    raw(abi::__NR_wait4, [pid, status.addr(0), 0, 0, 0, 0]).map_err(call("wait4"))?;
    Ok(status.word(0) & 0xffff)
}

/// The child of [`fork`] must have ended with `code`.
fn expect_exit(pid: u64, code: u64) -> Outcome {
    same("the child's status", wait(pid)?, code << 8)
}
