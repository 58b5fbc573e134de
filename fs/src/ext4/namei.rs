//! Operations on names: what a directory does for the VFS.
//!
//! Each is one change (one [`Handle`]), so that with a journal a power cut leaves all of it or nothing. Without one parts of a
//! commit may reach the disk. The order of the steps is such that an error half way leaves no entry that points to an inode that
//! was not initialised, and no inode is freed while an entry may still point to it: inode, then entry; entry away, then link
//! count, then (at eviction) the blocks.
use super::dir::{Dir, MAX_NAME};
use super::features::RoCompat;
use super::inode::{Ext4Inode, iget};
use super::txn::{Credits, Handle};
use super::{ROOT_INO, fiemap, fsync, ialloc, orphan, rename, symlink};
use crate::caller::Caller;
use crate::vfs::{DirEntry, FileExtent, FileOps, FileType, Inode, InodeOps, SyncKind, Timespec};
use base::sync::Arc;
use base::{Errno, Result};
use core::ops::Range;

/// Most names of one inode.
pub(super) const LINK_MAX: u32 = 65000;

/// A bound on the blocks that one operation on names touches: bitmaps, descriptors, inodes, and a leaf and two index nodes
/// split in each of two directories.
pub(super) const NAME_CREDITS: Credits = Credits(40);

/// The operations of a directory.
pub struct DirInode(pub Ext4Inode);

impl InodeOps for DirInode {
    fn as_any(&self) -> &dyn core::any::Any {
        &self.0
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::EISDIR)
    }
    fn evict(&self, inode: &Arc<Inode>) -> Result<()> {
        super::evict(inode)
    }
    /// The data of a directory are its names, and each change of them changes the inode's times: so fdatasync waits for those too.
    fn fsync(&self, inode: &Arc<Inode>, kind: SyncKind) -> Result<()> {
        let kind = if base::guard!("fdatasync", true) { SyncKind::All } else { kind };
        fsync::sync_inode(&self.0, inode, kind)
    }
    fn has_extents(&self) -> bool {
        true
    }
    fn report_extents(
        &self,
        inode: &Arc<Inode>,
        range: Range<u64>,
        emit: &mut dyn FnMut(&FileExtent) -> Result<bool>,
    ) -> Result<()> {
        fiemap::report(inode, range, emit)
    }
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        if name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        let found = Dir::new(dir).find(name)?.ok_or(Errno::ENOENT)?;
        let inode = iget(&dir.sb, found.ino)?;
        check_place(dir, &inode)?;
        Ok(inode)
    }
    fn create(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        kind: FileType,
        mode: u16,
        rdev: u64,
        caller: &dyn Caller,
    ) -> Result<Arc<Inode>> {
        self.0.fs.with_space(|| {
            let mut handle = self.begin_entry(dir, name)?;
            let inode = ialloc::new_inode(&mut handle, dir, kind, mode, rdev, caller)?;
            enter(&mut handle, dir, name, &inode)?;
            Ok(inode)
        })
    }
    fn mkdir(&self, dir: &Arc<Inode>, name: &[u8], mode: u16, caller: &dyn Caller) -> Result<Arc<Inode>> {
        check_can_hold_directory(dir)?;
        self.0.fs.with_space(|| {
            let mut handle = self.begin_entry(dir, name)?;
            let inode = ialloc::new_inode(&mut handle, dir, FileType::Directory, mode, 0, caller)?;
            if let Err(error) = Dir::new(&inode).init(&mut handle, self.0.ino) {
                return Err(abandon(&mut handle, &inode, error));
            }
            enter(&mut handle, dir, name, &inode)?;
            add_subdirectory(dir);
            store(&mut handle, dir)?;
            Ok(inode)
        })
    }
    fn symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], caller: &dyn Caller) -> Result<Arc<Inode>> {
        symlink::check_target(&self.0.fs, target)?;
        self.0.fs.with_space(|| {
            let mut handle = self.begin_entry(dir, name)?;
            let inode = ialloc::new_inode(&mut handle, dir, FileType::Symlink, 0o777, 0, caller)?;
            if let Err(error) = symlink::set_target(&mut handle, &inode, target) {
                return Err(abandon(&mut handle, &inode, error));
            }
            enter(&mut handle, dir, name, &inode)?;
            Ok(inode)
        })
    }
    fn link(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        self.0.fs.with_space(|| self.add_link(dir, name, inode))
    }
    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        let mut handle = self.0.fs.begin(NAME_CREDITS)?;
        remove_entry(&mut handle, dir, name, inode)?;
        touch(dir);
        store(&mut handle, dir)?;
        drop_link(&mut handle, inode)
    }
    fn rmdir(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        if !Dir::new(inode).is_empty()? {
            return Err(Errno::ENOTEMPTY);
        }
        let mut handle = self.0.fs.begin(NAME_CREDITS)?;
        remove_entry(&mut handle, dir, name, inode)?;
        remove_subdirectory(dir);
        touch(dir);
        store(&mut handle, dir)?;
        drop_link(&mut handle, inode)
    }
    fn rename(
        &self,
        old_dir: &Arc<Inode>,
        old_name: &[u8],
        inode: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        target: Option<&Arc<Inode>>,
    ) -> Result<()> {
        self.0.fs.with_space(|| rename::Rename { old_dir, old_name, inode, new_dir, new_name, target }.run())
    }
    fn readdir(&self, dir: &Arc<Inode>, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        Dir::new(dir).read_from(pos, emit)
    }
    fn dirty_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        self.0.mark_attr_dirty(inode)
    }
}

