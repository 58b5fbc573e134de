//! The list of inodes that lost their last name, or are being truncated, before their blocks are free: so that a mount after a
//! power cut can finish the work.
use super::Ext4Fs;
use super::txn::Handle;
use crate::vfs::{Inode, SuperBlock};
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

/// Finishes what the list names, at mount. Errors: `EIO`, `EUCLEAN`.
pub(super) fn process(sb: &SuperBlock) -> Result<()> {
    let head = Ext4Fs::of(sb).with_super(|raw| raw.last_orphan.get())?;
    if head == 0 { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}
