//! A15 and A16: direct and buffered I/O beside write-throughs that are on their way.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, Outcome, Scratch, WT, counter, pattern, quiet, same, same_bytes, write};
use std::sync::atomic::{AtomicBool, Ordering};
use user::sys::{self, Memory, O_DIRECT, PAGE};

pub const CHECKS: &[Check] = &[
    ("DIO-1 a direct read finds what was submitted before", read_after),
    ("DIO-2 DIO-3 R33 R34 direct and write-through to one range", one_range),
    ("DIO-7 unaligned direct writes beside write-throughs of the block", unaligned),
    ("BUF-1 a reader sees old or new pages and never waits", readers),
    ("BUF-1 R15 who sees the size sees the bytes", size_and_data),
    ("BUF-4 a buffered write after a write-through wins", buffered_after),
    ("BUF-7 advice to drop the cache loses nothing", advice),
    ("BUF-8 written ranges are data, unwritten ones are holes", data_and_holes),
    ("BUF-9 a vector is one request", vectors),
];

fn page_of(byte: u8) -> Memory {
    let memory = Memory::new(PAGE);
    memory.set(0, &[byte; PAGE]);
    memory
}

fn read_after() -> Outcome {
    let (file, aio) = (Scratch::new("dread", &[])?, Aio::new(32)?);
    let direct = file.open(O_DIRECT)?;
    let target = Memory::new(PAGE);
    for i in 0..64u64 {
        let (pos, byte) = (i * PAGE as u64, i as u8 + 1);
        let write = Iocb::write(&file.file, page_of(byte), PAGE, pos, WT).with_data(1);
        same("io_submit", aio.submit(&[write, Iocb::read(&direct, target, PAGE, pos)]), Ok(2))?;
        same("events", aio.reap(2)?.iter().all(|event| event.res == PAGE as i64), true)?;
        same_bytes("read", &target.get(0, PAGE), &[byte; PAGE])?;
    }
    quiet()
}

/// Cache and device agree after both, whatever came first.
fn one_range() -> Outcome {
    let (file, aio) = (Scratch::new("range", &[0; 2 * PAGE])?, Aio::new(4)?);
    let direct = file.open(O_DIRECT)?;
    for round in 0..50u8 {
        let through = Iocb::write(&file.file, page_of(2 * round + 1), PAGE, 0, WT);
        let around = Iocb::write(&direct, page_of(2 * round + 2), PAGE, 0, 0);
        let (batch, last) = if round % 2 == 0 { ([through, around], 2) } else { ([around, through], 1) };
        same("io_submit", aio.submit(&batch), Ok(2))?;
        same("events", aio.reap(2)?.iter().all(|event| event.res == PAGE as i64), true)?;
        let (cache, device) = (file.cached()?, file.on_device()?);
        same_bytes("cache and device", &cache, &device)?;
        same_bytes("the later one", &cache[..PAGE], &[2 * round + last; PAGE])?;
    }
    Ok(())
}

/// O_DIRECT with an odd position is refused or goes by way of the cache; the bytes beside it are kept in either case.
fn unaligned() -> Outcome {
    let (file, aio) = (Scratch::new("odd", &[0; PAGE])?, Aio::new(4)?);
    let direct = file.open(O_DIRECT)?;
    let mut expected = vec![0; PAGE];
    for i in 0..8 {
        let (a, b) = (512 * i, 512 * i + 256);
        let through = Iocb::write(&file.file, page_of(50 + i as u8), 256, a as u64, WT).with_data(1);
        let around = Iocb::write(&direct, page_of(100 + i as u8), 256, b as u64, 0).with_data(2);
        same("io_submit", aio.submit(&[through, around]), Ok(2))?;
        for event in aio.reap(2)? {
            match (event.data, event.res) {
                (1, 256) => expected[a..a + 256].fill(50 + i as u8),
                (2, 256) => expected[b..b + 256].fill(100 + i as u8),
                (2, res) if res == -i64::from(sys::EINVAL.0) => {}
                other => return Err(format!("event {other:?}")),
            }
        }
    }
    file.file.sync_all().map_err(crate::kit::text)?;
    file.expect(&expected)
}

/// Runs `beside` again and again in a thread until `body` is done.
fn with_thread(beside: impl Fn() -> Outcome + Sync, body: impl FnOnce() -> Outcome) -> Outcome {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                beside()?;
                rounds += 1;
                std::thread::yield_now();
            }
            Ok::<u32, String>(rounds)
        });
        let outcome = body();
        done.store(true, Ordering::Relaxed);
        let rounds = thread.join().map_err(|_| "the other thread panicked")??;
        outcome.and_then(|()| if rounds > 0 { Ok(()) } else { Err("the other thread never ran".into()) })
    })
}

