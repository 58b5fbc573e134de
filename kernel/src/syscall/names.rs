//! Names: mkdir, mknod, unlink, rename, link, symlink, readlink, and their `*at` forms.
use super::paths::{PathArg, only};
use super::{SyscallContext, UserAddr};
use base::{Errno, Result};
use fs::vfs::FileType;
use linux_raw_sys::general as abi;

/// `mkdirat`. Errors: as mkdir(2).
pub fn mkdirat(context: &mut SyscallContext<'_>, dirfd: i32, path: UserAddr, mode: u32) -> Result<u64> {
    let path = PathArg::read(context, dirfd, path)?;
    context.vfs()?.mkdir(path.site(context), &path.path, mode as u16)?;
    Ok(0)
}

/// `mknodat`. Errors: as mknod(2).
pub fn mknodat(context: &mut SyscallContext<'_>, dirfd: i32, path: UserAddr, mode: u32, dev: u64) -> Result<u64> {
    let kind = FileType::from_mode_bits(mode).ok_or(Errno::EINVAL)?;
    let path = PathArg::read(context, dirfd, path)?;
    context.vfs()?.mknod(path.site(context), &path.path, kind, mode as u16 & 0o7777, dev)?;
    Ok(0)
}

/// `unlinkat`. Errors: as unlink(2) and rmdir(2).
pub fn unlinkat(context: &mut SyscallContext<'_>, dirfd: i32, path: UserAddr, flags: u32) -> Result<u64> {
    only(flags, abi::AT_REMOVEDIR)?;
    let path = PathArg::read(context, dirfd, path)?;
    let site = path.site(context);
    match flags {
        0 => context.vfs()?.unlink(site, &path.path)?,
        _ => context.vfs()?.rmdir(site, &path.path)?,
    }
    Ok(0)
}

/// `renameat2`: `RENAME_NOREPLACE`. Errors: as rename(2); `EINVAL` for the other flags.
pub fn renameat2(
    context: &mut SyscallContext<'_>,
    old_fd: i32,
    old: UserAddr,
    new_fd: i32,
    new: UserAddr,
    flags: u32,
) -> Result<u64> {
    only(flags, abi::RENAME_NOREPLACE)?;
    let old = PathArg::read(context, old_fd, old)?;
    let new = PathArg::read(context, new_fd, new)?;
    let (from, to) = (old.site(context), new.site(context));
    context.vfs()?.rename(from, &old.path, to, &new.path, flags != 0)?;
    Ok(0)
}

/// `linkat`. Errors: as link(2).
pub fn linkat(
    context: &mut SyscallContext<'_>,
    old_fd: i32,
    old: UserAddr,
    new_fd: i32,
    new: UserAddr,
    flags: u32,
) -> Result<u64> {
    only(flags, abi::AT_SYMLINK_FOLLOW | abi::AT_EMPTY_PATH)?;
    let follow = if flags & abi::AT_SYMLINK_FOLLOW != 0 { 0 } else { abi::AT_SYMLINK_NOFOLLOW };
    let inode = context.find(old_fd, old, follow | (flags & abi::AT_EMPTY_PATH))?;
    let new = PathArg::read(context, new_fd, new)?;
    context.vfs()?.link(&inode, new.site(context), &new.path)?;
    Ok(0)
}

/// `symlinkat`. Errors: as symlink(2).
pub fn symlinkat(context: &mut SyscallContext<'_>, target: UserAddr, dirfd: i32, path: UserAddr) -> Result<u64> {
    let target = context.mm().read_cstr(target, abi::PATH_MAX as usize)?;
    let path = PathArg::read(context, dirfd, path)?;
    context.vfs()?.symlink(path.site(context), &target, &path.path)?;
    Ok(0)
}

/// `readlinkat`; an empty path names a link opened with `O_PATH`. Errors: as readlink(2).
pub fn readlinkat(
    context: &mut SyscallContext<'_>,
    dirfd: i32,
    path: UserAddr,
    out: UserAddr,
    len: u32,
) -> Result<u64> {
    if len == 0 || len > i32::MAX as u32 {
        return Err(Errno::EINVAL);
    }
    // Other than stat's, a null path is no empty one.
    let empty = if path == 0 { 0 } else { abi::AT_EMPTY_PATH };
    let inode = context.find(dirfd, path, abi::AT_SYMLINK_NOFOLLOW | empty)?;
    if inode.kind != FileType::Symlink {
        return Err(Errno::EINVAL);
    }
    let target = inode.ops().readlink(&inode)?;
    let shown = &target[..target.len().min(len as usize)];
    context.mm().write_bytes(out, shown)?;
    Ok(shown.len() as u64)
}
