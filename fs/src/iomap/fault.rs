//! Folios for page faults.
//!
//! A fault takes two steps. [`with_valid_folio`] looks at the cache with the folio locked, and maps what it finds: the locks are
//! those of MM-4, the inode lock is none of them, so that a write whose source is a mapping of the same file goes on (MM-3, R27). If
//! the folio is missing, [`fault_folio`] fills it with nothing locked, and the first step is taken once more.
use super::extents::ops_of;
use super::read::uncached;
use super::readahead::read_ahead;
use crate::page_cache::Folio;
use crate::vfs::Inode;
use arrayvec::ArrayVec;
use base::sync::Arc;
use base::{PAGE_SIZE, Result};
use core::ops::Range;

const PS: u64 = PAGE_SIZE as u64;
/// The most folios that [`with_cached_folios`] looks at.
const MOST_AROUND: usize = 16;

/// What [`with_valid_folio`] has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FolioLookup<R> {
    /// The folio, valid; this is what was made of it.
    Valid(R),
    /// No folio, or one that is not valid: fill it with [`fault_folio`].
    Missing,
    /// The page lies wholly past the end of the file: SIGBUS (MM-6).
    PastEnd,
}

/// Calls `map` with the folio at `index`, locked, if it is cached and all of it valid. Task context; sleeps for the invalidate lock
/// (shared) and the folio lock, never for the inode lock. The caller holds the mmap lock at most; `map` takes page-table locks only.
///
/// The size is looked at under the folio lock, and no truncate is between its new size and its `unmap` then, because it holds the
/// invalidate lock exclusively (MM-6): what `map` puts into a page table is found by every later truncate and eviction.
pub fn with_valid_folio<R>(inode: &Inode, index: u64, map: impl FnOnce(&Folio) -> R) -> FolioLookup<R> {
    let mapping = &inode.mapping;
    let (mapped, at_mark) = {
        let _inserting = mapping.invalidate.read();
        let guard = mapping.find_locked(index);
        if is_past_end(inode, index) {
            return FolioLookup::PastEnd;
        }
        let Some(guard) = guard.filter(|guard| guard.state().uptodate()) else { return FolioLookup::Missing };
        (map(guard.folio()), guard.folio().touch(guard.state()))
    };
    if at_mark && let Some(ops) = inode.ops().iomap() {
        read_ahead(inode, ops, index + 1);
    }
    FolioLookup::Valid(mapped)
}

/// Calls `map` with each folio of `indices`, at most `MOST_AROUND`, that is cached, valid and not locked by anybody, locked. Nothing is
/// waited for but the invalidate lock (shared), before the first call; otherwise as [`with_valid_folio`].
pub fn with_cached_folios(inode: &Inode, indices: Range<u64>, mut map: impl FnMut(&Folio)) {
    let mapping = &inode.mapping;
    let _inserting = mapping.invalidate.read();
    // What is looked at holds on: no truncate is under way.
    let end = indices.end.min(inode.size().div_ceil(PS)).min(indices.start + MOST_AROUND as u64);
    let folios: ArrayVec<Arc<Folio>, MOST_AROUND> = mapping.get_all(indices.start..end);
    for folio in folios {
        if let Some(guard) = mapping.try_lock(folio)
            && guard.state().uptodate()
        {
            map(guard.folio());
        }
    }
}

/// The folio at `index` with all its bytes valid, read if need be, and its neighbours as a read would; `None` past the end of the
/// file (MM-6). A truncate or an eviction may take it away again at once. Whoever keeps a handle to its page keeps the eviction off.
/// Task context; sleeps for the device; takes the invalidate lock (shared) and folio locks, never the inode lock. Errors: `EIO`,
/// `EUCLEAN`, `ENOMEM`; `EINVAL` for a file without a page cache.
pub fn fault_folio(inode: &Inode, index: u64) -> Result<Option<Arc<Folio>>> {
    ops_of(inode)?;
    loop {
        if is_past_end(inode, index) {
            return Ok(None);
        }
        if let Some(folio) = uncached(inode, index, 0, PAGE_SIZE, 1)? {
            return Ok(Some(folio));
        }
    }
}

fn is_past_end(inode: &Inode, index: u64) -> bool {
    index.checked_mul(PS).is_none_or(|pos| pos >= inode.size())
}
