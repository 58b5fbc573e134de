//! A file system of one file: data on a device, everything else in memory.
use crate::iomap::{Iomap, IomapKind, IomapOps, SharedFlush};
use crate::page_cache::PageCache;
use crate::vfs::{FileOps, Inode, InodeOps, StatFs, SuperOps, SyncKind};
use alloc::collections::BTreeMap;
use base::block::{BlockDevice, SECTOR_SIZE, Sector};
use base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use base::sync::{Arc, Mutex, Rank, SpinLock};
use base::workqueue::WorkQueue;
use base::{Errno, Result};

/// Where a block of the file is and whether its data is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Number on the device, in blocks.
    pub physical: u64,
    /// MAPPED, else UNWRITTEN.
    pub written: bool,
}

/// The extents and sizes of the file, and the queues of the super block.
pub struct MemFs {
    device: Arc<dyn BlockDevice>,
    block_size: u32,
    flush: SharedFlush,
    seq: AtomicU64,
    disk_size: AtomicU64,
    pending: AtomicBool,
    commits: AtomicU64,
    /// The most blocks of one extent: 1 makes every block an extent of its own.
    extent_blocks: AtomicU64,
    extents: Mutex<Extents>,
    completion: SpinLock<Option<Arc<WorkQueue>>>,
    sync: SpinLock<Option<Arc<WorkQueue>>>,
    cache: Arc<PageCache>,
}

struct Extents {
    blocks: BTreeMap<u64, Block>,
    /// Every number from here on is free; freed numbers are used again first, so that a stale write would be seen.
    next_free: u64,
    freed: alloc::vec::Vec<u64>,
}

impl MemFs {
    /// An empty file on `device`, in blocks of `block_size` bytes, cached in `cache`.
    pub fn new(device: Arc<dyn BlockDevice>, block_size: u32, cache: Arc<PageCache>) -> Arc<MemFs> {
        Arc::new(MemFs {
            flush: SharedFlush::new(device.clone()),
            device,
            block_size,
            seq: AtomicU64::new(1),
            disk_size: AtomicU64::new(0),
            pending: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            extent_blocks: AtomicU64::new(u64::MAX),
            extents: Mutex::new(
                Rank::Extent,
                Extents { blocks: BTreeMap::new(), next_free: 1, freed: alloc::vec::Vec::new() },
            ),
            completion: SpinLock::new(None),
            sync: SpinLock::new(None),
            cache,
        })
    }

    /// Limits the extents that are told to `blocks` blocks, however they lie on the device.
    pub fn limit_extents(&self, blocks: u64) {
        self.extent_blocks.store(blocks, Ordering::Relaxed);
    }
    /// Metadata commits so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
    /// The block that holds byte `pos`.
    pub fn block_at(&self, pos: u64) -> Option<Block> {
        self.extents.lock().blocks.get(&(pos / u64::from(self.block_size))).copied()
    }
    /// Waits until the completion queue is idle.
    pub fn settle(&self) {
        for queue in [&self.completion, &self.sync] {
            let queue = queue.lock().clone();
            if let Some(queue) = queue {
                queue.wait_idle();
            }
        }
    }
    /// Frees the blocks of `[start, end)` that lie wholly in it, as the extent part of truncate and punch.
    pub fn free_range(&self, start: u64, end: u64) {
        let bs = u64::from(self.block_size);
        let mut extents = self.extents.lock();
        let gone: alloc::vec::Vec<u64> =
            extents.blocks.range(start.div_ceil(bs)..(end / bs).max(start.div_ceil(bs))).map(|(n, _)| *n).collect();
        for logical in gone {
            if let Some(block) = extents.blocks.remove(&logical) {
                extents.freed.push(block.physical);
            }
        }
        self.bump();
    }
    /// Allocates the holes of `[start, end)` UNWRITTEN, as fallocate does.
    pub fn allocate(&self, start: u64, end: u64) {
        let bs = u64::from(self.block_size);
        let mut extents = self.extents.lock();
        for logical in start / bs..end.div_ceil(bs) {
            let _ = extents.allocate(logical, self.capacity_blocks());
        }
        self.bump();
    }
    /// Sets d_size, as truncate does.
    pub fn set_disk_size(&self, size: u64) {
        self.disk_size.store(size, Ordering::Release);
        self.pending.store(true, Ordering::Release);
    }

    fn bump(&self) {
        self.seq.fetch_add(1, Ordering::AcqRel);
        self.pending.store(true, Ordering::Release);
    }
    fn capacity_blocks(&self) -> u64 {
        self.device.limits().capacity_sectors * SECTOR_SIZE / u64::from(self.block_size)
    }

