//! tmpfs: files that live in memory only.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | the super block: limits, making inodes |
//! | `dir` | directories: entries by name and by position |
//! | `file` | regular files: page frames by index |
//!
//! Enough for `/tmp`, `/dev/shm`, memory that programs share, and the tree under devfs. Its pages are in no page cache: shared mappings show the
//! frames themselves. What it does not do: swap, `RWF_WRITETHROUGH` and O_DIRECT (there is no device to write through to: `EOPNOTSUPP`, `EINVAL`).
mod dir;
mod file;

use crate::caller::Caller;
use crate::vfs::{
    Attr, File, FileOps, FileType, Inode, InodeOps, MemoryFrames, OpenFlags, StatFs, SuperBlock, SuperOps, Timespec,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::sync::Arc;
use base::sync::atomic::{AtomicU64, Ordering};
use base::{Errno, PAGE_SIZE, Result};
use file::Contents;

/// The magic number of `statfs`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const SETGID: u16 = 0o2000;

/// Makes a file system and returns its root directory, with permission bits `mode`. At most `max_pages` page frames of file
/// data and `max_inodes` inodes.
pub fn new(dev: u64, mode: u16, max_pages: u64, max_inodes: u64) -> Arc<Inode> {
    with_name("tmpfs", dev, mode, max_pages, max_inodes)
}

/// A file of `size` bytes in the file system of the directory `root` that no directory has: memory that is shared. It goes with its last
/// reference, at once. Its frames are counted in the limit of the file system. Errors: `ENOSPC` (too many inodes), `EXDEV` (no tmpfs).
pub fn unnamed(root: &Inode, size: u64, mode: u16, caller: &dyn Caller) -> Result<Arc<File>> {
    let space = &Node::of(root)?.space;
    if !space.inodes.take() {
        return Err(Errno::ENOSPC);
    }
    let contents = Arc::new(Contents::new(space.clone()));
    let owner = Owner { mode, uid: caller.uid(), gid: caller.gid(), rdev: 0 };
    // One link, so that nobody has to evict it when it goes.
    let inode = space.make(&root.sb, FileType::Regular, owner, 1, Body::File(contents.clone()));
    inode.set_size(size);
    Ok(File::new(Some(inode), OpenFlags::RDWR, contents))
}

/// As [`new`], under another type name.
pub(crate) fn with_name(name: &'static str, dev: u64, mode: u16, max_pages: u64, max_inodes: u64) -> Arc<Inode> {
    let space =
        Arc::new(Space { pages: Budget::new(max_pages), inodes: Budget::new(max_inodes), next_ino: AtomicU64::new(1) });
    let sb = SuperBlock::new(dev, Box::new(Super { name, space: space.clone() }));
    let owner = Owner { mode, uid: 0, gid: 0, rdev: 0 };
    // The budget of a new file system has room for its root unless it was made with none.
    space.inodes.take();
    space.make(&sb, FileType::Directory, owner, 2, Body::Directory(dir::Entries::new()))
}

/// A count with a limit.
struct Budget {
    used: AtomicU64,
    max: u64,
}

impl Budget {
    fn new(max: u64) -> Self {
        Budget { used: AtomicU64::new(0), max }
    }
    /// Takes one; false when none is left.
    fn take(&self) -> bool {
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.max).then_some(n + 1)).is_ok()
    }
    fn give_back(&self, n: u64) {
        self.used.fetch_sub(n, Ordering::Relaxed);
    }
    fn free(&self) -> u64 {
        self.max.saturating_sub(self.used.load(Ordering::Relaxed))
    }
}

/// What the inodes of one file system share.
struct Space {
    pages: Budget,
    inodes: Budget,
    next_ino: AtomicU64,
}

struct Owner {
    mode: u16,
    uid: u32,
    gid: u32,
    rdev: u64,
}

impl Space {
    fn make(
        self: &Arc<Self>,
        sb: &Arc<SuperBlock>,
        kind: FileType,
        owner: Owner,
        nlink: u32,
        body: Body,
    ) -> Arc<Inode> {
        let attr =
            Attr { uid: owner.uid, gid: owner.gid, nlink, rdev: owner.rdev, ..Attr::new(owner.mode, Timespec::now()) };
        let size = if let Body::Symlink(target) = &body { target.len() as u64 } else { 0 };
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let inode = Inode::new(sb.clone(), ino, kind, attr, size, Box::new(Node { space: self.clone(), body }));
        sb.inodes().insert_new(&inode);
        inode
    }
}

/// The private part of an inode.
struct Node {
    space: Arc<Space>,
    body: Body,
}

/// What a new inode is to be.
struct New {
    kind: FileType,
    mode: u16,
    rdev: u64,
    body: Body,
}

enum Body {
    Directory(dir::Entries),
    File(Arc<Contents>),
    Symlink(Vec<u8>),
    /// A device node, fifo or socket: the VFS opens it by its number.
    Special,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.space.inodes.give_back(1);
    }
}

