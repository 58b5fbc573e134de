//! Mapping file ranges: the iomap side of a regular file.
//!
//! ```text
//!   map_write ── HOLE becomes UNWRITTEN, its conversion's blocks set aside ──▶ data to the device
//!   finish_write ── UNWRITTEN becomes MAPPED and d_size grows, in one handle ──▶ commit or flush
//! ```
use super::balloc::Purpose;
use super::extents::{self, Extent, MAX_UNWRITTEN, Run, Tree, TreeMut};
use super::inode::InodeCore;
use super::txn::{Credits, Handle};
use super::{Ext4Inode, fsync};
use crate::caller::Caller;
use crate::iomap::{self, Iomap, IomapKind, IomapOps, SharedFlush, Ticket};
use crate::vfs::{Inode, SyncKind};
use base::block::{BlockDevice, SECTOR_SIZE, Sector};
use base::sync::Arc;
use base::workqueue::WorkQueue;
use base::{Errno, PAGE_SIZE, Result};
use core::ops::Range;

/// Bitmap, inode and the nodes of a split at both ends.
const WRITE_CREDITS: Credits = Credits(24);
/// Extents that one handle converts at most.
const CONVERT_STEPS: u32 = 64;

impl IomapOps for Ext4Inode {
    fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.fs.device
    }
    fn block_size(&self) -> u32 {
        self.fs.geo.block_size
    }
    fn max_file_size(&self) -> u64 {
        self.fs.max_file_size()
    }
    fn extent_seq(&self) -> u64 {
        self.seq()
    }
    fn disk_size(&self) -> u64 {
        Ext4Inode::disk_size(self)
    }

    fn map_read(&self, _inode: &Inode, pos: u64, len: u64) -> Result<Iomap> {
        let core = self.core.read();
        let bits = self.fs.geo.block_bits;
        if pos >> bits >= u64::from(extents::END_OF_FILE_SPACE) {
            // Past the last block there can be: the tail of the folio that holds it.
            let pos = pos >> bits << bits;
            let len = len.max(1).next_multiple_of(u64::from(self.fs.geo.block_size));
            return Ok(Iomap { pos, len, kind: IomapKind::Hole, seq: self.seq(), metadata_pending: false });
        }
        let blocks = self.blocks_of(pos, len)?;
        let run = self.lookup(&core, &blocks)?;
        Ok(self.answer(&blocks, &run))
    }

    fn map_write(&self, inode: &Inode, pos: u64, len: u64) -> Result<Iomap> {
        self.fs.check_writable()?;
        let blocks = self.blocks_of(pos, len)?;
        self.fs.with_space(|| self.map_blocks(inode, &blocks))
    }

    fn map_now(&self, pos: u64, len: u64) -> Result<Iomap> {
        self.fs.check_writable()?;
        let blocks = self.blocks_of(pos, len)?;
        let core = self.core.try_read().ok_or(Errno::EAGAIN)?;
        let run = self.lookup_in(&Tree::in_memory(self, &core), &blocks)?;
        if is_ready(&core, &run, &blocks) { Ok(self.answer(&blocks, &run)) } else { Err(Errno::EAGAIN) }
    }

    fn give_up(&self, pos: u64, len: u64) {
        if let Ok(blocks) = self.blocks_of(pos, len) {
            let mut core = self.core.write();
            core.unconverted.remove(blocks);
            self.settle_reserve(&mut core, 0);
            // Who has mapped these blocks for a write of its own maps them again.
            self.bump_seq();
        }
    }

    fn finish_write(&self, inode: &Inode, pos: u64, len: u64) -> Result<()> {
        let blocks = self.blocks_of(pos, len)?;
        let end = pos.saturating_add(len);
        {
            let core = self.core.read();
            let grows = core.disk_size < end.min(inode.size());
            if !grows && !self.has_unwritten(&core, &blocks)? {
                return Ok(());
            }
        }
        let mut left = Some(blocks);
        while let Some(range) = left {
            left = self.convert_some(inode, range, end)?;
        }
        Ok(())
    }

    fn metadata_pending(&self, _inode: &Inode, kind: SyncKind) -> bool {
        self.pending.waits(&self.fs.txn, kind) || (kind == SyncKind::All && self.attr_dirty())
    }
    fn attributes_dirty(&self) -> bool {
        self.attr_dirty()
    }
    fn flush(&self, ticket: Ticket) -> Result<()> {
        self.fs.flush_device(ticket)
    }

    fn commit(&self, inode: &Inode, kind: SyncKind) -> Result<()> {
        fsync::commit_inode(self, inode, kind)
    }
    fn shared_flush(&self) -> &SharedFlush {
        &self.fs.flush
    }
    fn check_not_shut_down(&self) -> Result<()> {
        self.fs.check_not_shut_down()
    }
    fn completion_queue(&self) -> Result<Arc<WorkQueue>> {
        self.fs.queues.completion.get()
    }
    fn sync_queue(&self) -> Result<Arc<WorkQueue>> {
        self.fs.queues.sync.get()
    }
    fn queues_now(&self) -> Option<[Arc<WorkQueue>; 2]> {
        Some([self.fs.queues.completion.made()?, self.fs.queues.sync.made()?])
    }
}

