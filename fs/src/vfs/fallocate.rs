//! fallocate: the checks that hold for every file system.
use super::{FallocMode, File, FileType};
use crate::caller::Caller;
use base::{Errno, Result};

/// fallocate on an open file. Task context; may sleep. Errors, in this order: `EINVAL` for no bytes; `EBADF` if not open for writing;
/// `EPERM` for an immutable file, or for anything but allocation on an append-only one; `ESPIPE`, `EISDIR`, `ENODEV` by the type of
/// the file; `EFBIG` past what a file can have, or past the caller's limit for one that grows; those of the file.
pub fn fallocate(file: &File, mode: FallocMode, pos: u64, len: u64, caller: &dyn Caller) -> Result<()> {
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    let inode = file.inode.as_ref().ok_or(Errno::ESPIPE)?;
    let allocates = matches!(mode, FallocMode::Allocate { .. });
    if inode.with_attr(|a| a.immutable || a.append_only && !allocates) {
        return Err(Errno::EPERM);
    }
    match inode.kind {
        FileType::Regular => {}
        FileType::Fifo => return Err(Errno::ESPIPE),
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    }
    pos.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EFBIG)?;
    if matches!(mode, FallocMode::Allocate { .. } | FallocMode::ZeroRange { .. }) {
        check_limit(mode, inode.size(), pos, len, caller)?;
    }
    file.ops().fallocate(file, mode, pos, len, caller)
}

/// The caller's file size limit, for a file of `size` bytes (CHK-3). Errors: `EFBIG`, with the signal.
pub fn check_limit(mode: FallocMode, size: u64, pos: u64, len: u64, caller: &dyn Caller) -> Result<()> {
    let new_size = mode.new_size(size, pos, len);
    if new_size > size && new_size > caller.file_size_limit() {
        caller.file_size_exceeded();
        return Err(Errno::EFBIG);
    }
    Ok(())
}