/// A directory stands in one place. With a second one names could lead in a circle, in which the way up has no end. Errors: `EUCLEAN`.
fn check_place(dir: &Arc<Inode>, found: &Arc<Inode>) -> Result<()> {
    let elsewhere = |parent: &Arc<Inode>| !Arc::ptr_eq(parent, dir);
    let twice = Ext4Inode::of(found).ino == ROOT_INO || found.parent().as_ref().is_some_and(elsewhere);
    if found.kind == FileType::Directory && (twice || Arc::ptr_eq(found, dir)) {
        return Err(Ext4Inode::of(dir).fs.corrupt("second entry of directory", found.ino));
    }
    Ok(())
}

impl DirInode {
    fn add_link(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        if inode.nlink() >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        let mut handle = self.begin_entry(dir, name)?;
        let change = |handle: &mut Handle<'_>, up: bool| {
            inode.update_attr(|attr| {
                attr.nlink = if up { attr.nlink.saturating_add(1) } else { attr.nlink.saturating_sub(1) };
                attr.ctime = Timespec::now();
            });
            store(handle, inode)
        };
        change(&mut handle, true)?;
        if let Err(error) = Dir::new(dir).add(&mut handle, name, Ext4Inode::of(inode).ino, inode.kind) {
            change(&mut handle, false)?;
            return Err(error);
        }
        touch(dir);
        store(&mut handle, dir)
    }

    /// Begins a change that adds a name. Errors: `ENAMETOOLONG`, `ENOENT` in a removed directory, those of a change.
    fn begin_entry(&self, dir: &Inode, name: &[u8]) -> Result<Handle<'_>> {
        if name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        if dir.nlink() == 0 {
            return Err(Errno::ENOENT);
        }
        self.0.fs.begin(NAME_CREDITS)
    }
}

/// Enters a new inode into `dir`, or gives it up.
fn enter(handle: &mut Handle<'_>, dir: &Inode, name: &[u8], inode: &Inode) -> Result<()> {
    if let Err(error) = Dir::new(dir).add(handle, name, Ext4Inode::of(inode).ino, inode.kind) {
        return Err(abandon(handle, inode, error));
    }
    touch(dir);
    store(handle, dir)
}

/// Takes away the links of a new inode that got no name: it is freed when its last reference goes. Gives `error` to hand on.
fn abandon(handle: &mut Handle<'_>, inode: &Inode, error: Errno) -> Errno {
    inode.update_attr(|attr| attr.nlink = 0);
    let listed = orphan::add(handle, inode).and_then(|()| store(handle, inode));
    listed.err().unwrap_or(error)
}

/// Removes the entry `name`, which must be that of `inode`.
pub(super) fn remove_entry(handle: &mut Handle<'_>, dir: &Inode, name: &[u8], inode: &Inode) -> Result<()> {
    let found = Dir::new(dir).remove(handle, name)?;
    if u64::from(found.ino) == inode.ino { Ok(()) } else { Err(handle.corrupt("directory entry of", dir.ino)) }
}

/// Takes one name from an inode whose entry is gone, a directory's last one; without names it goes on the orphan list.
pub(super) fn drop_link(handle: &mut Handle<'_>, inode: &Inode) -> Result<()> {
    let left = inode.update_attr(|attr| {
        attr.nlink = if inode.kind == FileType::Directory { 0 } else { attr.nlink.saturating_sub(1) };
        attr.ctime = Timespec::now();
        attr.nlink
    });
    if left == 0 {
        orphan::add(handle, inode)?;
    }
    store(handle, inode)
}

/// Sets the times of a directory whose entries changed.
pub(super) fn touch(dir: &Inode) {
    let now = Timespec::now();
    dir.update_attr(|attr| (attr.mtime, attr.ctime) = (now, now));
}

/// Writes an inode's attributes into its block within `handle`.
pub(super) fn store(handle: &mut Handle<'_>, inode: &Inode) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let core = own.core.read();
    own.store(handle, inode, &core, SyncKind::All)
}

/// Whether `..` of one more directory may point to `dir`. Beyond the limit a directory has the link count 1 for "many", where
/// the image has `dir_nlink`. Errors: `EMLINK`.
pub(super) fn check_can_hold_directory(dir: &Inode) -> Result<()> {
    let many = Ext4Inode::of(dir).fs.geo.ro_compat.contains(RoCompat::DIR_NLINK);
    if dir.nlink() < LINK_MAX || many { Ok(()) } else { Err(Errno::EMLINK) }
}

/// Counts the `..` of a new subdirectory.
pub(super) fn add_subdirectory(dir: &Inode) {
    dir.update_attr(|attr| match attr.nlink {
        0 | 1 => {}
        n if n + 1 >= LINK_MAX => attr.nlink = 1,
        n => attr.nlink = n + 1,
    });
}

/// Counts a subdirectory less. A count of 1, "many", stays.
pub(super) fn remove_subdirectory(dir: &Inode) {
    dir.update_attr(|attr| attr.nlink = if attr.nlink > 2 { attr.nlink - 1 } else { attr.nlink });
}
