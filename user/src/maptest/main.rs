//! Mappings of a file against everything that changes the file.
//!
//!   maptest             all checks; leaves its files in /data for whoever looks at the disk
//!   maptest lab         those that hold requests in flight: in a kernel with the lab
//!   maptest bus         touches a mapping past the end of its file, and dies of SIGBUS
//!   maptest bus-store   the same, by a store
//!   maptest bus-cut     stores to a page that a truncate takes away while the store waits for it, in a kernel with the lab
//!   maptest bus-full    stores to holes until the disk is full, and dies of SIGBUS
//!
//! | file | checks |
//! |---|---|
//! | `main` | mappings that are only read, and private ones |
//! | `stores` | stores through shared mappings |
//! | `lab` | the same against requests that are held |
//!
//! Exit status: 0 if everything was as it must be; 1 if not.
mod lab;
mod stores;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use user::sys::{self, EACCES, EFAULT, ENODEV, Fd, FileMap, MapKind, O_DIRECT, PAGE, PageBuffer, RWF_WRITETHROUGH};

const SHARED: MapKind = MapKind { write: false, shared: true };
const STORES: MapKind = MapKind { write: true, shared: true };
const PRIVATE: MapKind = MapKind { write: true, shared: false };

type Check = fn() -> Result<(), String>;

