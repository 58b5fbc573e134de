//! What a file system implements for its inodes.
use super::{DirEntry, FileOps, FileType, Inode};
use crate::caller::Caller;
use base::sync::Arc;
use base::{Errno, Page, Result};

/// What a file system implements for its inodes. Every method gets the generic inode as `inode` (or `dir`): `self` is the
/// private part hanging on it. Names are single components, never empty, `.` or `..`, checked by the path walk.
///
/// Directory operations are called with `dir.lock` held: shared for `lookup` and `readdir`, exclusive for changes (for rename
/// both directories, see `docs/LOCKS.md`). Permissions were checked by the VFS. The defaults refuse.
#[allow(unused_variables)]
pub trait InodeOps: Send + Sync + core::any::Any {
    /// Downcast to the file system's own type.
    fn as_any(&self) -> &dyn core::any::Any;

    /// The operations of an open file on this inode. Errors: `ENXIO`, `EACCES`, ...
    fn open(&self, inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>>;

    /// Finds an entry. Errors: `ENOENT`, `EIO`, `EUCLEAN` (corrupt).
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        Err(Errno::ENOTDIR)
    }
    /// Whether the VFS may keep the answers of `lookup`: not where entries come and go by themselves.
    fn caches_names(&self) -> bool {
        true
    }
    /// Makes a regular file (or a node with `rdev`). `mode` has the umask applied. Errors: `EEXIST`, `ENOSPC`.
    fn create(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        kind: FileType,
        mode: u16,
        rdev: u64,
        caller: &dyn Caller,
    ) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a directory.
    fn mkdir(&self, dir: &Arc<Inode>, name: &[u8], mode: u16, caller: &dyn Caller) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes a symbolic link to `target`.
    fn symlink(&self, dir: &Arc<Inode>, name: &[u8], target: &[u8], caller: &dyn Caller) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }
    /// Makes another name for `inode`. Errors: `EMLINK`, `EEXIST`.
    fn link(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Removes the name of `inode`, which is not a directory. The blocks go with [`Self::evict`].
    fn unlink(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Removes the empty directory `inode`. Errors: `ENOTEMPTY`.
    fn rmdir(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Moves `inode` from `old_name` in `old_dir` to `new_name` in `new_dir`, replacing `target` if there is one.
    /// With `no_replace` an existing target was refused by the VFS already.
    #[allow(clippy::too_many_arguments)]
    fn rename(
        &self,
        old_dir: &Arc<Inode>,
        old_name: &[u8],
        inode: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        target: Option<&Arc<Inode>>,
    ) -> Result<()> {
        Err(Errno::EPERM)
    }
    /// Gives entries, `.` and `..` among them, from position `pos` (0: the first) on until `emit` returns false (that entry was not taken).
    fn readdir(&self, dir: &Arc<Inode>, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        Err(Errno::ENOTDIR)
    }
    /// The target of a symbolic link, without a final NUL.
    fn readlink(&self, inode: &Arc<Inode>) -> Result<alloc::vec::Vec<u8>> {
        Err(Errno::EINVAL)
    }
    /// Sets the size (TRC-1). Freeze protection is held by the caller; the implementation takes the inode lock exclusively, drains, and so on.
    fn truncate(&self, inode: &Arc<Inode>, size: u64, caller: &dyn Caller) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// Tells that `update_attr` changed the inode: it must reach the disk with the next sync. Task context; may sleep.
    fn dirty_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        Ok(())
    }
    /// The last reference of an inode without links is gone: free its blocks and itself. Never on a completion queue (PRC-4).
    fn evict(&self, inode: &Arc<Inode>) -> Result<()> {
        Ok(())
    }
    /// Writes dirty folios of `range` and waits for them if `wait`; then metadata by `kind`; then flushes (SYN-1, DUR-11).
    fn fsync(&self, inode: &Arc<Inode>, kind: super::SyncKind) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// Whether [`Self::report_extents`] has an answer.
    fn has_extents(&self) -> bool {
        false
    }
    /// Tells `emit` of the extents that touch `range` (bytes), until it answers `false`. Takes the inode lock shared. Errors: `EFBIG` if the
    /// range begins past what a file can have; of the disk and of `emit`.
    fn report_extents(
        &self,
        inode: &Arc<Inode>,
        range: core::ops::Range<u64>,
        emit: &mut dyn FnMut(&super::FileExtent) -> Result<bool>,
    ) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }
    /// The iomap side of a regular file whose data is on a block device.
    fn iomap(&self) -> Option<&dyn crate::iomap::IomapOps> {
        None
    }
    /// The frames of a regular file that lives in memory alone.
    fn frames(&self) -> Option<&dyn MemoryFrames> {
        None
    }
}

/// A file whose data is page frames and nothing else: shared mappings show the frames themselves.
pub trait MemoryFrames {
    /// Calls `map` with the frame at `index`, which is made of zeros if there is none. False: the page lies wholly past the end of the file.
    /// `map` runs under the spin lock of the frames and takes page-table locks only: whoever takes the frame away does so under
    /// the lock, and only then tells the reverse map of the inode's mapping, which finds what `map` has done (MM-6). Task context; takes
    /// no lock that sleeps. Errors: `ENOSPC`, `ENOMEM`, those of `map`.
    fn with_frame(&self, inode: &Inode, index: u64, map: &mut dyn FnMut(&Page) -> Result<()>) -> Result<bool>;
    /// How many frames there are.
    fn count(&self) -> u64;
}
