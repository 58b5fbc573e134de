//! Writeback in the background, throttling, and sync of a whole super block.
use super::{wait_range, write_and_wait, write_range};
use crate::page_cache::PageCache;
use crate::vfs::{Inode, SuperBlock};
use base::Result;
use base::sync::Arc;

/// The life of the flusher, a task of its own: writes back whenever [`PageCache::kick`] or too many dirty folios ask for it, until
/// [`PageCache::stop_flusher`]. The kernel starts one at boot.
pub fn run_flusher(cache: &Arc<PageCache>) {
    while cache.wait_for_kick() {
        flush_cache(cache);
    }
}

/// Starts writeback of everything dirty in `cache`, file after file, without waiting. Errors go to the files' error sequences.
pub fn flush_cache(cache: &Arc<PageCache>) {
    for mapping in cache.take_dirty_mappings() {
        let Some(inode) = mapping.host() else { continue };
        if let Err(error) = write_range(&inode, 0..u64::MAX, false) {
            inode.sb.record_error(&inode, error);
        }
        if mapping.nr_dirty() > 0 {
            cache.list_dirty(&mapping);
        }
        crate::vfs::iput(inode);
    }
}

/// Called by whoever has dirtied a folio of `inode`, with no folio locked and nothing unsubmitted (LOCK-7): starts writeback where there is
/// much, waits where there is too much. Sleeps.
pub fn balance_dirty(inode: &Arc<Inode>) {
    let cache = &inode.sb.page_cache;
    if !cache.over_background_limit() {
        return;
    }
    if cache.kick() {
        if cache.over_dirty_limit() {
            cache.wait_below_dirty_limit();
        }
    } else if cache.over_dirty_limit() {
        // No flusher: a kernel without one, or a test. The writer does it; errors show at the next fsync or try.
        let _ = write_range(inode, 0..u64::MAX, false);
        wait_range(&inode.mapping, 0..u64::MAX, inode.mapping.stamp());
    }
}

/// Writes and waits for all dirty data of a super block: the data part of sync and syncfs (SYN-5). Errors: the first.
pub fn sync_data(sb: &SuperBlock) -> Result<()> {
    let mut result = Ok(());
    for inode in sb.inodes().all() {
        if inode.ops().iomap().is_some() {
            result = result.and(write_and_wait(&inode, 0..u64::MAX));
        }
        crate::vfs::iput(inode);
    }
    result
}
