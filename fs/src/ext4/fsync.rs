//! Durability of one inode: what fsync and the finish of a synchronous write do, any number of them at once (DUR-5, DUR-11, SYN-4).
use super::{Ext4Inode, inode};
use crate::vfs::{Inode, SyncKind};
use base::Result;

/// Makes the inode's metadata durable, as far as `kind` needs it, and the data that has ended on the device with it (DUR-5). The
/// transaction that changed the inode last is committed, for all that wait for it. Touches no folio (DUR-7). Task context; no
/// extent lock held. Errors: `EIO`, `EROFS`, `ENOMEM`.
pub fn commit_inode(own: &Ext4Inode, inode: &Inode, kind: SyncKind) -> Result<()> {
    let fs = &own.fs;
    fs.check_can_commit()?;
    if kind == SyncKind::All {
        inode::write_dirty(inode)?;
    }
    fs.commit(own.pending.tid(kind))?;
    if let Some(inode) = inode.mapping.host() {
        inode::unpin(&inode);
    }
    // The flushes of a commit cover the data, unless the commit began before the data had ended (R52).
    flush_data(own, inode)
}

/// fsync of a file whose data has reached the device: its metadata if it waits, else a flush unless one has covered the data
/// already (DUR-11, R51). Errors: `EIO`, `EROFS`, `ENOMEM`.
pub fn sync_inode(own: &Ext4Inode, inode: &Inode, kind: SyncKind) -> Result<()> {
    own.fs.check_not_shut_down()?;
    if own.pending.waits(&own.fs.txn, kind) || (kind == SyncKind::All && own.attr_dirty()) {
        return commit_inode(own, inode, kind);
    }
    flush_data(own, inode)
}

fn flush_data(own: &Ext4Inode, inode: &Inode) -> Result<()> {
    inode.written.ticket().map_or(Ok(()), |ticket| own.fs.flush_device(ticket))
}
