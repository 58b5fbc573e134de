//! rename: the one operation on two directories.
//!
//! # Locks
//! 1. `Freeze(write)`.
//! 2. Two different directories: the [`Vfs`]'s rename mutex. While it is held no directory changes its parent, so the loop check below is
//!    final, and of two renames in opposite directions only one is at the next step.
//! 3. The directories' inode locks: the ancestor first if one is above the other (as a walk down would), else by inode number.
//! 4. The inode locks of the source, if it is a directory that gets a new parent, and of the target. Whoever holds one of them
//!    as a parent waits only for locks further down, never for those of step 3.
use super::mount::{Site, Vfs};
use super::namespace::bury;
use super::perm::{Access, Cred};
use super::walk::{Last, Walk, enter, lookup_locked};
use super::{Change, FileType, Inode, iput};
use alloc::vec::Vec;
use base::sync::{Arc, MutexGuard, WriteGuard};
use base::{Errno, Result};

/// The two directories of a rename, locked.
struct Locked<'a> {
    _first: WriteGuard<'a, ()>,
    _second: Option<WriteGuard<'a, ()>>,
    _tree: Option<MutexGuard<'a, ()>>,
}

impl Vfs {
    /// Moves `old` to `new`, replacing what is there unless `no_replace`. Errors: as rename(2).
    pub fn rename(
        &self,
        old_site: Site<'_>,
        old: &[u8],
        new_site: Site<'_>,
        new: &[u8],
        no_replace: bool,
    ) -> Result<()> {
        let mut from = Walk::new(self, old_site, old)?;
        let mut to = Walk::new(self, new_site, new)?;
        let (from_last, to_last) = (from.go_to_last()?, to.go_to_last()?);
        if !Arc::ptr_eq(&from.here.sb, &to.here.sb) {
            return Err(Errno::EXDEV);
        }
        if from_last != Last::Name {
            return Err(Errno::EBUSY);
        }
        if to_last != Last::Name {
            return Err(if no_replace { Errno::EEXIST } else { Errno::EBUSY });
        }
        let _change = Change::begin(&from.here.sb)?;
        let freed = {
            let _locked = self.lock_both(&from.here, &to.here);
            self.rename_locked(&from, &to, no_replace)?
        };
        freed.into_iter().for_each(iput);
        Ok(())
    }

    fn lock_both<'a>(&'a self, a: &'a Arc<Inode>, b: &'a Arc<Inode>) -> Locked<'a> {
        if Arc::ptr_eq(a, b) {
            return Locked { _first: a.lock.write(), _second: None, _tree: None };
        }
        let tree = self.rename.lock();
        let a_first = is_above(a, b) || (!is_above(b, a) && a.ino < b.ino);
        let (first, second) = if a_first { (a, b) } else { (b, a) };
        let first = first.lock.write();
        Locked { _first: first, _second: Some(second.lock.write_nested()), _tree: Some(tree) }
    }

    /// Both directories are locked. Returns the inodes to let go of afterwards.
    fn rename_locked(&self, from: &Walk<'_>, to: &Walk<'_>, no_replace: bool) -> Result<Vec<Arc<Inode>>> {
        let (old_dir, new_dir) = (&from.here, &to.here);
        let source = lookup_locked(old_dir, from.name())?.ok_or(Errno::ENOENT)?;
        let target = lookup_locked(new_dir, to.name())?;
        let is_dir = source.kind == FileType::Directory;
        if (from.wants_directory() || to.wants_directory()) && !is_dir {
            return Err(Errno::ENOTDIR);
        }
        if target.is_some() && no_replace {
            return Err(Errno::EEXIST);
        }
        if is_dir && (Arc::ptr_eq(&source, new_dir) || is_above(&source, new_dir)) {
            return Err(Errno::EINVAL);
        }
        from.cred.may_delete(old_dir, &source)?;
        match &target {
            Some(target) if Arc::ptr_eq(&source, target) => return Ok(Vec::new()),
            Some(target) => may_replace(&from.cred, new_dir, &source, target, old_dir)?,
            None => from.cred.may_create(new_dir)?,
        }
        let moves = is_dir && !Arc::ptr_eq(old_dir, new_dir);
        if moves {
            // Its `..` changes.
            from.cred.may(&source, Access::WRITE)?;
        }
        if is_mounted_on(&source) || target.as_ref().is_some_and(is_mounted_on) {
            return Err(Errno::EBUSY);
        }
        let _source = moves.then(|| source.lock.write_nested());
        let _target = target.as_ref().map(|t| t.lock.write_nested());
        old_dir.ops().rename(old_dir, from.name(), &source, new_dir, to.name(), target.as_ref())?;
        enter(old_dir, from.name(), None);
        enter(new_dir, to.name(), Some(source.clone()));
        let mut freed = target.as_deref().map(bury).unwrap_or_default();
        drop(_target);
        freed.extend(target);
        Ok(freed)
    }
}

fn is_mounted_on(inode: &Arc<Inode>) -> bool {
    inode.dir.as_ref().is_some_and(|d| d.is_mounted_on())
}

fn may_replace(
    cred: &Cred<'_>,
    new_dir: &Inode,
    source: &Inode,
    target: &Arc<Inode>,
    old_dir: &Arc<Inode>,
) -> Result<()> {
    cred.may_delete(new_dir, target)?;
    match (source.kind == FileType::Directory, target.kind == FileType::Directory) {
        (true, false) => Err(Errno::ENOTDIR),
        (false, true) => Err(Errno::EISDIR),
        // Above the source, or its directory itself: it holds at least that one.
        (true, true) if Arc::ptr_eq(target, old_dir) || is_above(target, old_dir) => Err(Errno::ENOTEMPTY),
        _ => Ok(()),
    }
}

/// Whether directory `a` is a proper ancestor of `b` on the same file system.
fn is_above(a: &Arc<Inode>, b: &Arc<Inode>) -> bool {
    let mut here = b.clone();
    while let Some(parent) = here.dir.as_ref().and_then(|d| d.parent()) {
        if Arc::ptr_eq(&parent, a) {
            return true;
        }
        here = parent;
    }
    false
}
