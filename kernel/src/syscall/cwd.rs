//! The current directory: chdir, fchdir, getcwd.
use super::{SyscallContext, UserAddr};
use base::sync::Arc;
use base::{Errno, Result};
use fs::vfs::{Access, FileType, Inode, OpenFlags, permission};
use linux_raw_sys::general as abi;

/// `chdir`. Errors: as chdir(2).
pub fn chdir(context: &mut SyscallContext<'_>, path: UserAddr) -> Result<u64> {
    let inode = context.find(abi::AT_FDCWD, path, 0)?;
    change(context, inode)
}

/// `fchdir`. Errors: `EBADF`, `ENOTDIR`, `EACCES`.
pub fn fchdir(context: &mut SyscallContext<'_>, fd: u32) -> Result<u64> {
    let inode = context.file(fd)?.inode.clone().ok_or(Errno::ENOTDIR)?;
    change(context, inode)
}

fn change(context: &SyscallContext<'_>, inode: Arc<Inode>) -> Result<u64> {
    if inode.kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    permission(&inode, Access::EXEC, context.caller())?;
    let file = context.vfs()?.open_inode(inode, OpenFlags::PATH, false, context.caller())?;
    let before = context.process().cwd.lock().replace(file);
    drop(before);
    Ok(0)
}

/// `getcwd`: the length with its NUL. Errors: `ERANGE` (it does not fit), `ENOENT` (removed), `EFAULT`.
pub fn getcwd(context: &mut SyscallContext<'_>, out: UserAddr, len: u64) -> Result<u64> {
    let mut path = context.vfs()?.path_of(&context.current_directory()?)?;
    path.push(0);
    if path.len() as u64 > len {
        return Err(Errno::ERANGE);
    }
    context.mm().write_bytes(out, &path)?;
    Ok(path.len() as u64)
}
