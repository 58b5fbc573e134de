//! Descriptors: dup and its family, fcntl, ioctl.
use super::locks::record_lock;
use super::{SyscallContext, UserAddr};
use crate::files::Tty;
use base::sync::Arc;
use base::{Errno, Result};
use fs::vfs::{File, FileFeatures, FileType, OpenFlags, Shutdown};
use linux_raw_sys::{general as abi, ioctl as io};

/// Execve closes the range, and not the call.
const CLOSE_RANGE_CLOEXEC: u32 = 4;
/// Values that `EXT4_IOC_SHUTDOWN` reads: `EXT4_GOING_FLAGS_DEFAULT`, `_LOGFLUSH` and `_NOLOGFLUSH`.
const GOING_DOWN_SYNC: u32 = 0;
const GOING_DOWN_FLUSH_LOG: u32 = 1;
const GOING_DOWN_CUT: u32 = 2;

/// `dup`. Errors: `EBADF`, `EMFILE`.
pub fn dup(context: &mut SyscallContext<'_>, fd: u32) -> Result<u64> {
    duplicate(context, fd, false, 0)
}

fn duplicate(context: &SyscallContext<'_>, fd: u32, close_on_exec: bool, lowest: u32) -> Result<u64> {
    let process = context.process();
    let limit = process.soft_limit(abi::RLIMIT_NOFILE);
    let new = process.files.insert(context.file(fd)?, close_on_exec, lowest, limit)?;
    keep_path(context, fd, new);
    Ok(u64::from(new))
}

/// The path of the old descriptor is that of the new one, for `/proc`.
fn keep_path(context: &SyscallContext<'_>, old: u32, new: u32) {
    let files = &context.process().files;
    if let Some(path) = files.path(old) {
        files.set_path(new, path);
    }
}

/// `dup2`: of a descriptor onto itself it does nothing. Errors: `EBADF`.
pub fn dup2(context: &mut SyscallContext<'_>, old: u32, new: u32) -> Result<u64> {
    if old == new {
        return context.file(old).map(|_| u64::from(new));
    }
    dup3(context, old, new, 0)
}

/// `dup3`. Errors: `EBADF`, `EINVAL` (the same descriptor twice, or flags).
pub fn dup3(context: &mut SyscallContext<'_>, old: u32, new: u32, flags: u32) -> Result<u64> {
    super::paths::only(flags, abi::O_CLOEXEC)?;
    if old == new {
        return Err(Errno::EINVAL);
    }
    let process = context.process();
    let limit = process.soft_limit(abi::RLIMIT_NOFILE);
    let before = process.files.replace(new, context.file(old)?, flags != 0, limit)?;
    before.into_iter().for_each(|file| process.closed(file));
    keep_path(context, old, new);
    Ok(u64::from(new))
}

/// `close_range`: closes all descriptors from `first` to `last`, or has execve do so. Errors: `EINVAL`.
pub fn close_range(context: &mut SyscallContext<'_>, first: u32, last: u32, flags: u32) -> Result<u64> {
    super::paths::only(flags, CLOSE_RANGE_CLOEXEC)?;
    if first > last {
        return Err(Errno::EINVAL);
    }
    let process = context.process();
    for fd in process.files.open().into_iter().filter(|fd| (first..=last).contains(fd)) {
        // Another thread may have closed it meanwhile.
        if flags != 0 {
            let _ = process.files.set_close_on_exec(fd, true);
        } else if let Ok(file) = process.files.remove(fd) {
            process.closed(file);
        }
    }
    Ok(0)
}

