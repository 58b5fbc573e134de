//! A2: what is checked before a write.
use crate::aio::{Aio, Iocb};
use crate::kit::{BUFFERED, Check, Dump, FOLDER, Outcome, Scratch, WT, call, same, small, write};
use linux_raw_sys::general as abi;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use user::sys::{self, EFAULT, EFBIG, EPERM, Memory, O_DIRECT, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("CHK-1 length 0 changes nothing", nothing),
    ("CHK-2 an append's position is chosen before the limit is looked at", append_first),
    ("CHK-3 the file size limit cuts, and SIGXFSZ comes at it", limit),
    ("CHK-4 the largest size of a file", largest),
    ("CHK-5 an immutable file is EPERM", immutable),
    ("CHK-6 the times change once a call, also if it fails", privileges),
    ("CHK-7 a gap behind the end reads as zeros", gap),
];

/// The flags of each way to write, and what opens the file for it.
pub const WAYS: [(&str, u32, u32); 3] = [("buffered", BUFFERED, 0), ("write-through", WT, 0), ("direct", 0, O_DIRECT)];

fn nothing() -> Outcome {
    let file = Scratch::new("nothing", b"content")?;
    std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o4755)).map_err(crate::kit::text)?;
    let (aio, memory) = (Aio::new(1)?, Memory::new(PAGE));
    for (way, flags, open) in WAYS {
        let opened = file.open(open)?;
        let before = Dump::settled(&opened)?;
        for pos in [0, 3, 1 << 40] {
            for more in [0, abi::RWF_APPEND, abi::RWF_DSYNC] {
                same(way, write(&opened, &[], pos, flags | more), Ok(0))?;
                same(way, aio.run(Iocb::write(&opened, memory, 0, pos, flags | more))?, 0)?;
            }
        }
        before.expect_same(&Dump::of(&opened)?)?;
    }
    same("set-id", std::fs::metadata(&file.path).map_or(0, |m| m.mode()) & 0o7777, 0o4755)
}

/// Sets the soft limit of file sizes.
fn set_limit(bytes: u64) -> Outcome {
    let limit = small();
    limit.set_words(0, &[bytes, u64::MAX]);
    let args = [0, abi::RLIMIT_FSIZE.into(), limit.addr(0), 0, 0, 0];
    raw(abi::__NR_prlimit64, args).map(drop).map_err(call("prlimit64"))
}

const SIGXFSZ: u64 = abi::SIGXFSZ as u64;

fn mask(how: u32) -> Outcome {
    let set = small();
    set.set_words(0, &[1 << (SIGXFSZ - 1)]);
    raw(abi::__NR_rt_sigprocmask, [how.into(), set.addr(0), 0, 8, 0, 0]).map(drop).map_err(call("rt_sigprocmask"))
}

fn action(handler: u64) -> Outcome {
    let action = small();
    action.set_words(0, &[handler, 0, 0, 0]);
    raw(abi::__NR_rt_sigaction, [SIGXFSZ, action.addr(0), 0, 8, 0, 0]).map(drop).map_err(call("rt_sigaction"))
}

/// Whether SIGXFSZ waits; it is taken away.
fn take_signal() -> Result<bool, String> {
    let set = small();
    raw(abi::__NR_rt_sigpending, [set.addr(0), 8, 0, 0, 0, 0]).map_err(call("rt_sigpending"))?;
    let waits = set.word(0) & 1 << (SIGXFSZ - 1) != 0;
    // Ignored while it is let through.
    action(1)?;
    mask(abi::SIG_UNBLOCK)?;
    mask(abi::SIG_BLOCK)?;
    action(0)?;
    Ok(waits)
}

/// Runs `body` under a limit, with the signal blocked.
fn limited(bytes: u64, body: impl FnOnce() -> Outcome) -> Outcome {
    mask(abi::SIG_BLOCK)?;
    set_limit(bytes)?;
    let outcome = body();
    set_limit(u64::MAX)?;
    outcome
}

