//! A21 and A22: close, exit, unlink and rename beside writes on their way; append.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, FOLDER, Outcome, Scratch, WT, call, own, quiet, same, vector, write};
use linux_raw_sys::general as abi;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;
use user::sys::{self, EINVAL, Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("PRC-1 close with writes on their way", close),
    ("PRC-3 the submitting thread ends first", thread_ends),
    ("PRC-5 a forked child has no aio contexts", forked),
    ("PRC-6 rename, link, chmod and unlink on the way", names),
    ("APP-1 appends lie side by side in the order of submission", appends),
    ("APP-1 threads that append lose nothing", threads_append),
    ("APP-2 a short append is as long as what was copied", short_append),
    ("APP-4 an append's event has the count", count),
];

const APPEND: u32 = WT | abi::RWF_APPEND;

fn filled(len: usize, byte: u8) -> Memory {
    let memory = Memory::new(len);
    memory.set(0, &vec![byte; len]);
    memory
}

/// Sixteen pages of 7, submitted.
fn submit(aio: &Aio, fd: &impl AsRawFd) -> Outcome {
    let memory = filled(PAGE, 7);
    let batch: Vec<Iocb> = (0..16).map(|i| Iocb::write(fd, memory, PAGE, i * PAGE as u64, WT)).collect();
    same("io_submit", aio.submit(&batch), Ok(16))
}

fn expect_sixteen(aio: &Aio) -> Outcome {
    same("events", aio.reap(16)?.iter().all(|event| event.res == PAGE as i64), true)
}

fn close() -> Outcome {
    let (file, aio) = (Scratch::new("close", &[])?, Aio::new(16)?);
    let number = raw(abi::__NR_dup, [file.fd() as u64, 0, 0, 0, 0, 0]).map_err(call("dup"))?;
    let second = own(number as sys::Fd);
    submit(&aio, &second)?;
    drop(second);
    same("closed", raw(abi::__NR_fcntl, [number, abi::F_GETFD.into(), 0, 0, 0, 0]), Err(sys::EBADF))?;
    expect_sixteen(&aio)?;
    file.expect(&[7; 16 * PAGE])?;
    quiet()
}

fn thread_ends() -> Outcome {
    let (file, aio) = (Scratch::new("thread", &[])?, Aio::new(16)?);
    std::thread::scope(|scope| scope.spawn(|| submit(&aio, &file.file)).join().map_err(|_| "the thread panicked")?)?;
    expect_sixteen(&aio)?;
    file.expect(&[7; 16 * PAGE])
}

/// The child finds no context where its parent has one with requests in flight, and its end leaves them alone.
fn forked() -> Outcome {
    let (file, aio) = (Scratch::new("forked", &[])?, Aio::new(16)?);
    submit(&aio, &file.file)?;
    let child = raw(abi::__NR_fork, [0; 6]).map_err(call("fork"))?;
    if child == 0 {
        let context = aio.id;
        let look = raw(abi::__NR_io_getevents, [context, 0, 0, 0, 0, 0]);
        let send = raw(abi::__NR_io_submit, [context, 0, 0, 0, 0, 0]);
        let end = raw(abi::__NR_io_destroy, [context, 0, 0, 0, 0, 0]);
        let good = [look, send, end].iter().all(|result| *result == Err(EINVAL));
        // Without a word to the standard library, whose state belongs to the parent.
        let _ends = raw(abi::__NR_exit_group, [u64::from(!good), 0, 0, 0, 0, 0]);
    }
    let status = Memory::new(PAGE);
    let reaped = raw(abi::__NR_wait4, [child, status.addr(0), 0, 0, 0, 0]);
    same("wait4", reaped, Ok(child))?;
    same("status of the child", status.word(0) as u32, 0)?;
    expect_sixteen(&aio)?;
    file.expect(&[7; 16 * PAGE])
}

fn names() -> Outcome {
    let (file, aio) = (Scratch::new("names", &[])?, Aio::new(16)?);
    let (moved, linked) = (format!("{FOLDER}/names.moved"), format!("{FOLDER}/names.linked"));
    submit(&aio, &file.file)?;
    std::fs::rename(&file.path, &moved).map_err(crate::kit::text)?;
    std::fs::hard_link(&moved, &linked).map_err(crate::kit::text)?;
    std::fs::set_permissions(&moved, std::fs::Permissions::from_mode(0o0)).map_err(crate::kit::text)?;
    std::fs::remove_file(&moved).map_err(crate::kit::text)?;
    expect_sixteen(&aio)?;
    std::fs::rename(&linked, &file.path).map_err(crate::kit::text)?;
    file.expect(&[7; 16 * PAGE])
}

