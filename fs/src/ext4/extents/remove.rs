//! Removal of a range: truncate and punch hole.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::edit::{Edit, apply_with_room};
use super::node::{Extent, Node};
use super::path::{Path, extent_at};
use super::store::NodeStoreMut;
use arrayvec::ArrayVec;
use base::{Errno, Result};
use core::ops::Range;

/// Extents that one step takes from a leaf: a bound on what one step frees.
const BATCH: usize = 16;

/// Takes the mappings of `range` away and frees the blocks, from the end towards the start, in at most `steps` steps of at
/// most 16 extents each; empty nodes are freed as well. Gives what is left of the range, `None` when all is done: the caller
/// goes on in another transaction. The caller holds the extent lock exclusively, and no I/O to the blocks is in flight
/// (TRC-5). Errors: `EIO`, `EUCLEAN`, and `ENOSPC` where a hole in the middle of an extent needs a new node.
pub fn remove<S: NodeStoreMut>(store: &mut S, mut range: Range<u32>, steps: u32) -> Result<Option<Range<u32>>> {
    for _ in 0..steps {
        if range.is_empty() {
            return Ok(None);
        }
        range.end = step(store, &range)?;
    }
    Ok((!range.is_empty()).then_some(range))
}

/// Takes the last extents of `range` away; gives the block before which the rest lies.
fn step<S: NodeStoreMut>(store: &mut S, range: &Range<u32>) -> Result<u32> {
    let last = range.end.checked_sub(1).ok_or(Errno::EINVAL)?;
    let taken = apply_with_room(store, last, |path, leaf| Ok(plan(path, leaf, range)))?;
    for extent in &taken.extents {
        store.free_data(extent.pblk, extent.len)?;
    }
    Ok(taken.rest_end)
}

struct Taken {
    extents: ArrayVec<Extent, BATCH>,
    rest_end: u32,
}

fn plan(path: Path, leaf: &Node<'_>, range: &Range<u32>) -> (Option<Edit>, Taken) {
    let until = path.leaf.slot;
    let overlapping = leaf.entries().partition_point(|e| e.extent().end() <= range.start);
    let from = overlapping.max(until.saturating_sub(BATCH));
    let extents: ArrayVec<Extent, BATCH> = (from..until).filter_map(|i| extent_at(leaf, i)?.clip(range)).collect();
    // Where this leaf has no more of the range, the rest lies in the leaves before it.
    let leaf_begin = path.begin.max(range.start);
    let Some(first) = extents.first() else { return (None, Taken { extents, rest_end: leaf_begin }) };
    let rest_end = if from == overlapping { leaf_begin } else { first.lblk };
    let before = extent_at(leaf, from).and_then(|e| e.clip(&(0..range.start)));
    let after = until.checked_sub(1).and_then(|i| extent_at(leaf, i)).and_then(|e| e.clip(&(range.end..u32::MAX)));
    let kept = before.into_iter().chain(after).collect();
    (Some(Edit::new(path, leaf, from..until, kept)), Taken { extents, rest_end })
}