/// Whether the start of `blocks` may be written as it is: it is no hole, and if it is unwritten its conversion is provided for.
fn is_ready(core: &InodeCore, run: &Run, blocks: &Range<u32>) -> bool {
    match run {
        Run::Hole { .. } => false,
        Run::Extent(e) => !e.unwritten || core.unconverted.contains(&(blocks.start..e.end().min(blocks.end))),
    }
}

impl Ext4Inode {
    /// The mapping at the start of `blocks`, with a hole filled and the conversion provided for.
    fn map_blocks(&self, inode: &Inode, blocks: &Range<u32>) -> Result<Iomap> {
        let (seen, seq) = {
            let core = self.core.read();
            let run = self.lookup(&core, blocks)?;
            if is_ready(&core, &run, blocks) {
                return Ok(self.answer(blocks, &run));
            }
            (run, self.seq())
        };
        let mut handle = self.fs.begin(WRITE_CREDITS)?;
        let mut core = self.core.write();
        // Between the two holds of the lock somebody else may have changed the map, and would have bumped the number.
        let run = if self.seq() == seq { seen } else { self.lookup(&core, blocks)? };
        let extent = match run {
            Run::Extent(extent) => {
                if extent.unwritten {
                    self.promise_conversion(&mut core, blocks.start..extent.end().min(blocks.end))?;
                }
                extent
            }
            Run::Hole { len } => {
                let hole = blocks.start..blocks.start.saturating_add(len.min(MAX_UNWRITTEN)).min(blocks.end);
                self.promise_conversion(&mut core, hole.clone())?;
                let filled = self.fill_hole(&mut handle, inode, &mut core, hole.clone());
                // What was promised and not allocated.
                let kept = filled.as_ref().map_or(hole.start, |extent| extent.end());
                core.unconverted.remove(kept..hole.end);
                self.settle_reserve(&mut core, 0);
                filled?
            }
        };
        Ok(self.answer(blocks, &Run::Extent(extent)))
    }

    /// One handle's part of a conversion: gives what is left of `range`. d_size follows the blocks that were converted, up to `end`, so that
    /// no committed state has mapped blocks behind it (SIZE-4); conversions come in any order (SIZE-3).
    fn convert_some(&self, inode: &Inode, range: Range<u32>, end: u64) -> Result<Option<Range<u32>>> {
        let mut handle = self.fs.begin_reserved(WRITE_CREDITS)?;
        let mut core = self.core.write();
        let before = core.blocks;
        let mut tree = TreeMut::new(&mut handle, self, &mut core, Purpose::Conversion);
        let converted = extents::convert(&mut tree, range.clone(), CONVERT_STEPS);
        if let Ok(left) = &converted {
            let done = left.as_ref().map_or(range.end, |left| left.start);
            core.unconverted.remove(range.start..done);
            let reached = end.min(u64::from(done) << self.fs.geo.block_bits);
            core.disk_size = iomap::raised_disk_size(core.disk_size, reached, inode.size());
        }
        let used = core.blocks.saturating_sub(before);
        self.settle_reserve(&mut core, used as u32);
        // Stored also after a failure: part of the tree may have changed.
        let stored = self.store(&mut handle, inode, &core, SyncKind::Data);
        converted.and_then(|left| stored.map(|()| left))
    }

    /// The logical blocks of a byte range, at least one. Errors: `EFBIG` past what block numbers reach.
    pub(super) fn blocks_of(&self, pos: u64, len: u64) -> Result<Range<u32>> {
        let bits = self.fs.geo.block_bits;
        let end = pos.checked_add(len.max(1)).ok_or(Errno::EFBIG)?;
        let start = u32::try_from(pos >> bits).map_err(|_| Errno::EFBIG)?;
        let limit = u64::from(extents::END_OF_FILE_SPACE);
        let last = end.div_ceil(u64::from(self.fs.geo.block_size)).min(limit) as u32;
        if start < last { Ok(start..last) } else { Err(Errno::EFBIG) }
    }

