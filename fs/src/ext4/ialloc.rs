//! Allocating and freeing inodes.
use super::inode::Ext4Inode;
use super::txn::Handle;
use crate::caller::Caller;
use crate::vfs::{FileType, Inode};
use base::sync::Arc;
use base::{Errno, Result};

/// Makes a new inode near `dir`, in the inode cache and with its raw form written, with one link (a directory: two) and an empty
/// extent tree. Set-group-id of `dir` is inherited. If the caller fails to enter it into a directory it sets the link count to 0.
/// `dir.lock` is held exclusively. Errors: `ENOSPC`, `EIO`, `EUCLEAN`.
pub fn new_inode(
    handle: &mut Handle<'_>,
    dir: &Arc<Inode>,
    kind: FileType,
    mode: u16,
    rdev: u64,
    caller: &dyn Caller,
) -> Result<Arc<Inode>> {
    let _ = (handle, Ext4Inode::of(dir), kind, mode, rdev, caller);
    Err(Errno::EOPNOTSUPP)
}
