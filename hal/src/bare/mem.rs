//! Counted page frames.
use super::frames::{self, frame, number};
use super::paging::phys_to_virt;
use super::{heap, uaccess};
use crate::PAGE_SIZE;
use core::sync::atomic::{AtomicU32, Ordering, fence};

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
        let phys = frames::alloc_one()?;
        frame(number(phys)).refs.store(1, Ordering::Relaxed);
        Some(Page { phys })
    }
    /// Gives the count up to something that remembers the address, such as a page-table entry.
    pub(super) fn into_phys(self) -> u64 {
        core::mem::ManuallyDrop::new(self).phys
    }
    /// The handle for a count that [`Page::into_phys`] gave up.
    ///
    /// # Safety
    ///
    /// The count is the caller's to give.
    pub(super) unsafe fn from_phys(phys: u64) -> Page {
        Page { phys }
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
        unsafe { AtomicU32::from_ptr(self.bytes().add(offset).cast()) }
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
        assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion.
        unsafe { uaccess::copy_from(self.bytes().add(offset), user_addr, len) }
    }
    /// Copies `len` bytes from `offset` to user memory at `user_addr`. Returns how many bytes were copied before the
    /// first one that is not mapped writable. Panics past the end of the frame.
    pub fn copy_to_user(&self, offset: usize, user_addr: u64, len: usize) -> usize {
        assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset);
        // SAFETY: in bounds by the assertion.
        unsafe { uaccess::copy_to(user_addr, self.bytes().add(offset), len) }
    }
    /// How many handles to this frame there are.
    pub fn ref_count(&self) -> usize {
        frame(number(self.phys)).refs.load(Ordering::Acquire) as usize
    }
}

impl Clone for Page {
    #[inline]
    fn clone(&self) -> Page {
        let before = frame(number(self.phys)).refs.fetch_add(1, Ordering::Relaxed);
        // A leak in a loop must not wrap the count around to a free frame that is still used.
        assert!(before < u32::MAX / 2, "too many handles to a page");
        Page { phys: self.phys }
    }
}

impl Drop for Page {
    #[inline]
    fn drop(&mut self) {
        if frame(number(self.phys)).refs.fetch_sub(1, Ordering::Release) == 1 {
            // What others did with the frame before they let go happens before it is handed out again.
            fence(Ordering::Acquire);
            // SAFETY: that was the last count.
            unsafe { frames::free_one(self.phys) };
        }
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
    let (total_frames, free_frames) = frames::counts();
    let [heap_allocs, heap_frees, irq_allocs, irq_frees] = heap::counts();
    MemStats { total_frames, free_frames, heap_allocs, heap_frees, irq_allocs, irq_frees }
}

/// [`stats`] without waiting for a lock; frames are 0 if their allocator is locked. For last words.
pub fn stats_unlocked() -> MemStats {
    let (total_frames, free_frames) = frames::try_counts().unwrap_or((0, 0));
    let [heap_allocs, heap_frees, irq_allocs, irq_frees] = heap::counts();
    MemStats { total_frames, free_frames, heap_allocs, heap_frees, irq_allocs, irq_frees }
}
