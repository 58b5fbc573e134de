//! Areas that move, are locked, are limited; and stacks.
use crate::{Check, Outcome, call, expect_exit, fork, map, same};
use linux_raw_sys::general as abi;
use std::ffi::CString;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use user::sys::{EAGAIN, EFAULT, ENOMEM, Errno, Memory, PAGE, exit_on_overflow, raw};

pub const CHECKS: &[Check] = &[
    ("mremap", moves),
    ("mlock, mincore and madvise", advice),
    ("limits of memory and of processes", limits),
    ("a stack ends at its limit, on an alternate stack", stack),
];

fn mremap(memory: Memory, old: usize, new: usize, flags: u32) -> Result<Memory, Errno> {
    let len = new * PAGE;
    let args = [memory.addr(0), (old * PAGE) as u64, len as u64, flags.into(), 0, 0];
    raw(abi::__NR_mremap, args).map(|at| Memory::of_kernel(at, len))
}

fn moves() -> Outcome {
    let memory = map(8, abi::MAP_PRIVATE, None)?;
    memory.set(3 * PAGE, &[3]);
    same("no room", mremap(memory, 4, 5, 0).map(drop), Err(ENOMEM))?;
    let larger = mremap(memory, 4, 600, abi::MREMAP_MAYMOVE).map_err(call("mremap"))?;
    same("moved", (larger.get(3 * PAGE, 1), larger.get(599 * PAGE, 1)), (vec![3], vec![0]))?;
    same("the old place", mremap(memory, 4, 4, 0).map(drop), Err(EFAULT))?;
    let smaller = mremap(larger, 600, 4, 0).map_err(call("mremap"))?;
    same("shrunk in place", (smaller.addr(0), smaller.get(3 * PAGE, 1)), (larger.addr(0), vec![3]))
}

fn advice() -> Outcome {
    let (memory, out) = (map(4, abi::MAP_PRIVATE, None)?, Memory::new(PAGE));
    let (at, len) = (memory.addr(0), 4 * PAGE as u64);
    let present = || -> Result<Vec<u8>, String> {
        raw(abi::__NR_mincore, [at, len, out.addr(0), 0, 0, 0]).map_err(call("mincore"))?;
        Ok(out.get(0, 4))
    };
    memory.set(PAGE, &[1]);
    same("touched", present()?, vec![0, 1, 0, 0])?;
    raw(abi::__NR_mlock, [at, 3 * PAGE as u64, 0, 0, 0, 0]).map_err(call("mlock"))?;
    same("locked", present()?, vec![1, 1, 1, 0])?;
    raw(abi::__NR_munlock, [at, len, 0, 0, 0, 0]).map_err(call("munlock"))?;
    raw(abi::__NR_madvise, [at, len, abi::MADV_DONTNEED.into(), 0, 0, 0]).map_err(call("madvise"))?;
    same("given up", (present()?, memory.get(PAGE, 1)), (vec![0; 4], vec![0]))?;
    let beyond = raw(abi::__NR_madvise, [at, len + (1 << 40), abi::MADV_WILLNEED.into(), 0, 0, 0]);
    same("of what is not mapped", beyond, Err(ENOMEM))
}

fn set_limit(kind: u32, limit: u64) -> Result<(), Errno> {
    let memory = Memory::new(PAGE);
    memory.set_words(0, &[limit, limit]);
    raw(abi::__NR_setrlimit, [kind.into(), memory.addr(0), 0, 0, 0, 0]).map(drop)
}

/// As children without rights: the limits stay theirs.
fn limits() -> Outcome {
    for kind in [abi::RLIMIT_AS, abi::RLIMIT_DATA] {
        let child = fork(|| {
            let before = map(64, abi::MAP_PRIVATE, None).is_ok();
            // Less than the program has already.
            let set = set_limit(kind, 64 * PAGE as u64).is_ok();
            u8::from(!(before && set && map(64, abi::MAP_PRIVATE, None).is_err()))
        })?;
        expect_exit(child, 0).map_err(|e| format!("limit {kind}: {e}"))?;
    }
    let child = fork(|| {
        let set = set_limit(abi::RLIMIT_NPROC, 1).is_ok();
        let user = raw(abi::__NR_setuid, [1234, 0, 0, 0, 0, 0]).is_ok();
        u8::from(!(set && user && raw(abi::__NR_fork, [0; 6]) == Err(EAGAIN)))
    })?;
    expect_exit(child, 0).map_err(|e| format!("RLIMIT_NPROC: {e}"))
}

const LIMIT: usize = 1 << 20;
static LOWEST: AtomicUsize = AtomicUsize::new(usize::MAX);
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

fn stack() -> Outcome {
    let child = fork(|| {
        let program =
            std::env::current_exe().ok().and_then(|path| CString::new(path.into_os_string().into_encoded_bytes()).ok());
        let (Some(path), Ok(())) = (program, set_limit(abi::RLIMIT_STACK, LIMIT as u64)) else { return 1 };
        // The words of the two vectors, and behind them the strings.
        let memory = Memory::new(2 * PAGE);
        memory.set(PAGE, path.as_bytes_with_nul());
        memory.set(PAGE - 64, b"overflow\0");
        memory.set_words(0, &[memory.addr(PAGE), memory.addr(PAGE - 64), 0, 0]);
        let _ = raw(abi::__NR_execve, [memory.addr(PAGE), memory.addr(0), memory.addr(24), 0, 0, 0]);
        2
    })?;
    expect_exit(child, 42)
}

/// Goes on until the stack ends.
pub fn overflow() -> ! {
    exit_on_overflow(|| {
        let used = HIGHEST.load(Ordering::Relaxed) - LOWEST.load(Ordering::Relaxed);
        if (LIMIT * 3 / 4..=LIMIT).contains(&used) { 42 } else { 43 }
    });
    deeper(0);
    unreachable!("there is always more stack")
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    let at = frame.as_ptr() as usize;
    HIGHEST.fetch_max(at, Ordering::Relaxed);
    LOWEST.fetch_min(at, Ordering::Relaxed);
    if depth == u64::MAX { 0 } else { deeper(depth + 1) + black_box(frame)[1] }
}
