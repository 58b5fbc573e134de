//! Locks: of ranges of files, of whole files, and in memory when their owner dies.
use crate::{Check, Outcome, expect_exit, fork, same, shared, sys, wait};
use linux_raw_sys::general as abi;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use user::sys::{EAGAIN, Errno, Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("record locks of two processes", records),
    ("two processes that wait for each other's lock", deadlock),
    ("flock is of the open file", whole),
    ("a robust futex of a process that ends", robust),
];

const EDEADLK: Errno = Errno(linux_raw_sys::errno::EDEADLK as i32);

fn scratch() -> Result<File, String> {
    let path = "/tmp/abitest";
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(|error| format!("{path}: {error}"))
}

/// A record lock of `kind` on `len` bytes from `start` on, by `command`; and what the kernel has left in the structure.
fn lock(file: &File, command: u32, kind: u32, start: u64, len: u64) -> (Result<u64, Errno>, Memory) {
    let memory = Memory::new(PAGE);
    memory.set_words(0, &[kind.into(), start, len, 0]);
    (sys(abi::__NR_fcntl, [file.as_raw_fd() as u64, command.into(), memory.addr(0)]), memory)
}

fn records() -> Outcome {
    let (file, page) = (scratch()?, shared()?);
    same("the lock", lock(&file, abi::F_SETLK, abi::F_WRLCK, 10, 10).0, Ok(0))?;
    let parent = u64::from(std::process::id());
    let child = fork(|| {
        let (asked, told) = lock(&file, abi::F_GETLK, abi::F_RDLCK, 0, 0);
        let told = [told.word(0) & 0xffff, told.word(8), told.word(16), told.word(24) & 0xffff_ffff];
        if asked != Ok(0) || told != [abi::F_WRLCK.into(), 10, 10, parent] {
            return 1;
        }
        if lock(&file, abi::F_SETLK, abi::F_RDLCK, 19, 1).0 != Err(EAGAIN)
            || lock(&file, abi::F_SETLK, abi::F_WRLCK, 0, 10).0 != Ok(0)
        {
            return 2;
        }
        page.set(0, &[1]);
        // Sleeps until the parent has let go.
        let got = lock(&file, abi::F_SETLKW, abi::F_RDLCK, 15, 1).0;
        if got == Ok(0) && page.get(1, 1) == [1] { 0 } else { 3 }
    })?;
    while page.get(0, 1) == [0] && sys(abi::__NR_wait4, [child, 0, abi::WNOHANG.into()]) == Ok(0) {
        std::thread::yield_now();
    }
    page.set(1, &[1]);
    // The close of another descriptor lets go of all the process has.
    drop(scratch()?);
    expect_exit(child, 0)
}

/// One of the two is refused, whoever comes second, and the other goes on.
fn deadlock() -> Outcome {
    let (file, page) = (scratch()?, shared()?);
    same("the parent's lock", lock(&file, abi::F_SETLK, abi::F_WRLCK, 0, 1).0, Ok(0))?;
    let child = fork(|| {
        let first = lock(&file, abi::F_SETLK, abi::F_WRLCK, 1, 1).0;
        page.set(0, &[1]);
        match (first, lock(&file, abi::F_SETLKW, abi::F_WRLCK, 0, 1).0) {
            (Ok(_), Ok(_)) => 0,
            (Ok(_), Err(EDEADLK)) => 1,
            _ => 2,
        }
    })?;
    while page.get(0, 1) == [0] {
        std::thread::yield_now();
    }
    let refused = match lock(&file, abi::F_SETLKW, abi::F_WRLCK, 1, 1).0 {
        Ok(_) => 0,
        Err(EDEADLK) => 1,
        Err(error) => return Err(format!("the second lock: {error:?}")),
    };
    same("unlock", lock(&file, abi::F_SETLK, abi::F_UNLCK, 0, 0).0, Ok(0))?;
    same("who was refused", refused + wait(child)?, 1)
}

fn whole() -> Outcome {
    let flock = |file: &File, operation: u32| sys(abi::__NR_flock, [file.as_raw_fd() as u64, operation.into()]);
    let file = scratch()?;
    same("the lock", flock(&file, abi::LOCK_EX), Ok(0))?;
    let child = fork(|| {
        let Ok(other) = scratch() else { return 1 };
        let (own, foreign) = (flock(&file, abi::LOCK_EX), flock(&other, abi::LOCK_SH | abi::LOCK_NB));
        u8::from((own, foreign) != (Ok(0), Err(EAGAIN)))
    })?;
    expect_exit(child, 0)?;
    let other = scratch()?;
    same("another open file", flock(&other, abi::LOCK_SH | abi::LOCK_NB), Err(EAGAIN))?;
    drop(file);
    same("after the close", flock(&other, abi::LOCK_SH | abi::LOCK_NB), Ok(0))
}

/// The child has the lock, somebody waits, and the child ends.
fn robust() -> Outcome {
    const WORD: usize = 128;
    let page = shared()?;
    let child = fork(|| {
        // A list of one entry, whose word is 64 bytes after it.
        page.set_words(0, &[page.addr(64), 64, 0]);
        page.set_words(64, &[page.addr(0)]);
        let Ok(tid) = sys(abi::__NR_gettid, []) else { return 1 };
        page.set_words(WORD, &[tid | u64::from(abi::FUTEX_WAITERS)]);
        u8::from(sys(abi::__NR_set_robust_list, [page.addr(0), 24]).is_err())
    })?;
    loop {
        let word = page.word(WORD) as u32;
        if word & abi::FUTEX_OWNER_DIED != 0 {
            break;
        }
        let _ = sys(abi::__NR_futex, [page.addr(WORD), abi::FUTEX_WAIT.into(), word.into()]);
    }
    same("the word", page.word(WORD) as u32, abi::FUTEX_OWNER_DIED | abi::FUTEX_WAITERS)?;
    expect_exit(child, 0)
}
