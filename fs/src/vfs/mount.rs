//! The mount table, and the [`Vfs`] that holds it together with what all mounts share.
use super::device::DeviceTable;
use super::{FileType, Inode, SuperBlock};
use crate::caller::Caller;
use alloc::vec::Vec;
use base::sync::atomic::Ordering;
use base::sync::{Arc, Mutex, Rank, SpinLock};
use base::workqueue::WorkQueue;
use base::{Errno, Result};

/// One file-system tree: everything below one root, mounts included.
pub struct Vfs {
    mounts: SpinLock<Vec<Mount>>,
    /// What opens device nodes, on whichever file system they stand.
    pub devices: DeviceTable,
    /// Held by a rename between two directories: while it is, no directory moves, so "is an ancestor of" is a stable question.
    pub(super) rename: Mutex<()>,
    /// Where workers hand over last references; given to each super block at mount.
    release: Option<Arc<WorkQueue>>,
}

/// A mounted file system.
#[derive(Clone)]
pub struct Mount {
    /// Its root directory.
    pub root: Arc<Inode>,
    /// The directory it stands on; `None` for the root of all.
    pub covered: Option<Arc<Inode>>,
    /// The path it was mounted at and the source it was given: for `/proc/mounts`.
    pub path: Vec<u8>,
    /// What was mounted, such as `/dev/vda`.
    pub source: Vec<u8>,
}

/// Where a relative path starts, and who asks.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The current directory, or the directory of an `*at` call.
    pub cwd: &'a Arc<Inode>,
    /// Credentials and umask.
    pub caller: &'a dyn Caller,
}

impl Vfs {
    /// A tree whose root is the root directory `root` of a file system. `release` is the queue where completion workers hand
    /// over last references (PRC-4); without one they wait for the next sync. Errors: `ENOTDIR`.
    pub fn new(root: Arc<Inode>, source: &[u8], release: Option<Arc<WorkQueue>>) -> Result<Arc<Vfs>> {
        if root.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let vfs = Vfs {
            mounts: SpinLock::new(Vec::new()),
            devices: DeviceTable::new(),
            rename: Mutex::new(Rank::Rename, ()),
            release,
        };
        vfs.add(Mount { root, covered: None, path: b"/".to_vec(), source: source.to_vec() });
        Ok(Arc::new(vfs))
    }

    /// The root directory.
    pub fn root(&self) -> Arc<Inode> {
        self.mounts.lock().first().map(|m| m.root.clone()).unwrap_or_else(|| unreachable!("the root stays mounted"))
    }

    /// The mounts, in the order they were made.
    pub fn mounts(&self) -> Vec<Mount> {
        self.mounts.lock().clone()
    }

    /// Mounts a file system on the directory `path`. Errors: those of the walk, `ENOTDIR`, `EBUSY` if something is mounted there.
    pub fn mount(&self, site: Site<'_>, path: &[u8], root: Arc<Inode>, source: &[u8]) -> Result<()> {
        let covered = self.lookup(site, path, true)?;
        let Some(dir) = &covered.dir else { return Err(Errno::ENOTDIR) };
        let _names = covered.lock.write();
        if dir.is_dead() {
            return Err(Errno::ENOENT);
        }
        if self.mounts.lock().iter().any(|m| Arc::ptr_eq(&m.root, &root) || Arc::ptr_eq(&m.root, &covered)) {
            return Err(Errno::EBUSY);
        }
        if dir.mounted.swap(true, Ordering::AcqRel) {
            return Err(Errno::EBUSY);
        }
        let path = self.path_of(&covered).unwrap_or_else(|_| path.to_vec());
        self.add(Mount { root, covered: Some(covered.clone()), path, source: source.to_vec() });
        Ok(())
    }

    fn add(&self, mount: Mount) {
        if let Some(queue) = &self.release {
            mount.root.sb.release.start(queue.clone());
        }
        self.mounts.lock().push(mount);
    }

    /// Unmounts what is mounted at `path` (UMT-1). Errors: `EINVAL` if nothing is, `EBUSY` while files are open or something is
    /// mounted below; those of the last sync.
    pub fn unmount(&self, site: Site<'_>, path: &[u8]) -> Result<()> {
        let root = self.lookup(site, path, true)?;
        let mount = self.mount_of_root(&root).ok_or(Errno::EINVAL)?;
        let Some(covered) = mount.covered.clone() else { return Err(Errno::EBUSY) };
        drop(root);
        let ended = self.tear_down(&mount);
        if !mount.root.sb.has_ended() {
            return ended;
        }
        self.mounts.lock().retain(|m| !Arc::ptr_eq(&m.root, &mount.root));
        if let Some(dir) = &covered.dir {
            dir.mounted.store(false, Ordering::Release);
        }
        ended
    }

    /// Unmounts everything, the innermost first, for power-off. Every mount is tried. Errors: the first one.
    pub fn unmount_all(&self) -> Result<()> {
        let mut result = Ok(());
        for mount in self.mounts().iter().rev() {
            let done = self.tear_down(mount);
            result = result.and(done);
        }
        result
    }