/// `fcntl`. Errors: as fcntl(2); `EINVAL` for a command that is not there.
pub fn fcntl(context: &mut SyscallContext<'_>, fd: u32, command: u32, arg: u64) -> Result<u64> {
    let files = &context.process().files;
    match command {
        abi::F_DUPFD => duplicate(context, fd, false, arg as u32),
        abi::F_DUPFD_CLOEXEC => duplicate(context, fd, true, arg as u32),
        abi::F_GETFD => files.close_on_exec(fd).map(u64::from),
        abi::F_SETFD => files.set_close_on_exec(fd, arg & u64::from(abi::FD_CLOEXEC) != 0).map(|()| 0),
        abi::F_GETFL => Ok(u64::from((context.file(fd)?.flags() | OpenFlags::LARGEFILE).bits())),
        abi::F_SETFL => set_flags(&context.file(fd)?, OpenFlags::from_bits_retain(arg as u32)),
        abi::F_GETLK | abi::F_SETLK | abi::F_SETLKW => record_lock(context, fd, command, arg),
        abi::F_OFD_GETLK | abi::F_OFD_SETLK | abi::F_OFD_SETLKW => record_lock(context, fd, command, arg),
        _ => context.file(fd).and(Err(Errno::EINVAL)),
    }
}

/// Requests that are under way keep the flags they have sampled (FLAG-4).
fn set_flags(file: &Arc<File>, flags: OpenFlags) -> Result<u64> {
    let direct = flags.contains(OpenFlags::DIRECT);
    if direct && !file.ops().features().contains(FileFeatures::DIRECT) {
        return Err(Errno::EINVAL);
    }
    let append_only = file.inode.as_ref().is_some_and(|inode| inode.with_attr(|a| a.append_only));
    if append_only && !flags.contains(OpenFlags::APPEND) {
        return Err(Errno::EPERM);
    }
    file.set_flags(flags);
    Ok(0)
}

/// `ioctl`: what holds for every file, then what the file itself knows. Errors: as ioctl(2); `ENOTTY` for an unknown command.
pub fn ioctl(context: &mut SyscallContext<'_>, fd: u32, command: u32, arg: u64) -> Result<u64> {
    let file = context.file(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    match command {
        io::FIOCLEX => context.process().files.set_close_on_exec(fd, true).map(|()| 0),
        io::FIONCLEX => context.process().files.set_close_on_exec(fd, false).map(|()| 0),
        io::FIONBIO => {
            let mut flags = file.flags();
            flags.set(OpenFlags::NONBLOCK, context.mm().read::<u32>(arg)? != 0);
            file.set_flags(flags);
            Ok(0)
        }
        io::FIFREEZE | io::FITHAW => freeze(context, &file, command == io::FIFREEZE),
        io::EXT4_IOC_SHUTDOWN => shut_down(context, &file, arg),
        io::FS_IOC_FIEMAP => super::fiemap::fiemap(context, &file, arg),
        _ => match Tty::of(&file) {
            Some(tty) => super::terminal::ioctl(context, tty, command, arg),
            None => file.ops().ioctl(&file, command, arg),
        },
    }
}

/// FRZ-1, FRZ-4. Errors: `EPERM`, `ENOTTY`, those of the freeze.
fn freeze(context: &SyscallContext<'_>, file: &File, on: bool) -> Result<u64> {
    if context.caller().uid() != 0 {
        return Err(Errno::EPERM);
    }
    let sb = &file.inode.as_ref().ok_or(Errno::ENOTTY)?.sb;
    if on { sb.freeze() } else { sb.thaw() }.map(|()| 0)
}

/// `EXT4_IOC_SHUTDOWN` (SHD-1), on any file or directory of the file system. Errors: `ENOTTY` where there is none that can be shut down,
/// `EPERM`, `EFAULT`, `EINVAL` for an unknown way; those of [`fs::vfs::SuperBlock::force_shut_down`].
fn shut_down(context: &SyscallContext<'_>, file: &File, arg: UserAddr) -> Result<u64> {
    let inode = file.inode.as_ref().ok_or(Errno::ENOTTY)?;
    if !matches!(inode.kind, FileType::Regular | FileType::Directory) || !inode.sb.ops().can_shut_down() {
        return Err(Errno::ENOTTY);
    }
    if context.caller().uid() != 0 {
        return Err(Errno::EPERM);
    }
    let how = match context.mm().read::<u32>(arg)? {
        GOING_DOWN_SYNC => Shutdown::Sync,
        GOING_DOWN_FLUSH_LOG => Shutdown::FlushLog,
        GOING_DOWN_CUT => Shutdown::Cut,
        _ => return Err(Errno::EINVAL),
    };
    inode.sb.force_shut_down(how).map(|()| 0)
}
