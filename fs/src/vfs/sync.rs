//! fsync, of a file or a part of it, syncfs, sync.
use super::mount::Vfs;
use super::{File, FileType, SyncKind};
use crate::iomap::{self, RangeSync};
use base::{Errno, Result};
use core::ops::Range;

/// fsync and fdatasync: everything submitted before the call is durable after it (SYN-1), and a writeback error that this
/// description has not seen is reported once (ERR-6). Task context; may sleep.
pub fn fsync(file: &File, kind: SyncKind) -> Result<()> {
    let done = file.ops().fsync(file, kind);
    // Also after an error of the call itself: it is the same news, and is not told twice.
    let reported = file.report_error();
    done.and(reported)
}

/// msync of the bytes of `range` (MM-7): as [`fsync`], of a part of the data. Errors: as [`fsync`]; `EINVAL` for a file without a
/// page cache.
pub fn fsync_range(file: &File, range: Range<u64>) -> Result<()> {
    let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
    let done = iomap::sync_range(inode, range, SyncKind::All);
    let reported = file.report_error();
    done.and(reported)
}

/// sync_file_range: see [`iomap::sync_file_range`]. A writeback error is reported like that of an fsync (ERR-6). Errors: `ESPIPE` for
/// what is no file, `EIO`, `ENOSPC`.
pub fn sync_file_range(file: &File, range: Range<u64>, what: RangeSync) -> Result<()> {
    let inode = file.inode.as_ref().ok_or(Errno::ESPIPE)?;
    match inode.kind {
        FileType::Regular if inode.ops().iomap().is_some() => {}
        FileType::Regular | FileType::Directory | FileType::BlockDevice => return Ok(()),
        _ => return Err(Errno::ESPIPE),
    }
    let done = iomap::sync_file_range(inode, range, what);
    let waited = what.wait_before || what.wait_after;
    let reported = if waited { file.report_error() } else { Ok(()) };
    done.and(reported)
}

/// syncfs: the whole super block of `file` (SYN-5). Errors: `EBADF` for a file without one, `EIO` after a shutdown.
pub fn syncfs(file: &File) -> Result<()> {
    let inode = file.inode.as_ref().ok_or(Errno::EBADF)?;
    inode.sb.run_releases();
    if inode.sb.is_shut_down() {
        return Err(Errno::EIO);
    }
    let done = if inode.sb.is_read_only() { Ok(()) } else { inode.sb.ops().sync() };
    let reported = file.report_super_block_error();
    done.and(reported)
}

impl Vfs {
    /// Writes what is dirty in the page cache to its files and waits for it, so that the folios can be given up; false if nothing was. It
    /// makes nothing durable. Errors go to the error sequences. Task context; sleeps, so nothing may be locked.
    pub fn write_back(&self) -> bool {
        let mut was_dirty = false;
        for mount in self.mounts() {
            let sb = &mount.root.sb;
            let figures = sb.page_cache.figures();
            if figures.dirty + figures.writeback > 0 {
                was_dirty = true;
                if let Err(error) = iomap::sync_data(sb) {
                    log::warn!("writeback of {}: {error}", sb.ops().type_name());
                }
            }
        }
        was_dirty
    }

    /// sync(2): every writable super block. Errors go to the error sequences; the log names them.
    pub fn sync(&self) {
        for mount in self.mounts() {
            let sb = &mount.root.sb;
            sb.run_releases();
            if sb.is_read_only() || sb.is_shut_down() {
                continue;
            }
            if let Err(error) = sb.ops().sync() {
                log::warn!("sync of {}: {error}", sb.ops().type_name());
                sb.wb_err.record(match error {
                    Errno::ENOSPC | Errno::EDQUOT => error,
                    _ => Errno::EIO,
                });
            }
        }
    }
}
