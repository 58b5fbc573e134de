//! Small types that the whole VFS shares.
use base::{Errno, Result};
use linux_raw_sys::general as abi;

/// The type of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

/// A point in time: seconds since 1970 and nanoseconds below 1,000,000,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[allow(missing_docs)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: u32,
}

impl Timespec {
    /// The wall clock now.
    pub fn now() -> Timespec {
        let ns = base::time::wall_clock_ns();
        Timespec { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as u32 }
    }
}

/// How much an fsync-like call must make durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncKind {
    /// fdatasync, O_DSYNC: data and what is needed to read it back.
    Data,
    /// fsync, O_SYNC: that and all inode metadata.
    All,
}

/// What fallocate is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallocMode {
    /// Allocate holes as unwritten extents; with `keep_size` the file size stays (TRC-9).
    Allocate {
        /// `FALLOC_FL_KEEP_SIZE`
        keep_size: bool,
    },
    /// Make the range read as zeros and give whole blocks of it back; the size stays (TRC-6).
    PunchHole,
    /// Make the range read as zeros and keep or get its blocks, as unwritten extents (TRC-7).
    ZeroRange {
        /// `FALLOC_FL_KEEP_SIZE`
        keep_size: bool,
    },
    /// Take whole blocks out of the file; what stands behind moves forward (TRC-8).
    CollapseRange,
    /// Put whole blocks of a hole into the file; what stands behind moves back (TRC-8).
    InsertRange,
}

impl FallocMode {
    /// Of `FALLOC_FL_*` bits: the modes exclude each other, and each goes with `FALLOC_FL_KEEP_SIZE`, or must, or must not. Errors:
    /// `EOPNOTSUPP`.
    pub fn from_bits(bits: u32) -> Result<FallocMode> {
        let keep_size = bits & abi::FALLOC_FL_KEEP_SIZE != 0;
        match (bits & !abi::FALLOC_FL_KEEP_SIZE, keep_size) {
            (abi::FALLOC_FL_ALLOCATE_RANGE, _) => Ok(FallocMode::Allocate { keep_size }),
            (abi::FALLOC_FL_ZERO_RANGE, _) => Ok(FallocMode::ZeroRange { keep_size }),
            (abi::FALLOC_FL_PUNCH_HOLE, true) => Ok(FallocMode::PunchHole),
            (abi::FALLOC_FL_COLLAPSE_RANGE, false) => Ok(FallocMode::CollapseRange),
            (abi::FALLOC_FL_INSERT_RANGE, false) => Ok(FallocMode::InsertRange),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// The size that a file of `size` bytes has after this mode was applied to `len` bytes at `pos`.
    pub fn new_size(self, size: u64, pos: u64, len: u64) -> u64 {
        match self {
            FallocMode::Allocate { keep_size: false } | FallocMode::ZeroRange { keep_size: false } => {
                size.max(pos.saturating_add(len))
            }
            FallocMode::Allocate { .. } | FallocMode::ZeroRange { .. } | FallocMode::PunchHole => size,
            FallocMode::CollapseRange => size.saturating_sub(len),
            FallocMode::InsertRange => size.saturating_add(len),
        }
    }
}

/// A run of file bytes on consecutive device bytes, as FIEMAP tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileExtent {
    /// First byte in the file.
    pub pos: u64,
    /// Bytes; never 0. Whole blocks: the last one may reach past the end of the file.
    pub len: u64,
    /// First byte on the device.
    pub device_pos: u64,
    /// Allocated, and without content anywhere (BUF-8): reads as zeros.
    pub unwritten: bool,
    /// The file has none behind it.
    pub last: bool,
}

/// One entry given by readdir.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct DirEntry<'a> {
    pub ino: u64,
    pub kind: FileType,
    pub name: &'a [u8],
    /// The position after this entry: what `lseek` on the directory takes to continue.
    pub next_pos: u64,
}

bitflags::bitflags! {
    /// What the files of a file system support (FLAG-5).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FileFeatures: u32 {
        /// `RWF_WRITETHROUGH`
        const WRITETHROUGH = 1;
        /// O_DIRECT
        const DIRECT = 2;
        /// `RWF_NOWAIT` of a write without `RWF_WRITETHROUGH`
        const NOWAIT_WRITE = 4;
        /// `RWF_NOWAIT` with `RWF_WRITETHROUGH`
        const NOWAIT_THROUGH = 8;
        /// `RWF_NOWAIT` of a read
        const NOWAIT_READ = 16;
    }
}
