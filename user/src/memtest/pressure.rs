//! No memory left: who takes it all is killed, and everything else goes on.
use crate::{Check, Outcome, call, expect_exit, fork, map, same, wait};
use linux_raw_sys::general as abi;
use std::fs;
use std::process::ExitCode;
use user::sys::{Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("who touches more than there is is killed", || killed("hog")),
    ("also in shared memory", || killed("shared")),
    ("a writer beside it goes on", writer),
    ("more mappings than the kernel can keep", || refused("maps")),
    ("more pipes than it can fill", || refused("pipes")),
    ("a fork bomb", bomb),
    ("and there is memory again", again),
];

/// Takes memory of one kind. What is refused ends it with success.
pub fn take(kind: &str) -> ExitCode {
    let done = match kind {
        "hog" => touch(abi::MAP_PRIVATE),
        "shared" => touch(abi::MAP_SHARED),
        "maps" => maps(),
        "pipes" => pipes(),
        "bomb" => explode(),
        other => Err(format!("no such check: {other}")),
    };
    done.map_or_else(
        |text| {
            println!("memtest: {text}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn touch(flags: u32) -> Outcome {
    loop {
        let memory = map(256, flags, None)?;
        (0..256).for_each(|page| memory.set(page * PAGE, &[1]));
    }
}

/// Every second one with other rights, so that they do not become one.
fn maps() -> Outcome {
    for n in 0.. {
        let memory = match map(1, abi::MAP_PRIVATE, None) {
            Ok(memory) if n % 2 == 0 => memory.read_only(),
            Ok(memory) => memory,
            Err(_) if n > 1000 => return Ok(()),
            Err(text) => return Err(format!("{text} after {n}")),
        };
        std::hint::black_box(memory);
    }
    Ok(())
}

fn pipes() -> Outcome {
    let (ends, bytes) = (Memory::new(PAGE), Memory::new(16 * PAGE));
    for n in 0.. {
        let filled = raw(abi::__NR_pipe2, [ends.addr(0), abi::O_NONBLOCK.into(), 0, 0, 0, 0]).and_then(|_| {
            let write_end = ends.word(0) >> 32;
            raw(abi::__NR_write, [write_end, bytes.addr(0), 16 * PAGE as u64, 0, 0, 0])
        });
        match filled {
            Ok(_) => {}
            Err(_) if n > 50 => return Ok(()),
            Err(errno) => return Err(format!("pipe {n}: {errno:?}")),
        }
    }
    Ok(())
}

/// Every process makes others, as long as it gets any; each has some memory of its own.
fn explode() -> Outcome {
    let mut refused = 0;
    while refused < 20 {
        match raw(abi::__NR_fork, [0; 6]) {
            Ok(0) => {
                let memory = map(16, abi::MAP_PRIVATE, None)?;
                (0..16).for_each(|page| memory.set(page * PAGE, &[1]));
            }
            Ok(_) => {}
            Err(_) => {
                refused += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
    Ok(())
}

/// Runs one of the kinds as a child, which says how it ended.
fn child(kind: &'static str) -> Result<u64, String> {
    fork(|| u8::from(take(kind) != ExitCode::SUCCESS))
}

/// SIGKILL is told to who waits.
fn killed(kind: &'static str) -> Outcome {
    same("the status", wait(child(kind)?)?, abi::SIGKILL.into())
}

/// It may be killed over it, or be told that there is no more.
fn refused(kind: &'static str) -> Outcome {
    let status = wait(child(kind)?)?;
    if status == 0 || status == u64::from(abi::SIGKILL) { Ok(()) } else { Err(format!("the status is {status:#x}")) }
}

/// More than the page cache can hold, while another takes all memory.
fn writer() -> Outcome {
    const LEN: usize = 24 << 20;
    let writing = fork(|| {
        let bytes = vec![7u8; 1 << 16];
        let Ok(mut file) = fs::File::create("/data/beside") else { return 1 };
        let written = (0..LEN / bytes.len()).try_for_each(|_| std::io::Write::write_all(&mut file, &bytes));
        u8::from(written.and_then(|()| file.sync_all()).is_err())
    })?;
    killed("hog")?;
    expect_exit(writing, 0)?;
    same("the file", fs::metadata("/data/beside").map_err(|e| e.to_string())?.len(), LEN as u64)
}

/// It has a few seconds, then all of it is killed by its process group.
fn bomb() -> Outcome {
    let first = fork(|| {
        let _ = raw(abi::__NR_setpgid, [0; 6]);
        u8::from(take("bomb") != ExitCode::SUCCESS)
    })?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    let group = (first as i64).wrapping_neg() as u64;
    // Until there is nobody left: new ones come while others go.
    while raw(abi::__NR_kill, [group, abi::SIGKILL.into(), 0, 0, 0, 0]).is_ok() {
        let reaped = raw(abi::__NR_wait4, [u64::MAX, 0, abi::WNOHANG.into(), 0, 0, 0]);
        if reaped.is_ok_and(|pid| pid == 0) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Half of the machine's memory, at once.
fn again() -> Outcome {
    let info = Memory::new(PAGE);
    raw(abi::__NR_sysinfo, [info.addr(0), 0, 0, 0, 0, 0]).map_err(call("sysinfo"))?;
    let pages = info.word(32) as usize / 2;
    let memory = map(pages, abi::MAP_PRIVATE, None)?;
    (0..pages).for_each(|page| memory.set(page * PAGE, &[1]));
    Ok(())
}
