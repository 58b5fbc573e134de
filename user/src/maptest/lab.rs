//! Stores against requests that are held before the disk, by the kernel's lab.
use super::stores::counter;
use super::{Check, Pages, STORES, same};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use user::sys::{self, AioQueue, FileMap, MS_SYNC, PAGE, RWF_WRITETHROUGH};

pub const CHECKS: &[(&str, Check)] = &[
    ("MM-1 STB-4 a store waits for the write-through", store_waits),
    ("R20 the end of another write-through", first_finisher),
    ("R22 stores before and after the write protection", mkclean),
    ("R25 a store and a truncate wait for the write-through", with_truncate),
    ("R26 two writers whose sources are each other's targets", each_other),
    ("MM-7 msync waits for the write-through", msync_waits),
    ("SYN-6 sync_file_range waits", sync_file_range_waits),
    ("MM-5 STB-6 loads wait for nothing", loads),
];

const LAB: &str = "/proc/sluice/lab";
/// What [`AioQueue`] writes: its buffers are full of their place, from 1.
const WRITTEN: u8 = 60;

type Outcome = Result<(), String>;

fn command(line: &str) -> Outcome {
    let written = File::options().write(true).open(LAB).and_then(|mut file| file.write_all(line.as_bytes()));
    written.map_err(|e| format!("{LAB}: {line}: {e}"))
}

/// A write-through of one page full of [`WRITTEN`] that is held before the disk.
#[must_use = "dropping it lets the write go on"]
struct Held {
    queue: AioQueue,
}

