//! The frame allocator.

/// A run of physically contiguous page frames, owned. Dropping it gives the frames back.
pub struct FrameRun {
    phys: u64,
    pages: usize,
}

impl FrameRun {
    /// Allocates `pages` contiguous frames of unspecified content, aligned to the next power of two of the run's size.
    /// `None` when memory is short or too fragmented.
    pub fn alloc(pages: usize) -> Option<FrameRun> {
        let _ = pages;
        None
    }
    /// The physical address of the first byte.
    pub fn phys(&self) -> u64 {
        self.phys
    }
    /// How many frames.
    pub fn pages(&self) -> usize {
        self.pages
    }
    /// Where the run is mapped: cached, readable and writable, for `pages() * PAGE_SIZE` bytes while the run lives.
    pub fn as_ptr(&self) -> *mut u8 {
        super::paging::phys_to_virt(self.phys)
    }
    /// Gives up ownership for ever: the run lives on as memory of a device.
    pub fn leak(self) {
        core::mem::forget(self);
    }
}
