//! Conversion of unwritten blocks to mapped ones when their data is on the device (F1, EXT-2 to EXT-5).
//!
//! ```text
//! unwritten  [.................]          part of it      [uuu][mmmmm][uuuuu]      up to two entries more
//! mapped, unwritten [mmm][.....]          the front       [mmmmmm][uuu]            none: appending does not grow the tree
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::edit::{Edit, apply_with_room};
use super::node::Extent;
use super::path::extent_at;
use super::store::NodeStoreMut;
use arrayvec::ArrayVec;
use base::{Errno, Result};
use core::ops::Range;

/// Converts the unwritten blocks of `range` and nothing outside it (EXT-3), in at most `steps` extents and as many as the
/// transaction has room for; what is mapped stays (EXT-4).
/// Gives what is left of the range, `None` when all is done: the caller goes on in another transaction. The caller holds
/// the extent lock exclusively and has [`super::worst_case_blocks`] twice in reserve: only the extents at the two ends of
/// the range can be split, so that it cannot fail for lack of space (EXT-2).
///
/// Errors: `EUCLEAN` if a block of the range is a hole, `EIO`; what stands before that block is converted then.
pub fn convert<S: NodeStoreMut>(store: &mut S, mut range: Range<u32>, steps: u32) -> Result<Option<Range<u32>>> {
    for step in 0..steps {
        if range.is_empty() || step > 0 && !store.may_go_on() {
            break;
        }
        range.start = convert_one(store, range.clone())?;
    }
    Ok((!range.is_empty()).then_some(range))
}

/// Converts the part of `range` that lies in the extent under its first block; gives the block after that extent.
fn convert_one<S: NodeStoreMut>(store: &mut S, range: Range<u32>) -> Result<u32> {
    apply_with_room(store, range.start, |path, leaf| {
        let slot = path.leaf.slot.checked_sub(1).ok_or(Errno::EUCLEAN)?;
        let whole = extent_at(leaf, slot).filter(|e| range.start < e.end()).ok_or(Errno::EUCLEAN)?;
        let edit = whole.unwritten.then(|| {
            let next = slot.saturating_add(1);
            Edit::merging(path, leaf, slot..next, &split(&whole, &range))
        });
        Ok((edit, whole.end()))
    })
}

/// `whole` in up to three parts, of which the one inside `range` is mapped.
fn split(whole: &Extent, range: &Range<u32>) -> ArrayVec<Extent, 3> {
    let middle = whole.clip(range).map(|e| Extent { unwritten: false, ..e });
    [whole.clip(&(0..range.start)), middle, whole.clip(&(range.end..u32::MAX))].into_iter().flatten().collect()
}
