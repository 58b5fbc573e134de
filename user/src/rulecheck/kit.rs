//! What the checks share: files on the disk, calls on them, and the state that a refused call must not change.
use linux_raw_sys::general as abi;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use user::sys::{self, Errno, Fd, Memory, O_DIRECT, PAGE, raw};

/// Nothing, or what was seen instead.
pub type Outcome = Result<(), String>;
/// A name that starts with the rule, and the check.
pub type Check = (&'static str, fn() -> Outcome);

/// Where the files of the checks stand.
pub const FOLDER: &str = "/data";
pub use user::sys::RWF_WRITETHROUGH as WT;
/// No flags: a buffered write.
pub const BUFFERED: u32 = 0;

thread_local! {
    static SMALL: Memory = Memory::new(PAGE);
}

/// A page of the calling thread for what one call needs; the next user stores over it.
pub fn small() -> Memory {
    SMALL.with(|memory| *memory)
}

/// Compares.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Outcome {
    if seen == expected { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {expected:?}")) }
}

/// Says where bytes differ first.
pub fn same_bytes(what: &str, seen: &[u8], expected: &[u8]) -> Outcome {
    same(&format!("{what}: length"), seen.len(), expected.len())?;
    match seen.iter().zip(expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at) => Err(format!("{what}: byte {at} is {} instead of {}", seen[at], expected[at])),
    }
}

/// An error of the standard library as text.
pub fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// An error of a call as text.
pub fn call(what: &'static str) -> impl Fn(Errno) -> String {
    move |error| format!("{what}: {error:?}")
}

/// A fresh file of a check, open for reading and writing.
pub struct Scratch {
    pub path: String,
    pub file: File,
}

impl Scratch {
    /// `content` is on the disk: nothing of the file is dirty.
    pub fn new(name: &str, content: &[u8]) -> Result<Scratch, String> {
        let path = format!("{FOLDER}/{name}");
        let _ = fs::remove_file(&path);
        fs::write(&path, content).map_err(|e| format!("{path}: {e}"))?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|e| format!("{path}: {e}"))?;
        file.sync_all().map_err(text)?;
        Ok(Scratch { path, file })
    }
    pub fn fd(&self) -> Fd {
        self.file.as_raw_fd()
    }
    /// Opens it once more with further flags.
    pub fn open(&self, flags: u32) -> Result<File, String> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags as i32).open(&self.path).map_err(text)
    }
    pub fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(u64::MAX, |m| m.len())
    }
    /// What a reader of the cache sees.
    pub fn cached(&self) -> Result<Vec<u8>, String> {
        fs::read(&self.path).map_err(text)
    }
    /// What a direct read finds on the device.
    pub fn on_device(&self) -> Result<Vec<u8>, String> {
        direct_read(&self.path)
    }
    /// Cache and device both have `expected`.
    pub fn expect(&self, expected: &[u8]) -> Outcome {
        same_bytes("cache", &self.cached()?, expected)?;
        same_bytes("device", &self.on_device()?, expected)
    }
}

/// A whole file, read around the cache.
pub fn direct_read(path: &str) -> Result<Vec<u8>, String> {
    let direct = OpenOptions::new().read(true).custom_flags(O_DIRECT as i32).open(path).map_err(text)?;
    let len = direct.metadata().map_err(text)?.len() as usize;
    let buffer = Memory::new(len.max(1));
    let args = [fd(&direct), buffer.addr(0), buffer.len() as u64, 0, 0, 0];
    let n = raw(abi::__NR_pread64, args).map_err(call("direct read"))?;
    Ok(buffer.get(0, n as usize))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The number of an open file as an argument.
pub fn fd(file: &impl AsRawFd) -> u64 {
    file.as_raw_fd() as u64
}

/// `pwritev2` of bytes at a position.
pub fn write(file: &impl AsRawFd, bytes: &[u8], pos: u64, flags: u32) -> sys::Result<usize> {
    sys::pwritev2(file.as_raw_fd(), bytes, pos, flags)
}

/// `pwritev2` or `preadv2` of one buffer at any address.
pub fn vector(number: u32, file: u64, (addr, len): (u64, u64), pos: i64, flags: u32) -> sys::Result<u64> {
    let iov = small();
    iov.set_words(0, &[addr, len]);
    raw(number, [file, iov.addr(0), 1, pos as u64, 0, flags.into()])
}

/// A pipe: its reading and its writing end.
pub fn pipe() -> Result<(File, File), String> {
    let ends = Memory::new(8);
    raw(abi::__NR_pipe2, [ends.addr(0), abi::O_NONBLOCK.into(), 0, 0, 0, 0]).map_err(call("pipe2"))?;
    let word = ends.word(0);
    Ok((own(word as u32 as Fd), own((word >> 32) as Fd)))
}

/// A new descriptor as a file.
pub fn own(fd: Fd) -> File {
    sys::own(fd)
}

/// Bytes of the pattern `i mod 251 + seed`, in which no two blocks are the same.
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ seed).collect()
}

