//! Rows of processes: new ones, other programs, and hand-overs between two.
//!
//! All of them run on one CPU where figures are compared: a hand-over is then a switch each.
use crate::meter::{Meter, Stop, failed};
use crate::rows::{Row, RunResult, row};
use linux_raw_sys::general as abi;
use std::ffi::{CStr, CString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use user::sys::{self, EINVAL, Fd, raw};

/// Fork, exec, pipes, futexes and yields.
pub fn rows() -> Vec<Row> {
    vec![
        row("fork_exit", 2_000, "fork a child that ends, and wait for it", |_, m| {
            m.each(u64::MAX, |_| fork(|| 0).and_then(ended_well))
        }),
        row("fork_exec", 1_000, "fork a child that runs this program, which ends, and wait for it", |_, m| {
            let own = std::env::current_exe().map_err(|e| Stop::Failed(format!("/proc/self/exe: {e}")))?;
            let own = CString::new(own.as_os_str().as_bytes()).map_err(|_| failed(EINVAL))?;
            m.each(u64::MAX, |_| fork(|| exec(&own)).and_then(ended_well))
        }),
        row(
            "pipe_pingpong",
            10_000,
            "a byte to another process by a pipe and back by a second one: two switches",
            |_, m| pipes(m),
        ),
        row("futex_pingpong", 10_000, "a word to another thread by a futex and back: two switches", |_, m| futexes(m)),
        row("yield_pingpong", 10_000, "sched_yield to another thread, which yields back: two switches", |_, m| {
            yields(m)
        }),
    ]
}

/// Runs `body` in a child, which ends with what it returns, without a word to the standard library, whose state is the parent's.
fn fork(body: impl FnOnce() -> u8) -> sys::Result<i32> {
    let pid = raw(abi::__NR_fork, [0; 6])?;
    if pid == 0 {
        let _ = raw(abi::__NR_exit_group, [body().into(), 0, 0, 0, 0, 0]);
    }
    Ok(pid as i32)
}

/// Waits for the child `pid`. Errors: `EINVAL`: it did not end with status 0.
fn ended_well(pid: i32) -> sys::Result<()> {
    if sys::wait4(pid, 0)? == 0 { Ok(()) } else { Err(EINVAL) }
}

fn exec(own: &CStr) -> u8 {
    sys::execve(own, &[own, c"--exit"]);
    1
}

/// The child sends back what comes until there is no more.
fn pipes(m: &mut Meter) -> RunResult {
    let pipe = || std::io::pipe().map_err(|e| Stop::Failed(format!("pipe: {e}")));
    let ((there, to_child), (back, to_parent)) = (pipe()?, pipe()?);
    let ends = [there.as_raw_fd(), to_parent.as_raw_fd()];
    let others = [to_child.as_raw_fd(), back.as_raw_fd()];
    let child = fork(|| u8::from(echo(ends, others).is_err())).map_err(failed)?;
    drop((there, to_parent));
    let mut byte = [0];
    let result = m.each(u64::MAX, |i| {
        one(sys::write(to_child.as_raw_fd(), &[i as u8]))?;
        one(sys::read(back.as_raw_fd(), &mut byte))?;
        if byte[0] == i as u8 { Ok(()) } else { Err(EINVAL) }
    });
    drop((to_child, back));
    result.and_then(|()| ended_well(child).map_err(failed))
}

/// The other side of [`pipes`]: its own ends, and the parent's, which it closes.
fn echo([from, to]: [Fd; 2], others: [Fd; 2]) -> sys::Result<()> {
    others.into_iter().try_for_each(sys::close)?;
    let mut byte = [0];
    while sys::read(from, &mut byte)? == 1 {
        one(sys::write(to, &byte))?;
    }
    Ok(())
}

fn one(result: sys::Result<usize>) -> sys::Result<()> {
    if result? == 1 { Ok(()) } else { Err(EINVAL) }
}

/// Whose turn it is in [`futexes`].
const HERE: u32 = 0;
const THERE: u32 = 1;
const OVER: u32 = 2;

fn futexes(m: &mut Meter) -> RunResult {
    let turn = AtomicU32::new(HERE);
    let hand_over = |to: u32| {
        turn.store(to, Ordering::Release);
        sys::futex_wake(&turn)
    };
    let wait_while = |whose: u32| loop {
        match turn.load(Ordering::Acquire) {
            now if now != whose => return Ok(now),
            _ => match sys::futex_wait(&turn, whose) {
                Ok(()) | Err(sys::EAGAIN) => {}
                Err(error) => return Err(error),
            },
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            while wait_while(HERE)? != OVER {
                hand_over(HERE)?;
            }
            Ok(())
        });
        let result = m.each(u64::MAX, |_| hand_over(THERE).and_then(|()| wait_while(THERE)).map(drop));
        let told = hand_over(OVER);
        let other = other.join().map_err(|_| Stop::Failed("the other thread panicked".into()))?;
        result.and(told.and(other).map_err(failed))
    })
}

/// A kernel may come back from a yield without having let the other thread run: what counts as an operation is that it ran.
fn yields(m: &mut Meter) -> RunResult {
    let (turns, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let give_way = || raw(abi::__NR_sched_yield, [0; 6]).map(drop);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                turns.fetch_add(1, Ordering::Relaxed);
                give_way()?;
            }
            Ok(())
        });
        // The other one has come as far as its loop.
        while turns.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        let before = turns.load(Ordering::Relaxed);
        let result = m.each(u64::MAX, |_| give_way());
        m.did(turns.load(Ordering::Relaxed) - before);
        over.store(true, Ordering::Relaxed);
        let other = other.join().map_err(|_| Stop::Failed("the other thread panicked".into()))?;
        result.and(other.map_err(failed))?;
        if turns.load(Ordering::Relaxed) > before {
            Ok(())
        } else {
            Err(Stop::Failed("no yield let the other thread run".into()))
        }
    })
}
