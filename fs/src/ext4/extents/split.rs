//! Splitting: a block becomes the boundary between two extents, so that what follows on one side of it needs no room in the tree.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::edit::{Edit, apply_with_room};
use super::path::extent_at;
use super::store::NodeStoreMut;
use arrayvec::ArrayVec;
use base::Result;

/// Makes `lblk` the first block of its extent, if it lies in the middle of one. The map stays what it was. The caller holds the extent
/// lock exclusively. Errors: `ENOSPC` (a node is needed and there is no block for it; nothing has changed), `EIO`, `EUCLEAN`.
pub fn split<S: NodeStoreMut>(store: &mut S, lblk: u32) -> Result<()> {
    apply_with_room(store, lblk, |path, leaf| {
        let found = path.leaf.slot.checked_sub(1).and_then(|slot| Some((slot, extent_at(leaf, slot)?)));
        let Some((slot, whole)) = found.filter(|(_, e)| e.lblk < lblk && lblk < e.end()) else { return Ok((None, ())) };
        let parts: ArrayVec<_, 5> =
            [whole.clip(&(0..lblk)), whole.clip(&(lblk..u32::MAX))].into_iter().flatten().collect();
        let window = slot..slot.saturating_add(1);
        Ok((Some(Edit::new(path, leaf, window, parts)), ()))
    })
}
