//! A24: write-throughs that must not sleep.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, Dump, Outcome, Scratch, WT, call, pattern, quiet, same, same_bytes, vector};
use linux_raw_sys::general as abi;
use user::sys::{self, EAGAIN, Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("NOW-1 an overwrite of cached blocks succeeds", overwrite),
    ("NOW-1 the queues are made by the first request that may sleep", queues),
    ("NOW-1 a part of a block that is not cached is EAGAIN", not_cached),
    ("NOW-1 a hole, unwritten blocks, the end, a gap are EAGAIN", allocation),
    ("NOW-1 a source that is not in memory is EAGAIN", absent_source),
    ("NOW-1 a short count at the end, at a hole, at a source that ends", short_counts),
    ("NOW-2 a synchronous call is EAGAIN", synchronous),
    ("FLAG-5 a read with NOWAIT gives what is cached", reads),
];

pub const NOWAIT: u32 = 0x8;
const P: u64 = PAGE as u64;

/// A file of pages of pattern, on the disk and cached, and a context; the queues of the file system are made.
fn setup(name: &str, pages: usize) -> Result<(Scratch, Aio), String> {
    let file = Scratch::new(name, &pattern(pages * PAGE, 5))?;
    file.cached()?;
    let (aio, memory) = (Aio::new(4)?, Memory::new(PAGE));
    memory.set(0, &pattern(PAGE, 5));
    same("a write-through", aio.run(Iocb::write(&file.file, memory, PAGE, 0, WT))?, PAGE as i64)?;
    Ok((file, aio))
}

fn filled(byte: u8, pages: usize) -> Memory {
    let memory = Memory::new(pages * PAGE);
    memory.set(0, &vec![byte; pages * PAGE]);
    memory
}

/// The request ends with `EAGAIN` and has changed nothing. The file stays as much cached as it is.
fn again(file: &Scratch, aio: &Aio, iocb: Iocb) -> Outcome {
    let before = Dump::settled(&file.file)?;
    same("event", aio.run(iocb)?, -i64::from(EAGAIN.0))?;
    before.expect_same(&Dump::of(&file.file)?)
}

fn overwrite() -> Outcome {
    let (file, aio) = setup("now.overwrite", 3)?;
    let memory = filled(1, 2);
    let write = |len, pos, flags| aio.run(Iocb::write(&file.file, memory, len, pos, WT | NOWAIT | flags));
    same("pages", write(2 * PAGE, 0, 0)?, 2 * PAGE as i64)?;
    same("a part", write(100, 2 * P + 33, abi::RWF_DSYNC)?, 100)?;
    let mut expected = pattern(3 * PAGE, 5);
    expected[..2 * PAGE].fill(1);
    expected[2 * PAGE + 33..2 * PAGE + 133].fill(1);
    file.expect(&expected)?;
    quiet()
}

/// Whoever gets `EAGAIN` calls again without the flag, after which it is no more.
fn queues() -> Outcome {
    let file = Scratch::new("now.queues", &pattern(PAGE, 5))?;
    file.cached()?;
    let (aio, memory) = (Aio::new(1)?, filled(1, 1));
    let first = aio.run(Iocb::write(&file.file, memory, PAGE, 0, WT | NOWAIT))?;
    same("first", [PAGE as i64, -i64::from(EAGAIN.0)].contains(&first), true)?;
    same("without", aio.run(Iocb::write(&file.file, memory, PAGE, 0, WT))?, PAGE as i64)?;
    same("second", aio.run(Iocb::write(&file.file, memory, PAGE, 0, WT | NOWAIT))?, PAGE as i64)
}

fn not_cached() -> Outcome {
    let (file, aio) = setup("now.uncached", 2)?;
    let memory = filled(1, 1);
    sys::drop_cache(file.fd()).map_err(call("fadvise"))?;
    again(&file, &aio, Iocb::write(&file.file, memory, 10, 100, WT | NOWAIT))?;
    same("a page", aio.run(Iocb::write(&file.file, memory, PAGE, P, WT | NOWAIT))?, PAGE as i64)?;
    let content = file.cached()?;
    same("cached", aio.run(Iocb::write(&file.file, memory, 10, 100, WT | NOWAIT))?, 10)?;
    same_bytes("before", &content, &[&pattern(PAGE, 5)[..], &[1; PAGE]].concat())
}

