//! Paths of a call: from user memory and a directory descriptor to a place in the tree.
use super::{SyscallContext, UserAddr};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};
use fs::caller::Caller;
use fs::vfs::{Inode, Site, Vfs};
use linux_raw_sys::general as abi;

/// A path as a call gave it, and where it starts if it is relative.
pub(super) struct PathArg {
    pub(super) path: Vec<u8>,
    start: Arc<Inode>,
}

impl PathArg {
    /// Reads the path at `addr`; a relative one starts at the directory `dirfd`. Errors: `EFAULT`, `ENAMETOOLONG`, `EBADF`,
    /// `ENOTDIR`.
    pub(super) fn read(context: &SyscallContext<'_>, dirfd: i32, addr: UserAddr) -> Result<PathArg> {
        let path = context.mm().read_cstr(addr, abi::PATH_MAX as usize)?;
        let start = if path.first() == Some(&b'/') { context.vfs()?.root() } else { context.directory(dirfd)? };
        Ok(PathArg { path, start })
    }
    /// The path from the root, as far as it can be told: for `/proc`.
    pub(super) fn absolute(self, context: &SyscallContext<'_>) -> Vec<u8> {
        if self.path.first() == Some(&b'/') {
            return self.path;
        }
        let start = context.vfs().and_then(|vfs| vfs.path_of(&self.start)).unwrap_or_default();
        let slash: &[u8] = if start.last() == Some(&b'/') { b"" } else { b"/" };
        [&start, slash, &self.path].concat()
    }
    /// The place and the caller, for the VFS.
    pub(super) fn site<'a>(&'a self, context: &'a SyscallContext<'_>) -> Site<'a> {
        Site { cwd: &self.start, caller: context.caller() }
    }
}

impl<'a> SyscallContext<'a> {
    /// The file-system tree. Errors: `ENOENT` if there is none.
    pub(super) fn vfs(&self) -> Result<&'a Arc<Vfs>> {
        self.process().system.vfs()
    }
    /// The caller, for permission checks.
    pub(super) fn caller(&self) -> &'a dyn Caller {
        &**self.thread
    }
    /// The current directory. Errors: `ENOENT` if there is no tree.
    pub(super) fn current_directory(&self) -> Result<Arc<Inode>> {
        let cwd = self.process().cwd.lock().as_ref().and_then(|file| file.inode.clone());
        cwd.map_or_else(|| Ok(self.vfs()?.root()), Ok)
    }
    /// Where relative paths of an `*at` call start. A file that is no directory fails in the walk. Errors: `EBADF`, `ENOTDIR`.
    fn directory(&self, dirfd: i32) -> Result<Arc<Inode>> {
        if dirfd == abi::AT_FDCWD {
            return self.current_directory();
        }
        self.file(dirfd as u32)?.inode.clone().ok_or(Errno::ENOTDIR)
    }
    /// The inode that `dirfd` and the path at `addr` lead to. `AT_EMPTY_PATH` with an empty path names `dirfd` itself;
    /// `AT_SYMLINK_NOFOLLOW` leaves a link at the end alone. Errors: those of the walk, `EBADF`, `EFAULT`.
    pub(super) fn find(&self, dirfd: i32, addr: UserAddr, flags: u32) -> Result<Arc<Inode>> {
        if flags & abi::AT_EMPTY_PATH != 0 && (addr == 0 || self.mm().read::<u8>(addr)? == 0) {
            return self.directory(dirfd);
        }
        let path = PathArg::read(self, dirfd, addr)?;
        let follow = flags & abi::AT_SYMLINK_NOFOLLOW == 0;
        self.vfs()?.lookup(path.site(self), &path.path, follow)
    }
    /// The inode of a descriptor. Errors: `EBADF`; `EINVAL` for a file without one.
    pub(super) fn inode(&self, fd: u32) -> Result<Arc<Inode>> {
        self.file(fd)?.inode.clone().ok_or(Errno::EINVAL)
    }
}

/// Refuses flags outside `known`. Errors: `EINVAL`.
pub(super) fn only(flags: u32, known: u32) -> Result<()> {
    if flags & !known == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}
