//! The way back from mapped to unwritten, for a range that is to read as zeros and to keep its blocks (TRC-7).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::edit::{Edit, apply_with_room};
use super::node::{Extent, MAX_UNWRITTEN, Node};
use super::path::{Path, extent_at};
use super::store::NodeStoreMut;
use arrayvec::ArrayVec;
use base::Result;
use core::ops::Range;

/// Makes the mapped blocks of `range` unwritten, as many extents as the transaction has room for; holes and unwritten blocks stay. Gives
/// what is left of the range, `None` when all is done: the caller goes on in another transaction. The caller holds the extent lock exclusively, and
/// no I/O to the blocks is in flight: its end would convert them back (R06).
///
/// Where both ends of the range are ends of extents (see [`super::split()`]) and none is longer than an unwritten one may be, it needs no
/// room in the tree. Errors: `ENOSPC` otherwise, `EIO`, `EUCLEAN`; what stands before the block where it failed is unwritten then.
pub fn unwrite<S: NodeStoreMut>(store: &mut S, mut range: Range<u32>) -> Result<Option<Range<u32>>> {
    while !range.is_empty() {
        let at = range.start;
        range.start = apply_with_room(store, at, |path, leaf| Ok(plan(path, leaf, &range)))?;
        if !store.may_go_on() {
            break;
        }
    }
    Ok((!range.is_empty()).then_some(range))
}

/// What to do at the first block of `range`, and the block after that.
fn plan(path: Path, leaf: &Node<'_>, range: &Range<u32>) -> (Option<Edit>, u32) {
    let found = path.leaf.slot.checked_sub(1).and_then(|slot| Some((slot, extent_at(leaf, slot)?)));
    let Some((slot, whole)) = found.filter(|(_, e)| range.start < e.end()) else {
        let next = extent_at(leaf, path.leaf.slot).map_or(path.leaf.end, |e| e.lblk);
        return (None, next.max(range.start.saturating_add(1)));
    };
    if whole.unwritten {
        return (None, whole.end());
    }
    let end = range.end.min(whole.end()).min(range.start.saturating_add(MAX_UNWRITTEN));
    let middle = whole.clip(&(range.start..end)).map(|e| Extent { unwritten: true, ..e });
    let parts: ArrayVec<Extent, 3> =
        [whole.clip(&(0..range.start)), middle, whole.clip(&(end..u32::MAX))].into_iter().flatten().collect();
    (Some(Edit::merging(path, leaf, slot..slot.saturating_add(1), &parts)), end)
}
