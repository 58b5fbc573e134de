//! Attributes: chmod, chown, utimensat, truncate, and their forms by path and descriptor.
use super::paths::only;
use super::time::TimeSpec;
use super::{SyscallContext, UserAddr};
use base::{Errno, Result};
use fs::vfs::{self, SetTime, Timespec};
use linux_raw_sys::general as abi;

const CWD: i32 = abi::AT_FDCWD;

/// `fchmodat`. Errors: as chmod(2).
pub fn fchmodat(context: &mut SyscallContext<'_>, dirfd: i32, path: UserAddr, mode: u32) -> Result<u64> {
    let inode = context.find(dirfd, path, 0)?;
    vfs::chmod(&inode, mode as u16, context.caller()).map(|()| 0)
}

/// `fchmod`. Errors: as chmod(2); `EINVAL` for a file without an inode.
pub fn fchmod(context: &mut SyscallContext<'_>, fd: u32, mode: u32) -> Result<u64> {
    vfs::chmod(&context.inode(fd)?, mode as u16, context.caller()).map(|()| 0)
}

/// `fchownat`. Errors: as chown(2).
pub fn fchownat(
    context: &mut SyscallContext<'_>,
    dirfd: i32,
    path: UserAddr,
    uid: u32,
    gid: u32,
    flags: u32,
) -> Result<u64> {
    only(flags, abi::AT_SYMLINK_NOFOLLOW | abi::AT_EMPTY_PATH)?;
    let inode = context.find(dirfd, path, flags)?;
    vfs::chown(&inode, id(uid), id(gid), context.caller()).map(|()| 0)
}

/// `fchown`. Errors: as chown(2); `EINVAL` for a file without an inode.
pub fn fchown(context: &mut SyscallContext<'_>, fd: u32, uid: u32, gid: u32) -> Result<u64> {
    vfs::chown(&context.inode(fd)?, id(uid), id(gid), context.caller()).map(|()| 0)
}

/// An id to set; -1 leaves the old one.
fn id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// `utimensat`; without a path it is the descriptor's file. Errors: as utimensat(2).
pub fn utimensat(
    context: &mut SyscallContext<'_>,
    dirfd: i32,
    path: UserAddr,
    times: UserAddr,
    flags: u32,
) -> Result<u64> {
    only(flags, abi::AT_SYMLINK_NOFOLLOW | abi::AT_EMPTY_PATH)?;
    let (atime, mtime) = match times {
        0 => (SetTime::Now, SetTime::Now),
        addr => {
            let [atime, mtime] = [addr, addr.wrapping_add(size_of::<TimeSpec>() as u64)]
                .map(|at| context.mm().read::<TimeSpec>(at).and_then(set_time));
            (atime?, mtime?)
        }
    };
    let inode = if path == 0 { context.inode(dirfd as u32)? } else { context.find(dirfd, path, flags)? };
    vfs::utimens(&inode, atime, mtime, context.caller()).map(|()| 0)
}

/// Errors: `EINVAL` for nanoseconds that are neither in range nor a special value.
fn set_time(time: TimeSpec) -> Result<SetTime> {
    const NOW: i64 = abi::UTIME_NOW as i64;
    const OMIT: i64 = abi::UTIME_OMIT as i64;
    match time.nsec {
        NOW => Ok(SetTime::Now),
        OMIT => Ok(SetTime::Omit),
        nsec @ 0..=999_999_999 => Ok(SetTime::To(Timespec { sec: time.sec, nsec: nsec as u32 })),
        _ => Err(Errno::EINVAL),
    }
}

/// A length. Errors: `EINVAL` below 0.
fn length(len: i64) -> Result<u64> {
    u64::try_from(len).map_err(|_| Errno::EINVAL)
}

/// `truncate`. Errors: as truncate(2).
pub fn truncate(context: &mut SyscallContext<'_>, path: UserAddr, len: i64) -> Result<u64> {
    let len = length(len)?;
    let inode = context.find(CWD, path, 0)?;
    vfs::truncate(&inode, len, context.caller()).map(|()| 0)
}

/// `ftruncate`. Errors: as ftruncate(2).
pub fn ftruncate(context: &mut SyscallContext<'_>, fd: u32, len: i64) -> Result<u64> {
    let len = length(len)?;
    vfs::ftruncate(&*context.file(fd)?, len, context.caller()).map(|()| 0)
}
