//! FIEMAP: the extents of a file or directory (BUF-8).
//!
//! Extents that continue each other, in the file and on the device, are reported as one. An unwritten block with content in the cache that is
//! not on the device yet counts as data, as it does for `SEEK_DATA`.
use super::Ext4Inode;
use super::extents::{END_OF_FILE_SPACE, Run};
use super::seek::next_cached;
use crate::vfs::{FileExtent, Inode};
use base::sync::Arc;
use base::{Errno, Result};
use core::ops::Range;

/// Tells `emit` of the extents of `range` (bytes), cut to whole blocks of it, until it answers `false`. Takes the inode lock shared; `emit`
/// is called with no other. Errors: `EFBIG` if the range begins past what a file can have; `EIO`, `EUCLEAN`, those of `emit`.
pub(super) fn report(
    inode: &Arc<Inode>,
    range: Range<u64>,
    emit: &mut dyn FnMut(&FileExtent) -> Result<bool>,
) -> Result<()> {
    let _lock = inode.lock.read();
    let own = Ext4Inode::of(inode);
    let most = own.fs.max_file_size();
    if range.start >= most {
        return Err(Errno::EFBIG);
    }
    let blocks = own.blocks_of(range.start, range.end.min(most) - range.start)?;
    let mut waiting: Option<FileExtent> = None;
    let mut at = blocks.start;
    while let Some(piece) = own.next_piece(inode, at..blocks.end)? {
        at = ((piece.pos + piece.len) >> own.fs.geo.block_bits) as u32;
        match &mut waiting {
            Some(before) if continues(before, &piece) => before.len += piece.len,
            _ => {
                if let Some(before) = waiting.replace(piece)
                    && !emit(&before)?
                {
                    return Ok(());
                }
            }
        }
    }
    let Some(before) = waiting else { return Ok(()) };
    let last = own.next_piece(inode, at..END_OF_FILE_SPACE)?.is_none();
    emit(&FileExtent { last, ..before }).map(|_| ())
}

fn continues(before: &FileExtent, next: &FileExtent) -> bool {
    before.pos + before.len == next.pos
        && before.device_pos + before.len == next.device_pos
        && before.unwritten == next.unwritten
}

impl Ext4Inode {
    /// The first run of one kind in `blocks`.
    fn next_piece(&self, inode: &Inode, mut blocks: Range<u32>) -> Result<Option<FileExtent>> {
        let bits = self.fs.geo.block_bits;
        while !blocks.is_empty() {
            let seq = self.seq();
            let (cached, cached_end) = next_cached(&inode.mapping, u64::from(blocks.start) << bits);
            let run = self.lookup(&self.core.read(), &blocks)?;
            if self.seq() != seq {
                // A write that ends in between has converted its blocks, after which the cache has nothing of it.
                continue;
            }
            let extent = match run {
                Run::Hole { len } => {
                    blocks.start = blocks.start.saturating_add(len);
                    continue;
                }
                Run::Extent(extent) => extent.clip(&blocks).ok_or(Errno::EUCLEAN)?,
            };
            let bytes = self.bytes_of(&(extent.lblk..extent.end()));
            let has_data = !extent.unwritten || cached <= bytes.start;
            let end = match (extent.unwritten, has_data) {
                (false, _) => bytes.end,
                (true, true) => bytes.end.min(cached_end),
                (true, false) => bytes.end.min(cached),
            };
            let (pos, device_pos) = (bytes.start, extent.pblk << bits);
            return Ok(Some(FileExtent { pos, len: end - pos, device_pos, unwritten: !has_data, last: false }));
        }
        Ok(None)
    }
}
