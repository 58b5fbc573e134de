//! Stores through shared mappings.
use super::{Check, PRIVATE, Pages, SHARED, STORES, same};
use linux_raw_sys::general as abi;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use user::sys::{self, EBUSY, EINVAL, ENOMEM, MS_ASYNC, MS_INVALIDATE, MS_SYNC, O_DIRECT, PAGE, RWF_WRITETHROUGH};

pub const CHECKS: &[(&str, Check)] = &[
    ("MM-5 stores are seen by everybody", seen),
    ("MM-9 stores to holes", holes),
    ("MM-2 what was stored outlives munmap, mprotect and madvise", outlives),
    ("MM-2 R23 stores beside a write-through", beside),
    ("EOF-4 R24 stores past the end", past_eof),
    ("EOF-5 the end moves on inside the page", end_moves),
    ("MM-6 stores after a truncate", after_truncate),
    ("TRC-6 TRC-8 stores beside changes of ranges", ranges),
    ("MM-7 msync", msync),
    ("MM-3 R27 a write from a mapping that was stored to", self_source),
    ("MM-3 a read into a mapping of the file", self_sink),
    ("R28 the source ends midway", source_ends),
    ("MM-8 private mappings beside stores", private),
    ("RO-1 a mapping keeps the disk writable", remount),
    ("FRZ-1 a store to a frozen disk", frozen),
    ("times", times),
    ("LOCK-7 a file full of stores", full_of_stores),
    ("MM-9 the mapping is the last to hold the file", last_reference),
];

type Outcome = Result<(), String>;

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn on_device(pages: &Pages, pos: usize) -> Result<u8, String> {
    let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT as i32).open(&pages.path).map_err(text)?;
    let mut buffer = Box::new(sys::PageBuffer([0xee; PAGE]));
    sys::pread(direct.as_raw_fd(), &mut buffer.0, (pos / PAGE * PAGE) as u64).map_err(|e| format!("{e:?}"))?;
    Ok(buffer.0[pos % PAGE])
}

fn read_byte(pages: &Pages, pos: usize) -> Result<u8, String> {
    let mut byte = [0xee];
    pages.file.read_at(&mut byte, pos as u64).map_err(text)?;
    Ok(byte[0])
}

fn seen() -> Outcome {
    let pages = Pages::new("stores", 2)?;
    let (mut map, other) = (pages.map(2, STORES)?, pages.map(2, SHARED)?);
    map.set(5, 70);
    map.set(2 * PAGE - 1, 71);
    same("another mapping", (other.get(5), other.get(6), other.get(2 * PAGE - 1)), (70, 1, 71))?;
    same("a read", (read_byte(&pages, 5)?, read_byte(&pages, 2 * PAGE - 1)?), (70, 71))?;
    same("a direct read", (on_device(&pages, 5)?, on_device(&pages, 2 * PAGE - 1)?), (70, 71))?;
    // Written and clean: the next store is one more.
    map.set(6, 72);
    same("after writeback", (read_byte(&pages, 6)?, on_device(&pages, 6)?), (72, 72))
}

fn holes() -> Outcome {
    let pages = Pages::new("holes", 1)?;
    same("ftruncate", sys::ftruncate(pages.fd(), 64 * PAGE as u64), Ok(()))?;
    let blocks = || pages.file.metadata().map(|metadata| metadata.blocks()).map_err(text);
    let before = blocks()?;
    let mut map = pages.map(64, STORES)?;
    same("a hole", map.get(40 * PAGE), 0)?;
    same("loads allocate nothing", blocks()?, before)?;
    map.set(PAGE + 100, 1);
    same("blocks of a page", blocks()? - before, 8)?;
    for page in (1..64).step_by(2) {
        map.set(page * PAGE + 100, page as u8);
    }
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    for page in 1..64 {
        let expected = if page % 2 == 1 { page as u8 } else { 0 };
        same("device", (on_device(&pages, page * PAGE + 100)?, on_device(&pages, page * PAGE)?), (expected, 0))?;
    }
    Ok(())
}

