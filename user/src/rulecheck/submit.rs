//! A20, first half: making a context and submitting to it.
use crate::aio::{Aio, FDSYNC, FSYNC, IOCB_KEY, Iocb, NOOP, PREAD, PREADV, PWRITE, PWRITEV, destroy, setup, submit};
use crate::kit::{Check, Dump, Outcome, Scratch, WT, fd, same, small, wild};
use linux_raw_sys::general as abi;
use std::fs::{File, OpenOptions};
use user::sys::{EAGAIN, EBADF, EFAULT, EINVAL, Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("AIO-1 io_setup makes a context", makes_a_context),
    ("AIO-1 0 or an absurd number is EINVAL", absurd_numbers),
    ("AIO-1 a word that is not 0 is EINVAL", word_not_zero),
    ("AIO-1 a bad pointer is EFAULT, and nothing leaks", nothing_leaks),
    ("AIO-1 over the system's limit is EAGAIN, until room is given back", system_limit),
    ("AIO-1 the ring has room for the number", room_for_the_number),
    ("AIO-2 bad context", bad_context),
    ("AIO-2 a negative number is EINVAL, 0 is 0", numbers),
    ("AIO-2 in order, up to the first that fails", up_to_the_first),
    ("AIO-2 pointers that cannot be read", bad_pointers),
    ("AIO-3 reserved fields and lengths", fields),
    ("AIO-3 descriptors", descriptors),
    ("AIO-3 unknown opcodes", opcodes),
    ("AIO-3 the first error in the order of the checks wins", precedence),
    ("AIO-3 the key is stored", key),
    ("AIO-3 SYN-7 sync iocbs take no other fields", syncs),
    ("AIO-4 no slot is EAGAIN, and reaping gives it back", slots),
    ("AIO-14 priorities", priorities),
];

fn makes_a_context() -> Outcome {
    let id = setup(4).map_err(crate::kit::call("io_setup"))?;
    same("the id", id != 0, true)?;
    same("io_destroy", destroy(id), Ok(0))
}

fn absurd_numbers() -> Outcome {
    for count in [0, u32::MAX.into(), 0x8000_0000] {
        same("io_setup", setup(count), Err(EINVAL)).map_err(|e| format!("{count}: {e}"))?;
    }
    Ok(())
}

fn word_not_zero() -> Outcome {
    let id = small();
    for word in [1, u64::MAX, 1 << 63] {
        id.set_words(0, &[word]);
        same("io_setup", raw(abi::__NR_io_setup, [1, id.addr(0), 0, 0, 0, 0]), Err(EINVAL))?;
        same("the word", id.word(0), word)?;
    }
    Ok(())
}

/// What a process may have at least: half of the default limit.
const MANY: u64 = 0x8000;

fn nothing_leaks() -> Outcome {
    let (read_only, straddling) = (Memory::new(PAGE).read_only(), Memory::new(PAGE).end() - 4);
    let bad = [&wild()[..], &[read_only.addr(0), straddling]].concat();
    for round in 0..5 {
        for &pointer in &bad {
            let result = raw(abi::__NR_io_setup, [MANY, pointer, 0, 0, 0, 0]);
            same("io_setup", result, Err(EFAULT)).map_err(|e| format!("{pointer:#x}, round {round}: {e}"))?;
        }
    }
    let id = setup(MANY).map_err(crate::kit::call("the limit is used up"))?;
    same("io_destroy", destroy(id), Ok(0))
}

fn system_limit() -> Outcome {
    for _ in 0..2 {
        let mut made = Vec::new();
        let error = loop {
            match setup(MANY) {
                Ok(id) => made.push(id),
                Err(errno) => break errno,
            }
            same("there is a limit", made.len() < 1000, true)?;
        };
        same("over the limit", error, EAGAIN)?;
        same("some", made.is_empty(), false)?;
        made.into_iter().try_for_each(|id| same("io_destroy", destroy(id), Ok(0)))?;
    }
    Ok(())
}

fn room_for_the_number() -> Outcome {
    for count in [1, 2, 63, 64] {
        let aio = Aio::new(count)?;
        same("io_submit", aio.submit(&vec![Iocb::noop(); count as usize]), Ok(count))?;
        same("events", aio.reap(count as usize)?.len(), count as usize)?;
    }
    Ok(())
}

fn bad_context() -> Outcome {
    let aio = Aio::new(1)?;
    let gone = setup(1).map_err(crate::kit::call("io_setup"))?;
    same("io_destroy", destroy(gone), Ok(0))?;
    Iocb::noop().store(aio.iocbs, 0);
    aio.pointers.set_words(0, &[aio.iocbs.addr(0)]);
    let page = small().addr(0);
    for id in [&wild()[..], &[gone, aio.id + 1, aio.id + PAGE as u64, page, 1]].concat() {
        let told = |e| format!("{id:#x}: {e}");
        for n in [-1, 0, 1] {
            same("io_submit", submit(id, n, aio.pointers.addr(0)), Err(EINVAL)).map_err(told)?;
        }
        same("io_getevents", crate::aio::getevents(id, 0, 1, aio.events.addr(0), 0), Err(EINVAL)).map_err(told)?;
        same("io_cancel", crate::aio::cancel(id, aio.iocbs.addr(0), 0), Err(EINVAL)).map_err(told)?;
        same("io_destroy", destroy(id), Err(EINVAL)).map_err(told)?;
    }
    Ok(())
}

