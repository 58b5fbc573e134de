//! execve, execveat.
use super::paths::{PathArg, only};
use super::{SyscallContext, UserAddr};
use crate::mm::AddressSpace;
use crate::process::{Program, exec};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};
use fs::vfs::{Access, File, OpenFlags, Site, permission};
use linux_raw_sys::general as abi;

/// Bytes of one argument, its NUL included: `MAX_ARG_STRLEN` of Linux.
const STRING_MAX: usize = 128 << 10;
/// Bytes of all of them. The stack takes no more.
const TOTAL_MAX: usize = 1 << 20;

/// `execve`. Errors: as execve(2).
pub fn execve(context: &mut SyscallContext<'_>, path: UserAddr, argv: UserAddr, envp: UserAddr) -> Result<u64> {
    execveat(context, abi::AT_FDCWD, path, argv, envp, 0)
}

/// `execveat`. Errors: as execve(2).
pub fn execveat(
    context: &mut SyscallContext<'_>,
    dirfd: i32,
    path: UserAddr,
    argv: UserAddr,
    envp: UserAddr,
    flags: u32,
) -> Result<u64> {
    only(flags, abi::AT_EMPTY_PATH | abi::AT_SYMLINK_NOFOLLOW)?;
    let open_flags = if flags & abi::AT_SYMLINK_NOFOLLOW == 0 { OpenFlags::empty() } else { OpenFlags::NOFOLLOW };
    let path = PathArg::read(context, dirfd, path)?;
    let file = if path.path.is_empty() && flags & abi::AT_EMPTY_PATH != 0 {
        runnable(context, context.file(dirfd as u32)?)?
    } else {
        runnable(context, context.vfs()?.open(path.site(context), &path.path, open_flags, 0)?)?
    };
    let mut left = TOTAL_MAX;
    let mut argv = read_strings(context.mm(), argv, &mut left)?;
    if argv.is_empty() {
        // A program that was given no name at all gets an empty one, and does not read its environment as arguments.
        argv.push(Vec::new());
    }
    let envp = read_strings(context.mm(), envp, &mut left)?;
    let program = Program { file, path: path.absolute(context), argv, envp };
    let open = |path: &[u8]| {
        let start = context.current_directory()?;
        let site = Site { cwd: &start, caller: context.caller() };
        runnable(context, context.vfs()?.open(site, path, OpenFlags::empty(), 0)?)
    };
    exec(context.thread, program, &open).map(|()| 0)
}

/// `file`, if the caller may run it. Errors: `EACCES`.
fn runnable(context: &SyscallContext<'_>, file: Arc<File>) -> Result<Arc<File>> {
    let inode = file.inode.as_ref().ok_or(Errno::EACCES)?;
    permission(inode, Access::EXEC, context.caller())?;
    // Root may do anything, but a file that nobody may run is no program.
    if inode.with_attr(|attr| attr.mode & 0o111) == 0 { Err(Errno::EACCES) } else { Ok(file) }
}

/// The strings of the array at `at`, which a null pointer ends; a null array is empty. Takes what they need from `left`. Errors: `EFAULT`,
/// `E2BIG`.
fn read_strings(mm: &AddressSpace, at: UserAddr, left: &mut usize) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    if at == 0 {
        return Ok(strings);
    }
    let mut place = at;
    loop {
        let string = mm.read::<u64>(place)?;
        if string == 0 {
            return Ok(strings);
        }
        let text = mm.read_cstr(string, STRING_MAX.min(*left)).map_err(|e| match e {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        *left = left.checked_sub(text.len() + 1 + size_of::<u64>()).ok_or(Errno::E2BIG)?;
        strings.push(text);
        place = place.checked_add(size_of::<u64>() as u64).ok_or(Errno::EFAULT)?;
    }
}
