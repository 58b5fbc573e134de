//! open, openat, creat, close.
use super::paths::PathArg;
use super::{SyscallContext, UserAddr};
use base::Result;
use fs::vfs::OpenFlags;
use linux_raw_sys::general as abi;

/// `openat`. Errors: as open(2).
pub fn openat(context: &mut SyscallContext<'_>, dirfd: i32, path: UserAddr, flags: u32, mode: u32) -> Result<u64> {
    let path = PathArg::read(context, dirfd, path)?;
    let open_flags = OpenFlags::from_bits_truncate(flags);
    let file = context.vfs()?.open(path.site(context), &path.path, open_flags, mode as u16 & 0o7777)?;
    let process = context.process();
    let fd = process.install(file, flags & abi::O_CLOEXEC != 0)?;
    process.files.set_path(fd, path.absolute(context));
    Ok(u64::from(fd))
}

/// `close`: the descriptor goes; the open file goes with its last descriptor and request (PRC-1). Errors: `EBADF`.
pub fn close(context: &mut SyscallContext<'_>, fd: u32) -> Result<u64> {
    let process = context.process();
    process.closed(process.files.remove(fd)?);
    Ok(0)
}
