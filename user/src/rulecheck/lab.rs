//! What needs a request held in flight: only in a kernel with the lab, whose gate a program opens and closes.
use crate::aio::{Aio, Iocb, cancel, destroy};
use crate::kit::{Check, Dump, Outcome, Scratch, WT, quiet, same, same_bytes, write};
use crate::now::NOWAIT;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use user::sys::{self, EAGAIN, EINVAL, Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("WT-2 PRC-1 R71 submitted: visible, the buffer is free, the file may close", submitted),
    ("AIO-10 R67 a write in flight cannot be cancelled", cancelled),
    ("AIO-13 R72 io_submit never waits for the device", depth),
    ("AIO-4 R68 slots of requests in flight", slots),
    ("AIO-12 io_destroy waits for what is in flight", destroy_waits),
    ("TRC-2 R01 truncate(0) waits for the write in flight", truncate_waits),
    ("SIZE-6 the size is there before the device has answered", size_before),
    ("BUF-1 STB-6 readers do not wait", readers),
    ("BUF-4 R74 a buffered write beside does not wait", beside),
    ("NOW-1 a page on its way to the device is EAGAIN, or ends the count", nowait),
    ("R73 no lock is held across device time", no_lock),
    ("PERF-1 LOCK-9 eight writers of one file have eight requests in flight, as of eight files", eight),
];

const LAB: &str = "/proc/sluice/lab";

pub fn is_there() -> bool {
    Path::new(LAB).exists()
}

fn command(line: &str) -> Outcome {
    let written = File::options().write(true).open(LAB).and_then(|mut file| file.write_all(line.as_bytes()));
    written.map_err(|e| format!("{LAB}: {line}: {e}"))
}

/// Writes are held from now on; what is held goes on when it is dropped.
#[must_use = "dropping it opens the gate"]
struct Closed;

impl Closed {
    fn new() -> Result<Closed, String> {
        command("hold write 1000")?;
        Ok(Closed)
    }
    /// `n` writes are held before the disk.
    fn expect(&self, n: usize) -> Outcome {
        command(&format!("wait-held {n}"))?;
        let held = std::fs::read_to_string(LAB).map_err(crate::kit::text)?.lines().count();
        same("requests held", held, n)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = command("release");
    }
}

fn filled(byte: u8) -> Memory {
    let memory = Memory::new(PAGE);
    memory.set(0, &[byte; PAGE]);
    memory
}

fn submitted() -> Outcome {
    let (file, aio, memory) = (Scratch::new("held", &[])?, Aio::new(1)?, filled(7));
    let second = file.open(0)?;
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[Iocb::write(&second, memory, PAGE, 0, WT)]), Ok(1))?;
    closed.expect(1)?;
    drop(second);
    memory.set(0, &[8; PAGE]);
    same_bytes("seen by a reader", &file.cached()?, &[7; PAGE])?;
    aio.expect_none()?;
    drop(closed);
    same("event", aio.reap(1)?[0].res, PAGE as i64)?;
    file.expect(&[7; PAGE])?;
    quiet()
}

fn nowait() -> Outcome {
    let (file, aio) = (Scratch::new("nowait", &[1; 3 * PAGE])?, Aio::new(4)?);
    file.cached()?;
    let write = |page: u64, pages: usize, memory, flags| {
        Iocb::write(&file.file, memory, pages * PAGE, page * PAGE as u64, WT | flags)
    };
    let (two, three) = (filled(2), Memory::new(3 * PAGE));
    three.set(0, &[3; 3 * PAGE]);
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[write(2, 1, two, 0).with_data(7)]), Ok(1))?;
    closed.expect(1)?;
    let before = Dump::of(&file.file)?;
    same("the same page", aio.run(write(2, 1, three, NOWAIT))?, -i64::from(EAGAIN.0))?;
    before.expect_same(&Dump::of(&file.file)?)?;
    same("io_submit", aio.submit(&[write(0, 3, three, NOWAIT).with_data(8)]), Ok(1))?;
    closed.expect(2)?;
    aio.expect_none()?;
    drop(closed);
    let mut events: Vec<_> = aio.reap(2)?.iter().map(|event| (event.data, event.res)).collect();
    events.sort_unstable();
    same("events", events, vec![(7, PAGE as i64), (8, 2 * PAGE as i64)])?;
    file.expect(&[&[3; 2 * PAGE][..], &[2; PAGE]].concat())
}