    /// The orderly end of a super block: files gone, inodes written and let go, then the file system's own end. An error that may pass
    /// leaves it mounted as it was; data or changes that are lost for good are told, and end it all the same.
    fn tear_down(&self, mount: &Mount) -> Result<()> {
        let sb = &mount.root.sb;
        sb.release.settle();
        let busy = |sb: &SuperBlock| sb.open_files() != 0 || sb.writer_count() != 0 || sb.freeze_holders() != 0;
        if busy(sb) {
            return Err(Errno::EBUSY);
        }
        let below = self.mounts.lock().iter().any(|m| m.covered.as_ref().is_some_and(|c| c.sb.dev == sb.dev));
        if below && mount.covered.is_some() {
            return Err(Errno::EBUSY);
        }
        // After an error that has ended all changes no later try does better: the end comes all the same, and tells of it (SHD-1).
        let unless_given_up = |result: Result<()>| if sb.is_read_only() { Ok(result) } else { result.map(Ok) };
        // Nobody is left to hear of earlier ones from fsync; of data that is lost from here on this call tells.
        let before = sb.wb_err.sample();
        let _ = sb.wb_err.report(&before);
        // Who has shut it down by force has given up what is not on the disk (SHD-1).
        let synced = if sb.is_shut_down() { Ok(()) } else { unless_given_up(sb.ops().sync())? };
        sb.drop_names(&mount.root);
        sb.ops().settle();
        sb.release.settle();
        if busy(sb) {
            return Err(Errno::EBUSY);
        }
        let ended = unless_given_up(sb.ops().unmount())?;
        sb.end();
        synced.and(ended).and(sb.wb_err.report(&before))
    }

    /// Makes the file system of `inode` read-only (RO-1) or writable again. Errors: `EBUSY` while somebody may write; `EROFS` after a
    /// shutdown; those of the sync and of the file system.
    pub fn remount(&self, inode: &Arc<Inode>, read_only: bool) -> Result<()> {
        let sb = &inode.sb;
        if sb.is_shut_down() {
            return Err(Errno::EROFS);
        }
        if read_only == sb.is_read_only() {
            return Ok(());
        }
        if !read_only {
            sb.ops().remount(false)?;
            sb.writers.reopen();
            return Ok(());
        }
        sb.release.settle();
        sb.writers.close()?;
        let done = sb.ops().sync().and_then(|()| sb.ops().remount(true));
        if done.is_err() {
            sb.writers.reopen();
        }
        done
    }

    /// The root of what is mounted on `dir`, or `dir` itself.
    #[inline]
    pub(super) fn cross_down(&self, dir: Arc<Inode>) -> Arc<Inode> {
        match &dir.dir {
            Some(state) if state.is_mounted_on() => self.mounted_on(&dir).unwrap_or(dir),
            _ => dir,
        }
    }

    fn mounted_on(&self, dir: &Arc<Inode>) -> Option<Arc<Inode>> {
        let mounts = self.mounts.lock();
        mounts.iter().find(|m| m.covered.as_ref().is_some_and(|c| Arc::ptr_eq(c, dir))).map(|m| m.root.clone())
    }

    pub(super) fn mount_of_root(&self, root: &Arc<Inode>) -> Option<Mount> {
        self.mounts.lock().iter().find(|m| Arc::ptr_eq(&m.root, root)).cloned()
    }

    /// The directory above `dir`, across the root of a mount; the root of all is its own parent. Errors: `ENOENT` for a
    /// directory that was removed.
    pub(super) fn parent_of(&self, dir: &Arc<Inode>) -> Result<Arc<Inode>> {
        let mut here = dir.clone();
        loop {
            if let Some(parent) = here.dir.as_ref().and_then(|d| d.parent()) {
                return Ok(parent);
            }
            match self.mount_of_root(&here).ok_or(Errno::ENOENT)?.covered {
                Some(covered) => here = covered,
                None => return Ok(here),
            }
        }
    }

    /// The absolute path of a directory: getcwd. Errors: `ENOENT` for a directory that was removed.
    pub fn path_of(&self, dir: &Arc<Inode>) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        let mut here = dir.clone();
        loop {
            if here.dir.as_ref().is_some_and(|d| d.is_dead()) {
                return Err(Errno::ENOENT);
            }
            if let Some((parent, name)) = here.dir.as_ref().and_then(|d| d.up()) {
                names.push(name);
                here = parent;
                continue;
            }
            match self.mount_of_root(&here).ok_or(Errno::ENOENT)?.covered {
                Some(covered) => here = covered,
                None => break,
            }
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(path)
    }
}

impl SuperBlock {
    /// Runs the releases that wait for a task because the super block has no queue for them.
    pub fn run_releases(&self) {
        self.release.run_parked();
    }

    /// Empties the name caches below `root`, from the leaves up and without recursion: trees can be deeper than a stack.
    pub(super) fn drop_names(&self, root: &Arc<Inode>) {
        let mut stack = Vec::from([root.clone()]);
        while let Some(inode) = stack.pop() {
            if let Some(dir) = &inode.dir {
                stack.extend(dir.take_all());
            }
            super::iput(inode);
        }
    }
}
