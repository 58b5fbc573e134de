//! Instructions and addresses that no program may use.
use crate::{Outcome, expect, fork, wait};
use linux_raw_sys::general as abi;
use user::sys::{Memory, Misdeed, PAGE, commit};

/// Addresses of all kinds: the kernel's, none at all, the first that is not the user's, not mapped, a null pointer.
const WILD: [u64; 6] =
    [0xffff_ffff_8010_0000, 0xffff_8000_0000_0000, 0x1234_5678_9abc_def0, 0x0000_8000_0000_0000, 0x7fff_f000, 0];
/// Children that crash in a row.
const FLOOD: usize = 300;

pub fn all() -> Outcome {
    let data = Memory::new(PAGE).addr(0);
    for at in WILD {
        for misdeed in [Misdeed::Jump(at), Misdeed::Return(at), Misdeed::Load(at), Misdeed::Store(at)] {
            dies(misdeed, &[abi::SIGSEGV])?;
        }
        // What a processor says of a stack that is at no address at all, an emulator may not.
        dies(Misdeed::Stack(at), &[abi::SIGSEGV, abi::SIGBUS])?;
    }
    let code = commit as *const () as u64;
    for (misdeed, signal) in [
        (Misdeed::Jump(data), abi::SIGSEGV),
        (Misdeed::Store(code), abi::SIGSEGV),
        (Misdeed::Divide, abi::SIGFPE),
        (Misdeed::Undefined, abi::SIGILL),
        (Misdeed::Breakpoint, abi::SIGTRAP),
        (Misdeed::Halt, abi::SIGSEGV),
        (Misdeed::Mask, abi::SIGSEGV),
        (Misdeed::Port, abi::SIGSEGV),
        (Misdeed::PageTable, abi::SIGSEGV),
        (Misdeed::MachineRegister, abi::SIGSEGV),
    ] {
        dies(misdeed, &[signal])?;
    }
    Ok(())
}

/// A child does it, and dies of one of `signals`. Whoever reads the console can compare what the kernel says of it: all of these are few enough for
/// the log to leave none out.
fn dies(misdeed: Misdeed, signals: &[u32]) -> Outcome {
    let pid = fork(|| commit(misdeed))?;
    println!("badtest: process {pid} must die of one of the signals {signals:?}: {misdeed:x?}");
    match wait(pid)? {
        status if signals.contains(&status) => Ok(()),
        status => Err(format!("{misdeed:x?}: status {status:#x}")),
    }
}

pub fn flood() -> Outcome {
    (0..FLOOD).try_for_each(|_| expect("a crash", fork(|| commit(Misdeed::Undefined))?, abi::SIGILL))
}
