//! A11: short counts, and what stays behind after an error.
use crate::aio::{Aio, Iocb};
use crate::kit::{
    Check, Dump, FOLDER, Outcome, Scratch, WT, call, counter, fd, pattern, quiet, same, same_bytes, small, vector,
    write,
};
use linux_raw_sys::general as abi;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use user::sys::{self, EFAULT, ENOSPC, EOPNOTSUPP, Memory, O_DIRECT, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("ERR-2 a bad source ends the write at its byte, over holes", over_holes),
    ("ERR-2 a bad source ends the write at its byte, over data", over_data),
    ("ERR-2 a vector with a bad segment", segments),
    ("ERR-2 a direct write from a bad source", direct),
    ("ERR-10 nothing readable: EFAULT and nothing of the file changes", nothing),
    ("ERR-9 R61 no space midway: a short count, then ENOSPC, no block lost", no_space),
    ("ERR-9 no space midway for an aio write", no_space_aio),
    ("ERR-11 nothing is left", quiet),
];

/// How many bytes of the source can be read.
const READABLE: [usize; 12] = [1, 100, 511, 512, 1023, 1024, 1025, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE - 1];

/// A source that ends at a page that cannot be touched.
fn source() -> Memory {
    let memory = Memory::new(4 * PAGE);
    memory.set(0, &pattern(4 * PAGE, 0x55));
    memory
}

