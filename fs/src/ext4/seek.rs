//! `SEEK_DATA` and `SEEK_HOLE` of regular files (BUF-8).
//!
//! Mapped blocks are data. An unwritten block is data while the cache holds something for it that has not ended on the device: a dirty
//! folio, or one under writeback, which a write-through in flight is too.
use super::Ext4Inode;
use crate::iomap::{IomapKind, IomapOps};
use crate::page_cache::{Mapping, Tag};
use crate::vfs::Inode;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Result};

/// The first byte at or after `from` that is data, or with `data` false a hole; the end of the file counts as one. Takes the inode
/// lock shared. Errors: `ENXIO` if there is no data from here on, `EIO`, `EUCLEAN`.
pub(super) fn seek_extent(inode: &Arc<Inode>, from: u64, data: bool) -> Result<u64> {
    let _lock = inode.lock.read();
    let (own, size) = (Ext4Inode::of(inode), inode.size());
    let mut pos = from;
    while pos < size {
        // The cache before the mapping: a write that ends in between has converted its blocks, and the mapping tells.
        let (cached, cached_end) = next_cached(&inode.mapping, pos);
        let map = own.map_read(inode, pos, size - pos)?;
        if let IomapKind::Mapped(_) = map.kind {
            if data {
                return Ok(pos);
            }
            pos = map.end();
        } else if data {
            if cached < map.end() {
                return if cached < size { Ok(cached) } else { Err(Errno::ENXIO) };
            }
            pos = map.end();
        } else if cached == pos {
            pos = cached_end.min(map.end());
        } else {
            return Ok(pos);
        }
    }
    if data { Err(Errno::ENXIO) } else { Ok(size) }
}

/// Start, at least `pos`, and end of the first folio from there whose bytes are not all on the device; [`u64::MAX`] twice if none.
pub(super) fn next_cached(mapping: &Mapping, pos: u64) -> (u64, u64) {
    let page = PAGE_SIZE as u64;
    let find = |tag| mapping.next_tagged(pos / page..u64::MAX, tag).map_or(u64::MAX, |folio| folio.index());
    // A folio goes from dirty to writeback in one step: in this order it is seen in one of the two.
    let dirty = find(Tag::Dirty);
    let index = dirty.min(find(Tag::Writeback));
    (index.saturating_mul(page).max(pos), index.saturating_add(1).saturating_mul(page))
}
