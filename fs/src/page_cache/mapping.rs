//! The mapping: the cached folios of one inode.
use super::tree::Tree;
use super::{Folio, FolioGuard, PageCache, ReverseMap, Tag};
use crate::iomap::IomapOps;
use crate::vfs::Inode;
use base::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use base::sync::rank::{self, HeldRank, Rank};
use base::sync::{Arc, RwLock, SpinLock, Weak};
use base::{Errno, PAGE_SIZE, Page, Result};
use core::ops::Range;

/// The cached folios of one inode, with search tags.
///
/// A tree lock (leaf, spinning) orders lookups and tags; folio locks order contents; [`Mapping::invalidate`] orders whoever
/// inserts folios by what the extents say against whoever changes both (LOCK-3).
pub struct Mapping {
    ino: u64,
    host: Weak<Inode>,
    this: Weak<Mapping>,
    pub(super) cache: Arc<PageCache>,
    block_size: u32,
    pub(super) tree: SpinLock<Tree>,
    /// Shared: reads that insert folios, page faults. Exclusive: truncate, punch and the like, around "remove page cache and change
    /// extents" (LOCK-3).
    pub invalidate: RwLock<()>,
    dirty: AtomicUsize,
    /// Counts starts of writeback.
    pub(super) stamp: AtomicU64,
    /// On the list of inodes with dirty folios.
    pub(super) listed: AtomicBool,
    always_stable: AtomicBool,
    mapped: AtomicBool,
    rmap: SpinLock<Option<Arc<dyn ReverseMap>>>,
}

impl Mapping {
    /// An empty mapping of the inode `host`, number `ino`, in `cache`, with dirty bits for blocks of `block_size` bytes.
    pub fn new(ino: u64, host: Weak<Inode>, cache: Arc<PageCache>, block_size: u32) -> Arc<Mapping> {
        debug_assert!(block_size.is_power_of_two() && (512..=PAGE_SIZE as u32).contains(&block_size));
        Arc::new_cyclic(|this| Mapping {
            ino,
            host,
            this: this.clone(),
            cache,
            block_size,
            tree: SpinLock::new(Tree::new()),
            invalidate: RwLock::new(Rank::Invalidate, ()),
            dirty: AtomicUsize::new(0),
            stamp: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            always_stable: AtomicBool::new(false),
            mapped: AtomicBool::new(false),
            rmap: SpinLock::new(None),
        })
    }

    /// The inode number, for traces and anchors.
    pub fn ino(&self) -> u64 {
        self.ino
    }
    /// The inode, unless it is being dropped.
    pub fn host(&self) -> Option<Arc<Inode>> {
        self.host.upgrade()
    }
    /// The cache this mapping belongs to.
    pub fn cache(&self) -> &Arc<PageCache> {
        &self.cache
    }
    /// Bytes of a block, the unit of dirty and uptodate bits.
    pub fn block_size(&self) -> usize {
        self.block_size as usize
    }
    /// Folios in the cache.
    pub fn nr_pages(&self) -> usize {
        self.tree.lock().len()
    }
    /// Folios with dirty blocks.
    pub fn nr_dirty(&self) -> usize {
        self.dirty.load(Ordering::Relaxed)
    }
    /// Whether every writeback needs stable bytes (a property of the device; never cleared, R21).
    pub fn always_stable(&self) -> bool {
        self.always_stable.load(Ordering::Relaxed)
    }
    /// Makes every writeback need stable bytes.
    pub fn set_always_stable(&self) {
        self.always_stable.store(true, Ordering::Relaxed);
    }

    /// The folio at `index`, unlocked. The fast path of a read.
    pub fn get(&self, index: u64) -> Option<Arc<Folio>> {
        self.tree.lock().get(index).cloned()
    }

    /// The folios of `indices` that there are, unlocked, in order.
    pub fn get_all<C: FromIterator<Arc<Folio>>>(&self, indices: Range<u64>) -> C {
        let tree = self.tree.lock();
        indices.filter_map(|index| tree.get(index).cloned()).collect()
    }

