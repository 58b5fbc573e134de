//! Insertion of newly allocated, unwritten blocks (EXT-1).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::edit::{Edit, apply_with_room};
use super::node::{Extent, MAX_MAPPED, MAX_UNWRITTEN};
use super::path::extent_at;
use super::store::NodeStoreMut;
use base::{Errno, Result};

/// Adds `extent`, whose range is a hole; it is merged with what stands beside it where that is allowed (EXT-6). File data
/// comes here unwritten (EXT-1); directories and symbolic links add mapped blocks that their metadata transaction has
/// filled. The caller holds the extent lock exclusively. Errors: `ENOSPC` (a node is needed and there is no block for it; the
/// map has not changed), `EIO`, `EUCLEAN` (the range is no hole).
pub fn insert<S: NodeStoreMut>(store: &mut S, extent: &Extent) -> Result<()> {
    let limit = if extent.unwritten { MAX_UNWRITTEN } else { MAX_MAPPED };
    if extent.len == 0 || extent.len > limit || extent.lblk.checked_add(extent.len).is_none() {
        return Err(Errno::EINVAL);
    }
    apply_with_room(store, extent.lblk, |path, leaf| {
        let slot = path.leaf.slot;
        let before = slot.checked_sub(1).and_then(|i| extent_at(leaf, i));
        let next = extent_at(leaf, slot).map_or(path.leaf.end, |e| e.lblk);
        if before.is_some_and(|b| b.end() > extent.lblk) || next < extent.end() {
            return Err(Errno::EUCLEAN);
        }
        Ok((Some(Edit::merging(path, leaf, slot..slot, &[*extent])), ()))
    })
}