impl Node {
    fn of(inode: &Inode) -> Result<&Node> {
        inode.ops().as_any().downcast_ref().ok_or(Errno::EXDEV)
    }
    fn entries(&self) -> Result<&dir::Entries> {
        match &self.body {
            Body::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }
    /// Makes an inode and enters it into `dir` as `name`.
    fn add(&self, dir: &Arc<Inode>, name: &[u8], new: New, caller: &dyn Caller) -> Result<Arc<Inode>> {
        let New { kind, mode, rdev, body } = new;
        let entries = self.entries()?;
        if !self.space.inodes.take() {
            return Err(Errno::ENOSPC);
        }
        let is_dir = kind == FileType::Directory;
        // A setgid directory hands its group down, and to directories the bit too.
        let (dir_mode, dir_gid) = dir.with_attr(|a| (a.mode, a.gid));
        let inherits = dir_mode & SETGID != 0;
        let owner = Owner {
            mode: if inherits && is_dir { mode | SETGID } else { mode },
            uid: caller.uid(),
            gid: if inherits { dir_gid } else { caller.gid() },
            rdev,
        };
        let inode = self.space.make(&dir.sb, kind, owner, if is_dir { 2 } else { 1 }, body);
        entries.insert(name, inode.clone());
        touch(dir, i32::from(is_dir));
        Ok(inode)
    }
}

/// Changes the times of a directory whose entries changed, and its link count by `links`.
fn touch(dir: &Inode, links: i32) {
    let now = Timespec::now();
    dir.update_attr(|a| {
        a.mtime = now;
        a.ctime = now;
        a.nlink = a.nlink.saturating_add_signed(links);
    });
}

/// Takes `links` links off an inode.
fn unlink_from(inode: &Inode, links: u32) {
    let now = Timespec::now();
    inode.update_attr(|a| {
        a.ctime = now;
        a.nlink = a.nlink.saturating_sub(links);
    });
}

impl InodeOps for Node {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        match &self.body {
            Body::File(contents) => Ok(contents.clone()),
            _ => Err(Errno::ENXIO),
        }
    }
    fn lookup(&self, _dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        self.entries()?.find(name).ok_or(Errno::ENOENT)
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
        let body = match kind {
            FileType::Regular => Body::File(Arc::new(Contents::new(self.space.clone()))),
            _ => Body::Special,
        };
        self.add(dir, name, New { kind, mode, rdev, body }, caller)
    }
    fn mkdir(&self, dir: &Arc<Inode>, name: &[u8], mode: u16, caller: &dyn Caller) -> Result<Arc<Inode>> {
        let body = Body::Directory(dir::Entries::new());
        self.add(dir, name, New { kind: FileType::Directory, mode, rdev: 0, body }, caller)
    }
    fn symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], caller: &dyn Caller) -> Result<Arc<Inode>> {
        let body = Body::Symlink(target.to_vec());
        self.add(dir, name, New { kind: FileType::Symlink, mode: 0o777, rdev: 0, body }, caller)
    }
    fn link(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        let now = Timespec::now();
        inode.update_attr(|a| {
            a.nlink = a.nlink.checked_add(1).ok_or(Errno::EMLINK)?;
            a.ctime = now;
            Ok(())
        })?;
        self.entries()?.insert(name, inode.clone());
        touch(dir, 0);
        Ok(())
    }
    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        self.entries()?.remove(name);
        unlink_from(inode, 1);
        touch(dir, 0);
        Ok(())
    }
    fn rmdir(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        if !Node::of(inode)?.entries()?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.entries()?.remove(name);
        unlink_from(inode, 2);
        touch(dir, -1);
        Ok(())
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
        let is_dir = inode.kind == FileType::Directory;
        let (from, to) = (self.entries()?, Node::of(new_dir)?.entries()?);
        if let Some(target) = target {
            if is_dir && !Node::of(target)?.entries()?.is_empty() {
                return Err(Errno::ENOTEMPTY);
            }
            unlink_from(target, if is_dir { 2 } else { 1 });
        }
        from.remove(old_name);
        to.remove(new_name);
        to.insert(new_name, inode.clone());
        // A directory's `..` counts as a link of its parent.
        touch(old_dir, -i32::from(is_dir));
        touch(new_dir, i32::from(is_dir && target.is_none()));
        unlink_from(inode, 0);
        Ok(())
    }
    fn readdir(
        &self,
        dir: &Arc<Inode>,
        pos: u64,
        emit: &mut dyn FnMut(crate::vfs::DirEntry<'_>) -> bool,
    ) -> Result<()> {
        self.entries()?.list(dir, pos, emit);
        Ok(())
    }
    fn readlink(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        match &self.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }
    fn truncate(&self, inode: &Arc<Inode>, size: u64, _caller: &dyn Caller) -> Result<()> {
        match &self.body {
            Body::File(contents) => contents.truncate(inode, size),
            _ => Err(Errno::EINVAL),
        }
    }
    fn fsync(&self, _inode: &Arc<Inode>, _kind: crate::vfs::SyncKind) -> Result<()> {
        Ok(())
    }
    fn frames(&self) -> Option<&dyn MemoryFrames> {
        match &self.body {
            Body::File(contents) => Some(&**contents),
            _ => None,
        }
    }
}

struct Super {
    name: &'static str,
    space: Arc<Space>,
}

impl SuperOps for Super {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn type_name(&self) -> &'static str {
        self.name
    }
    fn statfs(&self) -> StatFs {
        let free = self.space.pages.free();
        StatFs {
            magic: TMPFS_MAGIC,
            block_size: PAGE_SIZE as u64,
            blocks: self.space.pages.max,
            blocks_free: free,
            blocks_available: free,
            inodes: self.space.inodes.max,
            inodes_free: self.space.inodes.free(),
            name_max: 255,
            ..StatFs::default()
        }
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    fn unmount(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