fn numbers() -> Outcome {
    let aio = Aio::new(1)?;
    for n in [-1, i64::MIN, i64::from(i32::MIN)] {
        same("io_submit", submit(aio.id, n, aio.pointers.addr(0)), Err(EINVAL))?;
    }
    for pointers in [aio.pointers.addr(0), 0, u64::MAX] {
        same("none", submit(aio.id, 0, pointers), Ok(0))?;
    }
    aio.expect_none()
}

fn up_to_the_first() -> Outcome {
    let aio = Aio::new(8)?;
    let (good, bad) = (Iocb::noop(), Iocb { opcode: 99, ..Iocb::noop() });
    for before in 0..6 {
        let batch = [vec![good; before], vec![bad, good]].concat();
        let expected = if before == 0 { Err(EINVAL) } else { Ok(before as u64) };
        same("io_submit", aio.submit(&batch), expected)?;
        same("events", aio.reap(before)?.len(), before)?;
        aio.expect_none()?;
    }
    Ok(())
}

fn bad_pointers() -> Outcome {
    let aio = Aio::new(64)?;
    for pointer in wild() {
        same("no list", submit(aio.id, 1, pointer), Err(EFAULT)).map_err(|e| format!("{pointer:#x}: {e}"))?;
        aio.pointers.set_words(0, &[pointer]);
        let result = submit(aio.id, 1, aio.pointers.addr(0));
        same("no iocb", result, Err(EFAULT)).map_err(|e| format!("{pointer:#x}: {e}"))?;
    }
    // An iocb that can be read and not written, and one that ends where nothing is.
    let locked = Memory::new(PAGE);
    Iocb::noop().store(locked, 0);
    for pointer in [locked.read_only().addr(0), Memory::new(PAGE).end() - 32] {
        aio.pointers.set_words(0, &[pointer]);
        same("iocb", submit(aio.id, 1, aio.pointers.addr(0)), Err(EFAULT))?;
    }
    // A list that ends where nothing is: what comes before is submitted, also across the kernel's batches.
    let list = Memory::new(PAGE);
    Iocb::noop().store(aio.iocbs, 0);
    for n in [1, 31, 33, 40] {
        (0..n).for_each(|i| list.set_words(PAGE - 8 * (i + 1), &[aio.iocbs.addr(0)]));
        same("io_submit", submit(aio.id, 64, list.addr(PAGE - 8 * n)), Ok(n as u64))?;
        same("events", aio.reap(n)?.len(), n)?;
        aio.expect_none()?;
    }
    Ok(())
}

/// Each of `iocbs` is refused with `EINVAL` or another error, and nothing has changed.
fn refused(file: &Scratch, aio: &Aio, iocbs: &[(Iocb, user::sys::Errno)]) -> Outcome {
    let before = Dump::settled(&file.file)?;
    for (iocb, errno) in iocbs {
        same("io_submit", aio.submit(&[*iocb]), Err(*errno)).map_err(|e| format!("{iocb:?}: {e}"))?;
        aio.expect_none()?;
    }
    before.expect_same(&Dump::of(&file.file)?)
}

fn fields() -> Outcome {
    let (file, aio, memory) = (Scratch::new("fields", b"x")?, Aio::new(1)?, Memory::new(PAGE));
    let good = Iocb::write(&file.file, memory, 10, 0, WT);
    let mut bad = Vec::new();
    for reserved2 in [1, 1 << 63] {
        bad.push((Iocb { reserved2, ..good }, EINVAL));
    }
    for len in [1 << 63, u64::MAX] {
        for opcode in [PREAD, PWRITE, PREADV, PWRITEV] {
            bad.push((Iocb { len, opcode, ..good }, EINVAL));
        }
    }
    refused(&file, &aio, &bad)
}

fn descriptors() -> Outcome {
    let (file, aio, memory) = (Scratch::new("descriptors", b"x")?, Aio::new(1)?, Memory::new(PAGE));
    let read_only = File::open(&file.path).map_err(crate::kit::text)?;
    let write_only = OpenOptions::new().write(true).open(&file.path).map_err(crate::kit::text)?;
    let good = Iocb::write(&file.file, memory, 10, 0, 0);
    let mut bad = Vec::new();
    for number in [u32::MAX, 1000, 1 << 31] {
        for opcode in [PREAD, PWRITE, FSYNC, PWRITEV] {
            bad.push((Iocb { fd: number, opcode, ..good }, EBADF));
        }
    }
    for opcode in [PWRITE, PWRITEV] {
        bad.push((Iocb { fd: fd(&read_only) as u32, opcode, len: 0, ..good }, EBADF));
    }
    for opcode in [PREAD, PREADV] {
        bad.push((Iocb { fd: fd(&write_only) as u32, opcode, len: 0, ..good }, EBADF));
    }
    refused(&file, &aio, &bad)
}

