//! Symbolic links: a short target stands in the inode, in the place of the extent tree; a longer one in one block.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::Ext4Fs;
use super::balloc::Purpose;
use super::extents::{self, Extent, Run, Tree, TreeMut};
use super::features::InodeFlags;
use super::inode::{Ext4Inode, InodeCore};
use super::txn::Handle;
use crate::vfs::{FileOps, Inode, InodeOps, SyncKind};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};

/// The operations of a symbolic link.
pub struct SymlinkInode(pub Ext4Inode);

impl InodeOps for SymlinkInode {
    fn as_any(&self) -> &dyn core::any::Any {
        &self.0
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::ELOOP)
    }
    fn readlink(&self, inode: &Arc<Inode>) -> Result<Vec<u8>> {
        let core = self.0.core.read();
        let corrupt = || self.0.fs.corrupt("symbolic link", inode.ino);
        let len = usize::try_from(core.disk_size).ok().filter(|&len| len > 0).ok_or_else(corrupt)?;
        if is_short(&core) {
            return core.root.get(..len).map(<[u8]>::to_vec).ok_or_else(corrupt);
        }
        let Run::Extent(extent) = extents::lookup(&Tree::new(&self.0, &core), 0)? else { return Err(corrupt()) };
        if extent.unwritten || extent.lblk != 0 {
            return Err(corrupt());
        }
        let block = self.0.fs.meta.read(extent.pblk)?;
        let bytes = block.read();
        bytes.get(..len).map(<[u8]>::to_vec).ok_or_else(corrupt)
    }
    fn dirty_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        self.0.mark_attr_dirty(inode)
    }
    fn evict(&self, inode: &Arc<Inode>) -> Result<()> {
        super::evict(inode)
    }
}

/// Whether the target stands in the inode: it has no block but that of its attributes.
fn is_short(core: &InodeCore) -> bool {
    core.blocks.saturating_sub(u64::from(core.xattr_block != 0)) == 0
}

/// Whether a target can be stored. Errors: `ENAMETOOLONG` if it does not fit a block with its NUL.
pub(super) fn check_target(fs: &Ext4Fs, target: &[u8]) -> Result<()> {
    if target.len() < fs.geo.block_size as usize { Ok(()) } else { Err(Errno::ENAMETOOLONG) }
}

/// Gives a new link its target, which [`check_target`] has passed. Errors: `ENOSPC`, `EIO`, `ENOMEM`.
pub(super) fn set_target(handle: &mut Handle<'_>, inode: &Inode, target: &[u8]) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let mut core = own.core.write();
    if target.len() < core.root.len() {
        core.flags.remove(InodeFlags::EXTENTS);
        core.root = [0; 60];
        core.root.iter_mut().zip(target).for_each(|(to, &byte)| *to = byte);
    } else {
        store_block(handle, own, &mut core, target)?;
    }
    core.disk_size = target.len() as u64;
    inode.set_size(core.disk_size);
    own.store(handle, inode, &core, SyncKind::Data)
}

fn store_block(handle: &mut Handle<'_>, own: &Ext4Inode, core: &mut InodeCore, target: &[u8]) -> Result<()> {
    let run = own.fs.alloc_blocks(handle, core.goal, 1, Purpose::Meta)?;
    let extent = Extent { lblk: 0, len: 1, pblk: run.start, unwritten: false };
    let stored = own.fs.meta.get_new(run.start).and_then(|block| {
        let mut bytes = handle.write(&block)?;
        bytes.get_mut(..target.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(target);
        drop(bytes);
        extents::insert(&mut TreeMut::new(handle, own, core, Purpose::Meta), &extent)
    });
    match stored {
        Ok(()) => core.blocks = core.blocks.saturating_add(1),
        Err(_) => own.fs.free_blocks(handle, run)?,
    }
    stored
}