/// Writes with `readable` good bytes and two pages more, and says what the outcome was.
fn attempt(file: &File, memory: Memory, readable: usize, pos: u64, way: Way) -> Result<i64, String> {
    let (from, len) = (memory.len() - readable, readable + 2 * PAGE);
    match way {
        Way::Aio => Aio::new(1)?.run(Iocb { buffer: memory.addr(from), ..Iocb::write(file, memory, len, pos, WT) }),
        Way::Call(flags) => {
            let result = vector(abi::__NR_pwritev2, fd(file), (memory.addr(from), len as u64), pos as i64, flags);
            Ok(result.map_or_else(|errno| -i64::from(errno.0), |n| n as i64))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Call(u32),
    Aio,
}
const WAYS: [Way; 3] = [Way::Call(0), Way::Call(WT), Way::Aio];

fn over_holes() -> Outcome {
    let (memory, bytes) = (source(), pattern(4 * PAGE, 0x55));
    for way in WAYS {
        for readable in READABLE {
            for pos in [0, 10, PAGE - 5] {
                let told = |e| format!("{way:?}, {readable} at {pos}: {e}");
                let file = Scratch::new("short", &[])?;
                let res = attempt(&file.file, memory, readable, pos as u64, way)?;
                same("count", res, readable as i64).map_err(told)?;
                let expected = [vec![0; pos], bytes[4 * PAGE - readable..].to_vec()].concat();
                same_bytes("cache", &file.cached()?, &expected).map_err(told)?;
                file.file.sync_all().map_err(crate::kit::text)?;
                file.expect(&expected).map_err(told)?;
            }
        }
    }
    quiet()
}

fn over_data() -> Outcome {
    let (memory, bytes) = (source(), pattern(4 * PAGE, 0x55));
    for way in WAYS {
        let file = Scratch::new("short.data", &[1; 8 * PAGE])?;
        let mut expected = vec![1; 8 * PAGE];
        for (i, readable) in READABLE.into_iter().enumerate() {
            let pos = 13 * i;
            let res = attempt(&file.file, memory, readable, pos as u64, way)?;
            same("count", res, readable as i64).map_err(|e| format!("{way:?}, {readable}: {e}"))?;
            expected[pos..pos + readable].copy_from_slice(&bytes[4 * PAGE - readable..]);
        }
        same("size", file.size(), 8 * PAGE as u64)?;
        file.file.sync_all().map_err(crate::kit::text)?;
        file.expect(&expected)?;
    }
    Ok(())
}

fn segments() -> Outcome {
    let (memory, iov) = (source(), Memory::new(PAGE));
    for flags in [0, WT] {
        let file = Scratch::new("short.vector", &[])?;
        // Good, empty, then at the end of what can be read, then good again: never reached.
        iov.set_words(0, &[memory.addr(0), 100, memory.end(), 0, memory.addr(4 * PAGE - 50), 60, memory.addr(0), 10]);
        let write = |count: u64| raw(abi::__NR_pwritev2, [file.fd() as u64, iov.addr(0), count, 0, 0, flags.into()]);
        same("count", write(4), Ok(150))?;
        let bytes = pattern(4 * PAGE, 0x55);
        same_bytes("content", &file.cached()?, &[&bytes[..100], &bytes[4 * PAGE - 50..]].concat())?;
    }
    Ok(())
}

/// A page that cannot be pinned ends a direct write at a whole block, or before its first byte.
fn direct() -> Outcome {
    let memory = source();
    let file = Scratch::new("short.direct", &[])?;
    let direct = file.open(O_DIRECT)?;
    for pages in 0..3 {
        let res = attempt(&direct, memory, pages * PAGE, 0, Way::Call(0))?;
        let expected = if pages == 0 { -i64::from(EFAULT.0) } else { (pages * PAGE) as i64 };
        same("count", res, expected).map_err(|e| format!("{pages} pages: {e}"))?;
    }
    file.expect(&pattern(4 * PAGE, 0x55)[2 * PAGE..])
}

fn nothing() -> Outcome {
    let bad = Memory::new(PAGE).end();
    for open in [0, O_DIRECT] {
        let file = Scratch::new("nothing", &[1; 100])?;
        let opened = file.open(open)?;
        let blocks = || file.file.metadata().map_or(0, |m| m.blocks());
        let free = free_blocks()? + blocks() / (block_size()? / 512);
        let writes = counter("bio_writes")?;
        for pos in [0, PAGE as u64, 100 * PAGE as u64] {
            for flags in [0, WT] {
                let result = vector(abi::__NR_pwritev2, fd(&opened), (bad, PAGE as u64), pos as i64, flags);
                same("result", result, Err(EFAULT)).map_err(|e| format!("at {pos}: {e}"))?;
            }
        }
        same("size", file.size(), 100)?;
        same("requests", counter("bio_writes")?, writes)?;
        same_bytes("content", &file.cached()?, &[1; 100])?;
        // Blocks that were taken for the bytes that did not come may stay, UNWRITTEN, until the file goes.
        drop((opened, file));
        same("free blocks after the file is gone", free_blocks()?, free)?;
    }
    quiet()
}

fn statfs(word: usize) -> Result<u64, String> {
    let (path, out) = (small(), 1024);
    path.set(0, FOLDER.as_bytes());
    path.set(FOLDER.len(), &[0]);
    raw(abi::__NR_statfs, [path.addr(0), path.addr(out), 0, 0, 0, 0]).map_err(call("statfs"))?;
    Ok(path.word(out + word * 8))
}

/// Bytes of a block of the disk.
pub fn block_size() -> Result<u64, String> {
    statfs(1)
}

/// Blocks that are free, those for root alone included.
pub fn free_blocks() -> Result<u64, String> {
    statfs(3)
}

/// The first fsync may report the failed write-through (ERR-6), each further one may not.
fn settle(file: &Scratch) -> Outcome {
    match file.file.sync_all() {
        Err(error) if error.raw_os_error() != Some(ENOSPC.0) => Err(format!("fsync: {error}")),
        _ => file.file.sync_all().map_err(|error| format!("second fsync: {error}")),
    }
}

/// Runs `body` with about `room` bytes free, and sees that every block is free again afterwards.
fn nearly_full(room: u64, body: impl FnOnce(&Scratch) -> Outcome) -> Outcome {
    let at_first = free_blocks()?;
    {
        let ballast = Scratch::new("ballast", &[])?;
        let take = (free_blocks()? * block_size()?).checked_sub(room).ok_or("the disk is too small")?;
        same("fallocate", sys::fallocate(ballast.fd(), false, take), Ok(()))?;
        let before = free_blocks()?;
        {
            let file = Scratch::new("full", &[])?;
            body(&file)?;
            settle(&file)?;
        }
        same("free blocks after the file is gone", free_blocks()?, before)?;
    }
    same("free blocks after all", free_blocks()?, at_first)
}

const WANTED: usize = 1 << 20;

fn no_space() -> Outcome {
    for flags in [0, WT] {
        nearly_full(300 << 10, |file| {
            let bytes = pattern(WANTED, 7);
            let n = write(&file.file, &bytes, 0, flags).map_err(call("the first write"))?;
            same("a part", (n > 0, n < WANTED), (true, true))?;
            same("size", file.size(), n as u64)?;
            same_bytes("content", &file.cached()?, &bytes[..n])?;
            // The rest, until nothing is taken any more.
            let mut end = n;
            loop {
                match write(&file.file, &bytes[..PAGE], end as u64, flags) {
                    Ok(more) => end += more,
                    Err(errno) => break same("error", errno, ENOSPC)?,
                }
                same("it ends", end < WANTED, true)?;
            }
            same("size", file.size(), end as u64)?;
            let seen = file.cached()?;
            same_bytes("content", &seen[..n], &bytes[..n])?;
            settle(file)?;
            same_bytes("device", &file.on_device()?, &seen)
        })?;
    }
    quiet()
}

fn no_space_aio() -> Outcome {
    nearly_full(300 << 10, |file| {
        let (aio, memory) = (Aio::new(1)?, Memory::new(WANTED));
        memory.set(0, &pattern(WANTED, 8));
        let n = aio.run(Iocb::write(&file.file, memory, WANTED, 0, WT))?;
        same("a part", (n > 0, n < WANTED as i64), (true, true))?;
        same("size", file.size(), n as u64)?;
        let mut end = n;
        let errno = loop {
            match aio.run(Iocb::write(&file.file, memory, PAGE, end as u64, WT))? {
                more @ 1.. => end += more,
                error => break error,
            }
            same("it ends", end < WANTED as i64, true)?;
        };
        same("error", errno, -i64::from(ENOSPC.0))?;
        same("size", file.size(), end as u64)?;
        settle(file)?;
        same_bytes("device", &file.on_device()?[..n as usize], &pattern(WANTED, 8)[..n as usize])
    })?;
    let file = Scratch::new("refused", b"x")?;
    let before = Dump::settled(&file.file)?;
    same("a flag that is refused", write(&file.file, b"y", 0, WT | 0x40), Err(EOPNOTSUPP))?;
    before.expect_same(&Dump::of(&file.file)?)
}