fn opcodes() -> Outcome {
    let (file, aio, memory) = (Scratch::new("opcodes", b"x")?, Aio::new(1)?, Memory::new(PAGE));
    let good = Iocb::write(&file.file, memory, 10, 0, 0);
    // 5 is POLL, which has no length.
    let bad: Vec<_> = [4, 5, 9, 10, 255, u16::MAX].map(|opcode| (Iocb { opcode, ..good }, EINVAL)).into();
    refused(&file, &aio, &bad)?;
    same("NOOP", aio.run(Iocb { opcode: NOOP, ..good })?, 0)
}

/// Reserved fields, descriptor, slot, key, opcode: an iocb with two faults tells the first.
fn precedence() -> Outcome {
    let (file, aio, memory) = (Scratch::new("precedence", b"x")?, Aio::new(1)?, Memory::new(PAGE));
    let good = Iocb::write(&file.file, memory, 10, 0, 0);
    let (no_file, no_opcode) = (Iocb { fd: 1000, ..good }, Iocb { opcode: 99, ..good });
    refused(
        &file,
        &aio,
        &[
            (Iocb { reserved2: 1, ..no_file }, EINVAL),
            (Iocb { opcode: 99, ..no_file }, EBADF),
            (Iocb { opcode: 99, rw_flags: WT | 8, ..good }, EINVAL),
        ],
    )?;
    same("io_submit", aio.submit(&[Iocb::noop()]), Ok(1))?;
    same("no slot before the opcode", aio.submit(&[no_opcode]), Err(EAGAIN))?;
    same("the file before the slot", aio.submit(&[no_file]), Err(EBADF))?;
    same("events", aio.reap(1)?.len(), 1)
}

fn key() -> Outcome {
    let aio = Aio::new(1)?;
    same("io_submit", aio.submit(&[Iocb::noop()]), Ok(1))?;
    same("key", aio.iocbs.get(IOCB_KEY, 4), vec![0; 4])?;
    same("events", aio.reap(1)?[0].obj, aio.iocbs.addr(0))
}

fn syncs() -> Outcome {
    let (file, aio) = (Scratch::new("syncs", b"x")?, Aio::new(1)?);
    for opcode in [FSYNC, FDSYNC] {
        let good = Iocb { opcode, fd: file.fd() as u32, ..Iocb::default() };
        same("event", aio.run(good)?, 0)?;
        refused(
            &file,
            &aio,
            &[
                (Iocb { buffer: 1, ..good }, EINVAL),
                (Iocb { pos: 1, ..good }, EINVAL),
                (Iocb { pos: -1, ..good }, EINVAL),
                (Iocb { len: 1, ..good }, EINVAL),
                (Iocb { rw_flags: 2, ..good }, EINVAL),
            ],
        )?;
    }
    Ok(())
}

fn slots() -> Outcome {
    let (file, memory) = (Scratch::new("slots", &[])?, Memory::new(PAGE));
    let aio = Aio::new(1)?;
    let write = Iocb::write(&file.file, memory, 100, 0, WT);
    let mut given = 0;
    let error = loop {
        match aio.submit(&[write]) {
            Ok(1) => given += 1,
            other => break other,
        }
        same("there is an end", given < 10_000, true)?;
    };
    same("no slot", error, Err(EAGAIN))?;
    same("at least the number asked for", given >= 1, true)?;
    for _ in 0..20 {
        same("still none", aio.submit(&[write, write]), Err(EAGAIN))?;
        same("events", aio.reap(1)?[0].res, 100)?;
        same("one, and then none", aio.submit(&[write, write]), Ok(1))?;
    }
    same("all events", aio.reap(given)?.iter().all(|event| event.res == 100), true)?;
    aio.expect_none()?;
    Ok(())
}

fn priorities() -> Outcome {
    let (file, aio, memory) = (Scratch::new("priorities", b"x")?, Aio::new(1)?, Memory::new(PAGE));
    const IOPRIO: u32 = 2;
    let with = |class: u16, level: u16| Iocb {
        flags: IOPRIO,
        priority: (class << 13 | level) as i16,
        ..Iocb::write(&file.file, memory, 1, 0, WT)
    };
    let bad: Vec<_> = [(4, 0), (7, 0), (0, 1), (1, 8), (2, 8), (2, 0x1fff)].map(|(c, l)| (with(c, l), EINVAL)).into();
    refused(&file, &aio, &bad)?;
    for (class, level) in [(0, 0), (1, 0), (2, 7), (3, 0)] {
        same("event", aio.run(with(class, level))?, 1)?;
    }
    // Without the flag the field is not looked at.
    same("event", aio.run(Iocb { flags: 0, ..with(7, 99) })?, 1)
}
