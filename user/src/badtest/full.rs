//! A disk that is full: the writer is told, what was there stays, and what is removed makes room again.
use crate::{Outcome, call, expect, fork, told};
use linux_raw_sys::general as abi;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use user::sys::{self, ENOSPC, PAGE};

const FOLDER: &str = "/data/full";
const BEFORE: &str = "/data/before";
const CHUNK: usize = 1 << 16;

/// Takes all room there is, and comes back with the error.
type Fill = fn(&File) -> io::Result<()>;
const WAYS: [(&str, Fill); 4] =
    [("buffered", buffered), ("write-through", through), ("fallocate", allocated), ("small files", small_files)];

fn text(error: io::Error) -> String {
    error.to_string()
}

pub fn all() -> Outcome {
    fs::write(BEFORE, vec![7; 10 * PAGE]).map_err(text)?;
    sys::sync();
    let free = || -> Result<u64, String> {
        sys::sync();
        sys::free_blocks(File::open("/data").map_err(text)?.as_raw_fd()).map_err(told("fstatfs"))
    };
    // The first folder takes a block that its parent may keep.
    fs::create_dir(FOLDER).map_err(text)?;
    for (name, fill) in WAYS {
        let before = free()?;
        let file = File::create(format!("{FOLDER}/large")).map_err(text)?;
        match fill(&file) {
            Err(error) if error.raw_os_error() == Some(ENOSPC.0) => {}
            other => return Err(format!("{name}: {other:?} on a full disk")),
        }
        let full = free()?;
        // What the journal and the tree need may be kept back.
        if full > before / 10 {
            return Err(format!("{name}: {full} of {before} blocks are free on a full disk"));
        }
        untouched().map_err(|text| format!("{name}: {text}"))?;
        drop(file);
        fs::remove_dir_all(FOLDER).and_then(|()| fs::create_dir(FOLDER)).map_err(text)?;
        let after = free()?;
        if after != before {
            return Err(format!("{name}: {after} blocks are free, {before} were before"));
        }
    }
    store()?;
    fs::remove_dir_all(FOLDER).map_err(text)?;
    untouched()
}

/// What had been there is there, and can be changed.
fn untouched() -> Outcome {
    let mut file = OpenOptions::new().read(true).write(true).open(BEFORE).map_err(text)?;
    file.write_at(&[7; 100], 50).and_then(|_| file.sync_all()).map_err(text)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(text)?;
    if bytes == [7; 10 * PAGE] { Ok(()) } else { Err("another file has changed".into()) }
}

fn buffered(mut file: &File) -> io::Result<()> {
    loop {
        file.write_all(&[1; CHUNK])?;
    }
}

fn through(file: &File) -> io::Result<()> {
    let bytes = [2; CHUNK];
    let mut pos = 0;
    loop {
        let written = sys::pwritev2(file.as_raw_fd(), &bytes, pos, sys::RWF_WRITETHROUGH);
        pos += written.map_err(|errno| io::Error::from_raw_os_error(errno.0))? as u64;
    }
}

fn allocated(file: &File) -> io::Result<()> {
    for n in 1.. {
        let grown = sys::fallocate(file.as_raw_fd(), false, n * CHUNK as u64);
        grown.map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
    }
    Ok(())
}

/// Large ones first, so that it does not take for ever.
fn small_files(file: &File) -> io::Result<()> {
    const LEFT: u64 = 64;
    let full = sys::free_blocks(file.as_raw_fd()).map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
    let most = full.saturating_sub(LEFT) * PAGE as u64;
    sys::fallocate(file.as_raw_fd(), false, most).map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
    for n in 0.. {
        let mut small = File::create(format!("{FOLDER}/{n}"))?;
        small.write_all(&[3; 100])?;
        small.sync_all()?;
    }
    Ok(())
}

/// A store to a hole of a mapped file, for which there is no block.
fn store() -> Outcome {
    let large = File::create(format!("{FOLDER}/large")).map_err(text)?;
    let _ = buffered(&large);
    let hole =
        OpenOptions::new().read(true).write(true).create_new(true).open(format!("{FOLDER}/hole")).map_err(text)?;
    hole.set_len(64 * PAGE as u64).map_err(text)?;
    let pid = fork(|| {
        let prot = u64::from(abi::PROT_READ | abi::PROT_WRITE);
        let len = 64 * PAGE as u64;
        let at = call(abi::__NR_mmap, [0, len, prot, abi::MAP_SHARED.into(), hole.as_raw_fd() as u64, 0]);
        let Ok(at) = at else { return 1 };
        let pages = sys::Memory::of_kernel(at, len as usize);
        (0..64).for_each(|page| pages.set(page * PAGE, &[1]));
        0
    })?;
    expect("a store for which there is no block", pid, abi::SIGBUS)
}