fn limit() -> Outcome {
    for (way, flags, open) in WAYS {
        let (file, memory) = (Scratch::new("limit", &[])?, Memory::new(4 * PAGE));
        let (opened, aio) = (file.open(open)?, Aio::new(1)?);
        let at = |pos: u64| Iocb::write(&opened, memory, 2 * PAGE, pos, flags);
        limited(2 * PAGE as u64, || {
            same(way, aio.run(at(PAGE as u64))?, PAGE as i64)?;
            same("no signal for a short write", take_signal()?, false)?;
            same("size", file.size(), 2 * PAGE as u64)?;
            for pos in [2, 3, 1 << 20] {
                same(way, aio.run(at(pos * PAGE as u64))?, -i64::from(EFBIG.0))?;
                same("signal", take_signal()?, true)?;
            }
            let vector = (memory.addr(0), PAGE as u64);
            let number = std::os::fd::AsRawFd::as_raw_fd(&opened) as u64;
            let beyond = crate::kit::vector(abi::__NR_pwritev2, number, vector, 2 * PAGE as i64, flags);
            same("call", beyond, Err(EFBIG))?;
            same("signal", take_signal()?, true)?;
            same("size", file.size(), 2 * PAGE as u64)
        })?;
        file.expect(&[0; 2 * PAGE])?;
        // A limit inside a block; a direct write of a whole block may be cut to nothing a device can take.
        if open == 0 {
            limited(2 * PAGE as u64 + 10, || {
                same("cut inside a block", write(&opened, &[1; 100], 2 * PAGE as u64, flags), Ok(10))
            })?;
            same("size", file.size(), 2 * PAGE as u64 + 10)?;
        }
    }
    Ok(())
}

fn append_first() -> Outcome {
    let file = Scratch::new("append-first", &[1; 100])?;
    limited(100, || {
        same("append", write(&file.file, &[2; 10], 0, WT | abi::RWF_APPEND), Err(EFBIG))?;
        same("signal", take_signal()?, true)?;
        same("below", write(&file.file, &[2; 10], 0, WT), Ok(10))
    })?;
    limited(105, || same("cut", write(&file.file, &[3; 10], 0, WT | abi::RWF_APPEND), Ok(5)))?;
    file.expect(&[vec![2; 10], vec![1; 90], vec![3; 5]].concat())
}

fn largest() -> Outcome {
    let file = Scratch::new("largest", b"x")?;
    for flags in [BUFFERED, WT] {
        // 2^32 blocks of at most 4096 bytes: past everything ext4 has.
        same("far", write(&file.file, b"abc", 1 << 45, flags), Err(EFBIG))?;
        let wraps = write(&file.file, b"abc", i64::MAX as u64 - 1, flags);
        same("past every position", wraps.is_err(), true)?;
    }
    file.expect(b"x")
}

/// The disk has such a file only if the test has made one.
fn immutable() -> Outcome {
    let path = format!("{FOLDER}/immutable");
    if std::fs::metadata(&path).is_err() {
        return Ok(());
    }
    for append in [false, true] {
        let opened = OpenOptions::new().write(true).append(append).open(&path);
        same("open", opened.err().and_then(|e| e.raw_os_error()), Some(EPERM.0))?;
    }
    Ok(())
}

fn privileges() -> Outcome {
    for flags in [BUFFERED, WT] {
        let file = Scratch::new("times", b"content")?;
        let seen = || std::fs::metadata(&file.path).map(|m| (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()));
        let mut before = seen().map_err(crate::kit::text)?;
        let bad = Memory::new(1).end();
        let cases: [(&str, (u64, u64), sys::Result<u64>); 2] =
            [("written", (small().addr(PAGE - 1), 1), Ok(1)), ("failed", (bad, 8), Err(EFAULT))];
        for (what, vector, result) in cases {
            same(what, crate::kit::vector(abi::__NR_pwritev2, file.fd() as u64, vector, 0, flags), result)?;
            let after = seen().map_err(crate::kit::text)?;
            same(what, after > before && after.0 == after.2 && after.1 == after.3, true)?;
            before = after;
        }
    }
    // Root is privileged and keeps them.
    let file = Scratch::new("set-id", b"content")?;
    std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o6777)).map_err(crate::kit::text)?;
    let mode = || std::fs::metadata(&file.path).map_or(0, |m| m.mode()) & 0o7777;
    same("set-id", (write(&file.file, b"x", 0, WT), mode()), (Ok(1), 0o6777))
}

fn gap() -> Outcome {
    for (way, flags, open) in WAYS {
        let file = Scratch::new("gap", &[7; 100])?;
        let (opened, memory) = (file.open(open)?, Memory::new(PAGE));
        memory.set(0, &[8; PAGE]);
        let pos = 3 * PAGE as u64;
        let number = std::os::fd::AsRawFd::as_raw_fd(&opened) as u64;
        same(
            way,
            crate::kit::vector(abi::__NR_pwritev2, number, (memory.addr(0), PAGE as u64), pos as i64, flags),
            Ok(PAGE as u64),
        )?;
        file.file.sync_all().map_err(crate::kit::text)?;
        file.expect(&[vec![7; 100], vec![0; 3 * PAGE - 100], vec![8; PAGE]].concat())?;
        // Whole blocks of the gap are holes.
        let blocks = std::fs::metadata(&file.path).map_or(0, |m| m.blocks());
        same("blocks", blocks <= 2 * PAGE as u64 / 512, true)?;
    }
    Ok(())
}