fn outlives() -> Outcome {
    let pages = Pages::new("outlives", 3)?;
    let mut map = pages.map(3, STORES)?;
    map.set(0, 70);
    map.set(PAGE, 71);
    map.set(2 * PAGE, 72);
    same("munmap", map.cut(2 * PAGE), Ok(()))?;
    same("mprotect", map.make_read_only(), Ok(()))?;
    same("madvise", map.forget(), Ok(()))?;
    same("seen again", (map.get(0), map.get(PAGE)), (70, 71))?;
    same("mprotect", map.make_writable(), Ok(()))?;
    map.set(1, 73);
    drop(map);
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    same("device", (on_device(&pages, 0)?, on_device(&pages, 1)?), (70, 73))?;
    same("device", (on_device(&pages, PAGE)?, on_device(&pages, 2 * PAGE)?), (71, 72))
}

fn beside() -> Outcome {
    let pages = Pages::new("beside", 1)?;
    let mut map = pages.map(1, STORES)?;
    for round in 0..10 {
        map.set(3 * 1024, 70 + round);
        same("written", sys::pwritev2(pages.fd(), &[60; 1024], 0, RWF_WRITETHROUGH), Ok(1024))?;
        map.set(3 * 1024 + 1, 80 + round);
        same("written", sys::pwritev2(pages.fd(), &[61; 1024], 0, RWF_WRITETHROUGH), Ok(1024))?;
        same("cache", (map.get(0), map.get(3 * 1024)), (61, 70 + round))?;
    }
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    same("device", (on_device(&pages, 3 * 1024)?, on_device(&pages, 3 * 1024 + 1)?), (79, 89))
}

fn past_eof() -> Outcome {
    for extend_by_write in [false, true] {
        let pages = Pages::new("past-eof", 1)?;
        same("ftruncate", sys::ftruncate(pages.fd(), 100), Ok(()))?;
        let mut map = pages.map(1, STORES)?;
        map.set(200, b'z');
        map.set(3000, b'z');
        same("written", sys::pwritev2(pages.fd(), &[60; 10], 50, RWF_WRITETHROUGH), Ok(10))?;
        map.set(201, b'z');
        if extend_by_write {
            let written = sys::pwritev2(pages.fd(), &[1], PAGE as u64 - 1, RWF_WRITETHROUGH);
            same("extended", written, Ok(1))?;
        } else {
            same("ftruncate", sys::ftruncate(pages.fd(), PAGE as u64), Ok(()))?;
        }
        for pos in [100, 200, 201, 2999, 3000] {
            same("cache", (read_byte(&pages, pos)?, map.get(pos)), (0, 0))?;
            same("device", on_device(&pages, pos)?, 0)?;
        }
    }
    Ok(())
}

fn end_moves() -> Outcome {
    for flags in [0, RWF_WRITETHROUGH] {
        let pages = Pages::new("end-moves", 1)?;
        same("ftruncate", sys::ftruncate(pages.fd(), 100), Ok(()))?;
        let mut map = pages.map(3, STORES)?;
        map.set(0, 70);
        // From inside the first page to a later one: the blocks between are holes.
        same("written", sys::pwritev2(pages.fd(), &[9], 2 * PAGE as u64, flags), Ok(1))?;
        map.set(3000, 71);
        map.set(PAGE, 72);
        same("fsync", sys::fsync(pages.fd()), Ok(()))?;
        let seen =
            (on_device(&pages, 0)?, on_device(&pages, 2000)?, on_device(&pages, 3000)?, on_device(&pages, PAGE)?);
        same("device", seen, (70, 0, 71, 72))?;
    }
    Ok(())
}

fn after_truncate() -> Outcome {
    let (pages, other) = (Pages::new("stores.cut", 3)?, Pages::new("stores.other", 1)?);
    let mut map = pages.map(3, STORES)?;
    (0..3).for_each(|page| map.set(page * PAGE, 70));
    same("ftruncate", sys::ftruncate(pages.fd(), PAGE as u64), Ok(()))?;
    // As the kernel's own copies see it.
    same("a store past the end", map.read_from(PAGE, 1, other.fd(), 0), Err(sys::EFAULT))?;
    same("ftruncate", sys::ftruncate(pages.fd(), 3 * PAGE as u64), Ok(()))?;
    same("grown", (map.get(0), map.get(PAGE), map.get(2 * PAGE)), (70, 0, 0))?;
    map.set(2 * PAGE + 1, 71);
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    same("device", (on_device(&pages, PAGE)?, on_device(&pages, 2 * PAGE + 1)?), (0, 71))
}

