//! The in-memory inode.
use super::{DirEntry, FileOps, FileType, SuperBlock, Timespec};
use crate::caller::Caller;
use crate::iomap::{DrainCount, WrittenMark};
use crate::page_cache::Mapping;
use alloc::boxed::Box;
use base::sync::atomic::{AtomicU64, Ordering};
use base::sync::{Arc, Rank, RwLock, SpinLock};
use base::{Errno, Result};

/// Attributes that `stat` shows, without the size (see [`Inode::size`]).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Attr {
    /// Permission bits with setuid, setgid and sticky: `0o7777`.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Allocated space in units of 512 bytes.
    pub blocks_512: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    /// Birth time.
    pub btime: Timespec,
    /// `chattr +a`
    pub append_only: bool,
    /// `chattr +i`
    pub immutable: bool,
}

/// What a setattr call changes; `None` stays.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct SetAttr {
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<Timespec>,
    pub mtime: Option<Timespec>,
    pub ctime: Option<Timespec>,
}

/// The in-memory inode. Locks in their order (SEMANTICS A6): `lock`, `invalidate` (in `mapping`), folio locks, then the
/// file system's own extent lock.
pub struct Inode {
    /// Number within the file system.
    pub ino: u64,
    /// Type; never changes.
    pub kind: FileType,
    /// The file system.
    pub sb: Arc<SuperBlock>,
    /// The inode lock (LOCK-2). For a directory it orders the changes of its entries.
    pub lock: RwLock<()>,
    /// Direct I/Os and write-throughs in flight (DIO-6).
    pub drain: DrainCount,
    /// When data of this inode last reached the device: what fsync must cover by a flush (DUR-11). Whoever ends a write of its
    /// data (write-through, direct, writeback) notes a ticket taken after the completion.
    pub written: WrittenMark,
    /// The page cache of a regular file.
    pub mapping: Mapping,
    attr: SpinLock<Attr>,
    size: AtomicU64,
    ops: Box<dyn InodeOps>,
}

impl Inode {
    /// A new in-memory inode; its rank is that of a directory's or another inode's lock by `kind`.
    pub fn new(
        sb: Arc<SuperBlock>,
        ino: u64,
        kind: FileType,
        attr: Attr,
        size: u64,
        ops: Box<dyn InodeOps>,
    ) -> Arc<Inode> {
        let rank = if kind == FileType::Directory { Rank::DirInode } else { Rank::Inode };
        Arc::new(Inode {
            ino,
            kind,
            sb,
            lock: RwLock::new(rank, ()),
            drain: DrainCount::new(ino),
            written: WrittenMark::new(),
            mapping: Mapping::new(ino),
            attr: SpinLock::new(attr),
            size: AtomicU64::new(size),
            ops,
        })
    }
    /// The in-memory size in bytes (i_size). A reader that sees a size sees the data below it (S-8h).
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }
    /// Sets i_size. The inode lock is held exclusively (SIZE-1); the data below `size` is in the cache already.
    pub fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }
    /// A copy of the attributes.
    pub fn attr(&self) -> Attr {
        *self.attr.lock()
    }
    /// Changes attributes under their lock. `f` must not sleep. The file system is told by [`InodeOps::dirty_inode`].
    pub fn update_attr<R>(&self, f: impl FnOnce(&mut Attr) -> R) -> R {
        f(&mut self.attr.lock())
    }
    /// The file system's side.
    pub fn ops(&self) -> &dyn InodeOps {
        &*self.ops
    }
}

/// What a file system implements for its inodes. Every method gets the generic inode as `inode` (or `dir`): `self` is the
/// private part hanging on it. Names are single components, never empty, `.` or `..`, checked by the path walk.
///
/// Directory operations are called with `dir.lock` held: shared for `lookup` and `readdir`, exclusive for changes (for rename
/// both directories, see `docs/LOCKS.md`). Permissions were checked by the VFS. The defaults refuse.
#[allow(unused_variables)]
pub trait InodeOps: Send + Sync + core::any::Any {
    /// Downcast to the file system's own type.
    fn as_any(&self) -> &dyn core::any::Any;

    /// The operations of an open file on this inode. Errors: `ENXIO`, `EACCES`, ...
    fn open(&self, inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>>;

    /// Finds an entry. Errors: `ENOENT`, `EIO`, `EUCLEAN` (corrupt).
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        Err(Errno::ENOTDIR)
    }
    /// Makes a regular file (or a node with `rdev`). `mode` has the umask applied. Errors: `EEXIST`, `ENOSPC`.
    fn create(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        kind: FileType,
        mode: u16,
        rdev: u64,
        caller: &dyn Caller,
    ) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a directory.
    fn mkdir(&self, dir: &Arc<Inode>, name: &[u8], mode: u16, caller: &dyn Caller) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a symbolic link to `target`.
    fn symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], caller: &dyn Caller) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes another name for `inode`. Errors: `EMLINK`, `EEXIST`.
    fn link(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Removes the name of `inode`, which is not a directory. The blocks go with [`Self::evict`].
    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Removes the empty directory `inode`. Errors: `ENOTEMPTY`.
    fn rmdir(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Moves `inode` from `old_name` in `old_dir` to `new_name` in `new_dir`, replacing `target` if there is one.
    /// With `no_replace` an existing target was refused by the VFS already.
    #[allow(clippy::too_many_arguments)]
    fn rename(
        &self,
        old_dir: &Arc<Inode>,
        old_name: &[u8],
        inode: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        target: Option<&Arc<Inode>>,
    ) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Gives entries from position `pos` on until `emit` returns false (that entry was not taken).
    fn readdir(&self, dir: &Arc<Inode>, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR)
    }
    /// The target of a symbolic link, without a final NUL.
    fn readlink(&self, inode: &Arc<Inode>) -> Result<alloc::vec::Vec<u8>> {
        Err(Errno::EINVAL)
    }
    /// Sets the size (TRC-1): the implementation takes the inode lock exclusively, drains, and so on.
    fn truncate(&self, inode: &Arc<Inode>, size: u64, caller: &dyn Caller) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// Tells that `update_attr` changed the inode: it must reach the disk with the next sync. Task context; may sleep.
    fn dirty_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        Ok(())
    }
    /// The last reference of an inode without links is gone: free its blocks and itself. Never on a completion queue (PRC-4).
    fn evict(&self, inode: &Arc<Inode>) -> Result<()> {
        Ok(())
    }
    /// Writes dirty folios of `range` and waits for them if `wait`; then metadata by `kind`; then flushes (SYN-1, DUR-11).
    fn fsync(&self, inode: &Arc<Inode>, kind: super::SyncKind) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// The iomap side of a regular file whose data is on a block device.
    fn iomap(&self) -> Option<&dyn crate::iomap::IomapOps> {
        None
    }
}
