//! Memory for devices: contiguous page frames, through the cached map of all RAM. x86 keeps caches and DMA coherent.
use super::frames::FrameRun;
use crate::PAGE_SIZE;
use core::ptr::NonNull;

/// The memory of a [`DmaBuffer`](crate::mem::DmaBuffer).
///
/// # Invariants
/// `start` is where `run` is mapped, for as long as this value lives.
pub(crate) struct Memory {
    start: NonNull<u8>,
    run: FrameRun,
}

impl Memory {
    /// `len` zeroed bytes; `None` when memory is short. `len` is a multiple of [`PAGE_SIZE`] and not 0.
    pub fn alloc_zeroed(len: usize) -> Option<Memory> {
        let run = FrameRun::alloc(len / PAGE_SIZE)?;
        let start = NonNull::new(run.as_ptr())?;
        // SAFETY: the run is ours alone and mapped for `pages * PAGE_SIZE == len` bytes.
        unsafe { core::ptr::write_bytes(start.as_ptr(), 0, len) };
        Some(Memory { start, run })
    }

    /// The address a device uses for the first byte.
    #[inline]
    pub fn phys(&self) -> u64 {
        self.run.phys()
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }
}
