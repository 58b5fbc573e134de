//! The one way in which a leaf changes: a window of entries is replaced, then the levels above follow.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::node::{Extent, Node, RawEntry};
use super::path::{Path, Step, extent_at};
use super::shrink;
use super::store::NodeStoreMut;
use arrayvec::ArrayVec;
use base::{Errno, Result};
use core::ops::Range;

/// The most entries a window is replaced by: three parts of one extent between two neighbours.
pub const WINDOW: usize = 5;

/// A planned change of one leaf.
pub struct Edit {
    /// The way to the leaf.
    pub path: Path,
    /// The entries to be replaced.
    pub slots: Range<usize>,
    /// What takes their place.
    pub new: ArrayVec<Extent, WINDOW>,
    /// The first block of the leaf when the change is done; `None` if it will be empty.
    first: Option<u32>,
}

impl Edit {
    /// A plan to replace `slots` of `leaf` by `new`.
    pub fn new(path: Path, leaf: &Node<'_>, slots: Range<usize>, new: ArrayVec<Extent, WINDOW>) -> Edit {
        let kept = if slots.start > 0 { extent_at(leaf, 0) } else { None };
        let first = kept.or(new.first().copied()).or(extent_at(leaf, slots.end)).map(|e| e.lblk);
        Edit { path, slots, new, first }
    }

    /// A plan to put `parts` in the place of `slots`, merged with one another and with the entries at either side where the
    /// format allows it, so that converting or adding in sequence does not grow the tree.
    pub fn merging(path: Path, leaf: &Node<'_>, slots: Range<usize>, parts: &[Extent]) -> Edit {
        let before = slots.start.checked_sub(1);
        let after = Some(slots.end).filter(|&i| i < leaf.entries().len());
        let window = before.unwrap_or(slots.start)..after.map_or(slots.end, |i| i.saturating_add(1));
        let neighbour = |slot: Option<usize>| slot.and_then(|i| extent_at(leaf, i));
        let all = neighbour(before).into_iter().chain(parts.iter().copied()).chain(neighbour(after));
        let mut new: ArrayVec<Extent, WINDOW> = ArrayVec::new();
        for extent in all {
            match new.last_mut() {
                Some(last) if last.merged(&extent).is_some() => last.len = last.len.saturating_add(extent.len),
                _ => new.push(extent),
            }
        }
        Edit::new(path, leaf, window, new)
    }

    /// Whether the leaf has room for it.
    pub fn fits(&self) -> bool {
        self.new.len().saturating_sub(self.slots.len()) <= self.path.leaf.room()
    }

    /// Does it. The plan is of this state of the tree, and it fits.
    pub fn apply<S: NodeStoreMut>(self, store: &mut S) -> Result<()> {
        let raw: ArrayVec<RawEntry, WINDOW> = self.new.iter().map(RawEntry::from_extent).collect();
        store.map_changed();
        store.change(self.path.leaf.at, |n| n.replace(self.slots.clone(), &raw))?;
        match self.first {
            None => shrink::drop_empty_leaf(store, &self.path),
            Some(first) => {
                if self.slots.start == 0 {
                    set_first_key(store, &self.path.parents, first)?;
                }
                self.pull_up_if_small(store)
            }
        }
    }

    fn pull_up_if_small<S: NodeStoreMut>(&self, store: &mut S) -> Result<()> {
        let left = self.path.leaf.count.saturating_add(self.new.len()).saturating_sub(self.slots.len());
        let only_child = self.path.parents.iter().all(|step| step.count == 1);
        let shrunk = left < self.path.leaf.count;
        let root_max = self.path.parents.first().map_or(0, |root| root.max);
        if shrunk && only_child && left <= root_max { shrink::pull_up(store) } else { Ok(()) }
    }
}

/// Hands the first block of a node up to the index entries that lead to it: they are always equal to it.
pub fn set_first_key<S: NodeStoreMut>(store: &mut S, parents: &[Step], key: u32) -> Result<()> {
    for step in parents.iter().rev() {
        let old = store.change(step.at, |n| n.set_key(step.slot, key))?;
        if step.slot > 0 || old == key {
            return Ok(());
        }
    }
    Ok(())
}

/// What a change needs that may have to make room first: plans with `plan`, and again after the leaf was split.
pub fn apply_with_room<S: NodeStoreMut, R>(
    store: &mut S,
    lblk: u32,
    mut plan: impl FnMut(Path, &Node<'_>) -> Result<(Option<Edit>, R)>,
) -> Result<R> {
    for _ in 0..2 {
        let (edit, result) = super::path::descend(store, lblk, &mut plan)?;
        match edit {
            None => return Ok(result),
            Some(edit) if edit.fits() => return edit.apply(store).map(|()| result),
            Some(_) => super::grow::make_room(store, lblk, 2)?,
        }
    }
    Err(Errno::EUCLEAN)
}
