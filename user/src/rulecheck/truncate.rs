//! A14: truncate, fallocate and unlink beside write-throughs that are on their way.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, Outcome, Scratch, WT, quiet, same, same_bytes};
use std::os::unix::fs::MetadataExt;
use user::sys::{self, Memory, O_RDWR, O_TRUNC, PAGE};

pub const CHECKS: &[Check] = &[
    ("TRC-1 TRC-2 truncate(0) over writes on their way", to_nothing),
    ("TRC-3 shrinking into a block takes the tail for good", into_a_block),
    ("TRC-4 growing over writes on their way", growing),
    ("TRC-9 R09 fallocate beside an append", allocation),
    ("TRC-12 O_TRUNC is truncate(0)", open_truncates),
    ("TRC-13 R49 unlinked with writes on their way", unlinked),
];

/// How many writes are on their way when the file changes.
const DEPTH: usize = 16;

fn memory() -> Memory {
    let memory = Memory::new(PAGE);
    memory.set(0, &[0x77; PAGE]);
    memory
}

/// Submits writes of the first pages, runs `change` at once, and then takes the events, which all have their full count.
fn beside(file: &Scratch, change: impl FnOnce() -> Outcome) -> Outcome {
    let (aio, memory) = (Aio::new(DEPTH as u64)?, memory());
    let batch: Vec<Iocb> =
        (0..DEPTH as u64).map(|i| Iocb::write(&file.file, memory, PAGE, i * PAGE as u64, WT)).collect();
    same("io_submit", aio.submit(&batch), Ok(DEPTH as u64))?;
    change()?;
    same("events", aio.reap(DEPTH)?.iter().all(|event| event.res == PAGE as i64), true)?;
    aio.expect_none()
}

fn expect_empty(file: &Scratch) -> Outcome {
    let metadata = file.file.metadata().map_err(crate::kit::text)?;
    same("size and blocks", (metadata.len(), metadata.blocks()), (0, 0))?;
    file.file.sync_all().map_err(crate::kit::text)?;
    same("content", file.cached()?.len(), 0)
}

fn to_nothing() -> Outcome {
    let file = Scratch::new("nothing", &[])?;
    for _ in 0..10 {
        beside(&file, || same("ftruncate", sys::ftruncate(file.fd(), 0), Ok(())))?;
        expect_empty(&file)?;
    }
    quiet()
}

fn into_a_block() -> Outcome {
    for new in [1, 100, 1023, 1024, 1025, PAGE - 1, PAGE, 5000] {
        let file = Scratch::new("shrink", &[])?;
        beside(&file, || same("ftruncate", sys::ftruncate(file.fd(), new as u64), Ok(())))?;
        same("size", file.size(), new as u64)?;
        same("longer", sys::ftruncate(file.fd(), 3 * PAGE as u64), Ok(()))?;
        let expected = [vec![0x77; new], vec![0; 3 * PAGE - new]].concat();
        same_bytes("cache", &file.cached()?, &expected).map_err(|e| format!("{new}: {e}"))?;
        file.file.sync_all().map_err(crate::kit::text)?;
        file.expect(&expected).map_err(|e| format!("{new}: {e}"))?;
    }
    Ok(())
}

fn growing() -> Outcome {
    let (file, size) = (Scratch::new("grow", &[])?, 64 * PAGE);
    beside(&file, || same("ftruncate", sys::ftruncate(file.fd(), size as u64), Ok(())))?;
    file.file.sync_all().map_err(crate::kit::text)?;
    same("size", file.size(), size as u64)?;
    file.expect(&[vec![0x77; DEPTH * PAGE], vec![0; size - DEPTH * PAGE]].concat())
}

fn allocation() -> Outcome {
    let (file, aio) = (Scratch::new("fallocate", &[])?, Aio::new(1)?);
    same("io_submit", aio.submit(&[Iocb::write(&file.file, memory(), PAGE, PAGE as u64, WT)]), Ok(1))?;
    same("fallocate", sys::fallocate(file.fd(), false, PAGE as u64), Ok(()))?;
    same("event", aio.reap(1)?[0].res, PAGE as i64)?;
    same("size", file.size(), 2 * PAGE as u64)?;
    same("kept", sys::fallocate(file.fd(), true, 8 * PAGE as u64), Ok(()))?;
    same("size", file.size(), 2 * PAGE as u64)?;
    same("blocks", file.file.metadata().map_or(0, |m| m.blocks()), 64)?;
    file.expect(&[vec![0; PAGE], vec![0x77; PAGE]].concat())
}

fn open_truncates() -> Outcome {
    let file = Scratch::new("o_trunc", &[])?;
    let path = std::ffi::CString::new(file.path.as_str()).expect("a path without NUL");
    beside(&file, || {
        let again = sys::open(&path, O_RDWR | O_TRUNC).map_err(crate::kit::call("open"))?;
        same("close", sys::close(again), Ok(()))
    })?;
    expect_empty(&file)
}

fn unlinked() -> Outcome {
    let free = crate::short::free_blocks()?;
    let (aio, memory) = (Aio::new(DEPTH as u64)?, memory());
    {
        let file = Scratch::new("unlinked", &[])?;
        let batch: Vec<Iocb> =
            (0..DEPTH as u64).map(|i| Iocb::write(&file.file, memory, PAGE, i * PAGE as u64, WT)).collect();
        same("io_submit", aio.submit(&batch), Ok(DEPTH as u64))?;
        std::fs::remove_file(&file.path).map_err(crate::kit::text)?;
        // Closed here: what is on its way keeps the file.
    }
    same("events", aio.reap(DEPTH)?.iter().all(|event| event.res == PAGE as i64), true)?;
    // The last reference is let go by another task, soon after the event; sync waits for such releases.
    for _ in 0..1000 {
        user::sys::sync();
        if crate::short::free_blocks()? == free {
            return quiet();
        }
        std::thread::yield_now();
    }
    same("free blocks", crate::short::free_blocks()?, free)
}