    /// What stands at the start of `blocks`, checked against the device. Errors: `EIO`, `EUCLEAN`.
    pub(super) fn lookup(&self, core: &InodeCore, blocks: &Range<u32>) -> Result<Run> {
        self.lookup_in(&Tree::new(self, core), blocks)
    }

    fn lookup_in(&self, tree: &Tree<'_>, blocks: &Range<u32>) -> Result<Run> {
        if let Some(extent) = self.recent_extent(blocks.start) {
            return Ok(Run::Extent(extent));
        }
        let run = extents::lookup(tree, blocks.start)?;
        if let Run::Extent(e) = &run {
            let sound = self.fs.geo.contains_run(e.pblk, u64::from(e.len));
            if !sound || self.fs.groups.zone.touches(e.pblk, u64::from(e.len)) {
                return Err(self.fs.corrupt("extent of inode", u64::from(self.ino)));
            }
            self.remember_extent(*e);
        }
        Ok(run)
    }

    /// The answer for the part of `run` in `blocks`. The extent lock is held, so that it and the sequence number belong together.
    fn answer(&self, blocks: &Range<u32>, run: &Run) -> Iomap {
        let bits = self.fs.geo.block_bits;
        let (len, kind) = match run {
            Run::Hole { len } => ((*len).min(blocks.end - blocks.start), IomapKind::Hole),
            Run::Extent(e) => {
                let block = e.pblk + u64::from(blocks.start - e.lblk);
                let sector = Sector(block << bits >> SECTOR_SIZE.trailing_zeros());
                let kind = if e.unwritten { IomapKind::Unwritten(sector) } else { IomapKind::Mapped(sector) };
                (e.end().min(blocks.end) - blocks.start, kind)
            }
        };
        Iomap {
            pos: u64::from(blocks.start) << bits,
            len: u64::from(len) << bits,
            kind,
            seq: self.seq(),
            metadata_pending: self.pending.waits(&self.fs.txn, SyncKind::Data),
        }
    }

    /// Allocates unwritten blocks for the beginning of a hole: nobody reads what they held before (EXT-1, ERR-12). The map has not changed if it fails.
    pub(super) fn fill_hole(
        &self,
        handle: &mut Handle<'_>,
        inode: &Inode,
        core: &mut InodeCore,
        hole: Range<u32>,
    ) -> Result<Extent> {
        let want = (hole.end - hole.start).min(MAX_UNWRITTEN);
        let goal = self.goal(core, hole.start)?;
        let run = self.fs.alloc_blocks(handle, goal, want, Purpose::Data)?;
        let unwritten = base::guard!("EXT-1", true);
        let extent = Extent { lblk: hole.start, len: run.len, pblk: run.start, unwritten };
        core.blocks += u64::from(run.len);
        if let Err(error) = extents::insert(&mut TreeMut::new(handle, self, core, Purpose::Meta), &extent) {
            core.blocks -= u64::from(run.len);
            self.fs.free_blocks(handle, run)?;
            // The tree may have got a level for it.
            self.store(handle, inode, core, SyncKind::Data)?;
            return Err(error);
        }
        core.goal = run.start + u64::from(run.len);
        self.store(handle, inode, core, SyncKind::Data)?;
        Ok(extent)
    }