fn appends() -> Outcome {
    for len in [512usize, 3000, PAGE, PAGE + 1] {
        let (file, aio) = (Scratch::new("append", b"head")?, Aio::new(8)?);
        // The position of an iocb is not looked at for an append.
        let at = |i: u8| Iocb::write(&file.file, filled(len, i + 1), len, u64::from(i) * 5, APPEND);
        same("io_submit", aio.submit(&(0..8).map(at).collect::<Vec<_>>()), Ok(8))?;
        same("size at once", file.size(), 4 + 8 * len as u64)?;
        same("events", aio.reap(8)?.iter().all(|event| event.res == len as i64), true)?;
        let bytes: Vec<u8> = (0..8).flat_map(|i| vec![i + 1; len]).collect();
        file.expect(&[&b"head"[..], &bytes].concat()).map_err(|e| format!("{len}: {e}"))?;
    }
    Ok(())
}

fn threads_append() -> Outcome {
    let (file, each, len) = (Scratch::new("appenders", &[])?, 40usize, 777);
    let append = |byte: u8| {
        let file = &file;
        move || (0..each).try_for_each(|_| same("append", write(&file.file, &vec![byte; len], 0, APPEND), Ok(len)))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=3).map(|byte| scope.spawn(append(byte))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let bytes = file.cached()?;
    let records: Vec<&[u8]> = bytes.chunks(len).collect();
    same("records", records.len(), 3 * each)?;
    same("none is mixed", records.iter().all(|record| record.iter().all(|b| *b == record[0])), true)?;
    (1..=3).try_for_each(|byte| same("of each", records.iter().filter(|record| record[0] == byte).count(), each))?;
    file.expect(&bytes)
}

fn short_append() -> Outcome {
    let memory = filled(PAGE, 9);
    for flags in [abi::RWF_APPEND, APPEND] {
        let file = Scratch::new("short-append", b"head")?;
        let source = (memory.end() - 100, 3 * PAGE as u64);
        same("short", vector(abi::__NR_pwritev2, file.fd() as u64, source, 0, flags), Ok(100))?;
        same("size", file.size(), 104)?;
        same("next", write(&file.file, b"tail", 0, flags), Ok(4))?;
        file.file.sync_all().map_err(crate::kit::text)?;
        file.expect(&[&b"head"[..], &[9; 100], b"tail"].concat())?;
    }
    Ok(())
}

fn count() -> Outcome {
    let (file, aio) = (Scratch::new("count", &[1; 5000])?, Aio::new(1)?);
    same("event", aio.run(Iocb::write(&file.file, filled(PAGE, 2), 33, 7, APPEND))?, 33)?;
    same(
        "a negative position",
        aio.submit(&[Iocb { pos: -1, ..Iocb::write(&file.file, filled(PAGE, 2), 1, 0, APPEND) }]),
        Err(EINVAL),
    )?;
    same("size", file.size(), 5033)
}

/// PRC-2: 64 writes on their way, and the end of the process, by SIGKILL if `killed`. Who looks at the disk finds 64 pages in
/// `/data/left`.
pub fn leave(killed: bool) -> ExitCode {
    let left = || -> Outcome {
        let path = format!("{FOLDER}/left");
        let file = std::fs::File::create(&path).map_err(crate::kit::text)?;
        let aio = std::mem::ManuallyDrop::new(Aio::new(64)?);
        let at = |i: u8| Iocb::write(&file, filled(PAGE, i + 1), PAGE, u64::from(i) * PAGE as u64, WT);
        same("io_submit", aio.submit(&(0..64).map(at).collect::<Vec<_>>()), Ok(64))
    };
    match left() {
        Ok(()) if killed => {
            let _ = raw(abi::__NR_kill, [std::process::id().into(), abi::SIGKILL.into(), 0, 0, 0, 0]);
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            println!("{text}");
            ExitCode::FAILURE
        }
    }
}
