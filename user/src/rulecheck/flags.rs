//! A1: the table of flag combinations, every subset of the known bits, against the errors computed from its rows.
use crate::aio::{Aio, Iocb, PREAD};
use crate::kit::{Check, Dump, FOLDER, Outcome, Scratch, WT, fd, pattern, pipe, same, settle, vector};
use crate::now::NOWAIT;
use linux_raw_sys::general as abi;
use std::fs::{File, OpenOptions};
use user::sys::{self, EAGAIN, EBADF, EINVAL, EOPNOTSUPP, EPERM, Errno, Memory, O_DIRECT, O_DSYNC, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("FLAG-1 the flag is 0x200, in both places", the_flag),
    ("FLAG-5 FLAG-2 every combination on a file", on_a_file),
    ("FLAG-5 FLAG-2 every combination on an O_DIRECT file", on_a_direct_file),
    ("FLAG-5 FLAG-2 every combination on an O_DSYNC file", on_a_dsync_file),
    ("FLAG-5 FLAG-2 every combination without the right to write", read_only),
    ("FLAG-5 FLAG-2 every combination without the right to read", write_only),
    ("FLAG-5 FLAG-2 every combination on a file of /proc", on_proc),
    ("FLAG-5 FLAG-2 every combination on a character device", on_a_device),
    ("FLAG-5 FLAG-2 every combination on a pipe", on_a_pipe),
    ("FLAG-5 FLAG-2 every combination on an append-only file", append_only),
    ("FLAG-5 unknown bits come before everything", unknown_bits),
    ("FLAG-3 the count of the iocbs before, and no event", count_before),
    ("FLAG-4 a later fcntl changes later requests", sampled_once),
    ("FLAG-8 DSYNC of an aio write alone is asynchronous", routed),
];

/// All `RWF_*` bits there are.
const KNOWN: u32 = 0x3ff;
const APPEND: u32 = 0x10;
const NOAPPEND: u32 = 0x20;
const ATOMIC: u32 = 0x40;
const DONTCACHE: u32 = 0x80;

/// What the table asks about the file behind a descriptor.
#[derive(Clone, Copy, Default)]
struct Kind {
    through: bool,
    append_only: bool,
    may_write: bool,
    may_read: bool,
    /// It has no positions: synchronous calls use -1, and reads are left out, which would wait.
    stream: bool,
    /// `NOWAIT` is there for these.
    nowait: Nowait,
}

#[derive(Clone, Copy, Default)]
struct Nowait {
    reads: bool,
    through: bool,
    other_writes: bool,
}

/// A regular file of the disk, open for both.
const FILE: Kind = Kind {
    through: true,
    append_only: false,
    may_write: true,
    may_read: true,
    stream: false,
    nowait: Nowait { reads: true, through: true, other_writes: false },
};
/// Something else that is open for both.
const OTHER: Kind =
    Kind { through: false, nowait: Nowait { reads: false, through: false, other_writes: false }, ..FILE };

/// The rows of FLAG-5 in their order; `None`: accepted.
fn expected(kind: Kind, flags: u32, write: bool) -> Option<Errno> {
    let has = |bits: u32| flags & bits == bits;
    let nowait = match (write, has(WT)) {
        (false, _) => kind.nowait.reads,
        (true, true) => kind.nowait.through,
        (true, false) => kind.nowait.other_writes,
    };
    let rows = [
        (flags & !KNOWN != 0, EOPNOTSUPP),
        (has(APPEND | NOAPPEND), EINVAL),
        (has(NOAPPEND) && kind.append_only, EPERM),
        (has(WT) && !write, EOPNOTSUPP),
        (has(WT) && !kind.through, EOPNOTSUPP),
        (if write { !kind.may_write } else { !kind.may_read }, EBADF),
        (has(WT | ATOMIC), EOPNOTSUPP),
        (has(NOWAIT) && !nowait, EOPNOTSUPP),
        // Without write-through: not built.
        (has(ATOMIC) || (has(DONTCACHE) && !has(WT)), EOPNOTSUPP),
    ];
    rows.into_iter().find(|(matches, _)| *matches).map(|(_, errno)| errno)
}

/// One file, a context and a buffer.
struct Table<'a> {
    file: &'a File,
    kind: Kind,
    aio: Aio,
    buffer: Memory,
    /// Other bytes, for calls that are refused: they must not be seen anywhere.
    refused: Memory,
    /// Shows the content of the file, where it has any.
    reader: Option<&'a File>,
    len: u64,
}

