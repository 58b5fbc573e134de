//! Permission checks by credentials and mode bits. Root passes them, but for `append_only` and `immutable`.
use super::{FileType, Inode};
use crate::caller::Caller;
use base::sync::Arc;
use base::{Errno, Result};

bitflags::bitflags! {
    /// What is asked of a file: the values of `access(2)`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u16 {
        /// Execute a file, search a directory.
        const EXEC = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

/// The sticky bit of a mode.
const STICKY: u16 = 0o1000;

/// The credentials of a caller, asked once for a whole walk.
#[derive(Clone, Copy)]
pub(super) struct Cred<'a> {
    uid: u32,
    caller: &'a dyn Caller,
}

impl<'a> Cred<'a> {
    pub(super) fn of(caller: &'a dyn Caller) -> Self {
        Cred { uid: caller.uid(), caller }
    }
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }
    /// Whether the caller may do what only the owner may. Errors: `EPERM`.
    pub(super) fn require_owner(&self, inode: &Inode) -> Result<()> {
        if self.is_root() || inode.with_attr(|a| a.uid) == self.uid { Ok(()) } else { Err(Errno::EPERM) }
    }
    /// Whether the caller may use `inode` for all of `want`. Errors: `EACCES`.
    #[inline]
    pub(super) fn may(&self, inode: &Inode, want: Access) -> Result<()> {
        if self.is_root() && (inode.kind == FileType::Directory || !want.contains(Access::EXEC)) {
            return Ok(());
        }
        self.check_mode(inode, want)
    }
    fn check_mode(&self, inode: &Inode, want: Access) -> Result<()> {
        let (mode, uid, gid) = inode.with_attr(|a| (a.mode, a.uid, a.gid));
        let granted = if self.is_root() {
            // Root reads and writes anything, but executes only what somebody may execute.
            0o6 | u16::from(mode & 0o111 != 0)
        } else if uid == self.uid {
            mode >> 6
        } else if self.caller.in_group(gid) {
            mode >> 3
        } else {
            mode
        };
        if want.bits() & !granted & 7 == 0 { Ok(()) } else { Err(Errno::EACCES) }
    }
    /// Whether the caller may add an entry to `dir`. Errors: `EACCES`, `EPERM`, `ENOENT` (removed).
    pub(super) fn may_create(&self, dir: &Inode) -> Result<()> {
        if dir.dir.as_ref().is_none_or(|d| d.is_dead()) {
            return Err(Errno::ENOENT);
        }
        if dir.with_attr(|a| a.immutable) {
            return Err(Errno::EPERM);
        }
        self.may(dir, Access::WRITE | Access::EXEC)
    }
    /// Whether the caller may remove the entry of `victim` from `dir`. Errors: `EACCES`; `EPERM` for a sticky directory or a
    /// file that may not change.
    pub(super) fn may_delete(&self, dir: &Inode, victim: &Inode) -> Result<()> {
        self.may(dir, Access::WRITE | Access::EXEC)?;
        let (mode, dir_uid, fixed) = dir.with_attr(|a| (a.mode, a.uid, a.append_only || a.immutable));
        let (uid, pinned) = victim.with_attr(|a| (a.uid, a.append_only || a.immutable));
        let foreign = mode & STICKY != 0 && self.uid != dir_uid && self.uid != uid && !self.is_root();
        if fixed || pinned || foreign { Err(Errno::EPERM) } else { Ok(()) }
    }
}

/// Whether `caller` may use `inode` for all of `want`: `access(2)`, and the check before executing. Errors: `EACCES`; `EROFS`
/// for writing a file of a read-only file system.
pub fn permission(inode: &Arc<Inode>, want: Access, caller: &dyn Caller) -> Result<()> {
    let on_disk = matches!(inode.kind, FileType::Regular | FileType::Directory | FileType::Symlink);
    if want.contains(Access::WRITE) && on_disk && inode.sb.is_read_only() {
        return Err(Errno::EROFS);
    }
    Cred::of(caller).may(inode, want)
}
