//! Stores through shared mappings: what a page fault does before it makes a page of the file writable (MM-9, STB-4).
//!
//! ```text
//!   prepare_store        freeze(fault) ─ holes of the page become UNWRITTEN ─ fill the folio ─ times ─ wait until it is stable
//!   StorePermit::apply   lock the folio ─ all of that still true? ─ mark dirty ─ make the page writable ─ unlock
//! ```
//!
//! The first step sleeps for the log and the device, so it runs with no lock but the freeze protection, which the permit keeps; the
//! second runs under the mmap lock and waits for neither. What has changed in between sends the fault back to the first.
//!
//! # What a writable page promises
//!
//! Its folio was marked dirty, all blocks inside the file, in the hold of the folio lock in which it became writable. Whoever clears
//! dirty bits write-protects before (MM-2). So a folio that can be stored to is dirty: it is neither evicted, nor left out by the sync of
//! a freeze, nor is it on its way to the device in a write-through.
use super::buffered_write::give_up;
use super::extents::ops_of;
use super::fault::fault_folio;
use super::{FolioLookup, IomapKind, IomapOps};
use crate::page_cache::{Folio, FolioGuard};
use crate::vfs::{FreezeGuard, FreezeLevel, Inode, Timespec};
use arrayvec::ArrayVec;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Page, Result, stats};

const PS: u64 = PAGE_SIZE as u64;

/// Leave to store to one page of a file, from [`prepare_store`]. While it lives the file system does not freeze. It is dropped with
/// nothing locked.
#[must_use = "a store that was prepared is applied, or prepared in vain"]
pub struct StorePermit {
    index: u64,
    blocks: Blocks,
    /// Keeps eviction off.
    _page: Page,
    /// Let go last.
    _freeze: FreezeGuard,
}

/// Prepares a store to the page at `index`: its blocks inside the file are allocated and their conversion is provided for, its folio is
/// valid and may change. `None` past the end of the file (MM-6). Task context; sleeps: while the file system is frozen, for
/// the log, for the device. The caller holds no lock of rank `FreezeFault` or above, and not the mmap lock, which others need meanwhile.
///
/// Errors, all of them SIGBUS to who stores: `ENOSPC`, `EIO`, `EROFS`, `EUCLEAN`; `ENOMEM`.
pub fn prepare_store(inode: &Arc<Inode>, index: u64) -> Result<Option<StorePermit>> {
    let ops = ops_of(inode)?;
    base::anchor!("fault.before_freeze", inode.ino);
    let _freeze = FreezeGuard::enter(&inode.sb, FreezeLevel::Fault);
    let Some(blocks) = Blocks::allocate(inode, ops, index)? else { return Ok(None) };
    base::anchor!("fault.allocated", inode.ino);
    let Some(folio) = fault_folio(inode, index)? else { return Ok(None) };
    let _page = folio.page().clone();
    let now = Timespec::now();
    inode.update_attr(|attr| (attr.mtime, attr.ctime) = (now, now));
    inode.ops().dirty_inode(inode)?;
    wait_until_stable(inode, &folio);
    Ok(Some(StorePermit { index, blocks, _page, _freeze }))
}

impl StorePermit {
    /// Marks the folio dirty and calls `map` with it, locked, if what was prepared is still true; [`FolioLookup::Missing`] says that it has
    /// to be prepared again. Task context; sleeps for the invalidate lock (shared) and the folio lock. The caller holds the mmap lock at
    /// most; `map` makes the page writable and takes page-table locks only.
    pub fn apply<R>(&self, map: impl FnOnce(&Folio) -> R) -> FolioLookup<R> {
        let inode = &self.blocks.inode;
        // Shared: no truncate and no punch makes a hole under what was allocated (LOCK-3).
        let _extents_stay = inode.mapping.invalidate.read();
        let guard = inode.mapping.find_locked(self.index);
        let inside = bytes_inside(inode, self.index);
        if inside == 0 {
            return FolioLookup::PastEnd;
        }
        let Some(guard) = guard.filter(|guard| guard.state().uptodate()) else { return FolioLookup::Missing };
        if inside > self.blocks.inside || self.blocks.stale() || must_wait(inode, &guard) {
            return FolioLookup::Missing;
        }
        guard.mark_dirty(0, inside);
        FolioLookup::Valid(map(guard.folio()))
    }
}

