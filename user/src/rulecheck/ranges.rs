//! A14 and BUF-8: punch, zero, collapse and insert, beside write-throughs that are on their way; what is refused; and FIEMAP.
use crate::aio::{Aio, Iocb};
use crate::kit::{Check, FOLDER, Outcome, Scratch, WT, call, fd, pattern, pipe, quiet, same, same_bytes, text, wild};
use linux_raw_sys::{general as abi, ioctl};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use user::sys::{
    self, EBADF, EBADR, EFAULT, EFBIG, EINVAL, ENODEV, EOPNOTSUPP, EPERM, ESPIPE, Errno, Memory, PAGE, raw,
};

pub const CHECKS: &[Check] = &[
    ("TRC-6 R05 a punched range beside writes on their way", punched),
    ("TRC-7 R06 a zeroed range beside writes on their way", zeroed),
    ("TRC-8 R07 a collapsed range beside writes on their way", collapsed),
    ("TRC-8 R07 an inserted range beside writes on their way", inserted),
    ("TRC-6 TRC-8 what fallocate refuses, and by which errno", refused),
    ("TRC-6 punch hole on tmpfs, and nothing else", on_tmpfs),
    ("BUF-8 FIEMAP tells of each extent", reported),
    ("BUF-8 FIEMAP counts, stops and refuses", asked_for_less),
    ("hostile pointers of FIEMAP", hostile),
];

const PUNCH: u32 = abi::FALLOC_FL_PUNCH_HOLE | abi::FALLOC_FL_KEEP_SIZE;
const ZERO: u32 = abi::FALLOC_FL_ZERO_RANGE;
const COLLAPSE: u32 = abi::FALLOC_FL_COLLAPSE_RANGE;
const INSERT: u32 = abi::FALLOC_FL_INSERT_RANGE;
const P: u64 = PAGE as u64;

fn fallocate(file: &impl AsRawFd, mode: u32, pos: u64, len: u64) -> sys::Result<u64> {
    raw(abi::__NR_fallocate, [fd(file), mode.into(), pos, len, 0, 0])
}

/// Writes of the sixteen pages of a file, sent, and then the change, at once; then the events, all of them with their full count, and what
/// the file holds. `expected` makes that of what was written.
fn beside(name: &str, mode: u32, range: (u64, u64), expected: impl Fn(&mut Vec<u8>)) -> Outcome {
    const PAGES: usize = 16;
    let mut content = pattern(PAGES * PAGE, 9);
    let aio = Aio::new(PAGES as u64)?;
    let page = |bytes: &[u8]| {
        let memory = Memory::new(PAGE);
        memory.set(0, bytes);
        memory
    };
    let pages: Vec<Memory> = content.chunks(PAGE).map(page).collect();
    expected(&mut content);
    for there_before in [0, PAGES] {
        let file = Scratch::new(name, &vec![0x11; there_before * PAGE])?;
        let write = |(i, page): (usize, &Memory)| Iocb::write(&file.file, *page, PAGE, (i * PAGE) as u64, WT);
        let writes: Vec<Iocb> = pages.iter().enumerate().map(write).collect();
        same("io_submit", aio.submit(&writes), Ok(PAGES as u64))?;
        same("fallocate", fallocate(&file.file, mode, range.0, range.1), Ok(0))?;
        same("size", file.size(), content.len() as u64)?;
        same_bytes("cache", &file.cached()?, &content)?;
        same("events", aio.reap(PAGES)?.iter().all(|event| event.res == PAGE as i64), true)?;
        file.file.sync_all().map_err(text)?;
        file.expect(&content)?;
    }
    quiet()
}

fn punched() -> Outcome {
    beside("punch", PUNCH, (2 * P + 100, 5 * P), |content| content[2 * PAGE + 100..7 * PAGE + 100].fill(0))?;
    let file = Scratch::new("punch.all", &pattern(8 * PAGE, 1))?;
    same("fallocate", fallocate(&file.file, PUNCH, 0, 1 << 40), Ok(0))?;
    let metadata = file.file.metadata().map_err(text)?;
    same("size and blocks", (metadata.len(), metadata.blocks()), (8 * P, 0))
}

