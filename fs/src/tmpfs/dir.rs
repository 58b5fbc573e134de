//! The entries of a directory: by name for lookup, by a number that never comes again for reading on after a change.
use super::Node;
use crate::vfs::{DirEntry, FileType, Inode};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock};

/// Position of the first entry after `.` and `..`.
const FIRST: u64 = 2;

/// The entries; changes hold the directory's inode lock exclusively, the spin lock keeps readers of the maps apart.
pub(super) struct Entries(SpinLock<Maps>);

struct Maps {
    positions: BTreeMap<Vec<u8>, u64>,
    entries: BTreeMap<u64, (Vec<u8>, Arc<Inode>)>,
    next: u64,
}

impl Entries {
    pub(super) fn new() -> Self {
        Entries(SpinLock::new(Maps { positions: BTreeMap::new(), entries: BTreeMap::new(), next: FIRST }))
    }
    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<Inode>> {
        let maps = self.0.lock();
        let position = maps.positions.get(name)?;
        maps.entries.get(position).map(|(_, inode)| inode.clone())
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().entries.is_empty()
    }
    pub(super) fn insert(&self, name: &[u8], inode: Arc<Inode>) {
        let mut maps = self.0.lock();
        let position = maps.next;
        maps.next += 1;
        maps.positions.insert(name.to_vec(), position);
        maps.entries.insert(position, (name.to_vec(), inode));
    }
    pub(super) fn remove(&self, name: &[u8]) {
        let mut maps = self.0.lock();
        let removed = maps.positions.remove(name).and_then(|position| maps.entries.remove(&position));
        drop(maps);
        drop(removed);
    }
    /// `.`, `..` and the entries from `pos` on.
    pub(super) fn list(&self, dir: &Arc<Inode>, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) {
        let parent = dir.parent().map_or(dir.ino, |p| p.ino);
        for (at, ino, name) in [(0, dir.ino, &b"."[..]), (1, parent, b"..")] {
            if pos <= at && !emit(DirEntry { ino, kind: FileType::Directory, name, next_pos: at + 1 }) {
                return;
            }
        }
        for (&at, (name, inode)) in self.0.lock().entries.range(pos.max(FIRST)..) {
            if !emit(DirEntry { ino: inode.ino, kind: inode.kind, name, next_pos: at + 1 }) {
                return;
            }
        }
    }
    fn take_all(&self) -> impl Iterator<Item = Arc<Inode>> + use<> {
        core::mem::take(&mut self.0.lock().entries).into_values().map(|(_, inode)| inode)
    }
}

impl Drop for Entries {
    /// Lets a tree go level by level: it can be deeper than a kernel stack.
    fn drop(&mut self) {
        let mut doomed: Vec<Arc<Inode>> = self.take_all().collect();
        while let Some(inode) = doomed.pop() {
            if Arc::strong_count(&inode) != 1 {
                continue;
            }
            if let Ok(entries) = Node::of(&inode).and_then(Node::entries) {
                doomed.extend(entries.take_all());
            }
        }
    }
}
