//! The kernel's page tables.
use core::ptr::NonNull;

/// Where all RAM is mapped.
pub const PHYSMAP_BASE: u64 = 0xffff_8000_0000_0000;

/// Where the byte of RAM at `phys` is mapped.
pub fn phys_to_virt(phys: u64) -> *mut u8 {
    (PHYSMAP_BASE + phys) as *mut u8
}

/// The physical address behind a mapped kernel address, or `None` where nothing is mapped.
pub fn virt_to_phys(virt: *const u8) -> Option<u64> {
    let _ = virt;
    None
}

/// Maps `len` bytes of device memory from `phys`, uncached, for ever. Neither need be aligned. `None` when memory or
/// the window for such mappings is exhausted, or if the range overlaps RAM. Task context.
pub fn map_mmio(phys: u64, len: usize) -> Option<NonNull<u8>> {
    let _ = (phys, len);
    None
}