fn cancelled() -> Outcome {
    let (file, aio) = (Scratch::new("cancelled", &[])?, Aio::new(1)?);
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[Iocb::write(&file.file, filled(7), PAGE, 0, WT)]), Ok(1))?;
    closed.expect(1)?;
    same("io_cancel", cancel(aio.id, aio.iocbs.addr(0), aio.events.addr(0)), Err(EINVAL))?;
    aio.expect_none()?;
    drop(closed);
    same("event", aio.reap(1)?[0].res, PAGE as i64)?;
    file.expect(&[7; PAGE])
}

fn depth() -> Outcome {
    let (file, aio) = (Scratch::new("depth", &[])?, Aio::new(32)?);
    let closed = Closed::new()?;
    for i in 0..32u64 {
        let pos = 2 * i * PAGE as u64;
        same("io_submit", aio.submit(&[Iocb::write(&file.file, filled(7), PAGE, pos, WT)]), Ok(1))?;
    }
    closed.expect(32)?;
    aio.expect_none()?;
    drop(closed);
    same("events", aio.reap(32)?.iter().all(|event| event.res == PAGE as i64), true)
}

fn slots() -> Outcome {
    let (file, aio) = (Scratch::new("slots", &[])?, Aio::new(2)?);
    let closed = Closed::new()?;
    let at = |i: u64| Iocb::write(&file.file, filled(7), PAGE, 2 * i * PAGE as u64, WT);
    same("three of two", aio.submit(&[at(0), at(1), at(2)]), Ok(2))?;
    closed.expect(2)?;
    let before = Dump::of(&file.file)?;
    same("no slot", aio.submit(&[at(2)]), Err(EAGAIN))?;
    before.expect_same(&Dump::of(&file.file)?)?;
    drop(closed);
    same("an event", aio.reap(1)?.len(), 1)?;
    same("its slot", aio.submit(&[at(2)]), Ok(1))?;
    same("events", aio.reap(2)?.len(), 2)
}

/// The other thread does `call`, which must not return before the gate is opened.
fn waits<T: Send>(
    closed: Closed,
    call: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce() -> Outcome,
) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(call);
        // Whether it waits is seen by the kernel's count of sleeping drains, or by its not having ended.
        let outcome = meanwhile();
        let ended = thread.is_finished();
        drop(closed);
        let result = thread.join().map_err(|_| "the thread panicked")?;
        outcome?;
        same("it waited", ended, false)?;
        Ok(result)
    })
}

fn destroy_waits() -> Outcome {
    let (file, aio) = (Scratch::new("destroyed", &[])?, Aio::new(1)?);
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[Iocb::write(&file.file, filled(7), PAGE, 0, WT)]), Ok(1))?;
    closed.expect(1)?;
    let id = aio.id;
    let result = waits(
        closed,
        || destroy(id),
        || {
            // The id is gone before the wait.
            for _ in 0..100_000 {
                if aio.submit(&[]) == Err(EINVAL) {
                    return same("second", destroy(id), Err(EINVAL));
                }
                std::thread::yield_now();
            }
            Err("the id stays".into())
        },
    )?;
    same("io_destroy", result, Ok(0))?;
    file.expect(&[7; PAGE])
}

fn truncate_waits() -> Outcome {
    let (file, aio) = (Scratch::new("truncated", &[])?, Aio::new(1)?);
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[Iocb::write(&file.file, filled(7), PAGE, 0, WT)]), Ok(1))?;
    closed.expect(1)?;
    let drains = crate::kit::counter("drain_waits")?;
    let result = waits(
        closed,
        || sys::ftruncate(file.fd(), 0),
        || {
            for _ in 0..100_000 {
                if crate::kit::counter("drain_waits")? > drains {
                    return same("size, unchanged", file.size(), PAGE as u64);
                }
                std::thread::yield_now();
            }
            Err("it never waited".into())
        },
    )?;
    same("ftruncate", result, Ok(()))?;
    same("event", aio.reap(1)?[0].res, PAGE as i64)?;
    let metadata = file.file.metadata().map_err(crate::kit::text)?;
    same("size and blocks", (metadata.len(), metadata.blocks()), (0, 0))?;
    quiet()
}

