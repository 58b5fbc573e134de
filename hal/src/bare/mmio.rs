//! Device registers: uncached mappings, volatile accesses.
use super::paging;
use core::ptr::NonNull;

/// A mapping of device registers. Accesses are in order, neither cached nor merged; outside the mapping they panic.
///
/// # Invariants
/// `start` points to `len` bytes of device memory that are mapped uncached, for ever.
#[derive(Clone)]
pub struct Mmio {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: device registers may be accessed from any CPU; each access is a single instruction.
unsafe impl Send for Mmio {}
// SAFETY: as above.
unsafe impl Sync for Mmio {}

macro_rules! access {
    ($read:ident, $write:ident, $word:ty, $bytes:literal) => {
        /// Reads a register.
        #[inline]
        pub fn $read(&self, offset: usize) -> $word {
            // SAFETY: in bounds and aligned (`at`), mapped for ever (type invariant).
            unsafe { self.at(offset, $bytes).cast::<$word>().read_volatile() }
        }
        /// Writes a register.
        #[inline]
        pub fn $write(&self, offset: usize, value: $word) {
            // SAFETY: in bounds and aligned (`at`), mapped for ever (type invariant). It is no RAM, so no Rust object changes.
            unsafe { self.at(offset, $bytes).cast::<$word>().write_volatile(value) }
        }
    };
}

impl Mmio {
    /// Maps `len_bytes` of device memory from the bus address `phys`, for ever. `None` if the range overlaps RAM or the
    /// window for such mappings is exhausted. Task context.
    pub fn map(phys: u64, len_bytes: usize) -> Option<Mmio> {
        phys.checked_add(len_bytes as u64)?;
        Some(Mmio { start: paging::map_mmio(phys, len_bytes)?, len: len_bytes })
    }

    /// Bytes in the mapping.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// A pointer to `offset`, after checking that `width` bytes there are inside and aligned.
    #[inline]
    fn at(&self, offset: usize, width: usize) -> *mut u8 {
        assert!(offset.is_multiple_of(width) && offset < self.len && width <= self.len - offset);
        // SAFETY: in bounds by the assertion.
        let pointer = unsafe { self.start.as_ptr().add(offset) };
        assert!(pointer.addr().is_multiple_of(width));
        pointer
    }

    access!(read_u8, write_u8, u8, 1);
    access!(read_u16, write_u16, u16, 2);
    access!(read_u32, write_u32, u32, 4);
}
