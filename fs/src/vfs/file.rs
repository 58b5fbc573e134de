//! The open file description.
use super::{ErrCursor, FallocMode, FileFeatures, Inode, SyncKind, WriteAccess};
use crate::io::{IoSink, IoSource};
use crate::kiocb::{Kiocb, Outcome};
use alloc::boxed::Box;
use base::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use base::sync::{Arc, Mutex, PollQueue, Rank, SpinLock};
use base::workqueue::WorkLink;
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

impl OpenFlags {
    /// What `fcntl(F_SETFL)` changes.
    pub const SETTABLE: OpenFlags = OpenFlags::from_bits_retain(
        OpenFlags::APPEND.bits() | OpenFlags::NONBLOCK.bits() | OpenFlags::DIRECT.bits() | OpenFlags::NOATIME.bits(),
    );
}

/// An open file description: what `open` makes and descriptors share.
pub struct File {
    /// The inode, for files that have one in a file system (a pipe or eventfd has none).
    pub inode: Option<Arc<Inode>>,
    /// The file position; the lock is held across a call that uses and moves it (FLAG-6).
    pub pos: Mutex<u64>,
    /// Open flags; `fcntl(F_SETFL)` changes some (FLAG-4).
    flags: AtomicU32,
    /// What this description knows of writeback errors, of the inode and of the super block (ERR-6).
    errors: Option<(ErrCursor, ErrCursor)>,
    /// Keeps the super block writable while a file open for writing or a request of it lives (RO-1).
    write_access: Option<WriteAccess>,
    /// A worker has given it to the release queue, which counts it until it is closed.
    pub(super) handed_over: AtomicBool,
    /// For the release queue (CTX-8).
    pub(super) link: WorkLink,
    kept: SpinLock<Option<Box<dyn Send>>>,
    ops: Arc<dyn FileOps>,
}

impl File {
    /// A new open file. Permissions were checked.
    pub fn new(inode: Option<Arc<Inode>>, flags: OpenFlags, ops: Arc<dyn FileOps>) -> Arc<File> {
        File::with_access(inode, flags, ops, None)
    }
    /// As [`Self::new`], with the write access that a file opened for writing holds.
    pub fn with_access(
        inode: Option<Arc<Inode>>,
        flags: OpenFlags,
        ops: Arc<dyn FileOps>,
        write_access: Option<WriteAccess>,
    ) -> Arc<File> {
        let errors = inode.as_ref().map(|inode| {
            inode.sb.file_opened();
            (inode.wb_err.sample(), inode.sb.wb_err.sample())
        });
        Arc::new(File {
            inode,
            pos: Mutex::new(Rank::FilePos, 0),
            flags: AtomicU32::new(flags.bits()),
            errors,
            write_access,
            handed_over: AtomicBool::new(false),
            link: WorkLink::new(),
            kept: SpinLock::new(None),
            ops,
        })
    }
    /// Reports a writeback error of the inode that this description has not reported (ERR-6). Errors: the recorded one.
    pub fn report_error(&self) -> Result<()> {
        match (&self.inode, &self.errors) {
            (Some(inode), Some((cursor, _))) => inode.wb_err.report(cursor),
            _ => Ok(()),
        }
    }
    /// As [`Self::report_error`], for the whole super block: syncfs (SYN-5).
    pub fn report_super_block_error(&self) -> Result<()> {
        match (&self.inode, &self.errors) {
            (Some(inode), Some((_, cursor))) => inode.sb.wb_err.report(cursor),
            _ => Ok(()),
        }
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
    /// Keeps what `make` makes until the last reference goes, and drops it while the inode is still there: for whoever must know of the end.
    /// There is one such thing: when something is kept already, nothing is made.
    pub fn keep(&self, make: impl FnOnce() -> Box<dyn Send>) {
        self.kept.lock().get_or_insert_with(make);
    }
    /// The operations behind it.
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }
    /// Changes the flags that `fcntl(F_SETFL)` may change; requests that have sampled theirs go on with them (FLAG-4).
    pub fn set_flags(&self, flags: OpenFlags) {
        let keep = self.flags() - OpenFlags::SETTABLE;
        self.flags.store((keep | (flags & OpenFlags::SETTABLE)).bits(), Ordering::Relaxed);
    }
}

impl Drop for File {
    /// The last reference: never reached on a completion queue, which uses [`super::fput_deferred`].
    fn drop(&mut self) {
        self.ops.release(self);
        drop(self.kept.get_mut().take());
        if let Some(inode) = self.inode.take() {
            // The eviction writes: the super block stays busy and writable until it is done (the access goes last).
            let sb = inode.sb.clone();
            super::iput(inode);
            sb.file_closed();
            drop(self.write_access.take());
            if self.handed_over.load(Ordering::Acquire) {
                sb.release.leave();
            }
        }
    }
}

/// What poll(2) tells of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// A read would not sleep (it may also be at the end or fail).
    pub readable: bool,
    /// A write would not sleep.
    pub writable: bool,
    /// The other end is gone, and nobody will write.
    pub hung_up: bool,
    /// A write would fail: nobody will read.
    pub failed: bool,
}

/// What stands behind an open file. The defaults refuse.
#[allow(unused_variables)]
pub trait FileOps: Send + Sync {
    /// For a look at the type behind an open file; `None` where nobody needs to.
    fn as_any(&self) -> Option<&dyn core::any::Any> {
        None
    }
    /// A device node that leads to it is opened with `flags`: what stands behind that open file in its place; `None`: itself. Errors: those of
    /// open(2).
    fn open_device(&self, flags: OpenFlags) -> Result<Option<Arc<dyn FileOps>>> {
        Ok(None)
    }
    /// What requests on such files may ask for (FLAG-5).
    fn features(&self) -> FileFeatures {
        FileFeatures::empty()
    }
    /// Reads at `kiocb.pos`. Flags and limits were validated by the caller.
    fn read(&self, kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        Err(Errno::EINVAL)
    }
    /// Writes at `kiocb.pos`. It takes its own freeze protection (S-2), which an asynchronous request keeps. Flags were validated (A1); the checks of A2 are the implementation's.
    fn write(&self, kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        Err(Errno::EINVAL)
    }
    /// fsync, fdatasync.
    fn fsync(&self, file: &File, kind: SyncKind) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// fallocate. It takes its own freeze protection.
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
    /// What can be done without sleeping now: poll(2). The default suits files that never keep anyone waiting.
    fn readiness(&self, file: &File) -> Readiness {
        Readiness { readable: true, writable: true, hung_up: false, failed: false }
    }
    /// Who is told when [`Self::readiness`] may have changed: woken after each change. `None` for a file that never changes.
    fn poll_queue(&self) -> Option<&PollQueue> {
        None
    }
    /// Whether the file has positions (`lseek`, `pread`); a pipe or a tty has none.
    fn seekable(&self) -> bool {
        true
    }
    /// The first position at or after `from`, which is below the size, that holds data (`data`) or a hole: `SEEK_DATA`, `SEEK_HOLE`
    /// (BUF-8). The default knows no holes but the one at the end. Errors: `ENXIO` if there is no data from here on.
    fn seek_extent(&self, file: &File, from: u64, data: bool) -> Result<u64> {
        match &file.inode {
            Some(inode) if !data => Ok(inode.size()),
            _ => Ok(from),
        }
    }
    /// The last descriptor and request of the open file is gone. May sleep; never on a completion queue (CTX-8).
    fn release(&self, file: &File) {}
}