/// Punch, zero, collapse and insert take away what was stored in their range, and nothing else; the next store to it is one to the file as it
/// is then.
fn ranges() -> Outcome {
    let change = |pages: &Pages, mode: u32, pos: usize, len: usize| {
        sys::raw(abi::__NR_fallocate, [pages.fd() as u64, mode.into(), pos as u64, len as u64, 0, 0]).map(drop)
    };
    let keep = abi::FALLOC_FL_KEEP_SIZE;
    for mode in [abi::FALLOC_FL_PUNCH_HOLE | keep, abi::FALLOC_FL_ZERO_RANGE] {
        let pages = Pages::new("changed", 4)?;
        let mut map = pages.map(4, STORES)?;
        (0..4).for_each(|page| map.set(page * PAGE + 100, 70 + page as u8));
        same("changed", change(&pages, mode, PAGE - 1024, PAGE + 2048), Ok(()))?;
        let stored = [0, 1, 2, 3].map(|page| map.get(page * PAGE + 100));
        same("stored", stored, [70, 0, 0, 73])?;
        same("the edges", (map.get(PAGE - 1025), map.get(PAGE - 1024), map.get(2 * PAGE + 1024)), (1, 0, 3))?;
        map.set(PAGE + 5, 80);
        map.set(2 * PAGE + 2000, 81);
        same("fsync", sys::fsync(pages.fd()), Ok(()))?;
        let device = [100, PAGE - 1, PAGE + 5, PAGE + 100, 2 * PAGE + 100, 2 * PAGE + 2000, 3 * PAGE + 100];
        let seen: Result<Vec<u8>, String> = device.into_iter().map(|pos| on_device(&pages, pos)).collect();
        same("device", seen?, vec![70, 0, 80, 0, 0, 81, 73])?;
    }
    let pages = Pages::new("shifted", 4)?;
    let mut map = pages.map(5, STORES)?;
    (0..4).for_each(|page| map.set(page * PAGE + 100, 70 + page as u8));
    same("collapse", change(&pages, abi::FALLOC_FL_COLLAPSE_RANGE, PAGE, PAGE), Ok(()))?;
    same("collapsed", [0, 1, 2].map(|page| map.get(page * PAGE + 100)), [70, 72, 73])?;
    map.set(PAGE + 101, 80);
    same("insert", change(&pages, abi::FALLOC_FL_INSERT_RANGE, PAGE, 2 * PAGE), Ok(()))?;
    map.set(2 * PAGE, 81);
    same("inserted", [0, 1, 3, 4].map(|page| map.get(page * PAGE + 100)), [70, 0, 72, 73])?;
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    let device = [on_device(&pages, PAGE + 100)?, on_device(&pages, 2 * PAGE)?, on_device(&pages, 3 * PAGE + 101)?];
    same("device", device, [0, 81, 80])
}

pub fn counter(name: &str) -> Result<u64, String> {
    let figures = fs::read_to_string("/proc/sluice/counters").map_err(text)?;
    let value = figures.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| format!("no counter {name}"))
}

fn msync() -> Outcome {
    let pages = Pages::new("msync", 3)?;
    let mut map = pages.map(3, STORES)?;
    (0..3).for_each(|page| map.set(page * PAGE, 70));
    for (what, offset, len, flags, expected) in [
        ("both", 0, PAGE, MS_SYNC | MS_ASYNC, Err(EINVAL)),
        ("unknown", 0, PAGE, 8, Err(EINVAL)),
        ("not aligned", 1, PAGE, MS_SYNC, Err(EINVAL)),
        ("nothing", 0, 0, MS_SYNC, Ok(())),
        ("no flag", 0, PAGE, 0, Ok(())),
        ("async", 0, PAGE, MS_ASYNC, Ok(())),
        ("invalidate", 0, PAGE, MS_INVALIDATE | MS_SYNC, Ok(())),
    ] {
        same(what, map.sync(offset, len, flags), expected)?;
    }
    let (flushes, writes) = (counter("flushes ")?, counter("bio_writes ")?);
    same("the range", map.sync(PAGE, 1, MS_SYNC), Ok(()))?;
    same("written and flushed", counter("flushes ")? > flushes && counter("bio_writes ")? > writes, true)?;
    same("munmap", map.cut(2 * PAGE), Ok(()))?;
    same("not all mapped", map.sync(0, 3 * PAGE, MS_SYNC), Err(ENOMEM))?;
    same("device", (on_device(&pages, 0)?, on_device(&pages, PAGE)?, on_device(&pages, 2 * PAGE)?), (70, 70, 70))
}