fn zeroed() -> Outcome {
    beside("zero", ZERO, (2 * P + 100, 5 * P), |content| content[2 * PAGE + 100..7 * PAGE + 100].fill(0))?;
    beside("zero.longer", ZERO, (15 * P, 9 * P), |content| {
        content[15 * PAGE..].fill(0);
        content.resize(24 * PAGE, 0);
    })?;
    beside("zero.kept", ZERO | abi::FALLOC_FL_KEEP_SIZE, (15 * P, 9 * P), |content| content[15 * PAGE..].fill(0))
}

fn collapsed() -> Outcome {
    beside("collapse", COLLAPSE, (3 * P, 5 * P), |content| drop(content.drain(3 * PAGE..8 * PAGE)))
}

fn inserted() -> Outcome {
    beside("insert", INSERT, (3 * P, 5 * P), |content| drop(content.splice(3 * PAGE..3 * PAGE, vec![0; 5 * PAGE])))
}

fn refused() -> Outcome {
    let content = pattern(4 * PAGE, 3);
    let file = Scratch::new("refused", &content)?;
    let most = i64::MAX as u64;
    let table: [(u32, u64, u64, Errno); 24] = [
        (0, 0, 0, EINVAL),
        (PUNCH, 0, 0, EINVAL),
        (PUNCH, u64::MAX, P, EINVAL),
        (PUNCH, 0, u64::MAX, EINVAL),
        // The range comes before the mode.
        (1 << 30, 0, 0, EINVAL),
        (1 << 30, 0, P, EOPNOTSUPP),
        (abi::FALLOC_FL_PUNCH_HOLE, 0, P, EOPNOTSUPP),
        (PUNCH | ZERO, 0, P, EOPNOTSUPP),
        (PUNCH | COLLAPSE, 0, P, EOPNOTSUPP),
        (COLLAPSE | abi::FALLOC_FL_KEEP_SIZE, 0, P, EOPNOTSUPP),
        (INSERT | abi::FALLOC_FL_KEEP_SIZE, 0, P, EOPNOTSUPP),
        (COLLAPSE | INSERT, 0, P, EOPNOTSUPP),
        (abi::FALLOC_FL_NO_HIDE_STALE, 0, P, EOPNOTSUPP),
        (abi::FALLOC_FL_UNSHARE_RANGE, 0, P, EOPNOTSUPP),
        (abi::FALLOC_FL_WRITE_ZEROES, 0, P, EOPNOTSUPP),
        (COLLAPSE, 100, P, EINVAL),
        (COLLAPSE, 0, P + 512, EINVAL),
        (COLLAPSE, 3 * P, P, EINVAL),
        (INSERT, 512, P, EINVAL),
        (INSERT, 4 * P, P, EINVAL),
        (INSERT, P, most / P * P - P, EFBIG),
        (PUNCH, P, most, EFBIG),
        (ZERO, most - 10, 10, EFBIG),
        (0, most, most, EFBIG),
    ];
    for (mode, pos, len, errno) in table {
        same(&format!("mode {mode:#x} at {pos}, {len} bytes"), fallocate(&file.file, mode, pos, len), Err(errno))?;
    }
    let reading = File::open(&file.path).map_err(text)?;
    same("not for writing", fallocate(&reading, PUNCH, 0, P), Err(EBADF))?;
    same("not for writing, and no mode", fallocate(&reading, 1 << 30, 0, P), Err(EOPNOTSUPP))?;
    let (read_end, write_end) = pipe()?;
    same("the wrong end", fallocate(&read_end, PUNCH, 0, P), Err(EBADF))?;
    same("a pipe", fallocate(&write_end, PUNCH, 0, P), Err(ESPIPE))?;
    let folder = File::open(FOLDER).map_err(text)?;
    same("a directory is not for writing", fallocate(&folder, PUNCH, 0, P), Err(EBADF))?;
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null").map_err(text)?;
    same("a device", fallocate(&null, PUNCH, 0, P), Err(ENODEV))?;
    let path = std::ffi::CString::new(format!("{FOLDER}/append-only")).expect("a path without NUL");
    let append_only = sys::own(sys::open(&path, abi::O_RDWR | abi::O_APPEND).map_err(call("open"))?);
    for mode in [PUNCH, ZERO, COLLAPSE, INSERT] {
        same("an append-only file", fallocate(&append_only, mode, 0, P), Err(EPERM))?;
    }
    file.expect(&content)
}

