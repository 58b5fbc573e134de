//! What stands where on the device: FIEMAP.
use super::{File, FileExtent, OpenFlags};
use crate::iomap;
use base::{Errno, Result};

/// Tells `emit` of the extents that touch `len` bytes at `pos`, in ascending order, until it answers `false`. With `sync`, what is dirty
/// or on its way in the range is written and waited for first, write-throughs included (BUF-8). `emit` may touch user memory: the
/// inode is locked, shared, and nothing else. Task context; may sleep.
///
/// Errors: `EBADF` for an `O_PATH` file; `EOPNOTSUPP` for a file without extents; `EINVAL` for no bytes; `EFBIG` past what a file can
/// have; those of the disk and of `emit`.
pub fn report_extents(
    file: &File,
    pos: u64,
    len: u64,
    sync: bool,
    emit: &mut dyn FnMut(&FileExtent) -> Result<bool>,
) -> Result<()> {
    check_extents(file)?;
    let inode = file.inode.as_ref().ok_or(Errno::EOPNOTSUPP)?;
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let range = pos..pos.saturating_add(len);
    if sync && inode.ops().iomap().is_some() {
        iomap::write_and_wait(inode, range.clone())?;
    }
    inode.ops().report_extents(inode, range, emit)
}

/// Whether the file can be asked at all. Errors: `EBADF`, `EOPNOTSUPP`.
pub fn check_extents(file: &File) -> Result<()> {
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    match &file.inode {
        Some(inode) if inode.ops().has_extents() => Ok(()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