fn self_source() -> Outcome {
    for flags in [0, RWF_WRITETHROUGH] {
        let pages = Pages::new("self3", 4)?;
        let mut map = pages.map(4, STORES)?;
        (0..PAGE).for_each(|at| map.set(at, 70));
        same("its own page", map.write_to(0, PAGE, pages.fd(), 0, flags), Ok(PAGE))?;
        same("overlapping", map.write_to(0, 2 * PAGE, pages.fd(), PAGE as u64, flags), Ok(2 * PAGE))?;
        pages.expect_pages(&[&[70, 70, 2, 4], &[70, 70, 70, 4]])?;
        same("fsync", sys::fsync(pages.fd()), Ok(()))?;
        same("device", on_device(&pages, 2 * PAGE - 1)?, 70)?;
    }
    Ok(())
}

fn self_sink() -> Outcome {
    let pages = Pages::new("sink", 3)?;
    let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT as i32).open(&pages.path).map_err(text)?;
    let mut map = pages.map(3, STORES)?;
    same("read", map.read_from(0, PAGE, pages.fd(), PAGE as u64), Ok(PAGE))?;
    same("read directly", map.read_from(2 * PAGE, PAGE, direct.as_raw_fd(), PAGE as u64), Ok(PAGE))?;
    same("read onto itself", map.read_from(PAGE, PAGE, pages.fd(), PAGE as u64), Ok(PAGE))?;
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    pages.expect_pages(&[&[2, 2, 2]])
}

/// With the end there from the beginning, and stores in the part that is left.
fn source_ends() -> Outcome {
    let (pages, other) = (Pages::new("source3", 3)?, Pages::new("source3.copy", 3)?);
    let mut map = pages.map(3, STORES)?;
    (0..PAGE).for_each(|at| map.set(at, 70));
    same("munmap", map.cut(PAGE), Ok(()))?;
    for flags in [0, RWF_WRITETHROUGH] {
        same("a short count", map.write_to(0, 3 * PAGE, other.fd(), PAGE as u64, flags), Ok(PAGE))?;
    }
    other.expect_pages(&[&[1, 70, 3]])
}

fn private() -> Outcome {
    let pages = Pages::new("private3", 1)?;
    let (mut map, mut own) = (pages.map(1, STORES)?, pages.map(1, PRIVATE)?);
    map.set(0, 70);
    same("not copied yet", own.get(0), 70)?;
    own.set(1, 80);
    map.set(0, 71);
    same("copied", (own.get(0), own.get(1), map.get(1)), (70, 80, 1))?;
    drop(own);
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    same("device", (on_device(&pages, 0)?, on_device(&pages, 1)?), (71, 1))
}

/// Closed and unlinked: the file goes with the mapping, and its blocks come back.
fn last_reference() -> Outcome {
    let pages = Pages::new("last", 8)?;
    let mut map = pages.map(8, STORES)?;
    fs::remove_file(&pages.path).map_err(text)?;
    drop(pages);
    (0..8).for_each(|page| map.set(page * PAGE, 70));
    same("it is still there", (map.get(7 * PAGE), map.get(1)), (70, 1))?;
    same("msync", map.sync(0, 8 * PAGE, MS_SYNC), Ok(()))?;
    same("munmap", map.cut(PAGE), Ok(()))?;
    drop(map);
    // One that lives until the process ends, which unmaps it.
    let pages = Pages::new("last", 1)?;
    let mut map = pages.map(1, STORES)?;
    fs::remove_file(&pages.path).map_err(text)?;
    map.set(0, 70);
    std::mem::forget(map);
    // And one of a file that stays: what was stored comes to the disk.
    let mut map = Pages::new("exit", 1)?.map(1, STORES)?;
    map.set(PAGE - 1, 70);
    std::mem::forget(map);
    Ok(())
}

