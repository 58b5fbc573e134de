//! Moving extents to other file blocks: collapse and insert (TRC-8). No block of the device changes; only the first logical blocks in
//! the leaves do, and the index entries above that repeat them.
//!
//! ```text
//! collapse   [aaa]......[bbb][cc]     leaf by leaf from the left:    [aaa][bbb]......[cc]    [aaa][bbb][cc]
//! insert     [aaa][bbb][cc]           leaf by leaf from the right:   [aaa][bbb]......[cc]    [aaa]......[bbb][cc]
//! ```
//!
//! In this order what has moved and what has not never overlap: the hole wanders through the file, and after each leaf the tree is a
//! valid one. So a caller that cannot move all in one transaction leaves a sound file in between, with the hole somewhere else.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::edit::{Edit, apply_with_room, set_first_key};
use super::node::END_OF_FILE_SPACE;
use super::path::{Path, descend, extent_at};
use super::store::{NodeAt, NodeStore, NodeStoreMut};
use alloc::vec::Vec;
use base::{Errno, Result};
use core::ops::Range;

/// Moves the extents from block `from` on by `by` blocks towards the start, those of one leaf and of as many more as the transaction
/// has room for. Gives the block from which the rest is still to be moved, `None` when all is done: the caller goes on in another
/// transaction. The blocks `[from - by, from)` are a hole. The caller holds the extent lock exclusively. Errors: `EUCLEAN`, `EIO`.
pub fn shift_down<S: NodeStoreMut>(store: &mut S, mut from: u32, by: u32) -> Result<Option<u32>> {
    loop {
        let leaf = Leaf::from(store, from, from..END_OF_FILE_SPACE)?;
        let first = leaf.first.map(|key| key.checked_sub(by).filter(|&key| key >= leaf.free_from));
        leaf.shift(store, first, |key| key.checked_sub(by))?;
        let next = leaf.path.leaf.end;
        if next == END_OF_FILE_SPACE {
            return Ok(None);
        }
        from = Some(next).filter(|&next| next > from).ok_or(Errno::EUCLEAN)?;
        if !store.may_go_on() {
            return Ok(Some(from));
        }
    }
}

/// Moves the extents of `range` by `by` blocks towards the end, the last leaf first, as many leaves as [`shift_down`]. Gives the range that
/// is still to be moved, `None` when all is done. `range` ends where extents have been moved already, at first at
/// [`END_OF_FILE_SPACE`]. No extent lies across its beginning ([`super::split()`]). Locks and errors as [`shift_down`]; `EFBIG` where the
/// last extent would leave the file's blocks: nothing has changed then.
pub fn shift_up<S: NodeStoreMut>(store: &mut S, mut range: Range<u32>, by: u32) -> Result<Option<Range<u32>>> {
    loop {
        let last = range.end.checked_sub(1).ok_or(Errno::EINVAL)?;
        let leaf = Leaf::from(store, last, range.clone())?;
        leaf.end.checked_add(by).ok_or(Errno::EFBIG)?;
        if leaf.free_from > range.start {
            return Err(Errno::EUCLEAN);
        }
        leaf.shift(store, leaf.first.map(|key| key.checked_add(by)), |key| key.checked_add(by))?;
        let begin = leaf.path.expect.range.start;
        let is_first = leaf.path.parents.iter().all(|step| step.slot == 0);
        if is_first || begin <= range.start {
            return Ok(None);
        }
        range.end = Some(begin).filter(|&begin| begin < range.end).ok_or(Errno::EUCLEAN)?;
        if !store.may_go_on() {
            return Ok(Some(range));
        }
    }
}

/// The part of a leaf that moves.
struct Leaf {
    path: Path,
    slots: Range<usize>,
    /// The first block of that part; `None` if it is empty.
    first: Option<u32>,
    /// The block after the extent before it, in this leaf.
    free_from: u32,
    /// The block after its last extent.
    end: u32,
}

