//! A mounted disk, and the steps on it.
//!
//! Two steps stand for what a kernel does by itself, and no call asks for exactly that. So more is done, of which nothing is promised:
//! `flush` is a syncfs, `commit` an fsync of the root directory.
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use user::step::{FileId, How, Op, bytes_at};
use user::sys::{self, AioWrites, Errno, FileMap, MapKind, Result};

/// Where the disk is mounted.
const AT: &str = "/mnt";
/// Most asynchronous writes in flight.
const DEPTH: usize = 64;

/// What has come of a step.
pub enum Outcome {
    /// It has ended: bytes, or 0.
    Done(usize),
    /// An asynchronous write is in flight; its event comes later.
    Accepted,
}

/// An open file, twice: also with `O_DIRECT`, because its name may be another when that is needed.
struct Open {
    file: File,
    direct: File,
}

/// A mounted disk with its open files and writes in flight.
pub struct Stage {
    root: File,
    files: BTreeMap<FileId, Open>,
    aio: AioWrites,
    events: Vec<(u64, Result<usize>)>,
}

impl Stage {
    /// Mounts `disk`.
    pub fn mount(disk: &str) -> Result<Stage> {
        let _ = fs::create_dir_all(AT);
        sys::mount(&c_string(disk)?, &c_string(AT)?, c"ext4")?;
        let root = File::open(AT).map_err(errno)?;
        Ok(Stage { root, files: BTreeMap::new(), aio: AioWrites::new(DEPTH)?, events: Vec::new() })
    }

    /// Free blocks of the file system.
    pub fn free_blocks(&self) -> Result<u64> {
        sys::free_blocks(self.root.as_raw_fd())
    }

    /// Waits for all events.
    pub fn settle(&mut self) -> Result<()> {
        while self.aio.in_flight() > 0 {
            self.reap(1)?;
        }
        Ok(())
    }

    /// The events that have come: numbers of steps, and outcomes.
    pub fn events(&mut self) -> Vec<(u64, Result<usize>)> {
        // A context that is asked for nothing gives what there is.
        let _ = self.reap(0);
        std::mem::take(&mut self.events)
    }

    fn reap(&mut self, least: usize) -> Result<()> {
        self.events.extend(self.aio.reap(least)?);
        Ok(())
    }

    /// Plays step `number`.
    pub fn play(&mut self, number: usize, op: &Op) -> Result<Outcome> {
        match op {
            Op::Create { path, file } => {
                let mut options = File::options();
                let new = options.read(true).write(true).create_new(true).open(at(path)).map_err(errno)?;
                let mut options = File::options();
                let direct = options.read(true).write(true).custom_flags(sys::O_DIRECT as i32).open(at(path));
                self.files.insert(*file, Open { file: new, direct: direct.map_err(errno)? });
            }
            Op::Mkdir { path } => fs::create_dir(at(path)).map_err(errno)?,
            Op::Unlink { path } => fs::remove_file(at(path)).map_err(errno)?,
            Op::Rmdir { path } => fs::remove_dir(at(path)).map_err(errno)?,
            Op::Rename { from, to } => fs::rename(at(from), at(to)).map_err(errno)?,
            Op::Link { file, to } => sys::link(self.open(*file)?.file.as_raw_fd(), &c_string(&at(to))?)?,
            Op::Write { file, pos, len, how } => return self.write(number, *file, *pos, *len, *how),
            Op::Truncate { file, size } => self.open(*file)?.file.set_len(*size).map_err(errno)?,
            Op::Range { file, range, pos, len } => {
                sys::fallocate_range(self.open(*file)?.file.as_raw_fd(), range.bits(), *pos, *len)?;
            }
            Op::Fsync { file, data_only: true } => self.open(*file)?.file.sync_data().map_err(errno)?,
            Op::Fsync { file, data_only: false } => self.open(*file)?.file.sync_all().map_err(errno)?,
            Op::SyncDir { path } => File::open(at(path)).and_then(|dir| dir.sync_all()).map_err(errno)?,
            Op::Sync => sys::syncfs(self.root.as_raw_fd())?,
            Op::Close { file } => _ = self.files.remove(file),
            // An open file of its own, so that an error it is told of is still told to the next `sync`.
            Op::Flush => sys::syncfs(File::open(AT).map_err(errno)?.as_raw_fd())?,
            Op::Commit => File::open(AT).and_then(|root| root.sync_all()).map_err(errno)?,
            Op::Settle => self.settle()?,
            Op::Unmount => return Err(sys::EBUSY),
        }
        Ok(Outcome::Done(0))
    }

    fn write(&mut self, number: usize, file: FileId, pos: u64, len: u64, how: How) -> Result<Outcome> {
        let bytes = bytes_at(number, pos, len);
        let open = self.open(file)?;
        match how {
            How::Aio | How::AioDsync => {
                let fd = open.file.as_raw_fd();
                while !self.aio.has_room() {
                    self.reap(1)?;
                }
                self.aio.submit(fd, pos, bytes, how.rwf(), number as u64).map(|()| Outcome::Accepted)
            }
            How::Direct => sys::pwrite(open.direct.as_raw_fd(), aligned(&bytes).as_slice(), pos).map(Outcome::Done),
            How::Mapped => store(&open.file, pos, &bytes).map(|()| Outcome::Done(bytes.len())),
            _ => sys::pwritev2(open.file.as_raw_fd(), &bytes, pos, how.rwf()).map(Outcome::Done),
        }
    }

    fn open(&self, file: FileId) -> Result<&Open> {
        self.files.get(&file).ok_or(sys::EBADF)
    }
}

/// Stores through a mapping that lives no longer. Past the end of the file a store would be a bus error: `EINVAL`.
fn store(file: &File, pos: u64, bytes: &[u8]) -> Result<()> {
    let end = pos + bytes.len() as u64;
    if sys::fstat(file.as_raw_fd())? < end {
        return Err(sys::EINVAL);
    }
    let mut map = FileMap::new(file.as_raw_fd(), end as usize, MapKind { write: true, shared: true })?;
    bytes.iter().enumerate().for_each(|(at, byte)| map.set(pos as usize + at, *byte));
    Ok(())
}

/// Unmounts the disk, of which nothing is open.
pub fn unmount() -> Result<()> {
    sys::umount(&c_string(AT)?)
}

/// Bytes that begin at a page, as `O_DIRECT` wants them.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

fn aligned(bytes: &[u8]) -> Aligned {
    let mut memory = vec![0; bytes.len() + sys::PAGE];
    let start = memory.as_ptr().align_offset(sys::PAGE);
    memory[start..start + bytes.len()].copy_from_slice(bytes);
    Aligned { memory, start, len: bytes.len() }
}

/// A path of the workload, where the disk is mounted.
fn at(path: &str) -> String {
    format!("{AT}{path}")
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| sys::EINVAL)
}

fn errno(error: std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(sys::EINVAL.0))
}
