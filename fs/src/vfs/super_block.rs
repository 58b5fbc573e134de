//! A mounted file system.
use super::inode_cache::InodeCache;
use super::name_limit::NameLimit;
use super::release::ReleaseQueue;
use super::writers::{Freeze, WriterCount};
use super::{ErrSeq, Inode};
use crate::page_cache::{CacheLimits, PageCache};
use alloc::boxed::Box;
use base::block::Durability;
use base::sync::Arc;
use base::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use base::{Errno, Result};

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

/// What a forced shutdown still brings to the disk (SHD-1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Everything: it waits for the writes under way and syncs, as a freeze does.
    Sync,
    /// What has changed in metadata, if there is a journal: its transactions are committed. No data is written or waited for.
    FlushLog,
    /// Nothing: as if the power were cut.
    Cut,
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
    /// Whether it can be shut down by force.
    fn can_shut_down(&self) -> bool {
        false
    }
    /// From the return on no more changes are made and nothing is called durable any more (SHD-1); with `flush_log` what the journal
    /// has running is committed before. Calls [`SuperBlock::cut_off`]. Task context; may sleep. Errors: those of the commit, and it is
    /// shut down all the same.
    fn shut_down(&self, _flush_log: bool) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
}

const LIVE: u32 = 0;
const CUT_OFF: u32 = 1;
const ENDED: u32 = 2;

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
    /// Programs on it run with the rights of who runs them (`MS_NOSUID`).
    ignores_setid: AtomicBool,
    /// `LIVE`, `CUT_OFF` by a forced shutdown (SHD-1), or `ENDED` by an unmount. It only grows.
    life: AtomicU32,
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
            ignores_setid: AtomicBool::new(false),
            life: AtomicU32::new(LIVE),
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
    /// Whether the set-user-id and set-group-id bits of programs on it mean nothing.
    pub fn ignores_setid(&self) -> bool {
        self.ignores_setid.load(Ordering::Relaxed)
    }
    /// Lets these bits mean nothing, or something again. A mount says so.
    pub fn ignore_setid(&self, ignored: bool) {
        self.ignores_setid.store(ignored, Ordering::Relaxed);
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
    /// Shuts the file system down by force (SHD-1): from the return on all that is new ends with `EIO`, and so does what is on its way
    /// to the device. Unmounting is all that is left to do. Once more does nothing. Task context, no locks.
    ///
    /// Errors: `EOPNOTSUPP`. Of [`Shutdown::Sync`] those of a freeze: then nothing was shut down. Of [`Shutdown::FlushLog`] those of the
    /// commit: then it is shut down without it.
    pub fn force_shut_down(&self, how: Shutdown) -> Result<()> {
        if self.is_shut_down() {
            return Ok(());
        }
        if how != Shutdown::Sync {
            return self.ops.shut_down(how == Shutdown::FlushLog);
        }
        self.freeze()?;
        // Who waits for the thaw finds it shut down.
        let done = self.ops.shut_down(false);
        done.and(self.thaw())
    }
    /// The file system was shut down: everything new ends with `EIO` (SHD-1). Any context.
    pub fn cut_off(&self) {
        self.life.fetch_max(CUT_OFF, Ordering::AcqRel);
        self.writers.force_close();
    }
    /// The file system was unmounted.
    pub(super) fn end(&self) {
        self.life.fetch_max(ENDED, Ordering::AcqRel);
        self.writers.force_close();
    }
    /// Whether the super block was shut down or unmounted: nothing new starts.
    pub fn is_shut_down(&self) -> bool {
        self.life.load(Ordering::Acquire) != LIVE
    }
    /// Whether it was unmounted.
    pub fn has_ended(&self) -> bool {
        self.life.load(Ordering::Acquire) == ENDED
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
