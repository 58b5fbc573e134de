//! Small types that the whole VFS shares.

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
        /// `RWF_NOWAIT`
        const NOWAIT = 4;
    }
}
