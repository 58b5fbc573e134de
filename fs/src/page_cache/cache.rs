//! The whole cache: figures, limits, the list of dirty mappings, and what happens when there is too much.
use super::clock::Clock;
use super::{Folio, Mapping};
use alloc::vec::Vec;
use base::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use base::sync::{Arc, SpinLock, WaitQueue, Weak};
use base::{Errno, Page, Result};

/// Folios evicted at once, so that the clock is not taken for every page.
const BATCH: usize = 16;

/// How much memory the cache may use, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Folios above which a new one evicts clean ones. Soft: folios that are dirty or in flight stay.
    pub pages: usize,
    /// Dirty folios above which writeback starts in the background.
    pub background_dirty: usize,
    /// Dirty folios above which whoever dirties more waits (LOCK-7).
    pub dirty: usize,
}

impl CacheLimits {
    /// Limits for a cache of `pages` pages: writeback from a tenth, throttling from a quarter.
    pub fn for_pages(pages: usize) -> CacheLimits {
        CacheLimits { pages, background_dirty: pages / 10, dirty: (pages / 4).max(1) }
    }
}

/// Figures for `/proc/meminfo` and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Folios.
    pub pages: usize,
    /// Folios with dirty blocks.
    pub dirty: usize,
    /// Folios under writeback.
    pub writeback: usize,
    /// Of these, folios of write-throughs (CTX-9: 0 when nothing is in flight).
    pub wt: usize,
}

/// The page cache of the system. There is one, made at boot and handed to every mount; tests make their own.
pub struct PageCache {
    limits: SpinLock<CacheLimits>,
    limit_pages: AtomicUsize,
    dirty_limit: AtomicUsize,
    background_limit: AtomicUsize,
    clock: SpinLock<Clock>,
    dirty: AtomicUsize,
    writeback: AtomicUsize,
    wt: AtomicUsize,
    /// Mappings that had a dirty folio since they were last written back.
    dirty_mappings: SpinLock<Vec<Weak<Mapping>>>,
    /// Whether a task runs the flusher.
    flusher: AtomicBool,
    stopped: AtomicBool,
    kicked: AtomicBool,
    kick: WaitQueue,
    /// Throttled tasks.
    throttle: WaitQueue,
    throttled: AtomicUsize,
}

impl PageCache {
    /// The slot of a folio that is not in the clock.
    pub(super) const NO_SLOT: u32 = u32::MAX;

    /// An empty cache.
    pub fn new(limits: CacheLimits) -> Arc<PageCache> {
        Arc::new(PageCache {
            limits: SpinLock::new(limits),
            limit_pages: AtomicUsize::new(limits.pages),
            dirty_limit: AtomicUsize::new(limits.dirty),
            background_limit: AtomicUsize::new(limits.background_dirty),
            clock: SpinLock::new(Clock::new()),
            dirty: AtomicUsize::new(0),
            writeback: AtomicUsize::new(0),
            wt: AtomicUsize::new(0),
            dirty_mappings: SpinLock::new(Vec::new()),
            flusher: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            kick: WaitQueue::new(),
            throttle: WaitQueue::new(),
            throttled: AtomicUsize::new(0),
        })
    }

    /// The limits.
    pub fn limits(&self) -> CacheLimits {
        *self.limits.lock()
    }
    /// Changes the limits; takes effect with the next folio.
    pub fn set_limits(&self, limits: CacheLimits) {
        *self.limits.lock() = limits;
        self.limit_pages.store(limits.pages, Ordering::Relaxed);
        self.dirty_limit.store(limits.dirty, Ordering::Relaxed);
        self.background_limit.store(limits.background_dirty, Ordering::Relaxed);
    }
    /// The figures now.
    pub fn figures(&self) -> CacheFigures {
        CacheFigures {
            pages: self.clock.lock().len(),
            dirty: self.dirty.load(Ordering::Relaxed),
            writeback: self.writeback.load(Ordering::Relaxed),
            wt: self.wt.load(Ordering::Relaxed),
        }
    }

    /// Memory for one folio: makes room first if the cache is full, and once more if the system is. Never sleeps, so that a
    /// writer with unsubmitted folios may call it (LOCK-6). `None` when nothing can be evicted and no frame is free.
    pub(super) fn alloc_page(&self) -> Option<Page> {
        base::memory::may_allocate().ok()?;
        self.keep_to_limit();
        let page = Page::alloc_zeroed();
        if page.is_some() {
            return page;
        }
        self.evict(BATCH);
        Page::alloc_zeroed()
    }

    /// As [`Self::alloc_page`], but from what is free: the cache keeps to its limit, and nothing is reclaimed beyond that (NOW-1).
    pub(super) fn alloc_page_now(&self) -> Option<Page> {
        base::memory::may_allocate().ok()?;
        self.keep_to_limit();
        Page::alloc_zeroed()
    }