/// The file is closed; its mapping still may store to it.
fn remount() -> Outcome {
    let mut map = Pages::new("remount", 1)?.map(1, STORES)?;
    same("mapped", sys::remount(c"/", true), Err(EBUSY))?;
    map.set(0, 70);
    same("still mapped", sys::remount(c"/", true), Err(EBUSY))?;
    drop(map);
    same("unmapped", sys::remount(c"/", true), Ok(()))?;
    same("writable again", sys::remount(c"/", false), Ok(()))
}

fn frozen() -> Outcome {
    let pages = Pages::new("frozen", 1)?;
    let folder = File::open("/data").map_err(text)?;
    let mut map = pages.map(1, STORES)?;
    same("freeze", sys::freeze(folder.as_raw_fd(), true), Ok(()))?;
    let (finished, seen) = std::thread::scope(|scope| {
        let storing = scope.spawn(move || {
            map.set(0, 70);
            map
        });
        (0..200).for_each(|_| std::thread::yield_now());
        let seen = (storing.is_finished(), read_byte(&pages, 0));
        let thawed = sys::freeze(folder.as_raw_fd(), false);
        let map = storing.join().expect("no panic");
        ((thawed, map.get(0)), seen)
    });
    same("thawed", finished, (Ok(()), 70))?;
    same("while it was frozen", (seen.0, seen.1?), (false, 1))?;
    same("fsync", sys::fsync(pages.fd()), Ok(()))?;
    same("device", on_device(&pages, 0)?, 70)
}

fn times() -> Outcome {
    let pages = Pages::new("times", 1)?;
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    pages.file.set_modified(old).map_err(text)?;
    let mut map = pages.map(1, STORES)?;
    same("a load", map.get(0), 1)?;
    same("a load changes nothing", pages.file.metadata().map_err(text)?.modified().map_err(text)?, old)?;
    map.set(0, 70);
    same("a store", pages.file.metadata().map_err(text)?.modified().map_err(text)? > old, true)
}

/// With little memory, more dirty pages than the cache takes: who stores waits, with nothing locked (LOCK-7).
fn full_of_stores() -> Outcome {
    const COUNT: usize = 2048;
    let pages = Pages::new("full-of-stores", 1)?;
    same("ftruncate", sys::ftruncate(pages.fd(), (COUNT * PAGE) as u64), Ok(()))?;
    let mut map = pages.map(COUNT, STORES)?;
    for round in [3, 5] {
        (0..COUNT).for_each(|page| map.set(page * PAGE + page % PAGE, (page % 251) as u8 ^ round));
    }
    (0..COUNT).try_for_each(|page| same("seen", map.get(page * PAGE + page % PAGE), (page % 251) as u8 ^ 5))
}

/// MM-6: never returns from the store.
pub fn past_the_end() -> Outcome {
    let pages = Pages::new("bus", 2)?;
    let mut map = pages.map(2, STORES)?;
    map.set(PAGE, 70);
    same("ftruncate", sys::ftruncate(pages.fd(), PAGE as u64), Ok(()))?;
    println!("maptest: about to store to page 1 of 1");
    map.set(PAGE, 71);
    Err("a store past the end went through".into())
}

/// MM-9: no room for what is stored. Never returns from the store that finds none.
pub fn full_disk() -> Outcome {
    let pages = Pages::new("full", 1)?;
    let count = 1 << 16;
    same("ftruncate", sys::ftruncate(pages.fd(), (count * PAGE) as u64), Ok(()))?;
    let mut map = pages.map(count, STORES)?;
    println!("maptest: about to store to {count} pages of a disk that has fewer");
    (0..count).for_each(|page| map.set(page * PAGE, 70));
    Err("the disk has room for everything".into())
}
