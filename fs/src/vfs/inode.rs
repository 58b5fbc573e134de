//! The in-memory inode.
//!
//! # The life of an inode
//!
//! *Allocated.* On disk an inode begins when `create`, `mkdir` or `symlink` of its parent directory takes a free number. The
//! file system builds the in-memory [`Inode`] and enters it with [`super::InodeCache::insert_new`]; nobody can have met the number before,
//! because the number was free under the allocator's lock.
//!
//! *Loaded.* Any later meeting goes through [`super::InodeCache::get_or_load`], which makes sure that there is one `Inode` for a
//! number: the page cache, the inode lock and the drain count hang on it, and two of them would each protect half of the users.
//!
//! *Referenced.* The cache holds only weak references. What holds strong ones: the dentry in its parent's name cache, every
//! open file (and so every request in flight, which owns its file, CTX-8), a path walk for its length, and the dirty list of the super
//! block while data or metadata wait to be written. A dentry that leaves the name cache for lack of memory lets a clean inode go;
//! its page cache goes with it.
//!
//! *Unlinked.* `unlink`, `rmdir` and `rename` lower `nlink`. At 0 no new reference can be made through a name. The inode stays
//! whole while open files and requests hold it: reads, writes and truncates go on (TRC-13).
//!
//! *Evicted.* When the last reference of an inode without links is gone, [`InodeOps::evict`] frees its blocks and its number,
//! once. [`super::iput`] does it in the task that let go, so that the blocks are free when `unlink` or `close` returns. A completion
//! worker must not: evict drains and truncates, and could wait for the finish of a request queued behind it (PRC-4). It hands
//! its file to the release queue ([`super::fput_deferred`]). If a reference is dropped without either, `Drop` below moves the
//! contents into a ghost that the release queue evicts; so no order of drops can lose blocks.
//!
//! *Freed.* `Drop` removes the slot in the cache if it still is this inode's own. The number may by then belong to a new inode:
//! evict frees it on disk a moment before it returns.
//!
//! Which counts say what: `Arc` says "memory is in use", `nlink` says "a name leads here", the drain count says "the device or
//! a worker is still at it", the writer count of the super block says "somebody may still change something". None replaces another.
use super::dcache::DirState;
use super::release::Ghost;
use super::{ErrSeq, FileType, InodeOps, SuperBlock, Timespec};
use crate::iomap::{DrainCount, RangeLock, WrittenMark};
use crate::page_cache::Mapping;
use alloc::boxed::Box;
use base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use base::sync::{Arc, Rank, RwLock, SpinLock};

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

impl Attr {
    /// Of a new inode of root with one name and no space of its own: every time is `now`.
    pub fn new(mode: u16, now: Timespec) -> Attr {
        Attr {
            mode,
            uid: 0,
            gid: 0,
            nlink: 1,
            rdev: 0,
            blocks_512: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            append_only: false,
            immutable: false,
        }
    }
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
    /// A number that no other in-memory inode of this boot has had: `ino` comes again when the file is gone.
    pub serial: u64,
    /// Type; never changes.
    pub kind: FileType,
    /// The file system.
    pub sb: Arc<SuperBlock>,
    /// The inode lock (LOCK-2). For a directory it orders the changes of its entries.
    pub lock: RwLock<()>,
    /// Direct I/Os and write-throughs in flight (DIO-6).
    pub drain: DrainCount,
    /// Byte ranges locked by writes that hold the inode lock shared (LOCK-9).
    pub ranges: RangeLock,
    /// When data of this inode last reached the device: what fsync must cover by a flush (DUR-11). Whoever ends a write of its
    /// data (write-through, direct, writeback) notes a ticket taken after the completion.
    pub written: WrittenMark,
    /// The page cache of a regular file.
    pub mapping: Arc<Mapping>,
    /// Writeback errors, for fsync of the open files (ERR-6). Record with [`SuperBlock::record_error`].
    pub wb_err: ErrSeq,
    /// Errors recorded there so far, for who writes and waits in the middle of something else.
    pub(super) wb_errors: AtomicU64,
    /// What the VFS knows of a directory: cached names, its own name, what is mounted on it.
    pub(super) dir: Option<Box<DirState>>,
    attr: SpinLock<Attr>,
    size: AtomicU64,
    evicted: AtomicBool,
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
        // A plain counter: the number only has to be another one each time.
        static NEXT: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(1);
        let serial = NEXT.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        let rank = if kind == FileType::Directory { Rank::DirInode } else { Rank::Inode };
        let cache = sb.page_cache.clone();
        let block_size = ops.iomap().map_or(base::PAGE_SIZE as u32, |iomap| iomap.block_size());
        Arc::new_cyclic(|host| Inode {
            ino,
            serial,
            kind,
            sb,
            lock: RwLock::new(rank, ()),
            drain: DrainCount::new(ino),
            ranges: RangeLock::new(ino),
            written: WrittenMark::new(),
            mapping: Mapping::new(ino, host.clone(), cache, block_size),
            wb_err: ErrSeq::new(),
            wb_errors: AtomicU64::new(0),
            dir: (kind == FileType::Directory).then(|| Box::new(DirState::new())),
            attr: SpinLock::new(attr),
            size: AtomicU64::new(size),
            evicted: AtomicBool::new(false),
            ops,
        })
    }
    /// The in-memory size in bytes (i_size). A reader that sees a size sees the data below it (S-8h).
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }
    /// How many errors of its data were recorded so far.
    pub fn errors_recorded(&self) -> u64 {
        self.wb_errors.load(Ordering::Acquire)
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
    /// Reads attributes under their lock, without a copy. `f` must not sleep.
    pub fn with_attr<R>(&self, f: impl FnOnce(&Attr) -> R) -> R {
        f(&self.attr.lock())
    }
    /// Number of names.
    pub fn nlink(&self) -> u32 {
        self.attr.lock().nlink
    }
    /// The directory above, for `..` of a listing; `None` for a file, a root and a directory that was removed.
    pub fn parent(&self) -> Option<Arc<Inode>> {
        self.dir.as_ref().and_then(|dir| dir.parent())
    }
    /// The file system's side.
    pub fn ops(&self) -> &dyn InodeOps {
        &*self.ops
    }
    pub(super) fn set_evicted(&self) {
        self.evicted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Inode {
    /// Leaves the inode cache. An unlinked inode that nobody has evicted lives on as a ghost for the release queue.
    fn drop(&mut self) {
        let unlinked = self.attr.get_mut().nlink == 0;
        if !unlinked || self.evicted.load(Ordering::Relaxed) {
            self.sb.inodes().forget(self);
            return;
        }
        let ops = core::mem::replace(&mut self.ops, Box::new(Gone));
        Ghost::queue(Inode::new(self.sb.clone(), self.ino, self.kind, *self.attr.get_mut(), self.size(), ops));
    }
}

/// Stands in for the operations that moved to the ghost.
struct Gone;

impl InodeOps for Gone {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn open(&self, _inode: &Arc<Inode>) -> base::Result<Arc<dyn super::FileOps>> {
        Err(base::Errno::EIO)
    }
}
