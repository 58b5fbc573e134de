//! Removal of folios: truncation, and invalidation for direct I/O.
use super::{Folio, FolioGuard, Mapping, Tag};
use base::sync::Arc;
use base::{PAGE_SIZE, Page};
use core::ops::Range;

const PS: u64 = PAGE_SIZE as u64;

impl Mapping {
    /// Removes the bytes of `range` from the cache, dirty or not: truncate and punch (FS-11). Waits for writeback.
    ///
    /// Folios wholly in the range go; of the others at its edges the blocks wholly in the range become clean zeros. Blocks that are
    /// partly in it are left to the caller, who zeroes them through the cache first. The caller holds the inode lock and the invalidate
    /// lock exclusively and has drained (TRC-1).
    pub fn truncate_range(&self, range: Range<u64>) {
        let (first, last) = (range.start.div_ceil(PS), range.end / PS);
        if first > last {
            return self.clear_edge(range);
        }
        if let Some(rmap) = self.reverse_map() {
            // What mappings have stored here goes with the folios.
            rmap.unmap(first..last);
        }
        if !range.start.is_multiple_of(PS) {
            self.clear_edge(range.start..first * PS);
        }
        self.remove_all(first..last);
        if !range.end.is_multiple_of(PS) && range.end != u64::MAX {
            self.clear_edge(last * PS..range.end);
        }
    }

    /// Removes every folio; the inode is going away.
    pub fn truncate_all(&self) {
        self.truncate_range(0..u64::MAX);
    }

    /// Removes a folio that holds nothing of the file, for instance one that a failed extension left past the end (EOF-6, ERR-10).
    pub fn remove(&self, guard: FolioGuard<'_>) {
        guard.wait_writeback();
        self.detach(guard.folio());
    }

    /// Removes the clean folios of `range`, before or after a direct write (DIO-2, DIO-4). Never waits: folios that are dirty, locked
    /// or under writeback stay. Returns whether the range is gone: if not, a direct write falls back to buffered (DIO-5).
    pub fn invalidate_range_clean(&self, range: Range<u64>) -> bool {
        let mut gone = true;
        self.for_each(range.start / PS..range.end.div_ceil(PS), |folio| gone &= self.remove_if_clean(folio));
        gone
    }

    /// Removes `folio` if nobody could miss it: clean, unlocked, not under writeback, not in anybody's page table or bio (BUF-7,
    /// FS-12).
    pub(super) fn remove_if_clean(&self, folio: Arc<Folio>) -> bool {
        let Some(guard) = self.try_lock(folio.clone()) else {
            return !folio.state().attached();
        };
        base::anchor!("reclaim.before_remove", self.ino());
        let state = guard.state();
        let busy = state.dirty() || state.writeback();
        if base::guard!("BUF-7", busy) || !self.unmapped(&guard) {
            return false;
        }
        self.detach(guard.folio());
        true
    }

    /// Removes a folio that was only cached on the way to the device, unless anybody has a use for it by now: it is mapped, or read, or dirty,
    /// or locked (DNC-1). Never waits.
    pub fn drop_behind(&self, folio: &Arc<Folio>) {
        if folio.page().ref_count() == 1 {
            self.remove_if_clean(folio.clone());
        }
    }

    /// Takes a clean folio out of user mappings; whether the cache has the only handle to its page then, and nothing was stored to it.
    fn unmapped(&self, guard: &FolioGuard<'_>) -> bool {
        let folio = guard.folio();
        if folio.page().ref_count() == 1 {
            return true;
        }
        if let Some(rmap) = self.reverse_map()
            && rmap.unmap(folio.index()..folio.index() + 1)
        {
            guard.mark_stored();
            return false;
        }
        folio.page().ref_count() == 1
    }

    /// Whether what a mapping may have stored to the folio at `index` is marked dirty already. Any task context.
    pub fn is_marked(&self, index: u64) -> bool {
        let inside = self.bytes_inside(index);
        self.get(index).is_none_or(|folio| folio.state().all_dirty_in(0, inside))
    }

    /// Marks the folio at `index` dirty if `page` is its page: a mapping that has stored to it is gone (MM-2). Whoever holds the
    /// handle `page` keeps the eviction off until here. Sleeps for the folio lock.
    pub fn mark_stored(&self, index: u64, page: &Page) {
        if let Some(guard) = self.find_locked(index)
            && guard.folio().page().phys() == page.phys()
        {
            guard.mark_stored();
        }
    }

    fn remove_all(&self, indices: Range<u64>) {
        self.for_each(indices, |folio| {
            if let Some(guard) = self.lock(folio) {
                guard.wait_writeback();
                self.detach(guard.folio());
            }
        });
    }

    /// Turns the blocks wholly in `range`, which lies in one folio, into clean zeros.
    fn clear_edge(&self, range: Range<u64>) {
        let bs = self.block_size() as u64;
        let (start, end) = (range.start.next_multiple_of(bs), range.end / bs * bs);
        if start >= end {
            return;
        }
        let Some(guard) = self.find_locked(start / PS) else {
            return;
        };
        guard.wait_writeback();
        // The next store has to allocate what goes here; what was stored beside it stays dirty.
        guard.write_protect();
        let (offset, len) = ((start % PS) as usize, (end - start) as usize);
        guard.change(|page| page.zero(offset, len));
        guard.set_uptodate(offset, len);
        guard.clear_dirty(offset, len);
    }

    fn for_each(&self, indices: Range<u64>, mut visit: impl FnMut(Arc<Folio>)) {
        let mut index = indices.start;
        while let Some(folio) = self.next_tagged(index..indices.end, Tag::Present) {
            index = folio.index() + 1;
            visit(folio);
        }
    }
}
