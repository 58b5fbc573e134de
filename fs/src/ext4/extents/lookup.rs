//! Lookup: what stands at a block, with the whole run at once.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::node::Extent;
use super::path::{descend, extent_at};
use super::store::NodeStore;
use base::Result;

/// What stands at a logical block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// The extent that holds the block, whole: it may begin before the block.
    Extent(Extent),
    /// Nothing from the block on, for at least `len` blocks; never 0.
    Hole {
        /// Blocks up to the next extent, or up to where the leaf ends.
        len: u32,
    },
}

/// What stands at `lblk`, which is below [`super::END_OF_FILE_SPACE`]. The caller holds the extent lock, shared at least.
/// May read the device. Errors: `EIO`, `EUCLEAN`.
pub fn lookup<S: NodeStore>(store: &S, lblk: u32) -> Result<Run> {
    descend(store, lblk, |path, leaf| {
        let slot = path.leaf.slot;
        let candidate = slot.checked_sub(1).and_then(|i| extent_at(leaf, i));
        if let Some(extent) = candidate.filter(|e| lblk < e.end()) {
            return Ok(Run::Extent(extent));
        }
        let next = extent_at(leaf, slot).map_or(path.leaf.end, |e| e.lblk);
        Ok(Run::Hole { len: next.saturating_sub(lblk).max(1) })
    })
}