    /// Allocates the holes of a byte range as unwritten blocks, a handle for each run (TRC-9). The inode lock is held exclusively.
    /// Errors: `ENOSPC`, `EIO`, `EUCLEAN`; what was allocated stays, unwritten.
    pub(super) fn allocate_range(&self, inode: &Inode, pos: u64, len: u64, caller: &dyn Caller) -> Result<()> {
        let blocks = self.blocks_of(pos, len)?;
        let mut at = blocks.start;
        while at < blocks.end {
            if caller.fatal_signal_pending() {
                return Err(Errno::EINTR);
            }
            at = self.fs.with_space(|| {
                let mut handle = self.fs.begin(WRITE_CREDITS)?;
                let mut core = self.core.write();
                match self.lookup(&core, &(at..blocks.end))? {
                    Run::Extent(extent) => Ok(extent.end()),
                    Run::Hole { len } => {
                        let hole = at..at.saturating_add(len).min(blocks.end);
                        Ok(self.fill_hole(&mut handle, inode, &mut core, hole)?.end())
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Raises d_size to `size` if it is lower. Errors: `EIO`, `EROFS`.
    pub(super) fn raise_disk_size(&self, inode: &Inode, size: u64) -> Result<()> {
        let mut handle = self.fs.begin(Credits(1))?;
        let mut core = self.core.write();
        core.disk_size = core.disk_size.max(size);
        self.store(&mut handle, inode, &core, SyncKind::Data)
    }

    /// Behind the block before, so that the file stays contiguous; else where the last allocation ended.
    fn goal(&self, core: &InodeCore, lblk: u32) -> Result<u64> {
        let Some(before) = lblk.checked_sub(1) else { return Ok(core.goal) };
        match self.lookup(core, &(before..lblk))? {
            Run::Extent(e) => Ok(e.pblk + u64::from(lblk - e.lblk)),
            Run::Hole { .. } => Ok(core.goal),
        }
    }

    /// Sets aside what the conversion of `range` may need (EXT-2), before data goes there. Errors: `ENOSPC`.
    fn promise_conversion(&self, core: &mut InodeCore, range: Range<u32>) -> Result<()> {
        if core.unconverted.contains(&range) {
            return Ok(());
        }
        core.unconverted.add(range.clone());
        let missing = self.reserve_needed(core).saturating_sub(core.reserved);
        if missing > 0 {
            if let Err(error) = self.fs.reserve_blocks(missing) {
                core.unconverted.remove(range);
                return Err(error);
            }
            core.reserved += missing;
        }
        Ok(())
    }

    /// Counts `used` blocks of the reserve as gone, and makes the rest what the ranges that are left need. To get more may fail, and
    /// is then tried again with the next change: what is there covers many splits.
    pub(super) fn settle_reserve(&self, core: &mut InodeCore, used: u32) {
        let gone = used.min(core.reserved);
        let (left, needed) = (core.reserved - gone, self.reserve_needed(core));
        self.fs.unreserve_blocks(core.reserved.saturating_sub(needed.min(left)));
        core.reserved = left.min(needed);
        let more = needed - core.reserved;
        if more > 0 && self.fs.reserve_blocks(more).is_ok() {
            core.reserved = needed;
        }
    }

    fn reserve_needed(&self, core: &InodeCore) -> u32 {
        let leaf_entries = (self.fs.geo.block_size - 16) / 12;
        core.unconverted.blocks_needed(core.depth(), leaf_entries)
    }

    /// Whether every block of a byte range is allocated, and those that it covers in part hold data or are valid in the cache: a
    /// write to it needs no other (LOCK-9). The inode lock is held.
    pub(super) fn is_in_place(&self, inode: &Inode, pos: u64, len: u64) -> bool {
        let Ok(blocks) = self.blocks_of(pos, len) else { return false };
        let block = u64::from(self.fs.geo.block_size);
        let (head, tail) = (!pos.is_multiple_of(block), !(pos + len).is_multiple_of(block));
        let edges = [head.then_some(blocks.start), tail.then(|| blocks.end - 1)];
        let is_valid = |lblk: u32| {
            let pos = u64::from(lblk) * block;
            let folio = inode.mapping.get(pos / PAGE_SIZE as u64);
            folio.is_some_and(|folio| folio.state().uptodate_in((pos - folio.pos()) as usize, block as usize))
        };
        let core = self.core.read();
        let mut at = blocks.start;
        while at < blocks.end {
            let Ok(Run::Extent(extent)) = self.lookup(&core, &(at..blocks.end)) else { return false };
            let mut in_part =
                edges.iter().flatten().filter(|edge| extent.unwritten && (at..extent.end()).contains(edge));
            if !in_part.all(|edge| is_valid(*edge)) {
                return false;
            }
            at = extent.end();
        }
        true
    }

    fn has_unwritten(&self, core: &InodeCore, blocks: &Range<u32>) -> Result<bool> {
        let mut at = blocks.start;
        while at < blocks.end {
            match self.lookup(core, &(at..blocks.end))? {
                Run::Extent(e) if e.unwritten => return Ok(true),
                Run::Extent(e) => at = e.end(),
                // A hole under data that was written: the conversion finds it and says so.
                Run::Hole { .. } => return Ok(true),
            }
        }
        Ok(false)
    }
}
