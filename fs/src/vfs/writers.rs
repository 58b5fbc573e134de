//! Who may write to a super block: the count that keeps it writable (RO-1, UMT-1) and the protection that freeze waits for
//! (A19). Two different things: a file open for writing holds the first for its whole life, a request holds the second.
use super::SuperBlock;
use base::stats::{self, Gauge};
use base::sync::atomic::{AtomicU64, Ordering};
use base::sync::rank::{self, Rank};
use base::sync::{Arc, WaitQueue};
use base::{Errno, Result};

/// The bit that refuses new holders; the count stands below it.
const CLOSED: u64 = 1 << 63;

/// Holders of write access; closed while the super block is read-only.
pub(super) struct WriterCount(AtomicU64);

impl WriterCount {
    pub(super) fn new(read_only: bool) -> Self {
        WriterCount(AtomicU64::new(if read_only { CLOSED } else { 0 }))
    }
    pub(super) fn is_read_only(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }
    pub(super) fn holders(&self) -> u64 {
        self.0.load(Ordering::Acquire) & !CLOSED
    }
    /// Refuses new writers. Errors: `EBUSY` while there are any.
    pub(super) fn close(&self) -> Result<()> {
        match self.0.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(now) if now & CLOSED != 0 => Ok(()),
            Err(_) => Err(Errno::EBUSY),
        }
    }
    /// Refuses new writers although there still are some: the file system met an error (SHD-2).
    pub(super) fn force_close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }
    pub(super) fn reopen(&self) {
        self.0.fetch_and(!CLOSED, Ordering::AcqRel);
    }
}

/// The right to change a super block: while one lives, it cannot become read-only or be unmounted (RO-1).
#[must_use = "write access ends when this is dropped"]
pub struct WriteAccess(Arc<SuperBlock>);

impl WriteAccess {
    /// Takes write access. Errors: `EROFS`. Any task; no sleep.
    pub fn take(sb: &Arc<SuperBlock>) -> Result<WriteAccess> {
        let word = &sb.writers.0;
        let mut now = word.load(Ordering::Relaxed);
        while now & CLOSED == 0 {
            match word.compare_exchange_weak(now, now + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(WriteAccess(sb.clone())),
                Err(seen) => now = seen,
            }
        }
        Err(Errno::EROFS)
    }
}

impl Drop for WriteAccess {
    fn drop(&mut self) {
        self.0.writers.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a freeze holds back, outermost first (A6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum FreezeLevel {
    /// System calls that write.
    Write = 0,
    /// Stores through shared mappings, while they fault (MM-9).
    Fault = 1,
    /// Transactions of the file system itself; closed when no holder of the outer levels is left (FRZ-3).
    Internal = 2,
}

impl FreezeLevel {
    /// Its place among the sleeping locks.
    fn rank(self) -> Rank {
        match self {
            FreezeLevel::Write => Rank::Freeze,
            FreezeLevel::Fault => Rank::FreezeFault,
            FreezeLevel::Internal => Rank::FreezeInternal,
        }
    }
}

/// One freeze level: holders, and whether it is frozen (model M8).
struct Gate {
    word: AtomicU64,
    wait: WaitQueue,
}

/// The freeze state of a super block.
pub(super) struct Freeze([Gate; 3]);

impl Freeze {
    pub(super) fn new() -> Self {
        Freeze(core::array::from_fn(|_| Gate { word: AtomicU64::new(0), wait: WaitQueue::new() }))
    }
    pub(super) fn holders(&self) -> u64 {
        self.0.iter().map(|g| g.word.load(Ordering::Acquire) & !CLOSED).sum()
    }
    /// Closes the levels outside in, waiting at each until its holders are gone, however long that takes (FRZ-1, FRZ-5). `sync` runs when no writer is left and
    /// before the innermost level closes, because it needs transactions itself. Errors: `EBUSY` if frozen already; those of `sync`.
    pub(super) fn freeze(&self, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        let [write, fault, internal] = &self.0;
        if write.word.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED != 0 {
            return Err(Errno::EBUSY);
        }
        if base::guard!("R63", true) {
            write.wait_for_holders();
        }
        fault.close();
        let synced = sync();
        if synced.is_err() {
            fault.open();
            write.open();
            return synced;
        }
        internal.close();
        Ok(())
    }
    /// Opens the levels inside out and wakes who waits (FRZ-4). Errors: `EINVAL` if not frozen.
    pub(super) fn thaw(&self) -> Result<()> {
        if self.0.iter().any(|g| g.word.load(Ordering::Acquire) & CLOSED == 0) {
            return Err(Errno::EINVAL);
        }
        self.0.iter().rev().for_each(Gate::open);
        Ok(())
    }
}

impl Gate {
    fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
        self.wait_for_holders();
    }
    fn wait_for_holders(&self) {
        self.wait.wait_until(|| self.word.load(Ordering::Acquire) == CLOSED);
    }
    fn open(&self) {
        self.word.fetch_and(!CLOSED, Ordering::AcqRel);
        self.wait.wake_all();
    }
    fn try_enter(&self) -> bool {
        let mut now = self.word.load(Ordering::Relaxed);
        while now & CLOSED == 0 {
            match self.word.compare_exchange_weak(now, now + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
        false
    }
}

/// Protection against freeze, one per request (FRZ-2). It may be dropped by another task than the one that took it.
#[must_use = "the protection ends when this is dropped"]
pub struct FreezeGuard {
    sb: Arc<SuperBlock>,
    level: FreezeLevel,
}

impl FreezeGuard {
    /// Enters `level`, sleeping while it is frozen. Task context; never on a completion queue (FRZ-3, LOCK-5). Debug builds panic if
    /// the task holds a lock that comes later in the order (A6); a level once entered is no such lock, because it may be left by
    /// another task.
    #[track_caller]
    pub fn enter(sb: &Arc<SuperBlock>, level: FreezeLevel) -> FreezeGuard {
        rank::check(level.rank());
        let gate = &sb.freeze.0[level as usize];
        if !gate.try_enter() {
            gate.wait.wait_until(|| gate.try_enter());
        }
        FreezeGuard::entered(sb, level)
    }
    /// Enters `level` if that needs no sleep.
    pub fn try_enter(sb: &Arc<SuperBlock>, level: FreezeLevel) -> Option<FreezeGuard> {
        sb.freeze.0[level as usize].try_enter().then(|| FreezeGuard::entered(sb, level))
    }
    fn entered(sb: &Arc<SuperBlock>, level: FreezeLevel) -> FreezeGuard {
        stats::raise(Gauge::FreezeHolders);
        FreezeGuard { sb: sb.clone(), level }
    }
}

impl Drop for FreezeGuard {
    fn drop(&mut self) {
        stats::lower(Gauge::FreezeHolders);
        let gate = &self.sb.freeze.0[self.level as usize];
        // The freezer set CLOSED before it looked at the count: the last holder sees it here, or the freezer sees zero there.
        if gate.word.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1 {
            gate.wait.wake_all();
        }
    }
}
