//! The VFS over tmpfs trees, and the life cycle over a file system that only counts.
mod life;
mod mounts;
mod names;
mod walks;

use super::{OpenFlags, Site, Vfs};
use crate::caller::KernelCaller;
use crate::tmpfs;
use base::Result;
use base::sync::Arc;

/// A fresh tree, and short forms of its operations from the root.
pub(super) struct Tree {
    pub vfs: Arc<Vfs>,
    pub cwd: Arc<super::Inode>,
}

impl Tree {
    pub fn new() -> Tree {
        let vfs = Vfs::new(tmpfs::new(1, 0o755, 64, 1000), b"none", None).unwrap();
        let cwd = vfs.root();
        Tree { vfs, cwd }
    }
    pub fn site(&self) -> Site<'_> {
        Site { cwd: &self.cwd, caller: &KernelCaller }
    }
    pub fn touch(&self, path: &str) {
        self.open(path, OpenFlags::WRONLY | OpenFlags::CREAT).unwrap();
    }
    pub fn mkdir(&self, path: &str) {
        self.vfs.mkdir(self.site(), path.as_bytes(), 0o755).unwrap();
    }
    pub fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<super::File>> {
        self.vfs.open(self.site(), path.as_bytes(), flags, 0o644)
    }
    pub fn find(&self, path: &str) -> Result<Arc<super::Inode>> {
        self.vfs.lookup(self.site(), path.as_bytes(), true)
    }
    pub fn link_to(&self, target: &str, path: &str) {
        self.vfs.symlink(self.site(), target.as_bytes(), path.as_bytes()).unwrap();
    }
    pub fn rename(&self, old: &str, new: &str) -> Result<()> {
        self.vfs.rename(self.site(), old.as_bytes(), self.site(), new.as_bytes(), false)
    }
}
