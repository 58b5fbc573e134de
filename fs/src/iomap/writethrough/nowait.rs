//! Write-throughs that must not sleep (NOW-1): where another one would, they end, before a byte is copied or between two folios.
//!
//! | what others sleep for | here |
//! |---|---|
//! | freeze, the inode lock, privileges, the end of the file | not come to: `ext4::nowait` |
//! | the range lock | [`lock_range`] |
//! | the completion queues, made at the first use | `IomapOps::queues_now` |
//! | blocks to allocate, to set aside or to read, the extent lock | `IomapOps::map_now` |
//! | the folio lock, memory that has to be reclaimed | `Mapping::find_or_create_now` |
//! | writeback of the folio by others | `Submission::wait_writeback` |
//! | a block covered in part that has to be read, a page of the source, a full device | [`Submission::ready_now`] |
//! | a finish in the submitter | `IoCtx::new_nowait` |
//!
//! Nothing here waits for the log: times are set in memory. Write-throughs are not throttled (LOCK-7).
use super::Submission;
use crate::iomap::buffered_write::edges;
use crate::iomap::{Iomap, IomapOps, RangeGuard};
use crate::page_cache::FolioGuard;
use crate::vfs::{Inode, Timespec};
use base::block::Room;
use base::sync::Arc;
use base::{Errno, Result};

/// The lock on the range of a write, if no earlier request overlaps it. Errors: `EAGAIN`.
pub(super) fn lock_range(inode: &Arc<Inode>, iomap: &dyn IomapOps, pos: u64, len: usize) -> Result<RangeGuard> {
    RangeGuard::try_new(inode, pos..pos + len as u64, iomap.block_size()).ok_or(Errno::EAGAIN)
}

impl Submission<'_> {
    /// Whether everything is there that the next `len` bytes at `offset` of the folio need: it is locked, stable, and `map` is true. If so
    /// and it is the first, the times are set: nothing that comes after fails, but for a source that another thread takes away meanwhile
    /// (CHK-6). Errors: `EAGAIN`, `EROFS`; that of an earlier bio.
    pub(super) fn ready_now(&mut self, folio: &FolioGuard<'_>, map: &Iomap, offset: usize, len: usize) -> Result<()> {
        let block = self.block_size();
        let valid = |at: usize| folio.state().uptodate_in(at, block);
        if !edges(block, offset, len).all(valid) || self.source.resident(len) < len {
            return Err(Errno::EAGAIN);
        }
        let (start, stop) = (offset / block * block, (offset + len).next_multiple_of(block));
        let sector = map.sector_of(folio.folio().pos() + start as u64).ok_or(Errno::EAGAIN)?;
        if self.bio.as_ref().is_some_and(|bio| !bio.takes(sector, (stop - start) as u64, &self.limits)) {
            self.send()?;
        }
        if self.bio.is_none() {
            self.room = Some(Room::reserve(self.device).ok_or(Errno::EAGAIN)?);
        }
        if self.copied == 0 { self.touch() } else { Ok(()) }
    }

    /// Sets the times, in memory. Errors: `EROFS`.
    fn touch(&self) -> Result<()> {
        let now = Timespec::now();
        self.inode.update_attr(|attr| (attr.mtime, attr.ctime) = (now, now));
        self.inode.ops().dirty_inode(self.inode)
    }
}