fn size_before() -> Outcome {
    let (file, aio) = (Scratch::new("sized", &[])?, Aio::new(1)?);
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[Iocb::write(&file.file, filled(7), 100, 5000, WT)]), Ok(1))?;
    closed.expect(1)?;
    same("size", file.size(), 5100)?;
    drop(closed);
    same("event", aio.reap(1)?[0].res, 100)
}

fn readers() -> Outcome {
    let (file, aio) = (Scratch::new("read", &[1; 2 * PAGE])?, Aio::new(1)?);
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[Iocb::write(&file.file, filled(7), PAGE, 0, WT)]), Ok(1))?;
    closed.expect(1)?;
    let kind = sys::MapKind { write: false, shared: true };
    let mapped = sys::FileMap::new(file.fd(), 2 * PAGE, kind).map_err(crate::kit::call("mmap"))?;
    same("mapped", (mapped.get(0), mapped.get(PAGE)), (7, 1))?;
    same_bytes("read", &file.cached()?, &[[7; PAGE], [1; PAGE]].concat())?;
    closed.expect(1)?;
    drop(closed);
    same("event", aio.reap(1)?[0].res, PAGE as i64)
}

fn beside() -> Outcome {
    let (file, aio) = (Scratch::new("beside", &[1; 3 * PAGE])?, Aio::new(1)?);
    let closed = Closed::new()?;
    same("io_submit", aio.submit(&[Iocb::write(&file.file, filled(7), PAGE, 0, WT)]), Ok(1))?;
    closed.expect(1)?;
    let stable = crate::kit::counter("stable_waits")?;
    same("buffered", write(&file.file, &[2; 10], 2 * PAGE as u64, 0), Ok(10))?;
    same("stable waits", crate::kit::counter("stable_waits")?, stable)?;
    closed.expect(1)?;
    drop(closed);
    same("event", aio.reap(1)?[0].res, PAGE as i64)
}

fn no_lock() -> Outcome {
    let (file, aio) = (Scratch::new("unlocked", &[1; 4 * PAGE])?, Aio::new(2)?);
    let closed = Closed::new()?;
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| write(&file.file, &[7; PAGE], 0, WT));
        closed.expect(1)?;
        same("stat", file.size(), 4 * PAGE as u64)?;
        let mut byte = [0];
        same("read", sys::pread(file.fd(), &mut byte, 2 * PAGE as u64), Ok(1))?;
        same("read", byte, [1])?;
        let elsewhere = Iocb::write(&file.file, filled(8), PAGE, 3 * PAGE as u64, WT);
        same("io_submit", aio.submit(&[elsewhere]), Ok(1))?;
        closed.expect(2)?;
        same("it waited", sync.is_finished(), false)?;
        drop(closed);
        same("the first", sync.join().map_err(|_| "the thread panicked")?, Ok(PAGE))
    })?;
    same("event", aio.reap(1)?[0].res, PAGE as i64)
}

fn eight() -> Outcome {
    let one = Scratch::new("one", &[1; 8 * PAGE])?;
    let many = (0..8).map(|i| Scratch::new(&format!("eight-{i}"), &[1; 8 * PAGE])).collect::<Result<Vec<_>, _>>()?;
    // The folder's blocks too, or they would be written beside.
    sys::sync();
    eight_in_flight(&[&one; 8])?;
    eight_in_flight(&many.iter().collect::<Vec<_>>())?;
    one.expect(&[7; 8 * PAGE])
}

/// Each thread writes another page through, of its file.
fn eight_in_flight(files: &[&Scratch]) -> Outcome {
    let closed = Closed::new()?;
    std::thread::scope(|scope| {
        let write = |(i, file): (usize, &&Scratch)| write(&file.file, &[7; PAGE], (i * PAGE) as u64, WT);
        let threads: Vec<_> = files.iter().enumerate().map(|file| scope.spawn(move || write(file))).collect();
        closed.expect(8)?;
        drop(closed);
        threads.into_iter().try_for_each(|t| same("pwritev2", t.join().map_err(|_| "the thread panicked")?, Ok(PAGE)))
    })
}
