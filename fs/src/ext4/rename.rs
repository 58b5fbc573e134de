//! Moving a name.
use super::dir::Dir;
use super::inode::Ext4Inode;
use super::namei::{
    NAME_CREDITS, add_subdirectory, check_can_hold_directory, drop_link, remove_entry, remove_subdirectory, store,
    touch,
};
use super::txn::Handle;
use crate::vfs::{FileType, Inode, Timespec};
use base::sync::Arc;
use base::{Errno, Result};

/// One rename; the VFS holds the locks of both directories, of `inode` if it is a directory that moves, and of `target`.
pub(super) struct Rename<'a> {
    pub old_dir: &'a Arc<Inode>,
    pub old_name: &'a [u8],
    pub inode: &'a Arc<Inode>,
    pub new_dir: &'a Arc<Inode>,
    pub new_name: &'a [u8],
    pub target: Option<&'a Arc<Inode>>,
}

impl Rename<'_> {
    /// Does it: the new name first, then the old one goes, so that a power cut in between leaves two names and never none.
    /// Errors: `ENOTEMPTY`, `EMLINK`, `ENOSPC`, `ENOENT`, `EIO`, `EUCLEAN`.
    pub fn run(&self) -> Result<()> {
        self.check()?;
        let own = Ext4Inode::of(self.old_dir);
        let mut handle = own.fs.begin(NAME_CREDITS)?;
        self.enter(&mut handle)?;
        if let Err(error) = remove_entry(&mut handle, self.old_dir, self.old_name, self.inode) {
            self.take_back(&mut handle)?;
            return Err(error);
        }
        self.settle_directories(&mut handle)?;
        self.inode.update_attr(|attr| attr.ctime = Timespec::now());
        store(&mut handle, self.inode)?;
        self.target.map_or(Ok(()), |target| drop_link(&mut handle, target))
    }

    fn moves_directory(&self) -> bool {
        self.inode.kind == FileType::Directory && !Arc::ptr_eq(self.old_dir, self.new_dir)
    }

    fn target_directory(&self) -> Option<&Arc<Inode>> {
        self.target.filter(|target| target.kind == FileType::Directory)
    }

    fn check(&self) -> Result<()> {
        match self.target_directory() {
            Some(target) if !Dir::new(target).is_empty()? => Err(Errno::ENOTEMPTY),
            None if self.moves_directory() => check_can_hold_directory(self.new_dir),
            _ if self.new_dir.nlink() == 0 => Err(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    fn enter(&self, handle: &mut Handle<'_>) -> Result<()> {
        let (dir, ino) = (Dir::new(self.new_dir), Ext4Inode::of(self.inode).ino);
        match self.target {
            Some(_) => dir.replace(handle, self.new_name, ino, self.inode.kind),
            None => dir.add(handle, self.new_name, ino, self.inode.kind),
        }
    }

    /// The old name could not be removed: the new one goes again.
    fn take_back(&self, handle: &mut Handle<'_>) -> Result<()> {
        let dir = Dir::new(self.new_dir);
        match self.target {
            Some(target) => dir.replace(handle, self.new_name, Ext4Inode::of(target).ino, target.kind),
            None => dir.remove(handle, self.new_name).map(|_| ()),
        }
    }

    /// `..` of a moved directory, link counts and times of both directories.
    fn settle_directories(&self, handle: &mut Handle<'_>) -> Result<()> {
        if self.moves_directory() {
            Dir::new(self.inode).set_parent(handle, Ext4Inode::of(self.new_dir).ino)?;
            add_subdirectory(self.new_dir);
            remove_subdirectory(self.old_dir);
        }
        if self.target_directory().is_some() {
            remove_subdirectory(self.new_dir);
        }
        touch(self.old_dir);
        store(handle, self.old_dir)?;
        if !Arc::ptr_eq(self.old_dir, self.new_dir) {
            touch(self.new_dir);
            store(handle, self.new_dir)?;
        }
        Ok(())
    }
}
