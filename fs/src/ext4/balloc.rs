//! Allocating and freeing runs of blocks.
use super::Ext4Fs;
use super::txn::Handle;
use base::{Errno, Result};

/// A run of blocks of the file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRun {
    /// The first block.
    pub start: u64,
    /// Blocks; never 0.
    pub len: u32,
}

/// Whom blocks are allocated for: decides which reserves may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// File data of an ordinary caller: neither root's share nor the reserve for conversions.
    Data,
    /// Directory blocks, new extent nodes outside a conversion: as `Data`.
    Meta,
    /// An extent node that a conversion needs: may use the reserve made at allocation time (EXT-2), so it does not fail for space.
    Conversion,
}

impl Ext4Fs {
    /// Allocates a contiguous run of 1 to `want` blocks at or near `goal` (0: anywhere). Takes the allocator lock, so no metadata
    /// block lock is held. Errors: `ENOSPC`, `EIO`, `EUCLEAN`.
    pub fn alloc_blocks(&self, handle: &mut Handle<'_>, goal: u64, want: u32, purpose: Purpose) -> Result<BlockRun> {
        let _ = (handle, goal, want, purpose);
        Err(Errno::EOPNOTSUPP)
    }

    /// Frees a run; cached metadata in it is forgotten. Errors: `EUCLEAN` (not in use, or not freeable), `EIO`.
    pub fn free_blocks(&self, handle: &mut Handle<'_>, run: BlockRun) -> Result<()> {
        let _ = (handle, run);
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets `blocks` more metadata blocks aside for later conversions (EXT-2), or fails with `ENOSPC`.
    pub fn reserve_blocks(&self, blocks: u32) -> Result<()> {
        let _ = blocks;
        Err(Errno::EOPNOTSUPP)
    }

    /// Gives back what [`Self::reserve_blocks`] set aside and nobody used.
    pub fn unreserve_blocks(&self, blocks: u32) {
        let _ = blocks;
    }
}