fn on_tmpfs() -> Outcome {
    let path = "/tmp/ranges";
    std::fs::write(path, pattern(3 * PAGE, 5)).map_err(text)?;
    let file = std::fs::OpenOptions::new().write(true).open(path).map_err(text)?;
    same("punch", fallocate(&file, PUNCH, 100, 2 * P), Ok(0))?;
    let mut expected = pattern(3 * PAGE, 5);
    expected[100..2 * PAGE + 100].fill(0);
    same_bytes("content", &std::fs::read(path).map_err(text)?, &expected)?;
    for mode in [ZERO, COLLAPSE, INSERT] {
        same("not there", fallocate(&file, mode, 0, P), Err(EOPNOTSUPP))?;
    }
    same("FIEMAP", fiemap(&file, 0, u64::MAX, 0, 1)?.0, Err(EOPNOTSUPP))?;
    std::fs::remove_file(path).map_err(text)
}

/// Bytes of the header, and of an extent.
const HEADER: usize = 32;
const ENTRY: usize = 56;

/// What the call gives, the flags and the number of extents in the header afterwards, and the extents: position, length, flags.
type Report = (sys::Result<u64>, u32, u32, Vec<(u64, u64, u32)>);

fn fiemap(file: &impl AsRawFd, start: u64, len: u64, flags: u32, room: usize) -> Result<Report, String> {
    let memory = Memory::new(HEADER + room * ENTRY);
    memory.set_words(0, &[start, len, flags.into(), room as u64]);
    let result = raw(abi::__NR_ioctl, [fd(file), ioctl::FS_IOC_FIEMAP.into(), memory.addr(0), 0, 0, 0]);
    let (flags, mapped) = (memory.word(16) as u32, (memory.word(16) >> 32) as u32);
    let entry = |i: usize| {
        let at = HEADER + i * ENTRY;
        (memory.word(at), memory.word(at + 16), memory.word(at + 40) as u32)
    };
    Ok((result, flags, mapped, (0..room.min(mapped as usize)).map(entry).collect()))
}

const UNWRITTEN: u32 = ioctl::FIEMAP_EXTENT_UNWRITTEN;
const LAST: u32 = ioctl::FIEMAP_EXTENT_LAST;
const SYNC: u32 = ioctl::FIEMAP_FLAG_SYNC;

/// A file of 8 pages: data, a hole, room for data, data that is on its way to the disk.
fn varied(name: &str) -> Result<Scratch, String> {
    let file = Scratch::new(name, &pattern(8 * PAGE, 7))?;
    fallocate(&file.file, PUNCH, 2 * P, 2 * P).map_err(call("punch"))?;
    fallocate(&file.file, ZERO, 4 * P, 4 * P).map_err(call("zero"))?;
    Ok(file)
}