    /// Locks `folio`, sleeping for it. `None` if it was removed meanwhile (the still-belongs check).
    pub fn lock(&self, folio: Arc<Folio>) -> Option<FolioGuard<'_>> {
        let rank = rank::enter_keyed(Rank::Folio, folio.index());
        folio.lock_raw();
        self.guard(folio, rank)
    }

    /// Locks `folio` if its lock is free and it still belongs.
    pub fn try_lock(&self, folio: Arc<Folio>) -> Option<FolioGuard<'_>> {
        if folio.try_lock_raw() { self.guard(folio, rank::enter_try(Rank::Folio)) } else { None }
    }

    /// The folio at `index`, locked, if it is cached. Sleeps for the lock.
    pub fn find_locked(&self, index: u64) -> Option<FolioGuard<'_>> {
        loop {
            let folio = self.get(index)?;
            if let Some(guard) = self.lock(folio) {
                return Some(guard);
            }
        }
    }

    /// The folio at `index`, locked; a new one (not uptodate, content unspecified) if there is none. Sleeps for the folio
    /// lock, never for memory. Errors: `ENOMEM`.
    pub fn find_or_create(&self, index: u64) -> Result<FolioGuard<'_>> {
        loop {
            match self.get(index) {
                Some(folio) => {
                    if let Some(guard) = self.lock(folio) {
                        return Ok(guard);
                    }
                }
                None => {
                    if let Some(guard) = self.create(index)? {
                        return Ok(guard);
                    }
                }
            }
        }
    }

    /// As [`Mapping::find_or_create`], but `None` where it would sleep: a caller with unsubmitted folios submits them first
    /// (LOCK-6). Errors: `ENOMEM`.
    pub fn try_find_or_create(&self, index: u64) -> Result<Option<FolioGuard<'_>>> {
        self.try_with(index, || self.cache.alloc_page())
    }

    /// As [`Mapping::try_find_or_create`] for who waits for memory as little as for a lock: nothing is reclaimed for it when no frame is
    /// free (NOW-1). Errors: `ENOMEM`.
    pub fn find_or_create_now(&self, index: u64) -> Result<Option<FolioGuard<'_>>> {
        self.try_with(index, || self.cache.alloc_page_now())
    }

    #[inline]
    fn try_with(&self, index: u64, alloc: impl Fn() -> Option<Page>) -> Result<Option<FolioGuard<'_>>> {
        loop {
            match self.get(index) {
                Some(folio) if folio.try_lock_raw() => {
                    if let Some(guard) = self.guard(folio, rank::enter_try(Rank::Folio)) {
                        return Ok(Some(guard));
                    }
                }
                Some(_) => return Ok(None),
                None => {
                    if let Some(guard) = self.insert(index, alloc().ok_or(Errno::ENOMEM)?)? {
                        return Ok(Some(guard));
                    }
                }
            }
        }
    }

    /// A new locked folio at `index`; `None` if there is one already. Errors: `ENOMEM`.
    pub fn create(&self, index: u64) -> Result<Option<FolioGuard<'_>>> {
        self.insert(index, self.cache.alloc_page().ok_or(Errno::ENOMEM)?)
    }

    fn insert(&self, index: u64, page: Page) -> Result<Option<FolioGuard<'_>>> {
        let folio = Folio::new_locked(page, index, self.this.clone());
        self.cache.adopt(&folio)?;
        let mut tree = self.tree.lock();
        if tree.get(index).is_some() {
            drop(tree);
            self.cache.forget(&folio);
            return Ok(None);
        }
        tree.insert(index, folio.clone());
        drop(tree);
        Ok(Some(FolioGuard::new(self, folio, rank::enter_try(Rank::Folio))))
    }

    /// How many folios without a gap are cached just before `index`, counted up to `most`: the history of a reader.
    pub fn cached_before(&self, index: u64, most: u64) -> u64 {
        let tree = self.tree.lock();
        (1..=most.min(index)).take_while(|back| tree.get(index - back).is_some()).count() as u64
    }

    /// The first index at or after `index` that is not cached, looked for up to `most` folios further.
    pub fn first_absent(&self, index: u64, most: u64) -> Option<u64> {
        let tree = self.tree.lock();
        (index..index.saturating_add(most)).find(|i| tree.get(*i).is_none())
    }

    /// The first folio of `indices` with `tag`, unlocked.
    pub fn next_tagged(&self, indices: Range<u64>, tag: Tag) -> Option<Arc<Folio>> {
        self.tree.lock().next(indices, tag).cloned()
    }

    /// Tags every folio of `indices` that is dirty now, so that an integrity writeback knows its work from later work (SYN-2).
    pub fn tag_for_writing(&self, indices: Range<u64>) {
        /// Folios tagged under one hold of the tree lock.
        const BATCH: usize = 256;
        let mut from = indices.start;
        loop {
            let mut tree = self.tree.lock();
            for _ in 0..BATCH {
                let Some(index) = tree.next(from..indices.end, Tag::Dirty).map(|f| f.index()) else {
                    return;
                };
                tree.set_tag(index, Tag::ToWrite);
                from = index + 1;
            }
        }
    }

    /// Ends the duty of an integrity writeback for a folio: its blocks are clean, or under a writeback that is waited for.
    pub fn clear_to_write(&self, index: u64) {
        self.tree.lock().clear_tag(index, Tag::ToWrite);
    }

    /// The count of writeback starts: a folio stamped later went under writeback later.
    pub fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    /// Changes what knows the user mappings of the file: the first puts it there, the last takes it away. `update` runs under a leaf
    /// spin lock, so that the two cannot pass each other.
    pub fn update_reverse_map(&self, update: impl FnOnce(&mut Option<Arc<dyn ReverseMap>>)) {
        let mut slot = self.rmap.lock();
        update(&mut slot);
        self.mapped.store(slot.is_some(), Ordering::Release);
    }

    /// Whether user mappings of the file exist.
    pub fn is_mapped(&self) -> bool {
        self.mapped.load(Ordering::Acquire)
    }

    pub(super) fn reverse_map(&self) -> Option<Arc<dyn ReverseMap>> {
        if !self.is_mapped() {
            return None;
        }
        self.rmap.lock().clone()
    }

    /// How many bytes of the folio at `index` lie inside the file; all of them without a file.
    pub(super) fn bytes_inside(&self, index: u64) -> usize {
        let size = self.host().map_or(u64::MAX, |inode| inode.size());
        size.saturating_sub(index * PAGE_SIZE as u64).min(PAGE_SIZE as u64) as usize
    }

    /// The guard of a folio that is locked; unlocks it again if it was removed.
    fn guard(&self, folio: Arc<Folio>, rank: HeldRank) -> Option<FolioGuard<'_>> {
        let guard = FolioGuard::new(self, folio, rank);
        guard.state().attached().then_some(guard)
    }

    /// `[offset, offset + len)` widened to blocks, as (start, end).
    pub(super) fn widen(&self, offset: usize, len: usize) -> (usize, usize) {
        let bs = self.block_size();
        (offset / bs * bs, (offset + len).next_multiple_of(bs))
    }

    pub(super) fn count_dirty(&self) {
        self.cache.dirtied();
        if self.dirty.fetch_add(1, Ordering::AcqRel) == 0 {
            self.cache.list_dirty(self);
            self.pin();
        }
    }

    pub(super) fn count_clean(&self) {
        self.dirty.fetch_sub(1, Ordering::AcqRel);
        self.cache.cleaned();
    }

    /// Keeps the inode in memory while it has dirty folios.
    fn pin(&self) {
        if let Some(inode) = self.host() {
            inode.sb.inodes().mark_dirty(&inode);
        }
    }

    /// Ends the pin of the inode if neither data nor attributes are dirty. A folio or an attribute dirtied meanwhile
    /// pinned before or is found by the second look here.
    pub(crate) fn unpin_if_clean(&self, inode: &Inode) {
        let attributes = |ops: &dyn IomapOps| ops.attributes_dirty();
        if self.nr_dirty() != 0 || inode.ops().iomap().is_some_and(attributes) {
            return;
        }
        let pin = inode.sb.inodes().clear_dirty(inode);
        if self.nr_dirty() != 0 || inode.ops().iomap().is_some_and(attributes) {
            self.pin();
        }
        drop(pin);
    }

    pub(super) fn weak(&self) -> Weak<Mapping> {
        self.this.clone()
    }
}

impl Drop for Mapping {
    /// Gives the folios of a dropped inode back. Nothing of it is in flight: requests hold the inode.
    fn drop(&mut self) {
        let tree = self.tree.get_mut();
        let mut index = 0;
        while let Some(folio) = tree.next(index..u64::MAX, Tag::Present).cloned() {
            index = folio.index() + 1;
            tree.remove(folio.index());
            let old = folio.clear(super::state::ATTACHED | super::state::DIRTY_ALL);
            if old.dirty() {
                self.cache.cleaned();
            }
            self.cache.forget(&folio);
        }
    }
}