impl Held {
    fn new(pages: &Pages, page: usize) -> Result<Held, String> {
        // Whatever else is written meanwhile is held as well.
        Held::with(pages, page, "hold write 1000")
    }
    fn with(pages: &Pages, page: usize, rule: &str) -> Result<Held, String> {
        let mut queue = AioQueue::new(WRITTEN.into()).map_err(|e| format!("io_setup: {e:?}"))?;
        command(rule)?;
        queue.prepare(pages.fd(), true, (page * PAGE) as u64, RWF_WRITETHROUGH);
        queue.submit().map_err(|e| format!("io_submit: {e:?}"))?;
        command("wait-held 1")?;
        Ok(Held { queue })
    }
    fn release(mut self) -> Outcome {
        command("release")?;
        self.queue.reap().map(drop).map_err(|e| format!("the write: {e:?}"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = command("release");
    }
}

/// Another thread stores a byte; it must come to wait for the folio, and has not ended then. What it waits for is released after
/// `meanwhile`.
fn waits(
    held: Held,
    mut map: FileMap,
    at: usize,
    byte: u8,
    meanwhile: impl FnOnce() -> Outcome,
) -> Result<FileMap, String> {
    let before = counter("stable_waits ")?;
    std::thread::scope(|scope| {
        let storing = scope.spawn(move || {
            map.set(at, byte);
            map
        });
        let came = comes("stable_waits ", before);
        let outcome = came.and_then(|()| meanwhile());
        let ended = storing.is_finished();
        held.release()?;
        let map = storing.join().map_err(|_| "the thread panicked")?;
        outcome?;
        same("it waited", ended, false)?;
        Ok(map)
    })
}

/// Looks until a counter of the kernel has risen above `before`.
fn comes(name: &str, before: u64) -> Outcome {
    for _ in 0..100_000 {
        if counter(name)? > before {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(format!("{name}stays {before}"))
}

fn store_waits() -> Outcome {
    let pages = Pages::new("lab.waits", 2)?;
    let mut map = pages.map(2, STORES)?;
    map.set(7, 50);
    let held = Held::new(&pages, 0)?;
    let reader = pages.map(2, super::SHARED)?;
    let map = waits(held, map, 7, 70, || same("in flight", (reader.get(6), reader.get(7)), (WRITTEN, WRITTEN)))?;
    same("stored", (map.get(6), map.get(7)), (WRITTEN, 70))?;
    same("fsync", sys::fsync(pages.fd()), Ok(()))
}

fn first_finisher() -> Outcome {
    let pages = Pages::new("lab.first", 2)?;
    let mut map = pages.map(2, STORES)?;
    map.set(0, 50);
    let held = Held::with(&pages, 0, "hold write 1")?;
    same("the other", sys::pwritev2(pages.fd(), &[61; PAGE], PAGE as u64, RWF_WRITETHROUGH), Ok(PAGE))?;
    let map = waits(held, map, 0, 70, || Ok(()))?;
    same("stored", (map.get(0), map.get(1)), (70, WRITTEN))
}

/// Every byte that was stored before the write-through is in it; one stored after waits.
fn mkclean() -> Outcome {
    let pages = Pages::new("lab.mkclean", 1)?;
    let mut map = pages.map(1, STORES)?;
    map.set(100, 71);
    command("hold write 1000")?;
    let before = counter("stable_waits ")?;
    std::thread::scope(|scope| {
        // One block is written, the store is in the same.
        let writing = scope.spawn(|| sys::pwritev2(pages.fd(), &[61; 10], 0, RWF_WRITETHROUGH));
        command("wait-held 1")?;
        let storing = scope.spawn(move || {
            map.set(101, 72);
            map
        });
        let came = comes("stable_waits ", before);
        let ended = storing.is_finished();
        command("release")?;
        same("written", writing.join().map_err(|_| "the thread panicked")?, Ok(10))?;
        let map = storing.join().map_err(|_| "the thread panicked")?;
        came?;
        same("it waited", ended, false)?;
        same("seen", (map.get(9), map.get(100), map.get(101)), (61, 71, 72))
    })?;
    same("fsync", sys::fsync(pages.fd()), Ok(()))
}

fn with_truncate() -> Outcome {
    let pages = Pages::new("lab.truncate", 2)?;
    let mut map = pages.map(2, STORES)?;
    map.set(0, 50);
    let held = Held::new(&pages, 0)?;
    let drains = counter("drain_waits ")?;
    let fd = pages.fd();
    std::thread::scope(|scope| {
        let mut truncating = None;
        let map = waits(held, map, 0, 70, || {
            truncating = Some(scope.spawn(move || sys::ftruncate(fd, 1)));
            comes("drain_waits ", drains)
        })?;
        let truncated = truncating.ok_or("no truncate")?.join().map_err(|_| "the thread panicked")?;
        same("ftruncate", truncated, Ok(()))?;
        same("behind the new end", map.get(1), 0)
    })?;
    same("size", pages.file.metadata().map(|m| m.len()).map_err(|e| e.to_string())?, 1)
}

/// Each write-through takes its bytes from a mapping of the file that the other writes, which was stored to.
fn each_other() -> Outcome {
    let (x, y) = (Pages::new("lab.x", 2)?, Pages::new("lab.y", 2)?);
    let (mut of_x, mut of_y) = (x.map(2, STORES)?, y.map(2, STORES)?);
    of_x.set(0, 70);
    of_y.set(0, 80);
    command("hold write 1000")?;
    let (x_fd, y_fd) = (x.fd(), y.fd());
    std::thread::scope(|scope| {
        let one = scope.spawn(move || of_y.write_to(0, 2 * PAGE, x_fd, 0, RWF_WRITETHROUGH));
        let other = scope.spawn(move || of_x.write_to(0, 2 * PAGE, y_fd, 0, RWF_WRITETHROUGH));
        command("wait-held 2")?;
        command("release")?;
        let ended = [one.join(), other.join()].map(|result| result.map_err(|_| "the thread panicked"));
        same("both", ended, [Ok(Ok(2 * PAGE)), Ok(Ok(2 * PAGE))])
    })
}

fn msync_waits() -> Outcome {
    let pages = Pages::new("lab.msync", 1)?;
    let map = pages.map(1, STORES)?;
    let held = Held::new(&pages, 0)?;
    let flushes = counter("flushes ")?;
    std::thread::scope(|scope| {
        let syncing = scope.spawn(move || map.sync(0, PAGE, MS_SYNC));
        (0..200).for_each(|_| std::thread::yield_now());
        let ended = syncing.is_finished();
        held.release()?;
        same("msync", syncing.join().map_err(|_| "the thread panicked")?, Ok(()))?;
        same("it waited", ended, false)
    })?;
    same("flushed", counter("flushes ")? > flushes, true)
}

fn sync_file_range_waits() -> Outcome {
    let pages = Pages::new("lab.range", 2)?;
    let held = Held::new(&pages, 0)?;
    same("elsewhere", sys::sync_file_range(pages.fd(), PAGE as u64, PAGE), Ok(()))?;
    let fd = pages.file.as_raw_fd();
    std::thread::scope(|scope| {
        let syncing = scope.spawn(move || sys::sync_file_range(fd, 0, PAGE));
        (0..200).for_each(|_| std::thread::yield_now());
        let ended = syncing.is_finished();
        held.release()?;
        same("sync_file_range", syncing.join().map_err(|_| "the thread panicked")?, Ok(()))?;
        same("it waited", ended, false)
    })
}

fn loads() -> Outcome {
    let pages = Pages::new("lab.loads", 1)?;
    let held = Held::new(&pages, 0)?;
    let map = pages.map(1, super::SHARED)?;
    same("loaded", (map.get(0), map.get(PAGE - 1)), (WRITTEN, WRITTEN))?;
    held.release()
}

/// R25, MM-6: the store waits for a write-through, a truncate for both; then the page is gone, and the store dies of SIGBUS.
pub fn cut_while_waiting() -> Outcome {
    let pages = Pages::new("bus-cut", 2)?;
    let mut map = pages.map(2, STORES)?;
    map.set(PAGE, 50);
    let held = Held::new(&pages, 1)?;
    let (drains, fd) = (counter("drain_waits ")?, pages.fd());
    println!("maptest: about to store to a page that goes");
    std::thread::scope(|scope| {
        waits(held, map, PAGE, 70, || {
            let truncating = scope.spawn(move || sys::ftruncate(fd, PAGE as u64));
            drop(truncating);
            comes("drain_waits ", drains)
        })
    })?;
    // The store came before the truncate. The next one does not.
    let mut map = pages.map(2, STORES)?;
    map.set(PAGE, 71);
    Err("a store past the end went through".into())
}
