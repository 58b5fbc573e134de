//! A5 and A12: any position, any length, and the end of the file.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, Outcome, Scratch, WT, counter, pattern, same, same_bytes, write};
use crate::short::block_size;
use std::os::unix::fs::MetadataExt;
use user::sys::{self, Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("ALN-1 any position, length and address", anywhere),
    ("ALN-3 partial blocks of data keep their other bytes", partial),
    ("ALN-3 partial blocks of holes are zero around", holes),
    ("ALN-4 ALN-2 only blocks of the range go to the device", blocks_only),
    ("EOF-1 the size is the end of what was copied", size),
    ("EOF-2 EOF-4 behind the end the device has zeros", behind_the_end),
    ("EOF-3 a gap reads as zeros, cached and on the device", gap),
    ("EOF-5 growing inside the page keeps both sides", growing),
    ("SIZE-2 finishes in any order leave the largest size", any_order),
    ("SIZE-6 stat after the event shows size and blocks", stat),
    ("EXT-3 neighbours of an unwritten range stay zeros", unwritten),
];

const INTERESTING: [usize; 11] = [0, 1, 511, 512, 1023, 1025, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 1, 2 * PAGE];

fn anywhere() -> Outcome {
    let file = Scratch::new("anywhere", &[])?;
    let (aio, memory) = (Aio::new(1)?, Memory::new(4 * PAGE));
    let (mut expected, bytes) = (Vec::new(), pattern(4 * PAGE, 9));
    memory.set(0, &bytes);
    for (i, pos) in INTERESTING.into_iter().rev().enumerate() {
        for (j, len) in INTERESTING.into_iter().enumerate().skip(1) {
            let from = i * 7 + j;
            let iocb = Iocb { buffer: memory.addr(from), ..Iocb::write(&file.file, memory, len, pos as u64, WT) };
            same("event", aio.run(iocb)?, len as i64).map_err(|e| format!("{pos}+{len}: {e}"))?;
            let end = pos + len;
            expected.resize(expected.len().max(end), 0);
            expected[pos..end].copy_from_slice(&bytes[from..from + len]);
        }
        same_bytes("cache", &file.cached()?, &expected).map_err(|e| format!("from {pos}: {e}"))?;
    }
    file.file.sync_all().map_err(crate::kit::text)?;
    file.expect(&expected)
}

fn partial() -> Outcome {
    let old = pattern(3 * PAGE, 4);
    for (pos, len) in [(1, 1), (100, 3000), (PAGE - 1, 2), (1000, 2 * PAGE), (2 * PAGE + 1, PAGE - 2)] {
        let file = Scratch::new("partial", &old)?;
        // Not cached: an eviction by a direct write of the first page.
        let buffer = Memory::new(PAGE);
        buffer.set(0, &old[..PAGE]);
        let direct = file.open(sys::O_DIRECT)?;
        same("direct", Aio::new(1)?.run(Iocb::write(&direct, buffer, PAGE, 0, 0))?, PAGE as i64)?;
        let mut expected = old.clone();
        expected[pos..pos + len].fill(200);
        same("write", write(&file.file, &vec![200; len], pos as u64, WT), Ok(len))?;
        file.expect(&expected).map_err(|e| format!("{pos}+{len}: {e}"))?;
    }
    Ok(())
}

fn holes() -> Outcome {
    for (pos, len) in [(1, 1), (1500, 10), (PAGE - 1, 2), (PAGE + 1, PAGE - 2)] {
        let file = Scratch::new("holes", &[])?;
        same("ftruncate", sys::ftruncate(file.fd(), 3 * PAGE as u64), Ok(()))?;
        same("write", write(&file.file, &vec![200; len], pos as u64, WT), Ok(len))?;
        let mut expected = vec![0; 3 * PAGE];
        expected[pos..pos + len].fill(200);
        file.expect(&expected).map_err(|e| format!("{pos}+{len}: {e}"))?;
    }
    Ok(())
}

/// A byte in the last block of a page of holes allocates one block and sends one request.
fn blocks_only() -> Outcome {
    let file = Scratch::new("blocks-only", &[])?;
    same("ftruncate", sys::ftruncate(file.fd(), 4 * PAGE as u64), Ok(()))?;
    let (reads, writes) = (counter("bio_reads")?, counter("bio_writes")?);
    same("write", write(&file.file, b"x", 2 * PAGE as u64 - 1, WT), Ok(1))?;
    same("write requests", counter("bio_writes")? - writes, 1)?;
    same("read requests", counter("bio_reads")? - reads, 0)?;
    same("blocks", file.file.metadata().map_or(0, |m| m.blocks()), block_size()? / 512)
}

