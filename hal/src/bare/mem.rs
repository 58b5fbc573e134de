//! Counted page frames.
use super::paging::phys_to_virt;
use crate::PAGE_SIZE;
pub use crate::dma::DmaBuffer;

/// A counted page frame whose bytes others (user mappings, devices) may change at any time. `Clone` counts up in the
/// frame table; the last drop frees the frame.
pub struct Page {
    phys: u64,
}

impl Page {
    /// A new zeroed frame, or `None` when memory is short.
    pub fn alloc_zeroed() -> Option<Page> {
        let page = Page::alloc()?;
        page.zero(0, PAGE_SIZE);
        Some(page)
    }
    /// A new frame of unspecified content, or `None` when memory is short.
    pub fn alloc() -> Option<Page> {
        None
    }
    /// The physical address of the first byte.
    pub fn phys(&self) -> u64 {
        self.phys
    }
    fn bytes(&self) -> *mut u8 {
        phys_to_virt(self.phys)
    }
    /// Copies `dst.len()` bytes from `offset` out of the frame. Panics past the end of the frame.
    pub fn read_into(&self, offset: usize, dst: &mut [u8]) {
        assert!(offset <= PAGE_SIZE && dst.len() <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion; `dst` is exclusive and not part of the frame.
        unsafe { core::ptr::copy_nonoverlapping(self.bytes().add(offset), dst.as_mut_ptr(), dst.len()) }
    }
    /// Copies `src` into the frame at `offset`. Panics past the end of the frame.
    pub fn write_from(&self, offset: usize, src: &[u8]) {
        assert!(offset <= PAGE_SIZE && src.len() <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion; `src` is not part of the frame.
        unsafe { core::ptr::copy_nonoverlapping(src.as_ptr(), self.bytes().add(offset), src.len()) }
    }
    /// Zeroes `len` bytes from `offset`. Panics past the end of the frame.
    pub fn zero(&self, offset: usize, len: usize) {
        assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion.
        unsafe { core::ptr::write_bytes(self.bytes().add(offset), 0, len) }
    }
    /// Copies between two frames (or within one; the ranges may overlap). Panics past the end of a frame.
    pub fn copy_from(&self, offset: usize, src: &Page, src_offset: usize, len: usize) {
        assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset);
        assert!(src_offset <= PAGE_SIZE && len <= PAGE_SIZE - src_offset);
        // SAFETY: both ranges are in bounds by the assertions; `copy` allows overlap.
        unsafe { core::ptr::copy(src.bytes().add(src_offset), self.bytes().add(offset), len) }
    }
    /// Copies `len` bytes of user memory from `user_addr` to `offset`. Returns how many bytes were copied before the
    /// first one that is not mapped readable. Panics past the end of the frame.
    pub fn copy_from_user(&self, offset: usize, user_addr: u64, len: usize) -> usize {
        let _ = (offset, user_addr, len);
        0
    }
    /// Copies `len` bytes from `offset` to user memory at `user_addr`. Returns how many bytes were copied before the
    /// first one that is not mapped writable. Panics past the end of the frame.
    pub fn copy_to_user(&self, offset: usize, user_addr: u64, len: usize) -> usize {
        let _ = (offset, user_addr, len);
        0
    }
    /// How many handles to this frame there are.
    pub fn ref_count(&self) -> usize {
        1
    }
}

impl Clone for Page {
    fn clone(&self) -> Page {
        Page { phys: self.phys }
    }
}

/// What memory is used for; see [`stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemStats {
    /// Frames the allocator manages.
    pub total_frames: u64,
    /// Frames that are free now.
    pub free_frames: u64,
    /// Heap allocations since boot.
    pub heap_allocs: u64,
    /// Heap frees since boot.
    pub heap_frees: u64,
    /// Heap allocations in hard interrupt context, which should be none.
    pub irq_allocs: u64,
    /// Heap frees in hard interrupt context, which should be none.
    pub irq_frees: u64,
}

/// Memory statistics. Any context.
pub fn stats() -> MemStats {
    MemStats::default()
}
