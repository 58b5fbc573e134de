//! A folio: one page of a file, its lock, and the waits on it.
use super::state::{ATTACHED, LOCKED, READAHEAD, REFERENCED, State, WAITERS, WRITEBACK, uptodate_bits};
use super::{Mapping, PageCache};
use base::stats::{self, Counter};
use base::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use base::sync::rank::HeldRank;
use base::sync::{Arc, WaitQueue, Weak};
use base::{PAGE_SIZE, Page};

/// One page of a file in memory.
///
/// Readers copy from the page without the lock once its bytes are uptodate. Everything else happens under the folio lock
/// ([`FolioGuard`]), but for the end of writeback, which never needs it (LOCK-5).
pub struct Folio {
    page: Page,
    index: u64,
    /// The mapping it was made for; eviction gets there from here.
    pub(super) mapping: Weak<Mapping>,
    state: AtomicU64,
    /// Changes of valid bytes, twice; odd while one goes on (BUF-1). Written with the folio locked only.
    changes: AtomicU32,
    /// Bytes under writeback that have not ended (FOL-2).
    pub(super) pending: AtomicU32,
    /// When writeback last started, in the count of the mapping; tells a later writeback from the one waited for (SYN-2).
    pub(super) stamp: AtomicU64,
    /// The place in the clock.
    pub(super) slot: AtomicU32,
    wait: WaitQueue,
}

impl Folio {
    /// A folio for `index`, locked and attached: its maker has the first guard.
    pub(super) fn new_locked(page: Page, index: u64, mapping: Weak<Mapping>) -> Arc<Folio> {
        Arc::new(Folio {
            page,
            index,
            mapping,
            state: AtomicU64::new(LOCKED | ATTACHED),
            changes: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            stamp: AtomicU64::new(0),
            slot: AtomicU32::new(PageCache::NO_SLOT),
            wait: WaitQueue::new(),
        })
    }

    /// A folio of no mapping.
    #[cfg(test)]
    pub(super) fn detached(index: u64) -> Arc<Folio> {
        let page = Page::alloc_zeroed().expect("the host has memory");
        let folio = Folio::new_locked(page, index, Weak::new());
        folio.unlock();
        folio
    }

    /// The memory.
    pub fn page(&self) -> &Page {
        &self.page
    }
    /// The position in the file, in pages.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// The position in the file, in bytes.
    pub fn pos(&self) -> u64 {
        self.index * PAGE_SIZE as u64
    }
    /// The flags now. A reader that sees bytes uptodate sees the bytes.
    pub fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    /// To be asked before bytes are copied without the lock, for [`Folio::unchanged_since`].
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }
    /// Whether the bytes that were copied since then are those of one moment.
    pub fn unchanged_since(&self, changes: u32) -> bool {
        // The copy's loads come before the second look: one that sees a byte of a change sees its beginning too.
        fence(Ordering::Acquire);
        changes.is_multiple_of(2) && self.changes.load(Ordering::Relaxed) == changes
    }

    /// Tells the clock that the folio is in use, and whether the next window should be read ahead now.
    pub fn touch(&self, state: State) -> bool {
        if state.0 & (REFERENCED | READAHEAD) == REFERENCED {
            return false;
        }
        self.state.fetch_or(REFERENCED, Ordering::Relaxed);
        state.readahead() && self.clear(READAHEAD).readahead()
    }

    /// Takes the lock if it is free; the caller makes the guard.
    pub(super) fn try_lock_raw(&self) -> bool {
        self.state.fetch_or(LOCKED, Ordering::Acquire) & LOCKED == 0
    }

    /// Takes the lock, sleeping for it; the caller makes the guard.
    pub(super) fn lock_raw(&self) {
        if self.try_lock_raw() {
            return;
        }
        stats::count(Counter::FolioLockWaits);
        self.wait_clear(LOCKED, LOCKED);
    }

    /// Sleeps until none of the bits `busy` is set, then sets `take` in the same step.
    ///
    /// No wake-up is lost: the condition is tested once more after the task is on the queue, and that test either finds the bits clear or
    /// leaves [`WAITERS`] behind while they are set, so whoever clears them wakes the queue.
    fn wait_clear(&self, busy: u64, take: u64) {
        self.wait.wait_until(|| self.claim(busy, take));
    }

    fn claim(&self, busy: u64, take: u64) -> bool {
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            let (new, done) = if old & busy == 0 { (old | take, true) } else { (old | WAITERS, false) };
            match self.state.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return done,
                Err(seen) => old = seen,
            }
        }
    }

    /// Whether the last writeback started after the mapping's count was `stamp`.
    pub(crate) fn started_after(&self, stamp: u64) -> bool {
        self.stamp.load(Ordering::Acquire) > stamp
    }

    /// The mapping's count when the last writeback started.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    /// Sleeps until the writeback that is under way now has ended, even if another begins at once.
    pub fn wait_writeback(&self) {
        let stamp = self.stamp.load(Ordering::Acquire);
        if !self.state().writeback() {
            return;
        }
        base::anchor!("folio.wait_writeback", self.index);
        self.wait.wait_until(|| {
            let other = self.stamp.load(Ordering::Acquire) != stamp;
            other || self.claim(WRITEBACK, 0)
        });
    }

    /// Clears `bits` and wakes whoever waits. `bits` has LOCKED or WRITEBACK in it.
    pub(super) fn clear_and_wake(&self, bits: u64) -> State {
        let old = self.state.fetch_and(!(bits | WAITERS), Ordering::Release);
        if old & WAITERS != 0 {
            self.wait.wake_all();
        }
        State(old)
    }

    pub(super) fn unlock(&self) {
        self.clear_and_wake(LOCKED);
    }

    pub(super) fn set(&self, bits: u64) -> State {
        State(self.state.fetch_or(bits, Ordering::AcqRel))
    }

    pub(super) fn clear(&self, bits: u64) -> State {
        State(self.state.fetch_and(!bits, Ordering::AcqRel))
    }

    /// Sets `set` and clears `clear` in one step; returns the state before.
    pub(super) fn exchange(&self, set: u64, clear: u64) -> State {
        let mut old = self.state.load(Ordering::Relaxed);
        loop {
            match self.state.compare_exchange_weak(old, old & !clear | set, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return State(old),
                Err(seen) => old = seen,
            }
        }
    }

    /// Marks the folio for [`Folio::touch`] to ask for the next window.
    pub(crate) fn mark_readahead(&self) {
        self.set(READAHEAD);
    }
}

