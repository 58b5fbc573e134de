//! Memory that a driver shares with a device: rings, descriptor tables. One type over the backends' allocators.
use crate::PAGE_SIZE;
use crate::backend_dma::Memory;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Zeroed, physically contiguous memory that a device shares with its driver.
///
/// Accesses are atomic in their width, because the device works at the same time; offsets are in bytes, must be aligned to
/// the width, and panic outside the buffer. Dropping gives the memory back: the device must have let go of it.
///
/// # Invariants
/// `start` points to `len` bytes, aligned to [`PAGE_SIZE`], that `memory` owns; they are only ever accessed by atomics and
/// by the device.
pub struct DmaBuffer {
    start: NonNull<u8>,
    len: usize,
    memory: Memory,
}

// SAFETY: the memory is only accessed by atomics, from any thread.
unsafe impl Send for DmaBuffer {}
// SAFETY: as above.
unsafe impl Sync for DmaBuffer {}

macro_rules! access {
    ($read:ident, $write:ident, $word:ty, $atomic:ty, $bytes:literal) => {
        /// Reads a value; unordered.
        #[inline]
        pub fn $read(&self, offset: usize) -> $word {
            // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
            unsafe { <$atomic>::from_ptr(self.at(offset, $bytes).cast()) }.load(Ordering::Relaxed)
        }
        /// Writes a value; unordered.
        #[inline]
        pub fn $write(&self, offset: usize, value: $word) {
            // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
            unsafe { <$atomic>::from_ptr(self.at(offset, $bytes).cast()) }.store(value, Ordering::Relaxed);
        }
    };
}

impl DmaBuffer {
    /// At least `len_bytes` zeroed bytes, in whole frames; `None` when memory is short or `len_bytes` is 0. Task context.
    pub fn alloc(len_bytes: usize) -> Option<DmaBuffer> {
        let len = len_bytes.checked_next_multiple_of(PAGE_SIZE).filter(|&l| l > 0)?;
        let memory = Memory::alloc_zeroed(len)?;
        Some(DmaBuffer { start: memory.start(), len, memory })
    }

    /// The address a device uses for the first byte.
    #[inline]
    pub fn phys(&self) -> u64 {
        self.memory.phys()
    }

    /// Bytes in the buffer.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// A pointer to `offset`, after checking that `width` bytes there are inside and aligned.
    #[inline]
    fn at(&self, offset: usize, width: usize) -> *mut u8 {
        assert!(offset.is_multiple_of(width) && offset < self.len && width <= self.len - offset);
        // SAFETY: in bounds by the assertion.
        unsafe { self.start.as_ptr().add(offset) }
    }

    access!(read_u8, write_u8, u8, AtomicU8, 1);
    access!(read_u16, write_u16, u16, AtomicU16, 2);
    access!(read_u32, write_u32, u32, AtomicU32, 4);
    access!(read_u64, write_u64, u64, AtomicU64, 8);

    /// Reads 16 bits; later reads see what the other side wrote before it published the value.
    #[inline]
    pub fn load_acquire_u16(&self, offset: usize) -> u16 {
        // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
        unsafe { AtomicU16::from_ptr(self.at(offset, 2).cast()) }.load(Ordering::Acquire)
    }

    /// Publishes 16 bits: whoever sees the value sees every earlier write.
    #[inline]
    pub fn store_release_u16(&self, offset: usize, value: u16) {
        // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
        unsafe { AtomicU16::from_ptr(self.at(offset, 2).cast()) }.store(value, Ordering::Release);
    }
}
