//! The operations of a program as system calls.
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use user::oracle::{Aio, Look, Range, System, Way, all};
use user::sys::{self, AioWrites, Errno, FileMap, MapKind, PAGE};

const APPEND: u32 = 0x10;
/// Asynchronous writes of one operation.
const DEPTH: usize = 8;

/// Bytes of a block of the file system under `folder`.
pub fn block_size(folder: &Path) -> Result<u64, String> {
    let folder = File::open(folder).map_err(|error| error.to_string())?;
    sys::block_size(folder.as_raw_fd()).map_err(words)
}

/// The files of a program, open twice, and a context for each of the threads that ask for one.
pub struct Files {
    folder: PathBuf,
    files: Vec<[File; 2]>,
    contexts: Mutex<Vec<AioWrites>>,
    /// The last mapping of each file that was stored to. It stays while other things are done to the file.
    mappings: Vec<Mutex<Option<FileMap>>>,
}

impl Files {
    /// New empty files.
    pub fn create(folder: &Path, count: usize) -> Result<Files, String> {
        let open = |n: usize, flags: u32| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(flags == 0).custom_flags(flags as i32);
            options.open(path(folder, n)).map_err(|error| error.to_string())
        };
        let files = (0..count).map(|n| Ok([open(n, 0)?, open(n, sys::O_DIRECT)?])).collect::<Result<_, String>>()?;
        let mappings = (0..count).map(|_| Mutex::default()).collect();
        Ok(Files { folder: folder.to_owned(), files, contexts: Mutex::default(), mappings })
    }

    /// Closes and removes them.
    pub fn remove(self) -> Result<(), String> {
        let count = self.files.len();
        drop((self.files, self.mappings));
        (0..count).try_for_each(|n| std::fs::remove_file(path(&self.folder, n))).map_err(|error| error.to_string())
    }

    fn fd(&self, file: usize) -> sys::Fd {
        self.files[file][0].as_raw_fd()
    }
    fn direct(&self, file: usize) -> sys::Fd {
        self.files[file][1].as_raw_fd()
    }
}

fn path(folder: &Path, n: usize) -> PathBuf {
    folder.join(format!("soak{n}"))
}

fn words(error: Errno) -> String {
    format!("error {}", error.0)
}

impl Files {
    /// Stores through a new mapping; the one before goes. What ends inside the file can be stored to, since nothing makes a file shorter
    /// beside a write.
    fn store(&self, file: usize, pos: u64, bytes: &[u8]) -> Result<(), String> {
        let end = pos + bytes.len() as u64;
        if self.size(file)? < end {
            self.range(file, Range::Allocate, pos, bytes.len() as u64)?;
        }
        let mut map =
            FileMap::new(self.fd(file), end as usize, MapKind { write: true, shared: true }).map_err(words)?;
        bytes.iter().enumerate().for_each(|(at, byte)| map.set(pos as usize + at, *byte));
        let before = self.mappings[file].lock().map_err(|_| "a thread panicked")?.replace(map);
        drop(before);
        Ok(())
    }
}

impl System for Files {
    fn write(&self, file: usize, pos: u64, bytes: &[u8], way: Way) -> Result<(), String> {
        let written = match way {
            Way::Mapped => return self.store(file, pos, bytes),
            Way::Direct => sys::pwrite(self.direct(file), AlignedBytes::copy_of(bytes).get(), pos),
            Way::Buffered => sys::pwrite(self.fd(file), bytes, pos),
            _ => sys::pwritev2(self.fd(file), bytes, pos, way.rwf()),
        };
        written.map_err(words).and_then(all(bytes.len()))
    }

    fn append(&self, file: usize, _size: u64, bytes: &[u8], way: Way) -> Result<(), String> {
        sys::pwritev2(self.fd(file), bytes, 0, way.rwf() | APPEND).map_err(words).and_then(all(bytes.len()))
    }

    fn aio(&self, file: usize, pos: u64, pieces: &[Vec<u8>], how: Aio) -> Result<Vec<usize>, String> {
        let spare = self.contexts.lock().map_err(|_| "a thread panicked")?.pop();
        let mut context = spare.map_or_else(|| AioWrites::new(DEPTH), Ok).map_err(words)?;
        let mut at = pos;
        for (tag, piece) in pieces.iter().enumerate() {
            context.submit(self.fd(file), at, piece.clone(), how.rwf(), tag as u64).map_err(words)?;
            at += piece.len() as u64;
        }
        let mut counts = vec![0; pieces.len()];
        while context.in_flight() > 0 {
            for (tag, result) in context.reap(1).map_err(words)? {
                let again = how == Aio::Nowait && result == Err(sys::EAGAIN);
                counts[tag as usize] = if again { 0 } else { result.map_err(words)? };
            }
        }
        self.contexts.lock().map_err(|_| "a thread panicked")?.push(context);
        Ok(counts)
    }

    fn read(&self, file: usize, pos: u64, len: usize, look: Look) -> Result<Vec<u8>, String> {
        match look {
            Look::Buffered => {
                let mut bytes = vec![0xee; len];
                let n = sys::pread(self.fd(file), &mut bytes, pos).map_err(words)?;
                bytes.truncate(n);
                Ok(bytes)
            }
            Look::Direct => {
                let mut bytes = AlignedBytes::new(len);
                let n = sys::pread(self.direct(file), bytes.get_mut(), pos).map_err(words)?;
                Ok(bytes.get()[..n].to_vec())
            }
            Look::Mapped => {
                // Past the end a touch would be a bus error; a file only grows beside a read.
                let end = self.size(file)?.min(pos + len as u64);
                if end <= pos {
                    return Ok(Vec::new());
                }
                let map = FileMap::new(self.fd(file), end as usize, MapKind { write: false, shared: true });
                let map = map.map_err(words)?;
                Ok((pos..end).map(|at| map.get(at as usize)).collect())
            }
        }
    }

    fn truncate(&self, file: usize, size: u64) -> Result<(), String> {
        sys::ftruncate(self.fd(file), size).map_err(words)
    }

    fn range(&self, file: usize, range: Range, pos: u64, len: u64) -> Result<(), String> {
        sys::fallocate_range(self.fd(file), range.bits(), pos, len).map_err(words)
    }

    fn fsync(&self, file: usize, data_only: bool) -> Result<(), String> {
        if data_only { sys::fdatasync(self.fd(file)) } else { sys::fsync(self.fd(file)) }.map_err(words)
    }

    fn drop_cache(&self, file: usize) -> Result<(), String> {
        sys::drop_cache(self.fd(file)).map_err(words)
    }

    fn size(&self, file: usize) -> Result<u64, String> {
        sys::fstat(self.fd(file)).map_err(words)
    }
}

/// Bytes that begin at a page, as direct I/O wants them.
struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    fn new(len: usize) -> AlignedBytes {
        let bytes = vec![0; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        AlignedBytes { bytes, start, len }
    }
    fn copy_of(bytes: &[u8]) -> AlignedBytes {
        let mut copy = AlignedBytes::new(bytes.len());
        copy.get_mut().copy_from_slice(bytes);
        copy
    }
    fn get(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }
    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}
