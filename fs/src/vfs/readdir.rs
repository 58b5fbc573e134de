//! Reading a directory through an open file.
use super::{DirEntry, File, FileOps, FileType, SyncKind};
use base::{Errno, Result};

/// Behind an open directory.
pub(super) struct DirectoryFile;

impl FileOps for DirectoryFile {
    fn read(&self, _: &mut crate::kiocb::Kiocb<'_>, _: &mut dyn crate::io::IoSink) -> Result<crate::kiocb::Outcome> {
        Err(Errno::EISDIR)
    }
    fn fsync(&self, file: &File, kind: SyncKind) -> Result<()> {
        let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
        inode.ops().fsync(inode, kind)
    }
}

/// Gives the entries of an open directory from its position on until `emit` returns false, and moves the position behind the
/// last one taken. `emit` must not touch user memory: the directory is locked. Errors: `ENOTDIR`, `ENOENT` (removed), of the disk.
pub fn readdir(file: &File, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
    let inode = file.inode.as_ref().filter(|i| i.kind == FileType::Directory).ok_or(Errno::ENOTDIR)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    let mut pos = file.pos.lock();
    let mut next = *pos;
    let _shared = inode.lock.read();
    if inode.dir.as_ref().is_some_and(|d| d.is_dead()) {
        return Err(Errno::ENOENT);
    }
    let done = inode.ops().readdir(inode, *pos, &mut |entry| {
        let after = entry.next_pos;
        let taken = emit(entry);
        if taken {
            next = after;
        }
        taken
    });
    *pos = next;
    done
}