impl Leaf {
    /// In the leaf on the way to `lblk`, the extents that begin in `range`.
    fn from<S: NodeStore>(store: &S, lblk: u32, range: Range<u32>) -> Result<Leaf> {
        descend(store, lblk, |path, leaf| {
            let begin_before = |block| leaf.entries().partition_point(|e| e.key() < block);
            let slots = begin_before(range.start)..begin_before(range.end);
            let at = |slot: Option<usize>| slot.and_then(|slot| extent_at(leaf, slot));
            let first = at(Some(slots.start)).filter(|_| !slots.is_empty()).map(|e| e.lblk);
            let free_from = at(slots.start.checked_sub(1)).map_or(0, |e| e.end());
            let end = at(slots.end.checked_sub(1)).map_or(0, |e| e.end());
            Ok(Leaf { path, slots, first, free_from, end })
        })
    }

    /// Gives each entry of the part its new first block. `first` is that of the first one, `Some(None)` if there is no room for it.
    fn shift<S: NodeStoreMut>(
        &self,
        store: &mut S,
        first: Option<Option<u32>>,
        to: impl Fn(u32) -> Option<u32>,
    ) -> Result<()> {
        let Some(first) = first else { return Ok(()) };
        let first = first.ok_or(Errno::EUCLEAN)?;
        store.map_changed();
        store.change(self.path.leaf.at, |n| n.shift_keys(self.slots.clone(), to))?;
        if self.slots.start == 0 { set_first_key(store, &self.path.parents, first) } else { Ok(()) }
    }
}

/// Puts the extents before and behind block `lblk` together, where the format allows it. Errors: `EIO`, `EUCLEAN`.
pub fn join<S: NodeStoreMut>(store: &mut S, lblk: u32) -> Result<()> {
    apply_with_room(store, lblk, |path, leaf| {
        let behind = path.leaf.slot.checked_sub(1).filter(|&slot| slot > 0);
        let pair = behind.and_then(|slot| Some((slot, extent_at(leaf, slot.checked_sub(1)?)?, extent_at(leaf, slot)?)));
        let edit = pair.filter(|(_, before, next)| before.merged(next).is_some());
        Ok((edit.map(|(slot, ..)| Edit::merging(path, leaf, slot..slot, &[])), ()))
    })
}

/// The block after the last extent, 0 if there is none. The extent lock is held, shared at least. Errors: `EIO`, `EUCLEAN`.
pub fn end_of<S: NodeStore>(store: &S) -> Result<u32> {
    let last = END_OF_FILE_SPACE.saturating_sub(1);
    descend(store, last, |path, leaf| {
        Ok(path.leaf.slot.checked_sub(1).and_then(|slot| extent_at(leaf, slot)).map_or(0, |e| e.end()))
    })
}

/// The blocks of all nodes that a shift of what begins at `from` or behind may change, all of which are read on the way; `None` if there are
/// more than `most`. A shift of nodes that are kept in memory does not fail. The extent lock is held, shared at
/// least. Errors: `EIO`, `EUCLEAN`, `ENOMEM`.
pub fn nodes_from<S: NodeStore>(store: &S, from: u32, most: usize) -> Result<Option<Vec<u64>>> {
    let (mut nodes, mut lblk) = (Vec::new(), from);
    let mut before: Option<Path> = None;
    loop {
        let path = descend(store, lblk, |path, _| Ok(path))?;
        for (level, step) in path.steps().enumerate() {
            // Leaves come in order, so a node above them is left once and for all.
            let known = before.as_ref().and_then(|path| path.steps().nth(level)).is_some_and(|old| old.at == step.at);
            if let (NodeAt::Block(block), false) = (step.at, known) {
                nodes.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                nodes.push(block);
            }
        }
        if nodes.len() > most {
            return Ok(None);
        }
        let next = path.leaf.end;
        if next == END_OF_FILE_SPACE {
            return Ok(Some(nodes));
        }
        lblk = Some(next).filter(|&next| next > lblk).ok_or(Errno::EUCLEAN)?;
        before = Some(path);
    }
}
