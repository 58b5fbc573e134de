//! The inodes of one super block that are in memory: at most one [`Inode`] for each number.
//!
//! The cache holds no reference of its own ([`Weak`]); what keeps an inode are dentries, open files and, while it has something
//! to write, the dirty list. A slot goes through these states, all under one spin lock:
//!
//! ```text
//!   (none) ──get_or_load──▶ Loading ──ok──▶ Live ──last reference of an unlinked inode──▶ Evicting ──▶ (none)
//!                              └──error──▶ (none)   └──last reference of a linked inode──▶ (none)
//! ```
//! Whoever meets `Loading` or `Evicting` sleeps until the slot changes: two in-memory inodes of one number would have two
//! page caches and two inode locks. The one exception is [`InodeCache::insert_new`]: the allocator can hand out a number again
//! as soon as the evicting inode has freed it, a moment before the eviction has returned, and the new inode then takes the slot over.
use super::Inode;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::Result;
use base::sync::{Arc, SpinLock, WaitQueue, Weak};

enum Slot {
    Loading,
    Live(Weak<Inode>),
    /// The inode's address, so that the end of an eviction removes only its own slot. Compared, never followed.
    Evicting(usize),
}

#[derive(Default)]
struct Table {
    slots: BTreeMap<u64, Slot>,
    /// Inodes with something to write; each keeps its inode in memory.
    dirty: BTreeMap<u64, Arc<Inode>>,
}

/// The in-memory inodes of one super block.
pub struct InodeCache {
    table: SpinLock<Table>,
    changed: WaitQueue,
}

fn address(inode: &Inode) -> usize {
    core::ptr::from_ref(inode).addr()
}

impl InodeCache {
    /// An empty cache.
    pub fn new() -> Self {
        InodeCache { table: SpinLock::new(Table::default()), changed: WaitQueue::new() }
    }

    /// The inode with number `ino`, made by `load` if it is not in memory. Of several callers at once one loads and the others
    /// sleep. Task context; `load` may sleep. Errors: those of `load`; a later call tries again.
    pub fn get_or_load(&self, ino: u64, load: impl FnOnce() -> Result<Arc<Inode>>) -> Result<Arc<Inode>> {
        let mut found = None;
        self.changed.wait_until(|| self.find_or_claim(ino, &mut found));
        if let Some(inode) = found {
            return Ok(inode);
        }
        let loaded = load();
        let mut table = self.table.lock();
        match &loaded {
            Ok(inode) => table.slots.insert(ino, Slot::Live(Arc::downgrade(inode))),
            Err(_) => table.slots.remove(&ino),
        };
        drop(table);
        self.changed.wake_all();
        loaded
    }

    /// True when the caller may go on: with the inode in `found`, or with the slot claimed as `Loading`.
    fn find_or_claim(&self, ino: u64, found: &mut Option<Arc<Inode>>) -> bool {
        let mut table = self.table.lock();
        match table.slots.get(&ino) {
            Some(Slot::Loading | Slot::Evicting(_)) => return false,
            Some(Slot::Live(inode)) => *found = inode.upgrade(),
            None => {}
        }
        if found.is_none() {
            // Also when the last reference fell a moment ago: that inode's drop sees that the slot is no longer its own.
            table.slots.insert(ino, Slot::Loading);
        }
        true
    }

    /// The inode with number `ino` if it is in memory and live. No sleep.
    pub fn get(&self, ino: u64) -> Option<Arc<Inode>> {
        match self.table.lock().slots.get(&ino) {
            Some(Slot::Live(inode)) => inode.upgrade(),
            _ => None,
        }
    }

    /// Enters an inode whose number was just allocated. No sleep.
    pub fn insert_new(&self, inode: &Arc<Inode>) {
        self.table.lock().slots.insert(inode.ino, Slot::Live(Arc::downgrade(inode)));
        self.changed.wake_all();
    }

    /// Every live inode. For sync, unmount and statistics; allocates.
    pub fn all(&self) -> Vec<Arc<Inode>> {
        let table = self.table.lock();
        table.slots.values().filter_map(|s| if let Slot::Live(inode) = s { inode.upgrade() } else { None }).collect()
    }

    /// Keeps `inode` in memory until [`Self::clear_dirty`]: it has data or metadata to write. Returns whether it is news.
    pub fn mark_dirty(&self, inode: &Arc<Inode>) -> bool {
        self.table.lock().dirty.insert(inode.ino, inode.clone()).is_none()
    }

    /// Ends [`Self::mark_dirty`] and gives the reference back, to be let go where that may sleep.
    pub fn clear_dirty(&self, inode: &Inode) -> Option<Arc<Inode>> {
        self.table.lock().dirty.remove(&inode.ino)
    }

    /// The inodes on the dirty list now, in the order of their numbers. Allocates.
    pub fn dirty(&self) -> Vec<Arc<Inode>> {
        self.table.lock().dirty.values().cloned().collect()
    }

    /// If `inode` is the last reference of its inode, the dirty list aside, turns the slot to `Evicting` and gives it back.
    ///
    /// Under the lock nobody can take a new reference from the cache, so a count of one stays one. Whoever else holds a
    /// reference comes here too, or drops it and is caught by the drop of the inode itself (see `release`).
    pub(super) fn claim_last(&self, inode: Arc<Inode>) -> Option<Arc<Inode>> {
        let mut table = self.table.lock();
        let dirty = table.dirty.remove(&inode.ino);
        let held = 1 + usize::from(dirty.is_some());
        if Arc::strong_count(&inode) == held {
            table.slots.insert(inode.ino, Slot::Evicting(address(&inode)));
            return Some(inode);
        }
        if let Some(pin) = dirty {
            table.dirty.insert(pin.ino, pin);
        }
        drop(table);
        None
    }

    /// As [`Self::claim_last`] for an inode that was dropped and lives on under the address of `ghost`.
    pub(super) fn claim_ghost(&self, ghost: &Arc<Inode>) {
        self.table.lock().slots.insert(ghost.ino, Slot::Evicting(address(ghost)));
    }

    /// The eviction of `inode` has returned.
    pub(super) fn evicted(&self, inode: &Inode) {
        self.remove_if(inode.ino, |slot| matches!(slot, Slot::Evicting(a) if *a == address(inode)));
    }

    /// The memory of `inode` goes away.
    pub(super) fn forget(&self, inode: &Inode) {
        self.remove_if(inode.ino, |slot| matches!(slot, Slot::Live(w) if core::ptr::eq(w.as_ptr(), inode)));
    }

    fn remove_if(&self, ino: u64, own: impl Fn(&Slot) -> bool) {
        let mut table = self.table.lock();
        if table.slots.get(&ino).is_some_and(own) {
            let slot = table.slots.remove(&ino);
            drop(table);
            // The slot's weak reference may be the one that frees the inode's memory: outside the lock.
            drop(slot);
            self.changed.wake_all();
        }
    }
}

impl Default for InodeCache {
    fn default() -> Self {
        Self::new()
    }
}
