//! The open file description.
use super::{FallocMode, FileFeatures, Inode, SyncKind};
use crate::io::{IoSink, IoSource};
use crate::kiocb::{Kiocb, Outcome};
use base::sync::atomic::{AtomicU32, Ordering};
use base::sync::{Arc, Mutex, Rank};
use base::{Errno, Result};

bitflags::bitflags! {
    /// Flags of an open file: the `O_*` values of the Linux x86-64 ABI.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct OpenFlags: u32 {
        /// O_WRONLY
        const WRONLY = 0o1;
        /// O_RDWR
        const RDWR = 0o2;
        /// O_CREAT
        const CREAT = 0o100;
        /// O_EXCL
        const EXCL = 0o200;
        /// O_NOCTTY
        const NOCTTY = 0o400;
        /// O_TRUNC
        const TRUNC = 0o1000;
        /// O_APPEND
        const APPEND = 0o2000;
        /// O_NONBLOCK
        const NONBLOCK = 0o4000;
        /// O_DSYNC
        const DSYNC = 0o10000;
        /// O_DIRECT
        const DIRECT = 0o40000;
        /// O_LARGEFILE
        const LARGEFILE = 0o100000;
        /// O_DIRECTORY
        const DIRECTORY = 0o200000;
        /// O_NOFOLLOW
        const NOFOLLOW = 0o400000;
        /// O_NOATIME
        const NOATIME = 0o1000000;
        /// O_CLOEXEC
        const CLOEXEC = 0o2000000;
        /// O_SYNC without the bit it shares with O_DSYNC
        const SYNC_BIT = 0o4000000;
        /// O_PATH
        const PATH = 0o10000000;
        /// O_TMPFILE without O_DIRECTORY
        const TMPFILE_BIT = 0o20000000;
    }
}

/// An open file description: what `open` makes and descriptors share.
pub struct File {
    /// The inode, for files that have one in a file system (a pipe or eventfd has none).
    pub inode: Option<Arc<Inode>>,
    /// The file position; the lock is held across a call that uses and moves it (FLAG-6).
    pub pos: Mutex<u64>,
    /// Open flags; `fcntl(F_SETFL)` changes some (FLAG-4).
    flags: AtomicU32,
    ops: Arc<dyn FileOps>,
}

impl File {
    /// A new open file. Permissions were checked.
    pub fn new(inode: Option<Arc<Inode>>, flags: OpenFlags, ops: Arc<dyn FileOps>) -> Arc<File> {
        Arc::new(File { inode, pos: Mutex::new(Rank::FilePos, 0), flags: AtomicU32::new(flags.bits()), ops })
    }
    /// The flags now.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }
    /// Whether the file was opened for reading.
    pub fn readable(&self) -> bool {
        self.flags().bits() & 3 != 1 && !self.flags().contains(OpenFlags::PATH)
    }
    /// Whether the file was opened for writing.
    pub fn writable(&self) -> bool {
        self.flags().bits() & 3 != 0 && !self.flags().contains(OpenFlags::PATH)
    }
    /// The operations behind it.
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }
}

/// What stands behind an open file. The defaults refuse.
#[allow(unused_variables)]
pub trait FileOps: Send + Sync {
    /// What requests on such files may ask for (FLAG-5).
    fn features(&self) -> FileFeatures {
        FileFeatures::empty()
    }
    /// Reads at `kiocb.pos`. Flags and limits were validated by the caller.
    fn read(&self, kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        Err(Errno::EINVAL)
    }
    /// Writes at `kiocb.pos`. Flags were validated (A1); the checks of A2 are the implementation's.
    fn write(&self, kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        Err(Errno::EINVAL)
    }
    /// fsync, fdatasync.
    fn fsync(&self, file: &File, kind: SyncKind) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// fallocate.
    fn fallocate(
        &self,
        file: &File,
        mode: FallocMode,
        pos: u64,
        len: u64,
        caller: &dyn crate::caller::Caller,
    ) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// A control call; `arg` is the raw third argument. Errors: `ENOTTY` for a command this file does not have.
    fn ioctl(&self, file: &File, command: u32, arg: u64) -> Result<u64> {
        Err(Errno::ENOTTY)
    }
    /// Whether the file has positions (`lseek`, `pread`); a pipe or a tty has none.
    fn seekable(&self) -> bool {
        true
    }
    /// The last descriptor and request of the open file is gone. May sleep; never on a completion queue (CTX-8).
    fn release(&self, file: &File) {}
}