/// The lock of a folio, without its mapping: what a read in flight keeps until the bytes have come (BUF-3). Dropping it
/// unlocks.
#[must_use = "a folio is unlocked as soon as its guard is dropped"]
pub struct LockedFolio(pub(super) Arc<Folio>);

impl LockedFolio {
    /// The folio.
    pub fn folio(&self) -> &Arc<Folio> {
        &self.0
    }
    /// Marks the whole folio valid.
    pub fn set_all_uptodate(&self) {
        self.0.set(uptodate_bits(0, PAGE_SIZE));
    }
}

impl Drop for LockedFolio {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

/// The lock of a folio. Dropping it unlocks. It knows the mapping, so that flags and search tags change together.
#[must_use = "a folio is unlocked as soon as its guard is dropped"]
pub struct FolioGuard<'a> {
    mapping: &'a Mapping,
    locked: LockedFolio,
    _rank: HeldRank,
}

impl<'a> FolioGuard<'a> {
    /// The guard of a folio that its caller has locked, noting `rank`.
    pub(super) fn new(mapping: &'a Mapping, folio: Arc<Folio>, rank: HeldRank) -> Self {
        FolioGuard { mapping, locked: LockedFolio(folio), _rank: rank }
    }
    /// The folio; clone it to keep it beyond the lock.
    pub fn folio(&self) -> &Arc<Folio> {
        &self.locked.0
    }
    /// Keeps the lock beyond the borrow of the mapping.
    pub fn into_locked(self) -> LockedFolio {
        self.locked
    }
    /// The flags now.
    pub fn state(&self) -> State {
        self.folio().state()
    }
    /// The mapping whose folio this is.
    pub fn mapping(&self) -> &'a Mapping {
        self.mapping
    }

    /// Changes bytes that readers may be copying: `change` gets the page, and does not sleep. Readers do not wait for the lock; they
    /// copy again what has changed meanwhile (BUF-1).
    #[inline]
    pub fn change<R>(&self, change: impl FnOnce(&Page) -> R) -> R {
        let folio = self.folio();
        let before = folio.changes.load(Ordering::Relaxed);
        folio.changes.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let result = change(&folio.page);
        folio.changes.store(before.wrapping_add(2), Ordering::Release);
        result
    }

    /// Whether a change of bytes has to wait (STB-2): the folio is under the writeback of a write-through, or under any
    /// writeback and the device needs stable pages, which no write-through changes (STB-3).
    pub fn must_wait_stable(&self) -> bool {
        let state = self.state();
        state.writeback() && base::guard!("STB-2", state.wt() || self.mapping.always_stable())
    }

    /// Sleeps, with the folio locked, until its bytes may change; counted. The end of writeback needs no folio lock, so this
    /// ends. The caller has nothing unsubmitted (LOCK-6), in particular not this folio.
    pub fn wait_stable(&self) {
        while self.must_wait_stable() {
            stats::count(Counter::StableWaits);
            self.folio().wait_writeback();
        }
    }

    /// Sleeps, with the folio locked, until no writeback is under way: what a write-through and an integrity writeback do before
    /// they start theirs (FS-5, FS-8, BUF-6). Returns whether it slept. The caller has nothing unsubmitted (LOCK-6).
    pub fn wait_writeback(&self) -> bool {
        let mut slept = false;
        while self.state().writeback() {
            if self.state().wt() {
                stats::count(Counter::StableWaits);
            }
            slept = true;
            self.folio().wait_writeback();
        }
        slept
    }

    /// Marks whole blocks valid: the blocks that lie wholly in `len` bytes from `offset`. The bytes are there already.
    pub fn set_uptodate(&self, offset: usize, len: usize) {
        let bs = self.mapping.block_size();
        let (start, end) = (offset.next_multiple_of(bs), (offset + len) / bs * bs);
        if start < end {
            self.folio().set(uptodate_bits(start, end - start));
        }
    }

    /// Write-protects user mappings of the folio; if any was dirty, all blocks inside the file become dirty (S-8i, MM-2). Whoever
    /// clears dirty bits or zeroes bytes does this before.
    pub fn write_protect(&self) {
        if let Some(rmap) = self.mapping.reverse_map()
            && base::guard!("MM-2", rmap.write_protect(self.folio().index()))
        {
            self.mark_stored();
        }
    }

    /// A mapping has stored to the folio, nobody knows where: all blocks inside the file become dirty. What was stored past its end
    /// never counts (EOF-4).
    pub(super) fn mark_stored(&self) {
        let inside = self.mapping.bytes_inside(self.folio().index());
        if inside > 0 {
            self.mark_dirty(0, inside);
        }
    }
}
