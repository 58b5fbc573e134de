//! A3: what a program may rely on when a write-through has returned, or its event is there.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, Outcome, Scratch, WT, call, costs, counter, pattern, quiet, same, same_bytes, vector, write};
use linux_raw_sys::general as abi;
use std::os::unix::fs::MetadataExt;
use user::sys::{self, FileMap, MapKind, Memory, O_DIRECT, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("WT-1 returned: cache and device have the bytes, without a flush", returned),
    ("WT-2 io_submit returned: readers see it, the buffer is free", submitted),
    ("WT-3 AIO-6 the event is there: as WT-1", event),
    ("WT-5 one outcome for each request", one_outcome),
    ("WT-6 every path reads the new bytes", every_path),
    ("WT-7 other dirty bytes stay dirty and arrive", others),
    ("WT-8 DUR-1 DSYNC flushes, DUR-10 plain write-through does not", flushes),
    ("CTX-9 nothing is left when all is quiet", quiet),
];

fn returned() -> Outcome {
    let file = Scratch::new("returned", &[])?;
    let bytes = pattern(3 * PAGE + 17, 1);
    costs("flushes and commits", (0, 0), || {
        same("write", write(&file.file, &bytes, 0, WT), Ok(bytes.len()))?;
        file.expect(&bytes)
    })?;
    let metadata = file.file.metadata().map_err(crate::kit::text)?;
    same(
        "size and blocks",
        (metadata.len(), metadata.blocks() >= bytes.len() as u64 / 512),
        (bytes.len() as u64, true),
    )?;
    quiet()
}

fn submitted() -> Outcome {
    let file = Scratch::new("submitted", &[])?;
    let (aio, memory) = (Aio::new(32)?, Memory::new(PAGE));
    for i in 0..32u8 {
        memory.set(0, &[i; PAGE]);
        let pos = u64::from(i) * PAGE as u64;
        same("io_submit", aio.submit(&[Iocb::write(&file.file, memory, PAGE, pos, WT)]), Ok(1))?;
        // The next round stores over the buffer; the file has the bytes already.
        let mut seen = [99];
        same("read", sys::pread(file.fd(), &mut seen, pos + PAGE as u64 - 1), Ok(1))?;
        same("seen", (seen[0], file.size()), (i, pos + PAGE as u64))?;
    }
    memory.set(0, &[99; PAGE]);
    same("events", aio.reap(32)?.iter().all(|event| event.res == PAGE as i64), true)?;
    file.expect(&(0..32).flat_map(|i| [i; PAGE]).collect::<Vec<u8>>())
}

fn event() -> Outcome {
    let (file, aio, memory) = (Scratch::new("event", &[])?, Aio::new(8)?, Memory::new(PAGE));
    let bytes = pattern(PAGE, 3);
    memory.set(0, &bytes);
    for i in 0..8u64 {
        same("event", aio.run(Iocb::write(&file.file, memory, PAGE, i * PAGE as u64, WT))?, PAGE as i64)?;
        let seen = file.on_device()?;
        same_bytes("device", &seen[i as usize * PAGE..], &bytes)?;
        let blocks = file.file.metadata().map_or(0, |m| m.blocks());
        same("blocks", blocks >= (i + 1) * 8, true)?;
    }
    quiet()
}

fn one_outcome() -> Outcome {
    let (file, aio, memory) = (Scratch::new("outcome", &[])?, Aio::new(64)?, Memory::new(PAGE));
    for round in 0..8u64 {
        let batch: Vec<Iocb> = (0..64u64)
            .map(|i| Iocb::write(&file.file, memory, 512, (i * 37 % 64) * 512, WT).with_data(round * 64 + i))
            .collect();
        same("io_submit", aio.submit(&batch), Ok(64))?;
        let mut data: Vec<u64> = aio.reap(64)?.iter().map(|event| event.data).collect();
        data.sort_unstable();
        same("events", data, (round * 64..round * 64 + 64).collect())?;
        aio.expect_none()?;
    }
    Ok(())
}

fn every_path() -> Outcome {
    let file = Scratch::new("paths", &[1; 2 * PAGE])?;
    let direct = file.open(O_DIRECT)?;
    let mapped = FileMap::new(file.fd(), 2 * PAGE, MapKind { write: false, shared: true }).map_err(call("mmap"))?;
    let (memory, aio) = (Memory::new(PAGE), Aio::new(1)?);
    for new in 2..10u8 {
        same("write", write(&file.file, &[new; PAGE], PAGE as u64, WT), Ok(PAGE))?;
        same("mapping", (mapped.get(PAGE), mapped.get(2 * PAGE - 1), mapped.get(0)), (new, new, 1))?;
        same("aio direct read", aio.run(Iocb::read(&direct, memory, PAGE, PAGE as u64))?, PAGE as i64)?;
        same_bytes("aio direct read", &memory.get(0, PAGE), &[new; PAGE])?;
        same("aio read", aio.run(Iocb::read(&file.file, memory, 100, PAGE as u64 + 5))?, 100)?;
        same_bytes("aio read", &memory.get(0, 100), &[new; 100])?;
        file.expect(&[[1; PAGE], [new; PAGE]].concat())?;
    }
    Ok(())
}

/// A buffered write leaves dirty blocks around the range of a write-through; none of their bytes is lost.
fn others() -> Outcome {
    let file = Scratch::new("others", &[0; 4 * PAGE])?;
    let mut expected = vec![0; 4 * PAGE];
    for (pos, len) in [(0, 10), (1500, 700), (PAGE - 3, 6), (3 * PAGE + 100, 3000)] {
        same("buffered", write(&file.file, &vec![5; len], pos as u64, 0), Ok(len))?;
        expected[pos..pos + len].fill(5);
    }
    for (pos, len) in [(100, 10), (1024, 512), (2 * PAGE - 1, 2)] {
        same("write-through", write(&file.file, &vec![6; len], pos as u64, WT), Ok(len))?;
        expected[pos..pos + len].fill(6);
    }
    same_bytes("cache", &file.cached()?, &expected)?;
    file.file.sync_all().map_err(crate::kit::text)?;
    file.expect(&expected)
}

fn flushes() -> Outcome {
    let (file, memory) = (Scratch::new("flushes", &[0; PAGE])?, Memory::new(PAGE));
    let write = |flags| vector(abi::__NR_pwritev2, file.fd() as u64, (memory.addr(0), PAGE as u64), 0, flags);
    costs("flushes and commits", (0, 0), || same("plain", write(WT), Ok(PAGE as u64)))?;
    let durability = std::fs::read_to_string("/proc/sluice/durability").map_err(crate::kit::text)?;
    let volatile = durability.lines().any(|line| line.starts_with("/ ") && line.contains("on flush"));
    costs("flushes and commits of an overwrite", (u64::from(volatile), 0), || {
        same("DSYNC", write(WT | abi::RWF_DSYNC), Ok(PAGE as u64))
    })?;
    // DUR-11: nothing is dirty after a plain write-through, and fsync flushes nevertheless.
    same("plain", write(WT), Ok(PAGE as u64))?;
    let before = counter("flushes")?;
    raw(abi::__NR_fdatasync, [file.fd() as u64, 0, 0, 0, 0, 0]).map_err(call("fdatasync"))?;
    same("flushes of fdatasync", counter("flushes")? > before, volatile)
}
