//! What user mappings of a file must do for its page cache.
use core::any::Any;
use core::ops::Range;

/// The user mappings of one file, seen from its page cache. The kernel's memory manager implements it; the cache calls it with the
/// folio locked, so it takes page-table locks only.
pub trait ReverseMap: Send + Sync {
    /// Makes every mapping of folio `index` read-only and clean; returns whether any was dirty. The next store faults and
    /// waits where it must (STB-4, MM-2).
    fn write_protect(&self, index: u64) -> bool;
    /// Takes the folios of `indices` out of every mapping; returns whether any was dirty.
    fn unmap(&self, indices: Range<u64>) -> bool;
    /// The implementation itself, for who adds a mapping to it.
    fn as_any(&self) -> &dyn Any;
}
