//! The x87, SSE and AVX registers: they belong to their thread, whatever runs in between, and to nobody after it.
use crate::{Check, Outcome, call, expect_exit, fork, same, sys, wait_status};
use linux_raw_sys::general as abi;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use user::sys::registers::{
    AVX, Handler, Image, call_with, components, min_signal_stack, on_signal, recorded, spin_with,
};
use user::sys::{Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("registers of threads that yield and are interrupted", threads),
    ("registers of processes side by side", processes),
    ("a signal gives registers back that its handler changed", signal),
    ("what a signal frame says of the registers", frame),
    ("a forked process has its parent's registers", forked),
    ("a new program finds nothing in the registers", new_program),
    ("a frame that does not say how long it is", shortened),
    ("a frame that the processor would refuse", refused),
];

/// The argument with which [`new_program`] starts this program.
pub const FRESH: &str = "fresh";
/// What the one before it had in its registers.
const BEFORE: u64 = 4711;

/// Says what there is to test.
pub fn announce() {
    let names =
        if components() & AVX == 0 { "x87 SSE (no AVX here: its registers are not tested)" } else { "x87 SSE AVX" };
    println!("abitest: registers: {names}");
}

fn unharmed(what: &str, loaded: &Image, seen: &Image) -> Outcome {
    match loaded.difference(seen) {
        None => Ok(()),
        Some(at) => Err(format!("{what}: byte {at} of the registers has changed")),
    }
}

/// Yields and is preempted, again and again, with other values in the registers each time.
fn hold(seed: u64) -> Outcome {
    for round in 0..25 {
        let image = Image::pattern(seed * 1000 + round);
        let (seen, _) = call_with(&image, abi::__NR_sched_yield, [0; 6], 20);
        unharmed("yields", &image, &seen)?;
        unharmed("a loop", &image, &spin_with(&image, 200_000))?;
    }
    Ok(())
}

fn threads() -> Outcome {
    const THREADS: usize = 4;
    on_signal(abi::SIGUSR1, Handler::Clobber);
    let ids = [const { AtomicU64::new(0) }; THREADS];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = |n: usize| {
            ids[n].store(sys(abi::__NR_gettid, []).unwrap_or(0), Ordering::Release);
            let outcome = hold(n as u64 + 1);
            ids[n].store(0, Ordering::Release);
            outcome
        };
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || run(n))).collect();
        let (ids, done) = (&ids, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                for id in ids.iter().map(|id| id.load(Ordering::Acquire)).filter(|&id| id != 0) {
                    // One that has just ended is no error.
                    let _ = sys(abi::__NR_tgkill, [std::process::id().into(), id, abi::SIGUSR1.into()]);
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let outcomes: Vec<Outcome> = threads.into_iter().map(|t| t.join().expect("no panic")).collect();
        done.store(true, Ordering::Release);
        outcomes.into_iter().collect()
    })
}

fn processes() -> Outcome {
    let children = [11, 12, 13].map(|seed| fork(move || u8::from(hold(seed).is_err())));
    let own = hold(14);
    for child in children {
        expect_exit(child?, 0)?;
    }
    own
}

/// Sends itself a signal with `image` in the registers; what is there after its handler.
fn through_a_signal(image: &Image, how: Handler) -> Image {
    on_signal(abi::SIGUSR1, how);
    let [pid, tid] = [abi::__NR_getpid, abi::__NR_gettid].map(|number| sys(number, []).unwrap_or(0));
    call_with(image, abi::__NR_tgkill, [pid, tid, abi::SIGUSR1.into(), 0, 0, 0], 1).0
}

fn signal() -> Outcome {
    let image = Image::pattern(21);
    unharmed("a signal", &image, &through_a_signal(&image, Handler::Clobber))
}