fn size() -> Outcome {
    let file = Scratch::new("size", &[])?;
    for (pos, end) in [(5000, 5001), (0, 5001), (5001, 5002), (4999, 5002), (PAGE as u64 * 2 - 1, PAGE as u64 * 2)] {
        same("write", write(&file.file, b"x", pos, WT), Ok(1))?;
        same("size", file.size(), end)?;
        file.file.sync_all().map_err(crate::kit::text)?;
        same("size after fsync", file.size(), end)?;
    }
    Ok(())
}

fn behind_the_end() -> Outcome {
    let file = Scratch::new("behind", &[0xaa; 2 * PAGE])?;
    same("shorter", sys::ftruncate(file.fd(), 100), Ok(()))?;
    same("write", write(&file.file, &[1; 10], 90, WT), Ok(10))?;
    same("write", write(&file.file, &[2; 10], 95, WT), Ok(10))?;
    same("longer", sys::ftruncate(file.fd(), 2 * PAGE as u64), Ok(()))?;
    let head = [vec![0xaa; 90], vec![1; 5], vec![2; 10]].concat();
    file.expect(&[head, vec![0; 2 * PAGE - 105]].concat())
}

fn gap() -> Outcome {
    for (old, pos) in [(100, 200), (100, 2000), (1024, 1025), (PAGE - 1, PAGE + 1), (10, 5 * PAGE + 3)] {
        let file = Scratch::new("gap", &vec![7; old])?;
        // Dirty bytes at the end, so that the zeroing meets a dirty folio.
        same("buffered", write(&file.file, &[8; 5], old as u64 - 5, 0), Ok(5))?;
        same("write", write(&file.file, &[9; 3], pos as u64, WT), Ok(3))?;
        let expected = [vec![7; old - 5], vec![8; 5], vec![0; pos - old], vec![9; 3]].concat();
        same_bytes("cache", &file.cached()?, &expected)?;
        file.file.sync_all().map_err(crate::kit::text)?;
        file.expect(&expected).map_err(|e| format!("{old} to {pos}: {e}"))?;
    }
    Ok(())
}

fn growing() -> Outcome {
    let (file, mut expected) = (Scratch::new("growing", &[])?, Vec::new());
    for i in 0..40u8 {
        let len = 1 + usize::from(i) * 37 % 400;
        same("write", write(&file.file, &vec![i + 1; len], expected.len() as u64, WT), Ok(len))?;
        expected.extend(vec![i + 1; len]);
        same("size", file.size(), expected.len() as u64)?;
    }
    file.expect(&expected)
}

fn any_order() -> Outcome {
    let (file, aio, memory) = (Scratch::new("order", &[])?, Aio::new(16)?, Memory::new(PAGE));
    memory.set(0, &[3; PAGE]);
    // From the end down, so that each finish but one would lower the size if it could.
    let batch: Vec<Iocb> =
        (0..16u64).rev().map(|i| Iocb::write(&file.file, memory, PAGE, i * PAGE as u64, WT)).collect();
    same("io_submit", aio.submit(&batch), Ok(16))?;
    same("size at once", file.size(), 16 * PAGE as u64)?;
    aio.reap(16)?;
    file.file.sync_all().map_err(crate::kit::text)?;
    file.expect(&[3; 16 * PAGE])
}

fn stat() -> Outcome {
    let (file, aio, memory) = (Scratch::new("stat", &[])?, Aio::new(1)?, Memory::new(PAGE));
    for i in 0..16u64 {
        let iocb = Iocb::write(&file.file, memory, PAGE, i * PAGE as u64, WT);
        same("io_submit", aio.submit(&[iocb]), Ok(1))?;
        same("size after io_submit", file.size(), (i + 1) * PAGE as u64)?;
        aio.reap(1)?;
        let metadata = file.file.metadata().map_err(crate::kit::text)?;
        same("after the event", (metadata.len(), metadata.blocks()), ((i + 1) * PAGE as u64, (i + 1) * 8))?;
    }
    Ok(())
}

fn unwritten() -> Outcome {
    let file = Scratch::new("unwritten", &[])?;
    same("fallocate", sys::fallocate(file.fd(), false, 16 * PAGE as u64), Ok(()))?;
    let blocks = || file.file.metadata().map_or(0, |m| m.blocks());
    let before = blocks();
    let mut expected = vec![0; 16 * PAGE];
    for (pos, len) in [(5 * PAGE, PAGE), (5000, 1), (9 * PAGE - 1, 2), (0, 10), (16 * PAGE - 1, 1)] {
        same("write", write(&file.file, &vec![6; len], pos as u64, WT), Ok(len))?;
        expected[pos..pos + len].fill(6);
        file.expect(&expected).map_err(|e| format!("{pos}+{len}: {e}"))?;
    }
    // At most a block of the extent tree more.
    same("blocks", blocks() - before <= block_size()? / 512, true)
}
