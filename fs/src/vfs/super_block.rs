//! A mounted file system.
use super::inode_cache::InodeCache;
use super::name_limit::NameLimit;
use super::release::ReleaseQueue;
use super::writers::{Freeze, WriterCount};
use super::{ErrSeq, Inode};
use crate::page_cache::{CacheLimits, PageCache};
use alloc::boxed::Box;
use base::Result;
use base::block::Durability;
use base::sync::Arc;
use base::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Figures for `statfs`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct StatFs {
    pub magic: u64,
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub name_max: u64,
    pub fsid: u64,
    pub read_only: bool,
}

/// How durable the data of a file system is now.
#[derive(Clone, Copy, Debug)]
pub struct DurabilityReport {
    /// What the device promises of a completed write (DUR-3).
    pub promise: Durability,
    /// Whether changes of metadata are atomic across a power cut.
    pub journal: bool,
    /// Bytes of file data that the device has acknowledged and a cut may lose.
    pub volatile_bytes: u64,
    /// Blocks of metadata that were changed and not committed.
    pub uncommitted_blocks: u64,
    /// Flushes that succeeded, since mount.
    pub flushes: u64,
    /// Commits, since mount.
    pub commits: u64,
}

/// What a file system implements for itself as a whole.
pub trait SuperOps: Send + Sync + core::any::Any {
    /// Downcast to the file system's own type.
    fn as_any(&self) -> &dyn core::any::Any;
    /// The type's name, such as `ext4`.
    fn type_name(&self) -> &'static str;
    /// Figures for statfs.
    fn statfs(&self) -> StatFs;
    /// The page cache of the system, which the mount was given; `None` for a file system without data on a device.
    fn page_cache(&self) -> Option<Arc<PageCache>> {
        None
    }
    /// How durable its data is; `None` for a file system without a device.
    fn durability(&self) -> Option<DurabilityReport> {
        None
    }
    /// Writes everything dirty and flushes the device (SYN-5).
    fn sync(&self) -> Result<()>;
    /// Sleeps until no worker of its own holds an inode: one whose work is done does for a moment after its outcome was seen, and an
    /// unlinked inode must be evicted before the end.
    fn settle(&self) {}
    /// Orderly end: everything written, the image marked clean. No file is open any more.
    fn unmount(&self) -> Result<()>;
    /// The super block has become read-only (`true`, after a sync; nobody writes) or is to become writable again.
    /// Errors: whatever keeps it from that, for example `EROFS` of a read-only device.
    fn remount(&self, _read_only: bool) -> Result<()> {
        Ok(())
    }
}

/// A mounted file system, as the VFS sees it.
pub struct SuperBlock {
    /// Device number that `stat` shows (`st_dev`).
    pub dev: u64,
    /// Where the folios of its inodes are accounted.
    pub page_cache: Arc<PageCache>,
    /// The writeback errors of all its files, for syncfs (ERR-6).
    pub wb_err: ErrSeq,
    pub(super) writers: WriterCount,
    pub(super) freeze: Freeze,
    pub(super) release: ReleaseQueue,
    pub(super) names: NameLimit,
    inodes: InodeCache,
    /// Open files, those without write access included: what unmount asks (UMT-1).
    open_files: AtomicU64,
    /// Shut down or unmounted: nothing new starts (SHD-1).
    dead: AtomicBool,
    ops: Box<dyn SuperOps>,
}

impl SuperBlock {
    /// A super block around a file system's private part.
    pub fn new(dev: u64, ops: Box<dyn SuperOps>) -> Arc<SuperBlock> {
        SuperBlock::with_mode(dev, ops, false)
    }
    /// As [`Self::new`], read-only from the start if `read_only`.
    pub fn with_mode(dev: u64, ops: Box<dyn SuperOps>, read_only: bool) -> Arc<SuperBlock> {
        let page_cache = ops.page_cache().unwrap_or_else(|| PageCache::new(CacheLimits::default()));
        Arc::new(SuperBlock {
            dev,
            page_cache,
            wb_err: ErrSeq::new(),
            writers: WriterCount::new(read_only),
            freeze: Freeze::new(),
            release: ReleaseQueue::new(),
            names: NameLimit::new(),
            inodes: InodeCache::new(),
            open_files: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            ops,
        })
    }
    /// The file system's side.
    pub fn ops(&self) -> &dyn SuperOps {
        &*self.ops
    }
    /// The inodes in memory.
    pub fn inodes(&self) -> &InodeCache {
        &self.inodes
    }
    /// Whether writes are refused with `EROFS`.
    pub fn is_read_only(&self) -> bool {
        self.writers.is_read_only()
    }
    /// Holders of write access: files open for writing and name operations under way.
    pub fn writer_count(&self) -> u64 {
        self.writers.holders()
    }
    /// Holders of freeze protection (CTX-9: zero when nothing is in flight).
    pub fn freeze_holders(&self) -> u64 {
        self.freeze.holders()
    }
    /// Refuses new writers; the present ones go on and get errors from the file system (SHD-2). Any context.
    pub fn force_read_only(&self) {
        self.writers.force_close();
    }
    /// Stops everything new with `EIO` (SHD-1). Any context.
    pub fn shut_down(&self) {
        self.dead.store(true, Ordering::Release);
        self.writers.force_close();
    }
    /// Whether the super block was shut down or unmounted.
    pub fn is_shut_down(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
    /// Blocks new writes and waits until those under way have posted their outcome and their files are closed, then syncs (FRZ-1).
    /// Task context, no locks.
    /// Errors: `EBUSY` if frozen already; those of the sync, with the super block left unfrozen.
    pub fn freeze(&self) -> Result<()> {
        self.freeze.freeze(|| {
            self.release.settle();
            self.ops.sync()
        })
    }
    /// Ends a freeze (FRZ-4). Errors: `EINVAL` if not frozen.
    pub fn thaw(&self) -> Result<()> {
        self.freeze.thaw()
    }
    /// Records a writeback error of `inode` for fsync of its open files and for syncfs (ERR-6). Any context.
    pub fn record_error(&self, inode: &Inode, error: base::Errno) {
        inode.wb_err.record(error);
        inode.wb_errors.fetch_add(1, Ordering::AcqRel);
        self.wb_err.record(error);
    }
    /// Open files now.
    pub fn open_files(&self) -> u64 {
        self.open_files.load(Ordering::Acquire)
    }
    pub(super) fn file_opened(&self) {
        self.open_files.fetch_add(1, Ordering::AcqRel);
    }
    pub(super) fn file_closed(&self) {
        self.open_files.fetch_sub(1, Ordering::AcqRel);
    }
}
