//! A23: what overlapping writes leave behind.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, Outcome, Scratch, WT, pattern, same, same_bytes, write};
use user::sys::{Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("ORD-1 R29 overlapping writes: the device ends as the cache", device_as_cache),
    ("ORD-2 the later of two overlapping iocbs wins", program_order),
    ("ORD-3 R30 neighbours in one block are all kept", neighbours),
    ("ORD-3 R31 four pieces past the end of the file", past_the_end),
    ("ORD-6 writes over many pages do not mix", whole_calls),
];

fn filled(len: usize, byte: u8) -> Memory {
    let memory = Memory::new(len);
    memory.set(0, &vec![byte; len]);
    memory
}

fn device_as_cache() -> Outcome {
    let (file, aio) = (Scratch::new("overlap", &[])?, Aio::new(8)?);
    for round in 0..20u64 {
        let at = |i: u64| Iocb::write(&file.file, filled(2 * PAGE, (round * 8 + i) as u8), 2 * PAGE, i * 1500, WT);
        same("io_submit", aio.submit(&(0..8).map(at).collect::<Vec<_>>()), Ok(8))?;
        aio.reap(8)?;
        let cache = file.cached()?;
        same_bytes("device", &file.on_device()?, &cache)?;
    }
    Ok(())
}

fn program_order() -> Outcome {
    let (file, aio) = (Scratch::new("program", &[])?, Aio::new(2)?);
    for round in 0..20u8 {
        let first = Iocb::write(&file.file, filled(2 * PAGE, 1), 2 * PAGE, 0, WT);
        let second = Iocb::write(&file.file, filled(2 * PAGE, 2 + round), 2 * PAGE, PAGE as u64, WT);
        same("io_submit", aio.submit(&[first, second]), Ok(2))?;
        aio.reap(2)?;
        file.expect(&[vec![1; PAGE], vec![2 + round; 2 * PAGE]].concat())?;
    }
    Ok(())
}

fn neighbours() -> Outcome {
    let mut expected = vec![0; PAGE];
    let ranges = [(0, 512, 1), (512, 512, 2), (3000, 100, 3), (1024, 1, 4), (4095, 1, 5)];
    ranges.iter().for_each(|&(pos, len, byte)| expected[pos..pos + len].fill(byte));
    for _ in 0..10 {
        let (file, aio) = (Scratch::new("neighbours", &[])?, Aio::new(8)?);
        let batch: Vec<Iocb> = ranges
            .iter()
            .map(|&(pos, len, byte)| Iocb::write(&file.file, filled(len, byte), len, pos as u64, WT))
            .collect();
        same("io_submit", aio.submit(&batch), Ok(5))?;
        aio.reap(5)?;
        file.expect(&expected)?;
    }
    // The same from threads, each its own range, again and again.
    let file = Scratch::new("neighbours", &[0; PAGE])?;
    std::thread::scope(|scope| {
        let thread = |&(pos, len, byte): &(usize, usize, u8)| {
            let file = &file;
            scope.spawn(move || {
                (0..30).try_for_each(|_| same("write", write(&file.file, &vec![byte; len], pos as u64, WT), Ok(len)))
            })
        };
        let threads: Vec<_> = ranges.iter().map(thread).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    file.expect(&expected)
}

fn past_the_end() -> Outcome {
    for _ in 0..10 {
        let (file, aio) = (Scratch::new("pieces", &[])?, Aio::new(4)?);
        let at = |i: u64| Iocb::write(&file.file, filled(512, i as u8 + 1), 512, 100 + 512 * i, WT);
        same("io_submit", aio.submit(&[at(2), at(0), at(3), at(1)]), Ok(4))?;
        aio.reap(4)?;
        same("size", file.size(), 100 + 4 * 512)?;
        let expected: Vec<u8> = (0..4).flat_map(|i| [i + 1; 512]).collect();
        file.expect(&[vec![0; 100], expected].concat())?;
    }
    Ok(())
}

fn whole_calls() -> Outcome {
    let file = Scratch::new("whole", &[0; 6 * PAGE])?;
    let (a, b) = (pattern(4 * PAGE, 1), pattern(4 * PAGE, 2));
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let one = scope.spawn(|| write(&file.file, &a, 0, WT));
            let other = write(&file.file, &b, 2 * PAGE as u64, WT);
            same("both", (one.join().ok(), other), (Some(Ok(4 * PAGE)), Ok(4 * PAGE)))
        })?;
        // In the pages that both wrote stands one of them alone.
        let seen = file.cached()?;
        let shared = &seen[2 * PAGE..4 * PAGE];
        same("one of them", shared == &a[2 * PAGE..] || shared == &b[..2 * PAGE], true)?;
        same_bytes("device", &file.on_device()?, &seen)?;
    }
    Ok(())
}
