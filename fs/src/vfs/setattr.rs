//! Changes of attributes and size: chmod, chown, utimens, truncate.
use super::perm::{Access, Cred};
use super::{Attr, Change, File, FileType, Inode, Timespec};
use crate::caller::Caller;
use base::sync::Arc;
use base::{Errno, Result};

const SETUID: u16 = 0o4000;
const SETGID: u16 = 0o2000;
/// Group-executable: without it the setgid bit of a file means nothing that a write must remove.
const GROUP_EXEC: u16 = 0o010;

/// A time that utimensat sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// `UTIME_OMIT`
    Omit,
    /// `UTIME_NOW`
    Now,
    /// This time.
    To(Timespec),
}

/// chmod: sets the permission bits. Errors: `EPERM`, `EROFS`, those of the disk.
pub fn chmod(inode: &Arc<Inode>, mode: u16, caller: &dyn Caller) -> Result<()> {
    let cred = Cred::of(caller);
    change(inode, |attr| {
        if !cred.is_root() && attr.uid != caller.uid() {
            return Err(Errno::EPERM);
        }
        let keeps_setgid = cred.is_root() || caller.in_group(attr.gid);
        attr.mode = mode & 0o7777 & if keeps_setgid { !0 } else { !SETGID };
        Ok(())
    })
}

/// chown: sets owner and group; `None` stays. Takes setuid and setgid off a file. Errors: `EPERM`, `EROFS`, those of the disk.
pub fn chown(inode: &Arc<Inode>, uid: Option<u32>, gid: Option<u32>, caller: &dyn Caller) -> Result<()> {
    let cred = Cred::of(caller);
    let is_dir = inode.kind == FileType::Directory;
    change(inode, |attr| {
        let own = attr.uid == caller.uid();
        let uid_ok = uid.is_none_or(|u| own && u == attr.uid);
        let gid_ok = gid.is_none_or(|g| own && (g == attr.gid || caller.in_group(g)));
        let allowed = cred.is_root() || (uid_ok && gid_ok);
        if !allowed {
            return Err(Errno::EPERM);
        }
        attr.uid = uid.unwrap_or(attr.uid);
        attr.gid = gid.unwrap_or(attr.gid);
        if !is_dir {
            attr.mode = without_privileges(attr.mode);
        }
        Ok(())
    })
}

/// utimensat. Errors: `EPERM` for an explicit time by another than the owner; `EACCES` for "now" without write permission.
pub fn utimens(inode: &Arc<Inode>, atime: SetTime, mtime: SetTime, caller: &dyn Caller) -> Result<()> {
    if atime == SetTime::Omit && mtime == SetTime::Omit {
        return Ok(());
    }
    let cred = Cred::of(caller);
    if cred.require_owner(inode).is_err() {
        if atime != SetTime::Now || mtime != SetTime::Now {
            return Err(Errno::EPERM);
        }
        cred.may(inode, Access::WRITE)?;
    }
    let now = Timespec::now();
    let pick = |new: SetTime, old: Timespec| match new {
        SetTime::Omit => old,
        SetTime::Now => now,
        SetTime::To(time) => time,
    };
    change(inode, |attr| {
        attr.atime = pick(atime, attr.atime);
        attr.mtime = pick(mtime, attr.mtime);
        Ok(())
    })
}

/// Changes attributes under the inode lock and the change time with them.
fn change(inode: &Arc<Inode>, f: impl FnOnce(&mut Attr) -> Result<()>) -> Result<()> {
    let _change = Change::begin(&inode.sb)?;
    let _inode = inode.lock.write();
    let now = Timespec::now();
    inode.update_attr(|attr| {
        if attr.immutable {
            return Err(Errno::EPERM);
        }
        let before = *attr;
        f(attr).inspect_err(|_| *attr = before)?;
        attr.ctime = now;
        Ok(())
    })?;
    inode.ops().dirty_inode(inode)
}

/// The mode without setuid, and without setgid where the group may execute.
fn without_privileges(mode: u16) -> u16 {
    let mode = mode & !SETUID;
    if mode & GROUP_EXEC != 0 { mode & !SETGID } else { mode }
}

/// Whether a change of the contents by `caller` takes privileges off `inode` (CHK-6): fast when there are none.
pub fn needs_privilege_removal(inode: &Inode, caller: &dyn Caller) -> bool {
    let mode = inode.with_attr(|a| a.mode);
    without_privileges(mode) != mode && caller.uid() != 0
}

/// Takes setuid and setgid off, as a write or truncate must (CHK-6). The inode lock is held exclusively. Errors: of the disk.
pub fn remove_privileges(inode: &Arc<Inode>) -> Result<()> {
    let now = Timespec::now();
    inode.update_attr(|attr| {
        attr.mode = without_privileges(attr.mode);
        attr.ctime = now;
    });
    inode.ops().dirty_inode(inode)
}

/// truncate by path: the inode was found by a walk. Errors: as truncate(2).
pub fn truncate(inode: &Arc<Inode>, size: u64, caller: &dyn Caller) -> Result<()> {
    match inode.kind {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    Cred::of(caller).may(inode, Access::WRITE)?;
    if inode.with_attr(|a| a.append_only || a.immutable) {
        return Err(Errno::EPERM);
    }
    truncate_checked(inode, size, caller)
}

/// ftruncate. Errors: `EINVAL` if the file is not open for writing or not regular, and as truncate(2).
pub fn ftruncate(file: &File, size: u64, caller: &dyn Caller) -> Result<()> {
    let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
    if inode.kind != FileType::Regular || !file.writable() {
        return Err(Errno::EINVAL);
    }
    if inode.with_attr(|a| a.append_only) {
        return Err(Errno::EPERM);
    }
    truncate_checked(inode, size, caller)
}

/// The part that all truncates share, O_TRUNC included (TRC-12). Permission was checked.
pub(super) fn truncate_checked(inode: &Arc<Inode>, size: u64, caller: &dyn Caller) -> Result<()> {
    if size > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    if size > inode.size() && size > caller.file_size_limit() {
        caller.file_size_exceeded();
        return Err(Errno::EFBIG);
    }
    let _change = Change::begin(&inode.sb)?;
    if needs_privilege_removal(inode, caller) {
        let _inode = inode.lock.write();
        remove_privileges(inode)?;
    }
    inode.ops().truncate(inode, size, caller)
}
