//! The limit of the name cache of a super block, and the clock that keeps it.
use super::dcache::DirState;
use super::{Inode, iput};
use alloc::collections::VecDeque;
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, SpinLock, Weak};

/// Names that one super block keeps before it starts to forget some. Each may hold an inode in memory.
const DEFAULT_LIMIT: usize = 8192;
/// Entries taken from one directory before the clock moves on to the next.
const BATCH: usize = 64;

/// The directories with cached names, in the order the clock visits them.
pub(super) struct NameLimit {
    directories: SpinLock<VecDeque<Weak<Inode>>>,
    limit: AtomicUsize,
    /// Entries that were put in since the last pass; an upper bound of the growth, cheap to keep.
    entered: AtomicUsize,
}

impl NameLimit {
    pub(super) fn new() -> Self {
        NameLimit {
            directories: SpinLock::new(VecDeque::new()),
            limit: AtomicUsize::new(DEFAULT_LIMIT),
            entered: AtomicUsize::new(0),
        }
    }

    /// An entry is about to be put into the table of `dir`, whose inode lock is held.
    pub(super) fn entering(&self, dir: &Arc<Inode>, state: &DirState) {
        if state.len() == 0 {
            self.directories.lock().push_back(Arc::downgrade(dir));
        }
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether [`Self::shrink`] has something to do. Cheap.
    pub(super) fn is_due(&self) -> bool {
        self.entered.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed)
    }

    /// Forgets names that were not used lately until half of the limit is left or one round is done. Task context; no inode lock
    /// held: letting go of an inode may evict it.
    pub(super) fn shrink(&self) {
        let goal = self.limit.load(Ordering::Relaxed) / 2;
        let rounds = self.directories.lock().len();
        let mut left = 0;
        for _ in 0..rounds {
            let Some(dir) = self.directories.lock().pop_front() else { break };
            let Some(dir) = dir.upgrade() else { continue };
            let Some(state) = &dir.dir else { continue };
            left += self.shrink_directory(&dir, state, goal);
        }
        self.entered.store(left, Ordering::Relaxed);
    }

    /// Returns how many entries are left in the directory.
    fn shrink_directory(&self, dir: &Arc<Inode>, state: &DirState, goal: usize) -> usize {
        loop {
            let excess = self.entered.load(Ordering::Relaxed).saturating_sub(goal);
            let taken = state.shrink(excess.min(BATCH));
            let count = taken.len();
            taken.into_iter().flatten().for_each(iput);
            self.entered.fetch_sub(count, Ordering::Relaxed);
            if count < BATCH {
                break;
            }
        }
        let left = state.len();
        if left > 0 {
            self.directories.lock().push_back(Arc::downgrade(dir));
        }
        left
    }
}
