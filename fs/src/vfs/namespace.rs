//! Name operations but rename: mkdir, mknod, symlink, link, unlink, rmdir.
//!
//! # Locks
//! `Freeze(write)`, then the inode lock of the directory exclusively, then that of the victim (exclusively), as `docs/LOCKS.md` has it.
//! The victim's lock keeps `link` from giving a new name to an inode that loses its last one, and keeps anything from being
//! created in a directory that is being removed. Inodes are let go with no lock held, because that may evict them.
use super::mount::{Site, Vfs};
use super::perm::Cred;
use super::walk::{Last, Walk, enter, lookup_locked};
use super::{FileType, FreezeGuard, FreezeLevel, Inode, SuperBlock, WriteAccess, iput};
use alloc::vec::Vec;
use base::sync::Arc;
use base::sync::atomic::Ordering;
use base::{Errno, Result};

/// What every change of a file system holds for its length: write access and freeze protection.
#[must_use = "the change ends when this is dropped"]
pub struct Change {
    _freeze: FreezeGuard,
    _access: WriteAccess,
}

impl Change {
    /// Begins a change. May sleep while the super block is frozen. Errors: `EROFS`, `EIO` after a shutdown.
    pub fn begin(sb: &Arc<SuperBlock>) -> Result<Change> {
        if sb.is_shut_down() {
            return Err(Errno::EIO);
        }
        let access = WriteAccess::take(sb)?;
        Ok(Change { _freeze: FreezeGuard::enter(sb, FreezeLevel::Write), _access: access })
    }
}

impl Vfs {
    /// Makes a directory. Errors: as mkdir(2).
    pub fn mkdir(&self, site: Site<'_>, path: &[u8], mode: u16) -> Result<()> {
        let mode = mode & !site.caller.umask() & 0o1777;
        self.add_entry(site, path, true, |dir, name| dir.ops().mkdir(dir, name, mode, site.caller))
    }

    /// Makes a regular file, a device node, a fifo or a socket. Errors: as mknod(2); `EPERM` for a device by any but root.
    pub fn mknod(&self, site: Site<'_>, path: &[u8], kind: FileType, mode: u16, rdev: u64) -> Result<()> {
        let device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        if matches!(kind, FileType::Directory | FileType::Symlink) || (device && site.caller.uid() != 0) {
            return Err(Errno::EPERM);
        }
        let mode = mode & !site.caller.umask() & 0o7777;
        self.add_entry(site, path, false, |dir, name| dir.ops().create(dir, name, kind, mode, rdev, site.caller))
    }

    /// Makes a symbolic link at `path` to `target`. Errors: as symlink(2).
    pub fn symlink(&self, site: Site<'_>, target: &[u8], path: &[u8]) -> Result<()> {
        match target.len() {
            0 => return Err(Errno::ENOENT),
            4096.. => return Err(Errno::ENAMETOOLONG),
            _ => {}
        }
        self.add_entry(site, path, false, |dir, name| dir.ops().symlink(dir, name, target, site.caller))
    }

    /// Gives `inode`, which was found by a walk, another name. Errors: as link(2).
    pub fn link(&self, inode: &Arc<Inode>, site: Site<'_>, path: &[u8]) -> Result<()> {
        if inode.kind == FileType::Directory || inode.with_attr(|a| a.append_only || a.immutable) {
            return Err(Errno::EPERM);
        }
        self.add_entry(site, path, false, |dir, name| {
            if !Arc::ptr_eq(&dir.sb, &inode.sb) {
                return Err(Errno::EXDEV);
            }
            let _victim = inode.lock.write();
            if inode.nlink() == 0 {
                return Err(Errno::ENOENT);
            }
            dir.ops().link(dir, name, inode)?;
            Ok(inode.clone())
        })
    }

