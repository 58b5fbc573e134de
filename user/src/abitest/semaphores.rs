//! System V semaphores between processes: what an end takes back, and how a wait ends.
use crate::{Check, Outcome, call, expect_exit, fork, same, shared, sys, wait};
use linux_raw_sys::general as abi;
use std::ffi::CString;
use user::sys::{self, EAGAIN, EIDRM, EINTR, Errno, Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("semaphores let one in at a time", one_at_a_time),
    ("SEM_UNDO: kept by execve, not had by a forked child, done at the end", undone),
    ("SEM_UNDO of a process is done when its last thread ends", threads),
    ("a wait for a semaphore: time-out, signal, removal", ends),
];

const IPC_RMID: u64 = 0;
const GETVAL: u64 = 12;
const GETNCNT: u64 = 14;
const SETVAL: u64 = 16;
const UNDO: u16 = 0x1000;
/// Asks this program to end with the value of a semaphore as its code, given the set's id.
pub const TELL: &str = "--tell-value";

/// A set of one semaphore with this value.
struct Set(u64);

impl Set {
    fn new(value: u64) -> Result<Set, String> {
        let id = sys(abi::__NR_semget, [0, 1, 0o600]).map_err(call("semget"))?;
        sys(abi::__NR_semctl, [id, 0, SETVAL, value]).map_err(call("SETVAL"))?;
        Ok(Set(id))
    }
    /// Adds `change`, with these flags and a time-out if it is not 0.
    fn add(&self, change: i16, flags: u16, timeout_ms: u64) -> Result<u64, Errno> {
        let memory = Memory::new(PAGE);
        memory.set(0, &[[0; 2], change.to_ne_bytes(), flags.to_ne_bytes()].concat());
        memory.set_words(8, &[timeout_ms / 1000, timeout_ms % 1000 * 1_000_000]);
        let timeout = if timeout_ms == 0 { 0 } else { memory.addr(8) };
        sys(abi::__NR_semtimedop, [self.0, memory.addr(0), 1, timeout])
    }
    fn value(&self) -> Result<u64, Errno> {
        sys(abi::__NR_semctl, [self.0, 0, GETVAL])
    }
    fn await_waiter(&self) -> Outcome {
        while sys(abi::__NR_semctl, [self.0, 0, GETNCNT]).map_err(call("GETNCNT"))? == 0 {
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = sys(abi::__NR_semctl, [self.0, 0, IPC_RMID]);
    }
}

/// What [`TELL`] asks for.
pub fn tell(id: &str) -> u8 {
    let id = id.parse().unwrap_or(u64::MAX);
    sys(abi::__NR_semctl, [id, 0, GETVAL]).map_or(99, |value| value as u8)
}

fn one_at_a_time() -> Outcome {
    const ROUNDS: u64 = 200;
    let (set, page) = (Set::new(1)?, shared()?);
    let rounds = || {
        let mut code = 0;
        for _ in 0..ROUNDS {
            code |= u8::from(set.add(-1, UNDO, 0).is_err());
            let seen = page.word(0);
            std::thread::yield_now();
            page.set_words(0, &[seen + 1]);
            code |= u8::from(set.add(1, UNDO, 0).is_err());
        }
        code
    };
    let children = [fork(rounds)?, fork(rounds)?, fork(rounds)?];
    children.into_iter().try_for_each(|child| expect_exit(child, 0))?;
    same("rounds", page.word(0), 3 * ROUNDS)?;
    same("the value", set.value(), Ok(1))
}

fn undone() -> Outcome {
    let set = Set::new(5)?;
    let child = fork(|| {
        if set.add(-3, UNDO, 0).is_err() {
            return 98;
        }
        // Its end gives nothing back.
        let Ok(Ok(0)) = fork(|| 0).map(wait) else { return 97 };
        tell_in_my_place(set.0)
    })?;
    expect_exit(child, 2)?;
    same("after the end", set.value(), Ok(5))
}

/// Runs this program as [`TELL`] says. Returns only if that fails.
fn tell_in_my_place(id: u64) -> u8 {
    let strings = [c"/proc/self/exe".to_owned(), CString::new(TELL).unwrap_or_default(), cstring(id)];
    let memory = Memory::new(PAGE);
    let mut at = 128;
    let mut addrs = Vec::new();
    for string in &strings {
        memory.set(at, string.as_bytes_with_nul());
        addrs.push(memory.addr(at));
        at += string.as_bytes_with_nul().len();
    }
    memory.set_words(0, &addrs);
    let _ = sys(abi::__NR_execve, [addrs[0], memory.addr(0), 0]);
    96
}

fn cstring(number: u64) -> CString {
    CString::new(number.to_string()).unwrap_or_default()
}

fn threads() -> Outcome {
    let set = Set::new(0)?;
    let child = fork(|| {
        let added = std::thread::scope(|scope| scope.spawn(|| set.add(2, UNDO, 0)).join());
        if !matches!(added, Ok(Ok(_))) {
            return 98;
        }
        set.value().map_or(97, |value| value as u8)
    })?;
    expect_exit(child, 2)?;
    same("after the end", set.value(), Ok(0))
}

fn ends() -> Outcome {
    let set = Set::new(0)?;
    same("time-out", set.add(-1, 0, 20), Err(EAGAIN))?;
    same("not to wait", set.add(-1, 0o4000, 0), Err(EAGAIN))?;
    // Again and again, because the first may come before the wait.
    sys::count_signal_and_restart(abi::SIGALRM as i32);
    let timer = Memory::new(PAGE);
    timer.set_words(0, &[0, 20_000, 0, 20_000]);
    sys(abi::__NR_setitimer, [abi::ITIMER_REAL.into(), timer.addr(0)]).map_err(call("setitimer"))?;
    let interrupted = set.add(-1, 0, 60_000);
    sys(abi::__NR_alarm, [0]).map_err(call("alarm"))?;
    same("a signal whose handler restarts calls", interrupted, Err(EINTR))?;
    let child = fork(|| u8::from(set.add(-1, 0, 0) != Err(EIDRM)))?;
    set.await_waiter()?;
    drop(set);
    expect_exit(child, 0)
}
