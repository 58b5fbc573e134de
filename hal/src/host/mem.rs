//! Page frames on the host: counted, zeroed, 4096 bytes, never borrowed as a slice.
use crate::PAGE_SIZE;
pub use crate::dma::DmaBuffer;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[repr(C, align(4096))]
struct Frame(UnsafeCell<[u8; PAGE_SIZE]>);
// SAFETY: the bytes are only read and written through raw copies; nobody holds a reference to them.
unsafe impl Send for Frame {}
// SAFETY: as above; a racing copy may be torn, which the type's contract allows.
unsafe impl Sync for Frame {}

/// A counted page frame whose bytes others (user mappings, devices) may change at any time.
#[derive(Clone)]
pub struct Page(Arc<Frame>);

impl Page {
    /// A new zeroed frame, or `None` when memory is short.
    pub fn alloc_zeroed() -> Option<Page> {
        Some(Page(Arc::new(Frame(UnsafeCell::new([0; PAGE_SIZE])))))
    }
    /// The address a device uses for the first byte.
    pub fn phys(&self) -> u64 {
        self.0.0.get() as u64
    }
    /// Copies `dst.len()` bytes from `offset` out of the frame. Panics past the end of the frame.
    pub fn read_into(&self, offset: usize, dst: &mut [u8]) {
        assert!(offset <= PAGE_SIZE && dst.len() <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion; `dst` is exclusive and not part of the frame.
        unsafe {
            core::ptr::copy_nonoverlapping(self.0.0.get().cast::<u8>().add(offset), dst.as_mut_ptr(), dst.len());
        }
    }
    /// Copies `src` into the frame at `offset`. Panics past the end of the frame.
    pub fn write_from(&self, offset: usize, src: &[u8]) {
        assert!(offset <= PAGE_SIZE && src.len() <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion; `src` is not part of the frame.
        unsafe {
            core::ptr::copy_nonoverlapping(src.as_ptr(), self.0.0.get().cast::<u8>().add(offset), src.len());
        }
    }
    /// Zeroes `len` bytes from `offset`. Panics past the end of the frame.
    pub fn zero(&self, offset: usize, len: usize) {
        assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion.
        unsafe { core::ptr::write_bytes(self.0.0.get().cast::<u8>().add(offset), 0, len) }
    }
    /// Loads the aligned word at `offset` in one access; what its writer stored before it is visible after. Panics past the end of the
    /// frame or if it is not aligned.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }
    /// Stores the aligned word at `offset` in one access; what was stored before is visible to whoever sees it. Panics as
    /// [`Page::load_u32`].
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }
    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset < PAGE_SIZE);
        // SAFETY: in bounds and aligned by the assertion, because a frame is; the frame lives as long as the handle. Other accesses are
        // those of this type, by raw pointers, and of user code: none is through a reference to the bytes.
        unsafe { AtomicU32::from_ptr(self.0.0.get().cast::<u8>().add(offset).cast()) }
    }
    /// Copies between two frames (or within one; the ranges may overlap).
    pub fn copy_from(&self, offset: usize, src: &Page, src_offset: usize, len: usize) {
        assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset);
        assert!(src_offset <= PAGE_SIZE && len <= PAGE_SIZE - src_offset);
        // SAFETY: both ranges are in bounds by the assertions; `copy` allows overlap.
        unsafe {
            core::ptr::copy(src.0.0.get().cast::<u8>().add(src_offset), self.0.0.get().cast::<u8>().add(offset), len);
        }
    }
    /// How many handles to this frame there are.
    pub fn ref_count(&self) -> usize {
        Arc::strong_count(&self.0)
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

/// Memory statistics: the host has as much as it gives.
pub fn stats() -> MemStats {
    MemStats::default()
}
