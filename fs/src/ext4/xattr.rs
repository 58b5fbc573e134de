//! The block of extended attributes: kept as it is, shared by reference count, let go with its last inode.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::balloc::BlockRun;
use super::csum::crc32c;
use super::inode::{Ext4Inode, InodeCore};
use super::meta::Seal;
use super::txn::Handle;
use base::Result;

const MAGIC: u32 = 0xea02_0000;
const REFCOUNT: core::ops::Range<usize> = 4..8;
const CHECKSUM: core::ops::Range<usize> = 16..20;

/// Takes the inode off its attribute block, which is freed if that was its last user. Errors: `EIO`, `EUCLEAN`.
pub fn release(handle: &mut Handle<'_>, own: &Ext4Inode, core: &mut InodeCore) -> Result<()> {
    let number = core::mem::take(&mut core.xattr_block);
    if number == 0 {
        return Ok(());
    }
    core.blocks = core.blocks.saturating_sub(1);
    let block = own.fs.meta.read(number)?;
    let (magic, users) = {
        let bytes = block.read();
        (word(&bytes, 0..4), word(&bytes, REFCOUNT))
    };
    if magic != MAGIC || users == 0 {
        return Err(own.fs.corrupt("attribute block", number));
    }
    if users == 1 {
        return own.fs.free_blocks(handle, BlockRun { start: number, len: 1 });
    }
    let mut bytes = match own.fs.geo.csum_seed {
        Some(seed) => handle.write_sealed(&block, Seal { seed: crc32c(seed, &number.to_le_bytes()), apply: seal })?,
        None => handle.write(&block)?,
    };
    put(&mut bytes, REFCOUNT, users.saturating_sub(1));
    Ok(())
}

fn word(bytes: &[u8], at: core::ops::Range<usize>) -> u32 {
    bytes.get(at).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn put(bytes: &mut [u8], at: core::ops::Range<usize>, value: u32) {
    if let Some(field) = bytes.get_mut(at) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

fn seal(seed: u32, bytes: &mut [u8]) {
    put(bytes, CHECKSUM, 0);
    let crc = crc32c(seed, bytes);
    put(bytes, CHECKSUM, crc);
}