    fn keep_to_limit(&self) {
        if self.clock.lock().len() >= self.limit_pages.load(Ordering::Relaxed) {
            self.evict(BATCH);
        }
    }

    /// Takes a new folio into the clock. Errors: `ENOMEM`.
    pub(super) fn adopt(&self, folio: &Arc<Folio>) -> Result<()> {
        let slot = self.clock.lock().add(folio.clone()).ok_or(Errno::ENOMEM)?;
        folio.slot.store(slot, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a folio out of the clock that was removed from its mapping.
    pub(super) fn forget(&self, folio: &Arc<Folio>) {
        let slot = folio.slot.swap(Self::NO_SLOT, Ordering::Relaxed);
        let taken = self.clock.lock().take(slot);
        drop(taken);
    }

    /// Evicts up to `want` folios that nobody would miss; returns how many. Never sleeps.
    pub fn evict(&self, want: usize) -> usize {
        super::clock::evict(&self.clock, want)
    }

    /// Evicts everything that is clean and not in use (BUF-7). Returns how many folios went.
    pub fn drop_caches(&self) -> usize {
        self.evict(usize::MAX)
    }

    /// Whether writeback should be under way.
    pub fn over_background_limit(&self) -> bool {
        self.dirty.load(Ordering::Relaxed) > self.background_limit.load(Ordering::Relaxed)
    }
    /// Whether whoever dirties should wait: too much is dirty or on its way to the device. Folios of write-throughs don't count
    /// (LOCK-7).
    pub fn over_dirty_limit(&self) -> bool {
        let in_flight = self.writeback.load(Ordering::Relaxed).saturating_sub(self.wt.load(Ordering::Relaxed));
        self.dirty.load(Ordering::Relaxed) + in_flight > self.dirty_limit.load(Ordering::Relaxed)
    }

    /// The mappings with dirty folios, least recently dirtied first; the list starts anew.
    pub(crate) fn take_dirty_mappings(&self) -> Vec<Arc<Mapping>> {
        let list = core::mem::take(&mut *self.dirty_mappings.lock());
        let mappings: Vec<_> = list.iter().filter_map(Weak::upgrade).collect();
        mappings.iter().for_each(|m| m.listed.store(false, Ordering::Release));
        mappings
    }

    /// Puts a mapping on the list of dirty ones, unless it is there.
    pub(crate) fn list_dirty(&self, mapping: &Mapping) {
        if !mapping.listed.swap(true, Ordering::AcqRel) {
            self.dirty_mappings.lock().push(mapping.weak());
        }
    }

    /// Asks the flusher to write back what is dirty; returns whether there is one. Any context.
    pub fn kick(&self) -> bool {
        if !self.kicked.swap(true, Ordering::AcqRel) {
            self.kick.wake_all();
        }
        self.flusher.load(Ordering::Acquire)
    }
    /// Ends the flusher once it has done what it was asked.
    pub fn stop_flusher(&self) {
        self.stopped.store(true, Ordering::Release);
        self.kick();
    }
    /// The flusher's own wait: sleeps until kicked; false when it is to end.
    pub(crate) fn wait_for_kick(&self) -> bool {
        self.flusher.store(true, Ordering::Release);
        self.kick.wait_until(|| self.kicked.swap(false, Ordering::AcqRel));
        let go_on = !self.stopped.load(Ordering::Acquire);
        self.flusher.store(go_on, Ordering::Release);
        go_on
    }
    /// Sleeps until fewer folios than the limit are dirty, and no more are on their way to the device.
    pub(crate) fn wait_below_dirty_limit(&self) {
        self.throttled.fetch_add(1, Ordering::SeqCst);
        self.throttle.wait_until(|| !self.over_dirty_limit());
        self.throttled.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn dirtied(&self) {
        self.dirty.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn cleaned(&self) {
        self.dirty.fetch_sub(1, Ordering::SeqCst);
        self.wake_throttled();
    }
    fn wake_throttled(&self) {
        if self.throttled.load(Ordering::SeqCst) != 0 && !self.over_dirty_limit() {
            self.throttle.wake_all();
        }
    }
    pub(super) fn writeback_started(&self) {
        self.writeback.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn wt_started(&self) {
        self.wt.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn writeback_ended(&self, wt: bool) {
        if wt {
            self.wt.fetch_sub(1, Ordering::SeqCst);
        }
        self.writeback.fetch_sub(1, Ordering::SeqCst);
        self.wake_throttled();
    }
}

impl Default for CacheLimits {
    /// A cache of 16 MiB.
    fn default() -> Self {
        CacheLimits::for_pages(4096)
    }
}