fn frame() -> Outcome {
    let image = Image::pattern(22);
    unharmed("a signal", &image, &through_a_signal(&image, Handler::Record))?;
    let seen = recorded();
    let [magic, whole, has, len] = seen.software;
    same("the place of the state", seen.state % 64, 0)?;
    if components() == 0 {
        return same("uc_flags", seen.flags, 6);
    }
    same("uc_flags", seen.flags, 7)?;
    same("the magic words", [magic, seen.end], [0x4650_5853, 0x4650_5845])?;
    same("the components", has & components(), components())?;
    same("the length and the magic word at the end", whole, len + 4)?;
    min_stack(len)
}

/// `AT_MINSIGSTKSZ` is enough for the state and the rest of a frame.
fn min_stack(len: u64) -> Outcome {
    let least = min_signal_stack();
    let enough = least > len + 440 && least < len + 1024;
    if enough { Ok(()) } else { Err(format!("AT_MINSIGSTKSZ is {least}, and the state alone has {len} bytes")) }
}

fn forked() -> Outcome {
    let image = Image::pattern(31);
    let (seen, pid) = call_with(&image, abi::__NR_fork, [0; 6], 1);
    let outcome = unharmed("fork", &image, &seen);
    if pid == 0 {
        let _ = sys(abi::__NR_exit_group, [u64::from(outcome.is_err())]);
    }
    expect_exit(pid as u64, 0)?;
    outcome
}

fn new_program() -> Outcome {
    let path = std::env::current_exe().map_err(|error| format!("its own path: {error}"))?;
    let words = [path.to_string_lossy().as_ref(), FRESH].map(|word| format!("{word}\0"));
    let argv = [words[0].as_ptr() as u64, words[1].as_ptr() as u64, 0];
    let image = Image::pattern(BEFORE);
    let pid = fork(|| {
        let args = [argv[0], argv.as_ptr() as u64, 0, 0, 0, 0];
        call_with(&image, abi::__NR_execve, args, 1);
        99
    })?;
    expect_exit(pid, 0)
}

/// Run by the new program: whether anything of the old one's registers is there.
pub fn look_around(now: &Image) -> Outcome {
    same("the old program's values", Image::pattern(BEFORE).shows_in(now), false)?;
    same("the upper halves", now.upper_halves().iter().any(|&byte| byte != 0), false)?;
    same("the control words", now.control(), (0x37f, 0x1f80))
}

fn shortened() -> Outcome {
    const LOW: u64 = 0xffff_ffff;
    let image = Image::pattern(41);
    if components() != 0 {
        let ways = [Handler::Change(464, !LOW, 0), Handler::Change(480, !LOW, 0), Handler::CutEnd];
        for way in ways {
            unharmed(&format!("{way:?}"), &image.clone().without_avx(), &through_a_signal(&image, way))?;
        }
    }
    unharmed("without state", &Image::initial(), &through_a_signal(&image, Handler::Drop))
}

fn refused() -> Outcome {
    // A reserved bit of MXCSR; a component that does not exist; the compacted format; the rest of the header.
    let ways: &[(usize, u64)] = &[(24, 1 << 31), (512, 1 << 62), (520, 1), (528, 1)];
    let ways = if components() == 0 { &ways[..1] } else { ways };
    for &(at, bit) in ways {
        let pid = fork(|| {
            // The runtime handles it, for stacks that overflow.
            let _ = sys(abi::__NR_rt_sigaction, [abi::SIGSEGV.into(), Memory::new(PAGE).addr(0), 0, 8]);
            through_a_signal(&Image::pattern(51), Handler::Change(at, u64::MAX, bit));
            0
        })?;
        // A core dump or not.
        same(&format!("the end of who sets {bit:#x} at {at}"), wait_status(pid)? & 0x7f, abi::SIGSEGV.into())?;
    }
    // And the rest goes on.
    let own = Image::pattern(52);
    unharmed("afterwards", &own, &call_with(&own, abi::__NR_sched_yield, [0; 6], 3).0)?;
    raw(abi::__NR_getpid, [0; 6]).map(drop).map_err(call("getpid"))
}