fn main() -> ExitCode {
    let _ = fs::create_dir_all("/data");
    let checks = match std::env::args().nth(1).as_deref() {
        None => [ONLY_READ, stores::CHECKS].concat(),
        Some("lab") => lab::CHECKS.to_vec(),
        Some("bus") => vec![("bus", past_the_end as Check)],
        Some("bus-store") => vec![("bus-store", stores::past_the_end as Check)],
        Some("bus-cut") => vec![("bus-cut", lab::cut_while_waiting as Check)],
        Some("bus-full") => vec![("bus-full", stores::full_disk as Check)],
        Some(other) => {
            println!("maptest: no checks {other}");
            return ExitCode::FAILURE;
        }
    };
    // All of them, even after one has failed.
    let failed = checks.into_iter().filter(|&(name, check)| told(name, check) != ExitCode::SUCCESS).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const ONLY_READ: &[(&str, Check)] = &[
    ("writes are seen at once", coherence),
    ("stores are private", copy_on_write),
    ("a truncate takes pages away", truncate),
    ("self-source, same page", self_source_same_page),
    ("self-source, overlapping", self_source_overlapping),
    ("the source ends midway", source_ends),
    ("what is refused", refusals),
];

fn told(name: &str, check: Check) -> ExitCode {
    match check() {
        Ok(()) => {
            println!("maptest: {name}: ok");
            ExitCode::SUCCESS
        }
        Err(text) => {
            println!("maptest: {name}: FAILED: {text}");
            ExitCode::FAILURE
        }
    }
}

/// A file on the disk whose page `i` is full of `i + 1`, open for reading and writing.
struct Pages {
    path: String,
    file: File,
}

impl Pages {
    fn new(name: &str, pages: usize) -> Result<Pages, String> {
        let path = format!("/data/{name}");
        let bytes: Vec<u8> = (0..pages * PAGE).map(|at| (at / PAGE) as u8 + 1).collect();
        fs::write(&path, bytes).map_err(|e| format!("{path}: {e}"))?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|e| format!("{path}: {e}"))?;
        file.sync_all().map_err(|e| format!("{path}: {e}"))?;
        Ok(Pages { path, file })
    }
    fn fd(&self) -> Fd {
        self.file.as_raw_fd()
    }
    fn map(&self, pages: usize, kind: MapKind) -> Result<FileMap, String> {
        FileMap::new(self.fd(), pages * PAGE, kind).map_err(|e| format!("mmap: {e:?}"))
    }
    fn expect_pages(&self, expected: &[&[u8]]) -> Result<(), String> {
        let mut bytes = Vec::new();
        File::open(&self.path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
        let uniform = bytes.chunks(PAGE).all(|page| page.iter().all(|byte| *byte == page[0]));
        let pages: Vec<u8> = bytes.chunks(PAGE).map(|page| page[0]).collect();
        if uniform && expected.contains(&pages.as_slice()) { Ok(()) } else { Err(format!("the file is {pages:?}")) }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {expected:?}")) }
}

/// MM-5
fn coherence() -> Result<(), String> {
    let pages = Pages::new("coherence", 2)?;
    let direct = OpenOptions::new().write(true).custom_flags(O_DIRECT as i32).open(&pages.path);
    let direct = direct.map_err(|e| format!("O_DIRECT: {e}"))?;
    let (shared, private) = (pages.map(2, SHARED)?, pages.map(2, PRIVATE)?);
    let last = 2 * PAGE - 1;
    same("before", (shared.get(last), private.get(last)), (2, 2))?;
    let ways: [(&str, Fd, u32, u8); 3] = [
        ("buffered", pages.fd(), 0, 40),
        ("write-through", pages.fd(), RWF_WRITETHROUGH, 41),
        ("direct", direct.as_raw_fd(), 0, 42),
    ];
    for (way, fd, flags, new) in ways {
        let buffer = Box::new(PageBuffer([new; PAGE]));
        same(way, sys::pwritev2(fd, &buffer.0, PAGE as u64, flags), Ok(PAGE))?;
        same(way, (shared.get(last), private.get(last), shared.get(0)), (new, new, 1))?;
    }
    Ok(())
}

/// MM-8
fn copy_on_write() -> Result<(), String> {
    let pages = Pages::new("private", 2)?;
    let (shared, mut private) = (pages.map(2, SHARED)?, pages.map(2, PRIVATE)?);
    same("loaded", private.get(0), 1)?;
    private.set(0, 99);
    private.set(PAGE, 98);
    same("stored", (private.get(0), private.get(1), private.get(PAGE), private.get(PAGE + 1)), (99, 1, 98, 2))?;
    same("shared", (shared.get(0), shared.get(PAGE)), (1, 2))?;
    same("written", sys::pwrite(pages.fd(), &[1; 2], 0), Ok(2))?;
    same("after a write", private.get(0), 99)?;
    pages.expect_pages(&[&[1, 2]])
}

/// MM-6, as the kernel's own reads see it
fn truncate() -> Result<(), String> {
    let (pages, other) = (Pages::new("truncate", 3)?, Pages::new("truncate.copy", 1)?);
    let shared = pages.map(3, SHARED)?;
    same("before", shared.get(2 * PAGE), 3)?;
    same("ftruncate", sys::ftruncate(pages.fd(), PAGE as u64 + 1), Ok(()))?;
    same("past the end", shared.write_to(2 * PAGE, 1, other.fd(), 0, 0), Err(EFAULT))?;
    same("the tail", (shared.get(PAGE), shared.get(PAGE + 1)), (2, 0))?;
    same("ftruncate", sys::ftruncate(pages.fd(), 3 * PAGE as u64), Ok(()))?;
    same("grown", shared.get(2 * PAGE), 0)?;
    other.expect_pages(&[&[1]])
}

/// R27, variant 1
fn self_source_same_page() -> Result<(), String> {
    for flags in [0, RWF_WRITETHROUGH] {
        let pages = Pages::new("self1", 2)?;
        let shared = pages.map(2, SHARED)?;
        same("written", shared.write_to(0, PAGE, pages.fd(), 0, flags), Ok(PAGE))?;
        same("seen", shared.get(PAGE - 1), 1)?;
        pages.expect_pages(&[&[1, 2]])?;
    }
    Ok(())
}

/// R27, variant 2
fn self_source_overlapping() -> Result<(), String> {
    for flags in [0, RWF_WRITETHROUGH] {
        let pages = Pages::new("self2", 4)?;
        let shared = pages.map(4, SHARED)?;
        same("written", shared.write_to(0, 2 * PAGE, pages.fd(), PAGE as u64, flags), Ok(2 * PAGE))?;
        // Page 1 was the source of page 2 before the call or after page 0 had come there.
        pages.expect_pages(&[&[1, 1, 2, 4], &[1, 1, 1, 4]])?;
    }
    Ok(())
}

/// R28, with the end there from the beginning
fn source_ends() -> Result<(), String> {
    let (pages, other) = (Pages::new("source", 3)?, Pages::new("source.copy", 3)?);
    let mut shared = pages.map(3, SHARED)?;
    same("mapped", shared.get(2 * PAGE), 3)?;
    same("munmap", shared.cut(PAGE), Ok(()))?;
    for flags in [0, RWF_WRITETHROUGH] {
        same("a short count", shared.write_to(0, 3 * PAGE, other.fd(), PAGE as u64, flags), Ok(PAGE))?;
        same("nothing", shared.write_to(PAGE, PAGE, other.fd(), 0, flags), Err(EFAULT))?;
    }
    other.expect_pages(&[&[1, 1, 3]])
}

/// Stores to a shared mapping need a file that is open for writing, and one with a page cache.
fn refusals() -> Result<(), String> {
    let pages = Pages::new("refused", 1)?;
    let read_only = File::open(&pages.path).map_err(|e| e.to_string())?;
    let mut shared = FileMap::new(read_only.as_raw_fd(), PAGE, SHARED).map_err(|e| format!("mmap: {e:?}"))?;
    same("mprotect", shared.make_writable(), Err(EACCES))?;
    same("shared and writable", FileMap::new(read_only.as_raw_fd(), PAGE, STORES).err(), Some(EACCES))?;
    let in_proc = OpenOptions::new().read(true).write(true).open("/proc/sluice/lab");
    if let Ok(in_proc) = in_proc {
        same("without a page cache", FileMap::new(in_proc.as_raw_fd(), PAGE, STORES).err(), Some(ENODEV))?;
    }
    Ok(())
}

/// MM-6: never returns from the second load.
fn past_the_end() -> Result<(), String> {
    let pages = Pages::new("bus", 2)?;
    let shared = pages.map(2, SHARED)?;
    same("before", shared.get(PAGE), 2)?;
    same("ftruncate", sys::ftruncate(pages.fd(), PAGE as u64), Ok(()))?;
    println!("maptest: about to touch page 1 of 1");
    Err(format!("a load past the end gave {}", shared.get(PAGE)))
}
