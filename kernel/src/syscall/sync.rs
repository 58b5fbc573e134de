//! fsync, fdatasync, sync, syncfs, sync_file_range; fallocate and fadvise64.
use super::SyscallContext;
use crate::mm::PAGE;
use base::{Errno, Result};
use fs::iomap::RangeSync;
use fs::vfs::{self, FallocMode, SyncKind};
use linux_raw_sys::general as abi;

/// `fsync` (SYN-1). Errors: as fsync(2).
pub fn fsync(context: &mut SyscallContext<'_>, fd: u32) -> Result<u64> {
    vfs::fsync(&*context.file(fd)?, SyncKind::All).map(|()| 0)
}

/// `fdatasync` (SYN-1). Errors: as fsync(2).
pub fn fdatasync(context: &mut SyscallContext<'_>, fd: u32) -> Result<u64> {
    vfs::fsync(&*context.file(fd)?, SyncKind::Data).map(|()| 0)
}

/// `sync`. Never fails; errors wait for syncfs.
pub fn sync(context: &mut SyscallContext<'_>) -> Result<u64> {
    context.vfs()?.sync();
    Ok(0)
}

/// `syncfs` (SYN-5). Errors: `EBADF`, those of the disk.
pub fn syncfs(context: &mut SyscallContext<'_>, fd: u32) -> Result<u64> {
    vfs::syncfs(&*context.file(fd)?).map(|()| 0)
}

/// `sync_file_range` (SYN-6): writes and waits as the flags say; makes nothing durable. Length 0 is "to the end". Errors: as
/// sync_file_range(2).
pub fn sync_file_range(context: &mut SyscallContext<'_>, fd: u32, offset: i64, len: i64, flags: u32) -> Result<u64> {
    let what = RangeSync {
        wait_before: flags & abi::SYNC_FILE_RANGE_WAIT_BEFORE != 0,
        write: flags & abi::SYNC_FILE_RANGE_WRITE != 0,
        wait_after: flags & abi::SYNC_FILE_RANGE_WAIT_AFTER != 0,
    };
    let wait = abi::SYNC_FILE_RANGE_WAIT_BEFORE | abi::SYNC_FILE_RANGE_WAIT_AFTER;
    super::paths::only(flags, wait | abi::SYNC_FILE_RANGE_WRITE)?;
    let (Ok(start), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else { return Err(Errno::EINVAL) };
    let end = start.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::EINVAL)?;
    let end = if len == 0 { u64::MAX } else { end };
    vfs::sync_file_range(&*context.file(fd)?, start..end, what).map(|()| 0)
}

/// `fallocate` (TRC-6 to TRC-9). Errors: as fallocate(2); `EOPNOTSUPP` for a mode that the file system has not, or that is none.
pub fn fallocate(context: &mut SyscallContext<'_>, fd: u32, mode: u32, offset: i64, len: i64) -> Result<u64> {
    let file = context.file(fd)?;
    let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else { return Err(Errno::EINVAL) };
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    vfs::fallocate(&file, FallocMode::from_bits(mode)?, offset, len, context.caller()).map(|()| 0)
}

/// `fadvise64`. `POSIX_FADV_DONTNEED` takes clean pages that lie wholly in the range out of the cache (BUF-7); a length of 0 reaches to
/// the end. Other advice is checked and then ignored, as advice may be. Errors: `EBADF`, `EINVAL`, `ESPIPE`.
pub fn fadvise64(context: &mut SyscallContext<'_>, fd: u32, offset: i64, len: i64, advice: u32) -> Result<u64> {
    let file = context.file(fd)?;
    if !file.ops().seekable() {
        return Err(Errno::ESPIPE);
    }
    if len < 0 || advice > abi::POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL);
    }
    if advice == abi::POSIX_FADV_DONTNEED
        && let Some(inode) = &file.inode
    {
        let start = offset.max(0).cast_unsigned().next_multiple_of(PAGE);
        let end = if len == 0 { u64::MAX } else { offset.saturating_add(len).max(0).cast_unsigned() / PAGE * PAGE };
        if start < end {
            inode.mapping.invalidate_range_clean(start..end);
        }
    }
    Ok(0)
}