    /// The answer for the extent that begins at `pos` with the lock held.
    fn answer(&self, extents: &Extents, pos: u64, len: u64) -> Iomap {
        let bs = u64::from(self.block_size);
        let (first, most) = (pos / bs, len.div_ceil(bs).clamp(1, self.extent_blocks.load(Ordering::Relaxed)));
        let start = extents.blocks.get(&first).copied();
        let follows = |i: u64| match (start, extents.blocks.get(&(first + i))) {
            (None, next) => next.is_none(),
            (Some(a), Some(b)) => b.physical == a.physical + i && a.written == b.written,
            (Some(_), None) => false,
        };
        let blocks = 1 + (1..most).take_while(|i| follows(*i)).count() as u64;
        let kind = start.map_or(IomapKind::Hole, |block| {
            let sector = Sector(block.physical * bs / SECTOR_SIZE);
            if block.written { IomapKind::Mapped(sector) } else { IomapKind::Unwritten(sector) }
        });
        let seq = self.seq.load(Ordering::Acquire);
        let metadata_pending = self.pending.load(Ordering::Acquire);
        Iomap { pos: first * bs, len: blocks * bs, kind, seq, metadata_pending }
    }

    fn queue(slot: &SpinLock<Option<Arc<WorkQueue>>>, name: &str) -> Result<Arc<WorkQueue>> {
        if let Some(queue) = slot.lock().clone() {
            return Ok(queue);
        }
        let made = WorkQueue::new(name, 1)?;
        // QUE-2: one survives; the loser goes away when it is dropped here, after the lock.
        let mut slot = slot.lock();
        let kept = slot.get_or_insert_with(|| made.clone()).clone();
        drop(slot);
        Ok(kept)
    }
}

impl Extents {
    /// Whether the block was a hole. Errors: `ENOSPC`.
    fn allocate(&mut self, logical: u64, capacity: u64) -> Result<bool> {
        if self.blocks.contains_key(&logical) {
            return Ok(false);
        }
        let physical = match self.freed.pop() {
            Some(physical) => physical,
            None if self.next_free < capacity => {
                self.next_free += 1;
                self.next_free - 1
            }
            None => return Err(Errno::ENOSPC),
        };
        self.blocks.insert(logical, Block { physical, written: false });
        Ok(true)
    }
}

impl IomapOps for MemFs {
    fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }
    fn block_size(&self) -> u32 {
        self.block_size
    }
    fn max_file_size(&self) -> u64 {
        1 << 40
    }
    fn extent_seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }
    fn disk_size(&self) -> u64 {
        self.disk_size.load(Ordering::Acquire)
    }
    fn map_read(&self, _inode: &Inode, pos: u64, len: u64) -> Result<Iomap> {
        let extents = self.extents.lock();
        Ok(self.answer(&extents, pos, len))
    }
    fn map_write(&self, _inode: &Inode, pos: u64, len: u64) -> Result<Iomap> {
        let bs = u64::from(self.block_size);
        let mut extents = self.extents.lock();
        let mut changed = false;
        for logical in pos / bs..(pos + len).div_ceil(bs) {
            match extents.allocate(logical, self.capacity_blocks()) {
                Ok(new) => changed |= new,
                Err(error) if logical == pos / bs => return Err(error),
                Err(_) => break,
            }
        }
        if changed {
            self.bump();
        }
        Ok(self.answer(&extents, pos, len))
    }
    fn finish_write(&self, inode: &Inode, pos: u64, len: u64) -> Result<()> {
        let bs = u64::from(self.block_size);
        let mut extents = self.extents.lock();
        for (_, block) in extents.blocks.range_mut(pos / bs..(pos + len).div_ceil(bs)) {
            block.written = true;
        }
        let end = (pos + len).min(inode.size());
        self.disk_size.fetch_max(end, Ordering::AcqRel);
        self.bump();
        Ok(())
    }
    fn metadata_pending(&self, _inode: &Inode, _kind: SyncKind) -> bool {
        self.pending.load(Ordering::Acquire)
    }
    fn commit(&self, _inode: &Inode, _kind: SyncKind) -> Result<()> {
        let ticket = self.flush.ticket();
        self.flush.flush(ticket)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.pending.store(false, Ordering::Release);
        Ok(())
    }
    fn shared_flush(&self) -> &SharedFlush {
        &self.flush
    }
    fn completion_queue(&self) -> Result<Arc<WorkQueue>> {
        MemFs::queue(&self.completion, "memfs-end")
    }
    fn sync_queue(&self) -> Result<Arc<WorkQueue>> {
        MemFs::queue(&self.sync, "memfs-sync")
    }
}

/// The super block's and the inode's private part: both know the file system.
pub(super) struct Private(pub(super) Arc<MemFs>);

impl SuperOps for Private {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn type_name(&self) -> &'static str {
        "memfs"
    }
    fn statfs(&self) -> StatFs {
        StatFs::default()
    }
    fn page_cache(&self) -> Option<Arc<PageCache>> {
        Some(self.0.cache.clone())
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    fn unmount(&self) -> Result<()> {
        Ok(())
    }
}

impl InodeOps for Private {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::EOPNOTSUPP)
    }
    fn iomap(&self) -> Option<&dyn IomapOps> {
        Some(&*self.0)
    }
}
