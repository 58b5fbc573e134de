//! What processes have with each other and with time, as programs see it. It runs on Linux too.
//!
//!   abitest             all checks
//!   abitest registers   those of one file
//!
//! | file | checks |
//! |---|---|
//! | `locks` | record locks, flock, robust futexes |
//! | `privileges` | set-user-id programs |
//! | `registers` | the x87, SSE and AVX registers of threads, processes and signal frames |
//! | `semaphores` | System V semaphores |
//! | `signals` | what comes with a signal, waiting for one, timers |
//! | `times` | CPU times, and what `/proc` tells of the machine |
//!
//! Exit status: 0 if everything was as it must be; 1 if not.
mod locks;
mod privileges;
mod registers;
mod semaphores;
mod signals;
mod times;

use linux_raw_sys::general as abi;
use std::process::ExitCode;
use user::sys::registers::Image;
use user::sys::{Errno, Memory, PAGE, raw};

type Outcome = Result<(), String>;
type Check = (&'static str, fn() -> Outcome);

const PARTS: [(&str, &[Check]); 6] = [
    ("locks", locks::CHECKS),
    ("privileges", privileges::CHECKS),
    ("registers", registers::CHECKS),
    ("semaphores", semaphores::CHECKS),
    ("signals", signals::CHECKS),
    ("times", times::CHECKS),
];

fn main() -> ExitCode {
    let found = Image::current();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let wanted = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [semaphores::TELL, id] => return semaphores::tell(id).into(),
        [privileges::WHO] => return privileges::who().into(),
        [registers::FRESH] => {
            return u8::from(!told("as a new program", || registers::look_around(&found))).into();
        }
        [] => None,
        [wanted, ..] => Some(wanted),
    };
    registers::announce();
    let chosen = PARTS.into_iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
    // All of them, even after one has failed.
    let checks: Vec<Check> = chosen.flat_map(|(_, checks)| checks).copied().collect();
    if checks.is_empty() {
        println!("abitest: there is no such part");
        return ExitCode::FAILURE;
    }
    let failed = checks.into_iter().filter(|&(name, check)| !told(name, check)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(name: &str, check: impl FnOnce() -> Outcome) -> bool {
    let outcome = check();
    match &outcome {
        Ok(()) => println!("abitest: {name}: ok"),
        Err(text) => println!("abitest: {name}: FAILED: {text}"),
    }
    outcome.is_ok()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Outcome {
    if seen == expected { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {expected:?}")) }
}

fn call(what: &'static str) -> impl Fn(Errno) -> String {
    move |errno| format!("{what}: {errno:?}")
}

/// A system call with its arguments; those that are not given are 0.
fn sys<const N: usize>(number: u32, args: [u64; N]) -> Result<u64, Errno> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&args);
    raw(number, all)
}

/// A page that children share.
fn shared() -> Result<Memory, String> {
    let prot = u64::from(abi::PROT_READ | abi::PROT_WRITE);
    let flags = u64::from(abi::MAP_SHARED | abi::MAP_ANONYMOUS);
    let at = sys(abi::__NR_mmap, [0, PAGE as u64, prot, flags, u64::MAX, 0]).map_err(call("mmap"))?;
    Ok(Memory::of_kernel(at, PAGE))
}

/// Runs `body` in a child, which ends with what it returns; the child's id.
fn fork(body: impl FnOnce() -> u8) -> Result<u64, String> {
    let pid = sys(abi::__NR_fork, []).map_err(call("fork"))?;
    if pid == 0 {
        let _ = sys(abi::__NR_exit_group, [body().into()]);
    }
    Ok(pid)
}

/// How the child `pid` has ended, as `wait4` says it.
fn wait_status(pid: u64) -> Result<u64, String> {
    let status = Memory::new(PAGE);
    sys(abi::__NR_wait4, [pid, status.addr(0)]).map_err(call("wait4"))?;
    Ok(status.word(0) & 0xffff)
}

/// The code with which the child `pid` has ended.
fn wait(pid: u64) -> Result<u64, String> {
    let status = wait_status(pid)?;
    if status & 0xff == 0 { Ok(status >> 8) } else { Err(format!("the child's status: {status:#x}")) }
}

fn expect_exit(pid: u64, code: u64) -> Outcome {
    same("the child's code", wait(pid)?, code)
}
