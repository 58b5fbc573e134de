//! Growth: making room in a leaf, by splitting full nodes from the top down.
//!
//! Each step leaves a valid tree, so an error between two of them costs nothing but unused room:
//!
//! ```text
//! root full           root [a b c d]             root [a]
//!                                        ->            new block [a b c d]          the tree is one level deeper
//! a full child        parent [.. a ..]           parent [.. a k ..]
//! of a parent         a [1 2 3 4 5 6]    ->      a [1 2 3]  k [4 5 6]
//! with room
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::node::{Expect, MAX_DEPTH, Node, NodeMut, RawEntry};
use super::path::{Path, Step, descend};
use super::store::{NodeAt, NodeStore, NodeStoreMut};
use alloc::vec::Vec;
use base::{Errno, Result};

/// How many blocks one call of `make_room` may allocate in a tree whose root has `depth`: one for each level under the
/// root, and one for a new level.
pub fn worst_case_blocks(depth: u16) -> u32 {
    u32::from(depth.min(MAX_DEPTH)).saturating_add(1)
}

/// Sees to it that the leaf for `lblk` has room for `entries` more (at most 2). Errors: `ENOSPC` and what the store says; the
/// tree is valid and maps the same then.
pub fn make_room<S: NodeStoreMut>(store: &mut S, lblk: u32, entries: usize) -> Result<()> {
    // Each round adds a level or splits a node one level further down: twice the depth is more than enough.
    for _ in 0..=2 * (MAX_DEPTH + 1) {
        let path = descend(store, lblk, |path, _| Ok(path))?;
        if path.leaf.room() >= entries {
            return Ok(());
        }
        match path.parents.iter().rposition(|step| step.room() > 0) {
            None => deepen(store)?,
            Some(level) => split_below(store, &path, level)?,
        }
    }
    Err(Errno::EUCLEAN)
}

/// Moves the root's entries into a new block, the only child of the root from now on.
fn deepen<S: NodeStoreMut>(store: &mut S) -> Result<()> {
    let (depth, entries) = store.read(NodeAt::Root, &Expect::ROOT, |n| Ok((n.depth(), n.entries().to_vec())))?;
    let new_depth = depth.checked_add(1).filter(|&d| d <= MAX_DEPTH).ok_or(Errno::ENOSPC)?;
    let key = entries.first().ok_or(Errno::EUCLEAN)?.key();
    let block = store.create(|bytes| NodeMut::init(bytes, depth, &entries))?;
    store.reset_root(|bytes| NodeMut::init(bytes, new_depth, &[RawEntry::from_index(key, block)]))
}

/// Splits the full child of `path.parents[level]`, which has room for the new child's entry.
fn split_below<S: NodeStoreMut>(store: &mut S, path: &Path, level: usize) -> Result<()> {
    let parent = path.parents.get(level).ok_or(Errno::EUCLEAN)?;
    let below = level.saturating_add(1);
    let child = path.parents.get(below).unwrap_or(&path.leaf);
    let is_leaf = below >= path.parents.len();
    let depth = path.parents.len().saturating_sub(below) as u16;
    let at = split_point(child, is_leaf);
    let moved = read_tail(store, child, depth, at)?;
    let key = moved.first().ok_or(Errno::EUCLEAN)?.key();
    let block = store.create(|bytes| NodeMut::init(bytes, depth, &moved))?;
    let slot = parent.slot.saturating_add(1);
    store.change(parent.at, |n| n.replace(slot..slot, &[RawEntry::from_index(key, block)]))?;
    store.change(child.at, |n| n.replace(at..child.count, &[]))
}

/// Which entry becomes the first of the new node: the middle one; but the last one where the tree grows at its end, so
/// that appending leaves full nodes behind.
fn split_point(child: &Step, is_leaf: bool) -> usize {
    let past = if is_leaf { child.slot } else { child.slot.saturating_add(1) };
    if past >= child.count { child.count.saturating_sub(1).max(1) } else { child.count.div_ceil(2) }
}

/// The entries from `at` on of a node on the way.
fn read_tail<S: NodeStore>(store: &S, step: &Step, depth: u16, at: usize) -> Result<Vec<RawEntry>> {
    let expect = Expect { depth: Some(depth), ..Expect::ROOT };
    store.read(step.at, &expect, |n: &Node<'_>| Ok(n.entries().get(at..).ok_or(Errno::EUCLEAN)?.to_vec()))
}
