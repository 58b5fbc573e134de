//! The byte-range lock of an inode: order among writes that hold the inode lock shared (LOCK-9).
//!
//! | holder | from | to |
//! |---|---|---|
//! | a write-through inside the file | before its first copy | its last folio is marked and unlocked |
//! | a direct write | before it empties the cache of its range | F4 |
//!
//! So two write-throughs that overlap are as if one had come after the other, folio by folio (R37), and none puts folios into a
//! range that is being written past the cache (DIO-3). Who holds the inode lock exclusively needs none: no write-through can
//! be under way then, and direct writes in flight are drained.
//!
//! # Fairness
//!
//! Requests are granted in the order of their coming: one waits for every earlier one that it overlaps, granted or not. So nobody
//! starves, and since each waits for earlier ones only, no circle can arise. The list is as long as there are writes of
//! the inode at once.
use crate::vfs::Inode;
use alloc::vec::Vec;
use base::PAGE_SIZE;
use base::stats::{self, Gauge};
use base::sync::rank::{self, Rank};
use base::sync::{Arc, SpinLock, WaitQueue};
use core::ops::Range;

struct Entry {
    ticket: u64,
    range: Range<u64>,
}

struct List {
    next: u64,
    /// In the order of their tickets.
    entries: Vec<Entry>,
}

/// The ranges of one inode that are locked or waited for.
pub struct RangeLock {
    ino: u64,
    list: SpinLock<List>,
    waiters: WaitQueue,
}

impl RangeLock {
    /// Nothing is locked. `ino` is for anchors.
    pub fn new(ino: u64) -> Self {
        RangeLock { ino, list: SpinLock::new(List { next: 0, entries: Vec::new() }), waiters: WaitQueue::new() }
    }

    /// Locks `range` (bytes, not empty). Sleeps while an earlier request overlaps it: the inode lock may be held shared; no range of this
    /// inode, no folio and nothing unsubmitted is. Prefer [`RangeGuard`].
    pub fn acquire(&self, range: Range<u64>) -> u64 {
        rank::check(Rank::Range);
        stats::raise(Gauge::RangeLocks);
        let (ticket, blocked) = {
            let mut list = self.list.lock();
            let ticket = list.enter(range);
            (ticket, !list.is_first(ticket))
        };
        if base::guard!("R37", blocked) {
            self.waiters.wait_until(|| {
                let first = self.list.lock().is_first(ticket);
                if !first {
                    base::anchor!("range.before_sleep", self.ino);
                }
                first
            });
        }
        ticket
    }

    /// As [`Self::acquire`], if no request that came before overlaps it. Never sleeps.
    pub fn try_acquire(&self, range: Range<u64>) -> Option<u64> {
        let mut list = self.list.lock();
        if list.entries.iter().any(|entry| entry.overlaps(&range)) {
            return None;
        }
        stats::raise(Gauge::RangeLocks);
        Some(list.enter(range))
    }

    /// Unlocks what [`Self::acquire`] has locked. Task context.
    pub fn release(&self, ticket: u64) {
        let mut list = self.list.lock();
        list.entries.retain(|entry| entry.ticket != ticket);
        let others = !list.entries.is_empty();
        drop(list);
        stats::lower(Gauge::RangeLocks);
        if others {
            self.waiters.wake_all();
        }
    }
}

impl Entry {
    fn overlaps(&self, range: &Range<u64>) -> bool {
        self.range.start < range.end && range.start < self.range.end
    }
}

impl List {
    /// Adds a request behind all others; its ticket.
    fn enter(&mut self, range: Range<u64>) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.entries.push(Entry { ticket, range });
        ticket
    }

    /// Whether no earlier entry overlaps that of `ticket`.
    fn is_first(&self, ticket: u64) -> bool {
        let Some(at) = self.entries.iter().position(|entry| entry.ticket == ticket) else { return true };
        let (earlier, rest) = self.entries.split_at(at);
        let Some(mine) = rest.first() else { return true };
        !earlier.iter().any(|entry| entry.overlaps(&mine.range))
    }
}

/// A locked range; dropping it unlocks it.
#[must_use = "dropping the guard unlocks the range"]
pub struct RangeGuard {
    inode: Arc<Inode>,
    ticket: u64,
}

impl RangeGuard {
    /// Locks the blocks of `block_size` bytes and the folios that `range` touches: of two writers with different blocks of one folio,
    /// the second would wait with the folio locked for the first, which may have to lock it again (R75). As [`RangeLock::acquire`].
    pub fn new(inode: &Arc<Inode>, range: Range<u64>, block_size: u32) -> Self {
        RangeGuard { inode: inode.clone(), ticket: inode.ranges.acquire(rounded(range, block_size)) }
    }

    /// The same if that needs no sleep.
    pub fn try_new(inode: &Arc<Inode>, range: Range<u64>, block_size: u32) -> Option<Self> {
        let ticket = inode.ranges.try_acquire(rounded(range, block_size))?;
        Some(RangeGuard { inode: inode.clone(), ticket })
    }
}

fn rounded(range: Range<u64>, block_size: u32) -> Range<u64> {
    let unit = u64::from(block_size).max(PAGE_SIZE as u64);
    range.start / unit * unit..range.end.checked_next_multiple_of(unit).unwrap_or(u64::MAX)
}

impl Drop for RangeGuard {
    fn drop(&mut self) {
        self.inode.ranges.release(self.ticket);
    }
}