/// Counters and gauges that a refused call leaves alone: everything about I/O and requests.
const COUNTERS: [&str; 11] = [
    "bios",
    "bio_reads",
    "bio_writes",
    "flushes",
    "kicks",
    "drain_waits",
    "stable_waits",
    "folio_lock_waits",
    "wt_started",
    "wt_finished",
    "commits",
];

/// A figure of a file of names and numbers in `/proc`.
pub fn figure(file: &str, name: &str) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix([' ', ':']));
    let value = value.and_then(|v| v.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| format!("{file} has no {name}"))
}

/// A counter of the kernel.
pub fn counter(name: &str) -> Result<u64, String> {
    figure("/proc/sluice/counters", name)
}

/// What `act` adds to the counters of flushes and commits must be `expected`. Every few seconds the kernel commits by itself what the checks
/// have changed, perhaps just now: so it has a few tries, each after a sync.
pub fn costs(what: &str, expected: (u64, u64), mut act: impl FnMut() -> Outcome) -> Outcome {
    let mut costs = Ok(());
    for _ in 0..5 {
        sys::sync();
        let before = (counter("flushes")?, counter("commits")?);
        act()?;
        let after = (counter("flushes")? - before.0, counter("commits")? - before.1);
        costs = same(what, after, expected);
        if costs.is_ok() {
            break;
        }
    }
    costs
}

/// Everything that a refused call could have changed (FLAG-2).
#[derive(PartialEq, Eq, Debug)]
pub struct Dump {
    statx: Vec<u8>,
    position: u64,
    figures: Vec<String>,
    content: Vec<u8>,
}

impl Dump {
    /// As [`Dump::of`], before the call: with nothing dirty, so that nothing is written in the background meanwhile.
    /// Not for a check that holds requests at a gate: the sync would wait for them.
    pub fn settled(file: &File) -> Result<Dump, String> {
        settle()?;
        Dump::of(file)
    }
    /// Of an open file and the system around it.
    pub fn of(file: &File) -> Result<Dump, String> {
        let (out, empty) = (small(), 512);
        out.set(empty, &[0]);
        let mask = (abi::STATX_BASIC_STATS | abi::STATX_BTIME).into();
        let args = [fd(file), out.addr(empty), abi::AT_EMPTY_PATH.into(), mask, out.addr(0), 0];
        raw(abi::__NR_statx, args).map_err(call("statx"))?;
        let position = raw(abi::__NR_lseek, [fd(file), 0, abi::SEEK_CUR.into(), 0, 0, 0]).unwrap_or(u64::MAX);
        let mut figures = lines("/proc/sluice/gauges", |_| true)?;
        figures.extend(lines("/proc/sluice/counters", |name| COUNTERS.contains(&name))?);
        figures.extend(lines("/proc/meminfo", |name| ["Cached:", "Dirty:", "Writeback:"].contains(&name))?);
        Ok(Dump { statx: out.get(0, 256), position, figures, content: Vec::new() })
    }
    /// With the first pages of the file as `reader` shows them. They must be cached already.
    pub fn with_content(mut self, reader: &File) -> Result<Dump, String> {
        self.content = vec![0; 2 * PAGE];
        let n = sys::pread(reader.as_raw_fd(), &mut self.content, 0).map_err(call("pread64"))?;
        self.content.truncate(n);
        Ok(self)
    }
    /// What is different from `self` now.
    pub fn expect_same(&self, after: &Dump) -> Outcome {
        if self.statx != after.statx {
            let at = self.statx.iter().zip(&after.statx).position(|(a, b)| a != b);
            return Err(format!("the inode changed: byte {at:?} of its statx"));
        }
        same("position", after.position, self.position)?;
        self.figures.iter().zip(&after.figures).try_for_each(|(before, after)| same("figure", after, before))?;
        same_bytes("content", &after.content, &self.content)
    }
}

fn lines(file: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let named = |line: &&str| line.split_whitespace().next().is_some_and(&wanted);
    Ok(text.lines().filter(named).map(String::from).collect())
}

/// Nothing dirty, and nothing in flight.
pub fn settle() -> Outcome {
    sys::sync();
    quiet()
}

/// Nothing is in flight: every gauge comes to 0 (CTX-9). The worker that has finished a request, on whichever CPU, may hold it for a moment
/// after its event.
pub fn quiet() -> Outcome {
    const TRIES: u32 = 1000;
    let mut busy = None;
    for _ in 0..TRIES {
        busy = lines("/proc/sluice/gauges", |_| true)?.into_iter().find(|line| !line.ends_with(" 0"));
        if busy.is_none() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(format!("not quiet: {}", busy.unwrap_or_default()))
}

/// Addresses at which the process has nothing: null, the last user page, between the halves, the kernel's half, the last byte,
/// and a page that may not be touched.
pub fn wild() -> [u64; 6] {
    let guard = Memory::new(PAGE).end();
    [0, 0x7fff_ffff_f000, 0x0000_8000_0000_0000, 0xffff_8000_0000_0000, u64::MAX, guard]
}
