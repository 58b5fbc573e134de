//! Durability of one inode: what fsync and the finish of a synchronous write do (DUR-5, DUR-11).
use super::{Ext4Inode, inode};
use crate::vfs::{Inode, SyncKind};
use alloc::vec::Vec;
use base::Result;

/// Makes the inode's metadata durable, as far as `kind` needs it, and the data that has ended on the device with it: flush, then extent and
/// bitmap blocks, then the inode, then flush (DUR-5). Touches no folio (DUR-7). Task context; no extent lock held.
/// Errors: `EIO`, `EROFS`.
pub fn commit_inode(own: &Ext4Inode, inode: &Inode, kind: SyncKind) -> Result<()> {
    let fs = &own.fs;
    fs.check_can_commit()?;
    let data = fs.flush.ticket();
    if kind == SyncKind::All {
        inode::write_dirty(inode)?;
    }
    if !own.pending.waits(&fs.txn, kind) {
        return fs.flush_device(inode.written.ticket().unwrap_or(data));
    }
    let set = own.pending.snapshot();
    // CRA-1: the data first, or a cut could leave metadata that exposes blocks without it.
    fs.flush_device(data)?;
    fs.seal_groups()?;
    let own_block = fs.inode_slot(own.ino)?.0.number();
    let mut blocks: Vec<u64> = set.blocks.iter().copied().filter(|&b| b != own_block).collect();
    blocks.extend(fs.meta.dirty_in(fs.geo.desc_table()));
    blocks.sort_unstable();
    blocks.dedup();
    fs.write_metadata(&blocks)?;
    fs.write_metadata(&[own_block])?;
    fs.flush_device(fs.flush.ticket())?;
    own.pending.committed(set.upto);
    base::stats::count(base::stats::Counter::Commits);
    if let Some(inode) = inode.mapping.host() {
        inode::unpin(&inode);
    }
    Ok(())
}

/// fsync of a file whose data has reached the device: its metadata if it waits, else a flush unless one has covered the data
/// already (DUR-11, R51). Errors: `EIO`, `EROFS`.
pub fn sync_inode(own: &Ext4Inode, inode: &Inode, kind: SyncKind) -> Result<()> {
    if own.pending.waits(&own.fs.txn, kind) || (kind == SyncKind::All && own.attr_dirty()) {
        return commit_inode(own, inode, kind);
    }
    match inode.written.ticket() {
        Some(ticket) => own.fs.flush_device(ticket),
        None => Ok(()),
    }
}
