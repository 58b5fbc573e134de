//! The transitions of SEMANTICS A10 that search tags and figures follow.
//!
//! Each changes the state word and the tags under the tree lock, so that they agree whenever the folio is unlocked (FOL-3), and whoever
//! looks at the word without a lock sees one step (I2).
use super::state::{ATTACHED, DIRTY_ALL, REFERENCED, State, WRITEBACK, WT, dirty_bits};
use super::{Folio, FolioGuard, Mapping, Tag};
use base::stats::{self, Gauge};
use base::sync::Arc;
use base::sync::atomic::Ordering;

impl FolioGuard<'_> {
    /// Marks the blocks dirty that `len` bytes from `offset` touch. Returns whether the folio was clean.
    ///
    /// The caller has waited until the folio is stable, and throttles later, with nothing locked (LOCK-7).
    pub fn mark_dirty(&self, offset: usize, len: usize) -> bool {
        debug_assert!(self.state().attached(), "a removed folio would never be written");
        self.mapping().set_dirty(self.folio(), offset, len)
    }

    /// Clears the dirty bits of the blocks that `len` bytes from `offset` touch without writing them: only for blocks that are gone
    /// from the file (truncate, punch) or past its end (EOF-6). Not under writeback.
    pub fn clear_dirty(&self, offset: usize, len: usize) {
        self.mapping().clear_dirty(self.folio(), offset, len);
    }

    /// Starts writeback of whole blocks (S-8k and S-8l, FS-1 to FS-4): clears their dirty bits, sets writeback, and with
    /// `wt` the mark that keeps the bytes stable, in one step; owes one [`Mapping::end_writeback`] of the same range.
    ///
    /// If the folio is under writeback already, the caller knows that it is by its own call and for other blocks (R75): the bytes
    /// add up, and the writeback ends once, with the last of them (FOL-2).
    pub fn begin_writeback(&self, offset: usize, len: usize, wt: bool) {
        let (mapping, folio) = (self.mapping(), self.folio());
        debug_assert!(len > 0 && (offset | len).is_multiple_of(mapping.block_size()), "whole blocks");
        let mut tree = mapping.tree.lock();
        folio.pending.fetch_add(len as u32, Ordering::Relaxed);
        let set = WRITEBACK | if wt { WT } else { 0 };
        // Of these blocks and no others: what a neighbour holds is not on its way to the device (WT-7).
        let clean = if base::guard!("R18", true) { dirty_bits(offset, len) } else { DIRTY_ALL };
        let old = folio.exchange(set, clean);
        if !old.writeback() {
            folio.stamp.store(mapping.stamp.fetch_add(1, Ordering::AcqRel) + 1, Ordering::Release);
            tree.set_tag(folio.index(), Tag::Writeback);
            mapping.cache.writeback_started();
        }
        if wt && !old.wt() {
            mapping.cache.wt_started();
            stats::raise(Gauge::WtFolios);
        }
        if old.dirty() && !folio.state().dirty() {
            tree.clear_tag(folio.index(), Tag::Dirty);
            mapping.count_clean();
        }
    }
}

impl Mapping {
    /// Ends the writeback of `len` bytes; when it was the last of the folio, clears the flags and wakes (FS-9). Task
    /// context; takes no lock that sleeps. After an error that is to be retried call [`Mapping::redirty`] before.
    pub fn end_writeback(&self, folio: &Arc<Folio>, len: usize) {
        let before = folio.pending.fetch_sub(len as u32, Ordering::AcqRel);
        debug_assert!(before >= len as u32, "writeback ended for more bytes than were started (FOL-2)");
        if base::guard!("FOL-2", before != len as u32) {
            return;
        }
        let mut tree = self.tree.lock();
        tree.clear_tag(folio.index(), Tag::Writeback);
        let old = folio.clear_and_wake(WRITEBACK | WT);
        drop(tree);
        if old.wt() {
            stats::lower(Gauge::WtFolios);
        }
        self.cache.writeback_ended(old.wt());
    }

    /// Marks blocks dirty again whose write failed (ERR-3, FS-10), before their writeback ends: no moment exists where they are
    /// neither. No folio lock: whoever clears dirty bits waits for the end of writeback first.
    pub fn redirty(&self, folio: &Arc<Folio>, offset: usize, len: usize) {
        debug_assert!(folio.state().writeback(), "only a folio under writeback is redirtied");
        self.set_dirty(folio, offset, len);
    }

    pub(super) fn set_dirty(&self, folio: &Arc<Folio>, offset: usize, len: usize) -> bool {
        let (start, end) = self.widen(offset, len);
        let bits = dirty_bits(start, end - start);
        if folio.state().0 & bits == bits {
            return false;
        }
        let mut tree = self.tree.lock();
        let old = folio.set(bits | REFERENCED);
        if old.dirty() {
            return false;
        }
        tree.set_tag(folio.index(), Tag::Dirty);
        drop(tree);
        self.count_dirty();
        true
    }

    fn clear_dirty(&self, folio: &Arc<Folio>, offset: usize, len: usize) {
        let (start, end) = self.widen(offset, len);
        let mut tree = self.tree.lock();
        let old = folio.clear(dirty_bits(start, end - start));
        if old.dirty() && !folio.state().dirty() {
            tree.clear_tag(folio.index(), Tag::Dirty);
            tree.clear_tag(folio.index(), Tag::ToWrite);
            self.count_clean();
        }
    }

    /// Takes a folio out of the tree that its caller has locked, that is not under writeback, and whose dirty blocks are given up.
    pub(super) fn detach(&self, folio: &Arc<Folio>) {
        debug_assert!(!folio.state().writeback(), "never removed while under writeback (FS-11)");
        let mut tree = self.tree.lock();
        let removed = tree.remove(folio.index());
        debug_assert!(removed.is_some_and(|f| Arc::ptr_eq(&f, folio)), "the folio was in its tree");
        let old: State = folio.clear(ATTACHED | DIRTY_ALL);
        drop(tree);
        if old.dirty() {
            self.count_clean();
        }
        self.cache.forget(folio);
    }
}
