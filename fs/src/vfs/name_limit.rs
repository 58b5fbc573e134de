//! The limit of the name cache of a super block, and the clock that keeps it.
use super::dcache::DirState;
use super::{Inode, iput};
use alloc::collections::VecDeque;
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, SpinLock, Weak};

/// Names that one super block keeps before it starts to forget some. Each may hold an inode in memory.
const LIMIT: usize = 8192;
/// Entries taken from one directory before the clock moves on to the next.
const BATCH: usize = 64;

/// The directories with cached names, in the order the clock visits them.
pub(super) struct NameLimit {
    directories: SpinLock<VecDeque<Weak<Inode>>>,
    /// Entries, counted on the high side: one that is replaced or removed is found out by the next pass.
    entered: AtomicUsize,
    /// When the next pass is due. It moves up when much is in use, so that a pass is paid by a quarter as many new entries.
    due_at: AtomicUsize,
}

impl NameLimit {
    pub(super) fn new() -> Self {
        NameLimit {
            directories: SpinLock::new(VecDeque::new()),
            entered: AtomicUsize::new(0),
            due_at: AtomicUsize::new(LIMIT),
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
        self.entered.load(Ordering::Relaxed) > self.due_at.load(Ordering::Relaxed)
    }

    /// Forgets names that were not used lately until half of the limit is left or one round is done. Task context; no inode lock
    /// held: letting go of an inode may evict it.
    pub(super) fn shrink(&self) {
        let rounds = self.directories.lock().len();
        let mut left = 0;
        for _ in 0..rounds {
            let Some(dir) = self.directories.lock().pop_front() else { break };
            let Some(dir) = dir.upgrade() else { continue };
            let Some(state) = &dir.dir else { continue };
            left += self.shrink_directory(&dir, state);
        }
        self.entered.store(left, Ordering::Relaxed);
        self.due_at.store(LIMIT.max(left + left / 4), Ordering::Relaxed);
    }

    /// Returns how many entries are left in the directory.
    fn shrink_directory(&self, dir: &Arc<Inode>, state: &DirState) -> usize {
        loop {
            let excess = self.entered.load(Ordering::Relaxed).saturating_sub(LIMIT / 2);
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