/// How many bytes of the page at `index` lie inside the file.
fn bytes_inside(inode: &Inode, index: u64) -> usize {
    index.checked_mul(PS).map_or(0, |pos| inode.size().saturating_sub(pos).min(PS) as usize)
}

/// Sleeps until a store to the folio need not wait. With nothing locked: readers go on meanwhile (STB-6), and no finish needs what is
/// held here (MM-1, MM-4). The folio may be under another writeback at the next look: who maps it looks once more.
fn wait_until_stable(inode: &Inode, folio: &Arc<Folio>) {
    let waits = || inode.mapping.lock(folio.clone()).is_some_and(|guard| must_wait(inode, &guard));
    while waits() {
        base::anchor!("fault.before_wait", inode.ino);
        if folio.state().wt() {
            stats::count(stats::Counter::StableWaits);
        }
        folio.wait_writeback();
    }
}

/// Whether a store has to wait for the folio's writeback: while a write-through has it, and whatever has it if the file ends in this
/// page, since a store past the end would follow the zeroing into the I/O (EOF-4).
fn must_wait(inode: &Inode, guard: &FolioGuard<'_>) -> bool {
    let ends_here = bytes_inside(inode, guard.folio().index()) < PAGE_SIZE;
    base::guard!("STB-4", guard.must_wait_stable()) || (ends_here && guard.state().writeback())
}

/// The blocks of a page inside the file, allocated.
struct Blocks {
    inode: Arc<Inode>,
    /// The extent sequence number under which they all are (MAP-1).
    seq: u64,
    /// Bytes of the page that lay inside the file.
    inside: usize,
    /// Those that were holes.
    taken: ArrayVec<u64, 8>,
}

impl Blocks {
    /// Allocates the holes of the page at `index` UNWRITTEN, with no folio locked (LOCK-1). `None` past the end of the file.
    /// Errors: `ENOSPC`, `EIO`, `EROFS`, `EUCLEAN`, `ENOMEM`; nothing stays reserved then.
    fn allocate(inode: &Arc<Inode>, ops: &dyn IomapOps, index: u64) -> Result<Option<Blocks>> {
        // Shared: the size does not shrink, so that nothing is allocated past the end.
        let _extents_stay = inode.mapping.invalidate.read();
        let mut blocks = Blocks { inode: inode.clone(), seq: 0, inside: 0, taken: ArrayVec::new() };
        loop {
            blocks.inside = bytes_inside(inode, index);
            if blocks.inside == 0 {
                return Ok(None);
            }
            blocks.seq = ops.extent_seq();
            blocks.fill(ops, index * PS)?;
            if !blocks.stale() {
                return Ok(Some(blocks));
            }
        }
    }

    fn fill(&mut self, ops: &dyn IomapOps, start: u64) -> Result<()> {
        let bs = u64::from(ops.block_size());
        for pos in (start..start + self.inside as u64).step_by(bs as usize) {
            let was_hole = ops.map_read(&self.inode, pos, bs)?.kind == IomapKind::Hole;
            // Also for a block that is there and unwritten: its conversion is provided for (EXT-2).
            if ops.map_write(&self.inode, pos, bs)?.kind == IomapKind::Hole {
                return Err(Errno::EUCLEAN);
            }
            if was_hole {
                let _ = self.taken.try_push(pos);
            }
        }
        Ok(())
    }

    fn stale(&self) -> bool {
        self.inode.ops().iomap().is_none_or(|ops| ops.extent_seq() != self.seq)
    }
}

impl Drop for Blocks {
    /// What no store came to gives back what was set aside for its conversion (ERR-9). Blocks that are dirty keep it.
    fn drop(&mut self) {
        let Some(ops) = self.inode.ops().iomap() else { return };
        let bs = u64::from(ops.block_size());
        for pos in &self.taken {
            give_up(&self.inode, ops, *pos..*pos + bs);
        }
    }
}
