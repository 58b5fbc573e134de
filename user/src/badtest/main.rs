//! Programs that do what they must not, each in a child that may die of it: the kernel stays up, and this program goes on.
//!
//!   badtest deeds       instructions and addresses that no program may use; the parent says before each what must be told of it
//!   badtest flood       children that crash one after the other, faster than a log can be read
//!   badtest endless     output that never ends: on the console, and in a file with a limit
//!   badtest closed      a program that starts without descriptors
//!   badtest calls       every system call, with wild arguments
//!   badtest full        a disk on which there is no room left
//!
//! Exit status: 0 if everything was as it must be; 1 if not.
mod calls;
mod deeds;
mod full;
mod output;

use linux_raw_sys::general as abi;
use std::process::ExitCode;
use user::sys::{self, Errno, Memory, PAGE, raw};

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let outcome = match words.first().map_or("", String::as_str) {
        "deeds" => deeds::all(),
        "flood" => deeds::flood(),
        "endless" => output::endless(),
        "closed" => output::closed(),
        output::WITHOUT => return output::without_descriptors(),
        "calls" => calls::all(),
        "full" => full::all(),
        other => Err(format!("{other:?}: no such deed")),
    };
    match outcome {
        Ok(()) => {
            println!("badtest: ok");
            ExitCode::SUCCESS
        }
        Err(text) => {
            println!("badtest: FAILED: {text}");
            ExitCode::FAILURE
        }
    }
}

/// A system call with its arguments; those that are not given are 0.
fn call<const N: usize>(number: u32, args: [u64; N]) -> Result<u64, Errno> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&args);
    raw(number, all)
}

fn told(what: &'static str) -> impl Fn(Errno) -> String {
    move |errno| format!("{what}: {errno:?}")
}

/// Runs `body` in a child, which ends with what it returns; the child's id.
fn fork(body: impl FnOnce() -> u8) -> Result<u64, String> {
    let pid = call(abi::__NR_fork, []).map_err(told("fork"))?;
    if pid == 0 {
        let _ = call(abi::__NR_exit_group, [body().into()]);
    }
    Ok(pid)
}

/// The status of the child `pid`, when it has ended: the signal that ended it, or its code times 256.
fn wait(pid: u64) -> Result<u32, String> {
    sys::wait4(pid as i32, 0).map_err(told("wait4"))
}

fn expect(what: &str, pid: u64, status: u32) -> Outcome {
    match wait(pid)? {
        seen if seen == status => Ok(()),
        seen => Err(format!("{what}: status {seen:#x} instead of {status:#x}")),
    }
}

/// A page that children share.
fn shared() -> Result<Memory, String> {
    let prot = u64::from(abi::PROT_READ | abi::PROT_WRITE);
    let flags = u64::from(abi::MAP_SHARED | abi::MAP_ANONYMOUS);
    let at = call(abi::__NR_mmap, [0, PAGE as u64, prot, flags, u64::MAX, 0]).map_err(told("mmap"))?;
    Ok(Memory::of_kernel(at, PAGE))
}