fn allocation() -> Outcome {
    let (file, aio) = setup("now.allocation", 1)?;
    let memory = filled(1, 1);
    sys::ftruncate(file.fd(), 4 * P).map_err(call("ftruncate"))?;
    let args = [file.fd() as u64, 0, 2 * P, P, 0, 0];
    sys::raw(abi::__NR_fallocate, args).map_err(call("fallocate"))?;
    file.cached()?;
    for pos in [P, 2 * P, 4 * P, 5 * P + 7] {
        let iocb = Iocb::write(&file.file, memory, PAGE, pos, WT | NOWAIT);
        again(&file, &aio, iocb).map_err(|e| format!("at {pos}: {e}"))?;
    }
    let append = Iocb::write(&file.file, memory, 10, 0, WT | NOWAIT | abi::RWF_APPEND);
    again(&file, &aio, append).map_err(|e| format!("append: {e}"))
}

fn absent_source() -> Outcome {
    let (file, aio) = setup("now.source", 1)?;
    // Never touched.
    let memory = Memory::new(PAGE);
    again(&file, &aio, Iocb::write(&file.file, memory, PAGE, 0, WT | NOWAIT))?;
    memory.set(0, &[1; PAGE]);
    same("event", aio.run(Iocb::write(&file.file, memory, PAGE, 0, WT | NOWAIT))?, PAGE as i64)?;
    file.expect(&[1; PAGE])
}

fn short_counts() -> Outcome {
    let (file, aio) = setup("now.short", 3)?;
    sys::ftruncate(file.fd(), 2 * P + 9).map_err(call("ftruncate"))?;
    file.file.sync_all().map_err(crate::kit::text)?;
    let write = |memory: Memory, len, pos| aio.run(Iocb::write(&file.file, memory, len, pos, WT | NOWAIT));
    same("the end", write(filled(1, 2), 2 * PAGE, P)?, PAGE as i64 + 9)?;
    let half = Memory::new(2 * PAGE);
    half.set(0, &[2; PAGE]);
    same("the source", write(half, 2 * PAGE, 0)?, PAGE as i64)?;
    file.expect(&[&[2; PAGE][..], &[1; PAGE], &[1; 9]].concat())?;
    for size in [2 * P, 4 * P] {
        sys::ftruncate(file.fd(), size).map_err(call("ftruncate"))?;
    }
    same("a hole", write(filled(3, 2), 2 * PAGE, P)?, PAGE as i64)?;
    file.expect(&[&[2; PAGE][..], &[3; PAGE], &[0; 2 * PAGE]].concat())
}

fn synchronous() -> Outcome {
    let (file, _aio) = setup("now.sync", 1)?;
    let memory = filled(1, 1);
    let before = Dump::settled(&file.file)?.with_content(&file.file)?;
    for pos in [0, -1] {
        let buffer = (memory.addr(0), P);
        let result = vector(abi::__NR_pwritev2, file.fd() as u64, buffer, pos, WT | NOWAIT);
        same("pwritev2", result, Err(EAGAIN)).map_err(|e| format!("at {pos}: {e}"))?;
    }
    before.expect_same(&Dump::of(&file.file)?.with_content(&file.file)?)
}

fn reads() -> Outcome {
    let (file, aio) = setup("now.reads", 2)?;
    let memory = filled(0, 2);
    let read = || vector(abi::__NR_preadv2, file.fd() as u64, (memory.addr(0), 2 * P), 0, NOWAIT);
    same("cached", read(), Ok(2 * P))?;
    same_bytes("content", &memory.get(0, 2 * PAGE), &pattern(2 * PAGE, 5))?;
    let iocb = Iocb { rw_flags: NOWAIT, ..Iocb::read(&file.file, memory, PAGE, P) };
    same("event", aio.run(iocb)?, PAGE as i64)?;
    sys::drop_cache(file.fd()).map_err(call("fadvise"))?;
    let before = Dump::settled(&file.file)?;
    same("dropped", read(), Err(EAGAIN))?;
    same("event", aio.run(iocb)?, -i64::from(EAGAIN.0))?;
    before.expect_same(&Dump::of(&file.file)?)
}