    /// The common part of making a name: walk, checks, locks, the name cache.
    fn add_entry(
        &self,
        site: Site<'_>,
        path: &[u8],
        directory: bool,
        make: impl FnOnce(&Arc<Inode>, &[u8]) -> Result<Arc<Inode>>,
    ) -> Result<()> {
        let mut walk = Walk::new(self, site, path)?;
        if walk.go_to_last()? != Last::Name {
            return Err(Errno::EEXIST);
        }
        let dir = walk.here.clone();
        if walk.peek()?.is_some() {
            return Err(Errno::EEXIST);
        }
        if walk.wants_directory() && !directory {
            return Err(Errno::ENOENT);
        }
        let _change = Change::begin(&dir.sb)?;
        let made = {
            let _names = dir.lock.write();
            if lookup_locked(&dir, walk.name())?.is_some() {
                return Err(Errno::EEXIST);
            }
            walk.cred.may_create(&dir)?;
            let made = make(&dir, walk.name())?;
            enter(&dir, walk.name(), Some(made.clone()));
            made
        };
        drop(made);
        self.shrink_if_due(&dir);
        Ok(())
    }

    /// Removes a name that is not a directory's. Errors: as unlink(2).
    pub fn unlink(&self, site: Site<'_>, path: &[u8]) -> Result<()> {
        self.remove_entry(site, path, false)
    }

    /// Removes an empty directory. Errors: as rmdir(2).
    pub fn rmdir(&self, site: Site<'_>, path: &[u8]) -> Result<()> {
        self.remove_entry(site, path, true)
    }

    fn remove_entry(&self, site: Site<'_>, path: &[u8], directory: bool) -> Result<()> {
        let mut walk = Walk::new(self, site, path)?;
        match (walk.go_to_last()?, directory) {
            (Last::Name, _) => {}
            (_, false) => return Err(Errno::EISDIR),
            (Last::Dot, true) => return Err(Errno::EINVAL),
            (Last::DotDot, true) => return Err(Errno::ENOTEMPTY),
            (Last::Root, true) => return Err(Errno::EBUSY),
        }
        let dir = walk.here.clone();
        walk.cred.may(&dir, super::Access::EXEC)?;
        let _change = Change::begin(&dir.sb)?;
        let (victim, names) = {
            let _names = dir.lock.write();
            let victim = lookup_locked(&dir, walk.name())?.ok_or(Errno::ENOENT)?;
            may_remove(&walk.cred, &dir, &victim, directory, walk.wants_directory())?;
            let locked = victim.lock.write_nested();
            match directory {
                true => dir.ops().rmdir(&dir, walk.name(), &victim)?,
                false => dir.ops().unlink(&dir, walk.name(), &victim)?,
            }
            enter(&dir, walk.name(), None);
            let names = bury(&victim);
            drop(locked);
            (victim, names)
        };
        drop(walk);
        names.into_iter().for_each(iput);
        iput(victim);
        Ok(())
    }

    /// The target of the symbolic link at `path`. Errors: `EINVAL` if it is none; those of the walk.
    pub fn readlink(&self, site: Site<'_>, path: &[u8]) -> Result<Vec<u8>> {
        let inode = self.lookup(site, path, false)?;
        match inode.kind {
            FileType::Symlink => inode.ops().readlink(&inode),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Lets the name cache of the super block shrink if it has grown. No inode lock is held.
    pub(super) fn shrink_if_due(&self, dir: &Arc<Inode>) {
        if dir.sb.names.is_due() {
            dir.sb.names.shrink();
        }
    }
}

/// The checks before a removal, in the order unlink(2) and rmdir(2) report them.
fn may_remove(cred: &Cred<'_>, dir: &Inode, victim: &Inode, directory: bool, slash: bool) -> Result<()> {
    cred.may_delete(dir, victim)?;
    match (&victim.dir, directory) {
        (None, true) => Err(Errno::ENOTDIR),
        (None, false) if slash => Err(Errno::ENOTDIR),
        (Some(_), false) => Err(Errno::EISDIR),
        (Some(state), true) if state.is_mounted_on() => Err(Errno::EBUSY),
        _ => Ok(()),
    }
}

/// Marks a removed directory: nothing is created in it any more, and its cached names go. Its lock is held exclusively.
#[must_use = "the inodes are to be let go with no lock held"]
pub(super) fn bury(victim: &Inode) -> Vec<Arc<Inode>> {
    match &victim.dir {
        Some(state) => {
            state.dead.store(true, Ordering::Release);
            state.take_all()
        }
        None => Vec::new(),
    }
}