fn reported() -> Outcome {
    let file = varied("fiemap")?;
    let (result, flags, mapped, extents) = fiemap(&file.file, 0, u64::MAX, SYNC, 16)?;
    same("result", (result, flags, mapped), (Ok(0), SYNC, 2))?;
    same("extents", extents, vec![(0, 2 * P, 0), (4 * P, 4 * P, UNWRITTEN | LAST)])?;
    // Dirty in the cache, over unwritten blocks: data, before and after it has come to the disk.
    same("write", sys::pwritev2(file.fd(), &pattern(PAGE, 1), 5 * P, 0), Ok(PAGE))?;
    let expected = vec![(0, 2 * P, 0), (4 * P, P, UNWRITTEN), (5 * P, P, 0), (6 * P, 2 * P, UNWRITTEN | LAST)];
    same("dirty", fiemap(&file.file, 0, u64::MAX, 0, 16)?.3, expected.clone())?;
    same("written", fiemap(&file.file, 0, u64::MAX, SYNC, 16)?.3, expected)?;
    let folder = File::open(FOLDER).map_err(text)?;
    let (result, _, mapped, _) = fiemap(&folder, 0, u64::MAX, SYNC, 4)?;
    same("a directory", (result, mapped > 0), (Ok(0), true))
}

fn asked_for_less() -> Outcome {
    let file = varied("fiemap.part")?;
    let brief = |(result, _, mapped, extents): Report| (result, mapped, extents);
    same("counted", brief(fiemap(&file.file, 0, u64::MAX, 0, 0)?), (Ok(0), 2, vec![]))?;
    same("room for one", brief(fiemap(&file.file, 0, u64::MAX, 0, 1)?), (Ok(0), 1, vec![(0, 2 * P, 0)]))?;
    same("a part", brief(fiemap(&file.file, P, P, 0, 9)?), (Ok(0), 1, vec![(P, P, 0)]))?;
    same("a hole", brief(fiemap(&file.file, 2 * P, 2 * P, 0, 9)?), (Ok(0), 0, vec![]))?;
    same("behind the end", brief(fiemap(&file.file, 1 << 30, P, 0, 9)?), (Ok(0), 0, vec![]))?;
    same("no bytes", fiemap(&file.file, 0, 0, 0, 1)?.0, Err(EINVAL))?;
    same("behind what can be", fiemap(&file.file, 1 << 62, 1, 0, 1)?.0, Err(EFBIG))?;
    let (result, flags, ..) = fiemap(&file.file, 0, P, SYNC | ioctl::FIEMAP_FLAG_XATTR | 1 << 20, 1)?;
    same("unknown flags", (result, flags), (Err(EBADR), ioctl::FIEMAP_FLAG_XATTR | 1 << 20))?;
    let memory = Memory::new(HEADER);
    memory.set_words(0, &[0, P, 0, u32::MAX.into()]);
    let args = [fd(&file.file), ioctl::FS_IOC_FIEMAP.into(), memory.addr(0), 0, 0, 0];
    same("absurd room", raw(abi::__NR_ioctl, args), Err(EINVAL))?;
    let path = std::ffi::CString::new(file.path.as_str()).expect("a path without NUL");
    let named = sys::own(sys::open(&path, abi::O_PATH).map_err(call("open"))?);
    same("O_PATH", fiemap(&named, 0, P, 0, 1)?.0, Err(EBADF))?;
    let (_, write_end) = pipe()?;
    same("a pipe", fiemap(&write_end, 0, P, 0, 1)?.0, Err(EOPNOTSUPP))
}

fn hostile() -> Outcome {
    let file = varied("fiemap.hostile")?;
    let ask = |address: u64| raw(abi::__NR_ioctl, [fd(&file.file), ioctl::FS_IOC_FIEMAP.into(), address, 0, 0, 0]);
    for address in wild() {
        same(&format!("{address:#x}"), ask(address), Err(EFAULT))?;
    }
    // A header at the end of what is mapped, with more extents behind it than fit.
    let memory = Memory::new(PAGE);
    let header = PAGE - HEADER - ENTRY;
    memory.set_words(header, &[0, u64::MAX, 0, 9]);
    same("the second extent is nowhere", ask(memory.addr(header)), Err(EFAULT))?;
    same("the first one is there", memory.word(header + HEADER + 16), 2 * P)?;
    quiet()
}
