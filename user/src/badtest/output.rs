//! Output without end, and programs without any.
use crate::{Outcome, call, expect, fork, told};
use linux_raw_sys::general as abi;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;
use user::sys::{self, Memory, PAGE};

/// Asks this program to do its work without descriptors 0, 1 and 2.
pub const WITHOUT: &str = "--without-descriptors";
/// What it writes: a file of its own that becomes descriptor 0.
const LEFT: &str = "/data/closed";
/// Bytes that one call hands to the console: it is killed long before they are shown.
const ONE_WRITE: usize = 64 << 20;
const LIMIT: u64 = 1 << 20;

pub fn endless() -> Outcome {
    let lines = || {
        loop {
            println!("badtest: and on and on");
        }
    };
    killed("lines without end", fork(lines)?)?;
    let bytes = Memory::new(ONE_WRITE);
    let one_write = || call(abi::__NR_write, [1, bytes.addr(0), ONE_WRITE as u64]).map_or(1, |_| 0);
    killed("one write", fork(one_write)?)?;
    let pid = fork(file_without_end)?;
    expect("a file without end", pid, abi::SIGXFSZ)?;
    match fs::metadata("/data/log").map_err(|e| e.to_string())?.len() {
        LIMIT => Ok(()),
        len => Err(format!("the file has {len} bytes")),
    }
}

/// The child has a moment, then it is killed: who asks for its end does not wait until it has said everything.
fn killed(what: &str, pid: u64) -> Outcome {
    std::thread::sleep(Duration::from_millis(300));
    sys::kill(pid as i32, abi::SIGKILL).map_err(told("kill"))?;
    let outcome = expect(what, pid, abi::SIGKILL);
    println!();
    outcome
}

fn file_without_end() -> u8 {
    let limit = Memory::new(PAGE);
    limit.set_words(0, &[LIMIT, LIMIT]);
    if call(abi::__NR_setrlimit, [abi::RLIMIT_FSIZE.into(), limit.addr(0)]).is_err() {
        return 1;
    }
    let Ok(mut log) = File::create("/data/log") else { return 2 };
    while log.write_all(&[b'x'; 1000]).is_ok() {}
    3
}

pub fn closed() -> Outcome {
    let pid = fork(|| {
        let strings = Memory::new(PAGE);
        let (path, word) = (c"/proc/self/exe".to_bytes_with_nul(), format!("{WITHOUT}\0"));
        strings.set(64, path);
        strings.set(128, word.as_bytes());
        strings.set_words(0, &[strings.addr(64), strings.addr(128)]);
        let _ = call(abi::__NR_close_range, [0, u64::from(u32::MAX), 0]);
        let _ = call(abi::__NR_execve, [strings.addr(64), strings.addr(0), 0]);
        9
    })?;
    expect("a program without descriptors", pid, 0)?;
    match fs::read(LEFT).map_err(|e| e.to_string())?.as_slice() {
        b"said to nobody" => Ok(()),
        other => Err(format!("it left {other:?}")),
    }
}

/// The library of the program may have opened `/dev/null` three times: what counts is that everything works as with any descriptors.
pub fn without_descriptors() -> ExitCode {
    for number in 0..3 {
        let _ = call(abi::__NR_close, [number]);
    }
    let says = |fd: u64| call(abi::__NR_write, [fd, Memory::new(PAGE).addr(0), 1]);
    let refused = (0..3).all(|fd| says(fd) == Err(sys::EBADF));
    // A message for a descriptor that is not there gets lost, and nothing else.
    let lost = std::io::stderr().write_all(b"said to nobody");
    let Ok(mut file) = File::create(LEFT) else { return 3.into() };
    let first = file.as_raw_fd() == 0;
    let written = file.write_all(b"said to nobody").is_ok();
    drop(lost);
    if refused && first && written { ExitCode::SUCCESS } else { 2.into() }
}