fn readers() -> Outcome {
    let file = Scratch::new("readers", &[1; 4 * PAGE])?;
    let reader = || {
        let bytes = file.cached()?;
        let torn = bytes.chunks(PAGE).any(|page| page.iter().any(|byte| *byte != page[0]));
        same("a torn page", torn, false)
    };
    with_thread(reader, || {
        for byte in 2..100u8 {
            same("write", write(&file.file, &[byte; 4 * PAGE], 0, WT), Ok(4 * PAGE))?;
            std::thread::yield_now();
        }
        Ok(())
    })
}

fn size_and_data() -> Outcome {
    let file = Scratch::new("growing", &[])?;
    let reader = || {
        let (size, mut last) = (file.size(), [0]);
        if size == 0 {
            return Ok(());
        }
        same("read", sys::pread(file.fd(), &mut last, size - 1), Ok(1))?;
        same("the last byte", last, [9])
    };
    with_thread(reader, || {
        for i in 0..200u64 {
            same("append", write(&file.file, &[9; 300], 0, WT | linux_raw_sys::general::RWF_APPEND), Ok(300))?;
            same("size", file.size(), (i + 1) * 300)?;
        }
        Ok(())
    })
}

fn buffered_after() -> Outcome {
    let (file, aio) = (Scratch::new("buffered", &[0; PAGE])?, Aio::new(1)?);
    for round in 0..20u8 {
        same("io_submit", aio.submit(&[Iocb::write(&file.file, page_of(round), PAGE, 0, WT)]), Ok(1))?;
        same("buffered", write(&file.file, &[round + 100; 10], 20, 0), Ok(10))?;
        aio.reap(1)?;
        let expected = [vec![round; 20], vec![round + 100; 10], vec![round; PAGE - 30]].concat();
        same_bytes("cache", &file.cached()?, &expected)?;
        file.file.sync_all().map_err(crate::kit::text)?;
        file.expect(&expected)?;
    }
    Ok(())
}

fn advice() -> Outcome {
    let (file, aio) = (Scratch::new("advice", &[])?, Aio::new(16)?);
    for i in 0..16u64 {
        same("io_submit", aio.submit(&[Iocb::write(&file.file, page_of(3), PAGE, i * PAGE as u64, WT)]), Ok(1))?;
        let args = [file.fd() as u64, 0, 0, linux_raw_sys::general::POSIX_FADV_DONTNEED.into(), 0, 0];
        same("fadvise", sys::raw(linux_raw_sys::general::__NR_fadvise64, args), Ok(0))?;
    }
    aio.reap(16)?;
    file.expect(&[3; 16 * PAGE])
}

/// In a preallocated file: at once after io_submit, when the extent may still be UNWRITTEN, and after the event.
fn data_and_holes() -> Outcome {
    let (file, aio) = (Scratch::new("seek", &[])?, Aio::new(1)?);
    same("fallocate", sys::fallocate(file.fd(), false, 8 * PAGE as u64), Ok(()))?;
    let seek = |from: usize, whence: u32| {
        let args = [file.fd() as u64, from as u64, whence.into(), 0, 0, 0];
        sys::raw(linux_raw_sys::general::__NR_lseek, args)
    };
    let (data, hole) = (linux_raw_sys::general::SEEK_DATA, linux_raw_sys::general::SEEK_HOLE);
    same("no data", seek(0, data), Err(sys::ENXIO))?;
    same("io_submit", aio.submit(&[Iocb::write(&file.file, page_of(1), PAGE, 3 * PAGE as u64, WT)]), Ok(1))?;
    let found = |when: &str| {
        same(when, seek(0, data), Ok(3 * PAGE as u64))?;
        same(when, seek(3 * PAGE, hole), Ok(4 * PAGE as u64))?;
        same(when, seek(4 * PAGE, data), Err(sys::ENXIO))
    };
    found("submitted")?;
    aio.reap(1)?;
    found("finished")
}

fn vectors() -> Outcome {
    let (file, iov) = (Scratch::new("vector", &[])?, Memory::new(PAGE));
    let (source, bytes) = (Memory::new(8 * PAGE), pattern(8 * PAGE, 5));
    source.set(0, &bytes);
    let (mut at, mut words) = (0, Vec::new());
    for len in [1usize, 0, 511, 4097, 3000, 1, 9000, 700] {
        words.extend([source.addr(at), len as u64]);
        at += len;
    }
    iov.set_words(0, &words);
    let started = counter("wt_started")?;
    let args = [file.fd() as u64, iov.addr(0), words.len() as u64 / 2, 3, 0, WT.into()];
    same("write", sys::raw(linux_raw_sys::general::__NR_pwritev2, args), Ok(at as u64))?;
    same("write-throughs started", counter("wt_started")? - started, 1)?;
    file.expect(&[&[0; 3], &bytes[..at]].concat())
}
