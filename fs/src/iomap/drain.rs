//! The drain count: I/Os in flight that outlive the locks they were started under (DIO-6, DIO-8).
//!
//! A write-through or a direct I/O goes on after its submitter has let go of the inode lock. Truncate must not change the size
//! or free a block before such an I/O has finished, metadata step included, so it has to wait on something that outlives the
//! lock: this count. It is kept in two parts, because a write-through must wait for direct I/O (their cached and on-disk
//! bytes would differ for ever, DIO-3) but not for other write-throughs (queue depth would fall to one, R72).
//!
//! # Why no wake-up is lost (R08)
//!
//! A drainer puts itself on the wait queue and looks at the count again before it sleeps; a finisher lowers the count first
//! and takes the queue's lock to wake afterwards. Whichever takes the queue's lock second sees what the first one did: the
//! drainer the lower count, or the finisher the waiting task.
use crate::vfs::Inode;
use base::stats::{self, Counter, Gauge};
use base::sync::atomic::{AtomicU32, Ordering};
use base::sync::{Arc, WaitQueue};
use base::trace;

/// The two parts of the count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DrainKind {
    /// A direct read or write.
    Direct,
    /// A write-through.
    Writethrough,
}

/// In-flight direct I/Os and write-throughs of one inode, counted apart.
pub struct DrainCount {
    ino: u64,
    direct: AtomicU32,
    writethrough: AtomicU32,
    waiters: WaitQueue,
}

impl DrainCount {
    /// Nothing in flight. `ino` is for anchors and traces.
    pub fn new(ino: u64) -> Self {
        DrainCount { ino, direct: AtomicU32::new(0), writethrough: AtomicU32::new(0), waiters: WaitQueue::new() }
    }

    fn part(&self, kind: DrainKind) -> &AtomicU32 {
        match kind {
            DrainKind::Direct => &self.direct,
            DrainKind::Writethrough => &self.writethrough,
        }
    }

    /// Counts one more I/O. The inode lock is held, shared or exclusive, so that no drainer can be past its wait (S-6).
    /// Prefer [`DrainGuard`], which cannot be dropped twice.
    pub fn raise(&self, kind: DrainKind) {
        self.part(kind).fetch_add(1, Ordering::Relaxed);
        stats::raise(Gauge::DrainCounts);
    }

    /// F4: counts one I/O less and wakes drainers at zero. Everything the I/O did happens before a drainer returns.
    pub fn lower(&self, kind: DrainKind) {
        let before = self.part(kind).fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "drain count below zero (I1)");
        stats::lower(Gauge::DrainCounts);
        trace::record(trace::Kind::WtDropDrain, self.ino, u64::from(before - 1));
        if base::guard!("R08", before == 1) {
            self.waiters.wake_all();
        }
    }

    /// I/Os of one kind in flight now.
    pub fn count(&self, kind: DrainKind) -> u32 {
        self.part(kind).load(Ordering::Acquire)
    }

    /// Waits until nothing is in flight: truncate and its kin. The inode lock is held exclusively, so no new I/O can start and
    /// the wait ends (LOCK-8, TRC-10). Sleeps.
    pub fn drain(&self) {
        self.wait_zero(|| self.count(DrainKind::Direct) + self.count(DrainKind::Writethrough));
    }

    /// Waits until no direct I/O is in flight: buffered writes and write-throughs (DIO-3). The inode lock is held exclusively.
    pub fn drain_direct(&self) {
        self.wait_zero(|| {
            let writethrough = if base::guard!("R72", true) { 0 } else { self.count(DrainKind::Writethrough) };
            self.count(DrainKind::Direct) + writethrough
        });
    }

    fn wait_zero(&self, in_flight: impl Fn() -> u32) {
        let count = in_flight();
        if count == 0 {
            return;
        }
        stats::count(Counter::DrainWaits);
        trace::record(trace::Kind::DrainWait, self.ino, u64::from(count));
        self.waiters.wait_until(|| {
            let drained = in_flight() == 0;
            if !drained {
                base::anchor!("drain.before_sleep", self.ino);
            }
            drained
        });
        trace::record(trace::Kind::DrainDone, self.ino, 0);
    }
}

/// One I/O in flight on an inode; dropping it is F4.
#[must_use = "an I/O in flight must be counted until its finish"]
pub struct DrainGuard {
    inode: Arc<Inode>,
    kind: DrainKind,
}

impl DrainGuard {
    /// S-6. The inode lock is held.
    pub fn new(inode: &Arc<Inode>, kind: DrainKind) -> Self {
        inode.drain.raise(kind);
        DrainGuard { inode: inode.clone(), kind }
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        self.inode.drain.lower(self.kind);
    }
}