impl<'a> Table<'a> {
    fn new(file: &'a File, kind: Kind, bytes: &[u8]) -> Result<Table<'a>, String> {
        let buffer = Memory::new(PAGE);
        buffer.set(0, bytes);
        let refused = Memory::new(PAGE);
        refused.set(0, &[0xee; PAGE]);
        Ok(Table { file, kind, aio: Aio::new(4)?, buffer, refused, reader: None, len: bytes.len() as u64 })
    }
    fn with_reader(self, reader: &'a File) -> Self {
        Table { reader: Some(reader), ..self }
    }
    fn dump(&self) -> Result<Dump, String> {
        let dump = Dump::of(self.file)?;
        match self.reader {
            Some(reader) => dump.with_content(reader),
            None => Ok(dump),
        }
    }
    /// Every subset, by a call and by an iocb.
    fn all(&self) -> Outcome {
        let ways = if self.kind.stream { &[true][..] } else { &[true, false] };
        for flags in 0..=KNOWN {
            for &write in ways {
                let expected = expected(self.kind, flags, write);
                let result = self.one(flags, write, expected);
                result.map_err(|e| format!("flags {flags:#x}, {}: {e}", if write { "write" } else { "read" }))?;
            }
        }
        Ok(())
    }
    fn one(&self, flags: u32, write: bool, expected: Option<Errno>) -> Outcome {
        let Some(errno) = expected else {
            return self.accepted(flags, write);
        };
        settle()?;
        let before = self.dump()?;
        same("call", self.call(self.refused, flags, write), Err(errno))?;
        same("io_submit", self.aio.submit(&[self.iocb(self.refused, flags, write)]), Err(errno))?;
        before.expect_same(&self.dump()?)?;
        self.aio.expect_none()
    }
    /// With `NOWAIT` a write-through is asynchronous or nothing (NOW-2), and an append would have to sleep (NOW-1).
    fn accepted(&self, flags: u32, write: bool) -> Outcome {
        let through_nowait = write && flags & (WT | NOWAIT) == WT | NOWAIT;
        let appends = write && (flags & APPEND != 0 || self.kind.append_only);
        let event = if through_nowait && appends { -i64::from(EAGAIN.0) } else { self.len as i64 };
        if through_nowait {
            settle()?;
            let before = self.dump()?;
            same("call", self.call(self.refused, flags, write), Err(EAGAIN))?;
            before.expect_same(&self.dump()?)?;
        } else {
            same("call", self.call(self.buffer, flags, write), Ok(self.len))?;
        }
        same("event", self.aio.run(self.iocb(self.buffer, flags, write))?, event)
    }
    fn call(&self, buffer: Memory, flags: u32, write: bool) -> sys::Result<u64> {
        let number = if write { abi::__NR_pwritev2 } else { abi::__NR_preadv2 };
        let pos = if self.kind.stream { -1 } else { 0 };
        vector(number, fd(self.file), (buffer.addr(0), self.len), pos, flags)
    }
    fn iocb(&self, buffer: Memory, flags: u32, write: bool) -> Iocb {
        let iocb = Iocb::write(self.file, buffer, self.len as usize, 0, flags);
        if write { iocb } else { Iocb { opcode: PREAD, ..iocb } }
    }
}

fn the_flag() -> Outcome {
    let file = Scratch::new("flag", &[])?;
    let started = crate::kit::counter("wt_started")?;
    same("call", crate::kit::write(&file.file, b"one", 0, 0x200), Ok(3))?;
    let memory = Memory::new(8);
    memory.set(0, b"two");
    same("event", Aio::new(1)?.run(Iocb::write(&file.file, memory, 3, 3, 0x200))?, 3)?;
    same("write-throughs started", crate::kit::counter("wt_started")? - started, 2)?;
    file.expect(b"onetwo")
}

/// Opens a scratch file with `flags` and runs the table on it.
fn with_flags(name: &str, flags: u32) -> Outcome {
    let bytes = pattern(PAGE, 1);
    let scratch = Scratch::new(name, &bytes)?;
    // A direct write empties the cache, and a comparison through it would fill it: there the content is compared at the end.
    scratch.cached()?;
    let file = scratch.open(flags)?;
    let nowait = if flags & O_DIRECT == 0 { FILE.nowait } else { OTHER.nowait };
    let table = Table::new(&file, Kind { nowait, ..FILE }, &bytes)?;
    if flags & O_DIRECT == 0 {
        table.with_reader(&scratch.file).all()?
    } else {
        table.all()?
    }
    let content = scratch.cached()?;
    same("whole pages", (content.len() > PAGE, content.len() % PAGE), (true, 0))?;
    same("content", content.chunks(PAGE).all(|page| page == bytes), true)
}

fn on_a_file() -> Outcome {
    with_flags("flags", 0)
}

fn on_a_direct_file() -> Outcome {
    with_flags("flags.direct", O_DIRECT)
}

fn on_a_dsync_file() -> Outcome {
    with_flags("flags.dsync", O_DSYNC)
}

fn read_only() -> Outcome {
    let scratch = Scratch::new("flags.read", &pattern(PAGE, 2))?;
    let file = File::open(&scratch.path).map_err(crate::kit::text)?;
    scratch.cached()?;
    Table::new(&file, Kind { may_write: false, ..FILE }, &[7; PAGE])?.with_reader(&scratch.file).all()?;
    scratch.expect(&pattern(PAGE, 2))
}

fn write_only() -> Outcome {
    let scratch = Scratch::new("flags.write", &[])?;
    let file = OpenOptions::new().write(true).open(&scratch.path).map_err(crate::kit::text)?;
    Table::new(&file, Kind { may_read: false, ..FILE }, &[8; PAGE])?.with_reader(&scratch.file).all()
}

/// The bytes become a mark in the trace.
fn on_proc() -> Outcome {
    let path = "/proc/sluice/trace";
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(crate::kit::text)?;
    Table::new(&file, OTHER, b"1\n")?.all()
}

fn on_a_device() -> Outcome {
    let file = OpenOptions::new().read(true).write(true).open("/dev/zero").map_err(crate::kit::text)?;
    Table::new(&file, OTHER, &[1; 64])?.all()
}

fn on_a_pipe() -> Outcome {
    let (_reader, writer) = pipe()?;
    let nowait = Nowait { other_writes: true, ..OTHER.nowait };
    Table::new(&writer, Kind { may_read: false, stream: true, nowait, ..OTHER }, b"x")?.all()
}

/// The disk has such a file only if the test has made one.
fn append_only() -> Outcome {
    let path = format!("{FOLDER}/append-only");
    let Ok(file) = OpenOptions::new().append(true).read(true).open(&path) else { return Ok(()) };
    let plain = OpenOptions::new().write(true).open(&path);
    same("opened without O_APPEND", plain.err().and_then(|e| e.raw_os_error()), Some(EPERM.0))?;
    let size = || file.metadata().map_or(0, |m| m.len());
    let (table, before) = (Table::new(&file, Kind { append_only: true, ..FILE }, &[9; 64])?, size());
    table.all()?;
    same("it grew", size() > before, true)
}

fn unknown_bits() -> Outcome {
    let scratch = Scratch::new("flags.unknown", b"content")?;
    let file = File::open(&scratch.path).map_err(crate::kit::text)?;
    let table = Table::new(&file, Kind { may_write: false, ..FILE }, b"x")?;
    for bit in 10..32 {
        for others in [0, WT, APPEND | NOAPPEND, KNOWN] {
            table.one(1 << bit | others, true, Some(EOPNOTSUPP)).map_err(|e| format!("bit {bit}: {e}"))?;
            table.one(1 << bit | others, false, Some(EOPNOTSUPP)).map_err(|e| format!("bit {bit}: {e}"))?;
        }
    }
    Ok(())
}

fn count_before() -> Outcome {
    let file = Scratch::new("flags.count", &[])?;
    let (aio, memory) = (Aio::new(8)?, Memory::new(PAGE));
    memory.set(0, &[5; 100]);
    let good = |i: u64| Iocb::write(&file.file, memory, 100, i * 100, WT).with_data(i);
    let bad = Iocb { rw_flags: APPEND | NOAPPEND, ..good(9) };
    same("bad first", aio.submit(&[bad, good(0)]), Err(EINVAL))?;
    aio.expect_none()?;
    same("bad third", aio.submit(&[good(0), good(1), bad, good(2)]), Ok(2))?;
    let mut data: Vec<u64> = aio.reap(2)?.iter().map(|event| event.data).collect();
    data.sort_unstable();
    same("events", data, vec![0, 1])?;
    aio.expect_none()?;
    // Found after validation: the iocb counts, and the error is its event.
    let unreadable = Iocb { buffer: memory.end(), ..good(3) };
    same("a source that cannot be read", aio.run(unreadable)?, -i64::from(sys::EFAULT.0))?;
    file.expect(&[5; 200])
}

/// One thread toggles, the other writes: each request goes one way as a whole, and has one outcome (R36).
fn sampled_once() -> Outcome {
    let file = Scratch::new("flags.fcntl", &[0; 4 * PAGE])?;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let toggled = file.fd() as u64;
        let (done, written) = (&done, &file);
        scope.spawn(move || {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for flags in [O_DIRECT, 0] {
                    let _ = raw(abi::__NR_fcntl, [toggled, abi::F_SETFL.into(), flags.into(), 0, 0, 0]);
                    std::thread::yield_now();
                }
            }
        });
        let outcome = odd_writes(written);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome
    })
}

fn odd_writes(file: &Scratch) -> Outcome {
    let (aio, memory) = (Aio::new(4)?, Memory::new(PAGE));
    for i in 0..200u64 {
        memory.set(0, &[i as u8; 512]);
        // On a direct file the odd position is refused or done by way of the cache; never half of each.
        let res = aio.run(Iocb::write(&file.file, memory, 512, 512 * (i % 16) + 7, WT))?;
        if res != 512 && res != -i64::from(EINVAL.0) {
            return Err(format!("write {i}: {res}"));
        }
        std::thread::yield_now();
    }
    aio.expect_none()
}

fn routed() -> Outcome {
    let (file, memory) = (Scratch::new("flags.routed", &[])?, Memory::new(PAGE));
    let dsync = file.open(O_DSYNC)?;
    for (target, flags) in [(&file.file, abi::RWF_DSYNC), (&dsync, 0)] {
        let started = crate::kit::counter("wt_started")?;
        same("event", Aio::new(1)?.run(Iocb::write(target, memory, 100, 0, flags))?, 100)?;
        same("write-throughs started", crate::kit::counter("wt_started")? - started, 1)?;
    }
    Ok(())
}
