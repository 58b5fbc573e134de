//! The name cache: what is known of a directory's entries, kept with the directory itself.
//!
//! A dentry maps a name to an inode, or to "there is none" (a negative entry). Each directory inode has its own table; a walk
//! looks a component up with one hash, one spin lock and no allocation. Entries are put in under the directory's inode lock (shared
//! for the result of a lookup, exclusive for a change), so that a lookup that raced with an `unlink` cannot bring the old answer back.
//!
//! A table is a cache and nothing more: two names with one 64-bit hash take the place from each other, and any entry may go at any
//! time. What an inode *is* stands in [`super::InodeCache`].
//!
//! Upwards a directory knows its parent weakly: the parent's entry holds the child, and two strong references would keep each
//! other alive for ever. A parent stays in memory while a child of it is in use, because entries of used directories are not shrunk.
use super::Inode;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, SpinLock, Weak};
use smallvec::SmallVec;

/// A component's name; short ones need no memory of their own.
pub(super) type Name = SmallVec<[u8; 24]>;

struct Dentry {
    name: Name,
    /// `None`: the name does not exist.
    inode: Option<Arc<Inode>>,
    /// Used since the shrinker last came by.
    used: bool,
}

/// What the VFS keeps with a directory.
pub(super) struct DirState {
    entries: SpinLock<BTreeMap<u64, Dentry>>,
    up: SpinLock<Option<(Weak<Inode>, Name)>>,
    /// Whether a file system is mounted here; the mount table says which.
    pub(super) mounted: AtomicBool,
    /// Removed: nothing can be created here any more. Changed under the inode lock.
    pub(super) dead: AtomicBool,
}

/// What the cache says of a name.
pub(super) enum Cached {
    /// Nothing: ask the file system.
    Unknown,
    /// There is no such entry.
    Negative,
    /// This is it.
    Positive(Arc<Inode>),
}

/// The hash of a name: eight bytes at a time, multiply and fold.
fn hash(name: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut h = name.len() as u64 ^ K;
    let mut words = name.chunks_exact(8);
    for word in &mut words {
        let w = u64::from_le_bytes(word.try_into().unwrap_or_default());
        h = (h ^ w).wrapping_mul(K);
        h ^= h >> 29;
    }
    let mut tail = 0;
    for &byte in words.remainder() {
        tail = tail << 8 | u64::from(byte);
    }
    h = (h ^ tail).wrapping_mul(K);
    h ^ h >> 32
}

impl DirState {
    pub(super) fn new() -> Self {
        DirState {
            entries: SpinLock::new(BTreeMap::new()),
            up: SpinLock::new(None),
            mounted: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        }
    }

    /// What is known of `name`. No allocation.
    pub(super) fn find(&self, name: &[u8]) -> Cached {
        let mut entries = self.entries.lock();
        match entries.get_mut(&hash(name)) {
            Some(dentry) if dentry.name[..] == *name => {
                dentry.used = true;
                dentry.inode.clone().map_or(Cached::Negative, Cached::Positive)
            }
            _ => Cached::Unknown,
        }
    }

    /// Enters what `name` is. The directory's inode lock is held. Gives back the inode that stood in the place, to be let go
    /// with no spin lock held.
    pub(super) fn put(&self, name: &[u8], inode: Option<Arc<Inode>>) -> Option<Arc<Inode>> {
        let dentry = Dentry { name: Name::from_slice(name), inode, used: false };
        self.entries.lock().insert(hash(name), dentry).and_then(|old| old.inode)
    }

    /// Forgets every entry, for a directory that was removed or is unmounted.
    pub(super) fn take_all(&self) -> Vec<Arc<Inode>> {
        let entries = core::mem::take(&mut *self.entries.lock());
        entries.into_values().filter_map(|dentry| dentry.inode).collect()
    }

    /// Takes out entries that were not used since the last call and that nothing but the cache holds, at most `max`.
    pub(super) fn shrink(&self, max: usize) -> Vec<Option<Arc<Inode>>> {
        let mut taken = Vec::new();
        self.entries.lock().retain(|_, dentry| {
            let idle = !core::mem::take(&mut dentry.used) && dentry.inode.as_ref().is_none_or(is_idle);
            if idle && taken.len() < max {
                taken.push(dentry.inode.take());
                return false;
            }
            true
        });
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// The parent and the name in it; `None` for a root and for a directory that was removed.
    pub(super) fn up(&self) -> Option<(Arc<Inode>, Name)> {
        self.up.lock().as_ref().and_then(|(parent, name)| Some((parent.upgrade()?, name.clone())))
    }

    /// The parent alone: no copy of the name.
    pub(super) fn parent(&self) -> Option<Arc<Inode>> {
        self.up.lock().as_ref().and_then(|(parent, _)| parent.upgrade())
    }

    pub(super) fn set_up(&self, parent: &Arc<Inode>, name: &[u8]) {
        *self.up.lock() = Some((Arc::downgrade(parent), Name::from_slice(name)));
    }

    pub(super) fn is_mounted_on(&self) -> bool {
        self.mounted.load(Ordering::Acquire)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
}

/// Whether only the cache holds the inode, and the cache of the inode itself holds nothing.
fn is_idle(inode: &Arc<Inode>) -> bool {
    Arc::strong_count(inode) == 1 && inode.dir.as_ref().is_none_or(|dir| dir.len() == 0 && !dir.is_mounted_on())
}
