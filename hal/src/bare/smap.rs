//! `stac` and `clac`, which exist only where the CPU has SMAP.
//!
//! The sites hold a three-byte no-op in the binary and are listed in `.stac_sites` and `.clac_sites`; once, at boot,
//! before the kernel's text becomes read-only, they are patched on a CPU with SMAP. So the hot paths have no branch.
use super::image;

/// Emits a `clac`, where there is one.
macro_rules! clac {
    () => {
        concat!("881: .byte 0x0f, 0x1f, 0x00\n", ".pushsection .clac_sites, \"a\"\n", ".quad 881b\n", ".popsection")
    };
}
/// Emits a `stac`, where there is one.
macro_rules! stac {
    () => {
        concat!("882: .byte 0x0f, 0x1f, 0x00\n", ".pushsection .stac_sites, \"a\"\n", ".quad 882b\n", ".popsection")
    };
}
pub(super) use {clac, stac};

const CLAC: [u8; 3] = [0x0f, 0x01, 0xca];
const STAC: [u8; 3] = [0x0f, 0x01, 0xcb];

/// Puts the instructions in place. Once, on the boot CPU, with the text still writable and interrupts off.
pub(super) fn patch() {
    for (sites, code) in [(image::clac_sites(), CLAC), (image::stac_sites(), STAC)] {
        for &site in sites {
            // SAFETY: the macros above list the addresses of three-byte no-ops; the text is writable until the final
            // page tables are loaded; no other CPU runs, and the instructions aren't executing.
            unsafe { core::ptr::write_volatile(site as *mut [u8; 3], code) };
        }
    }
}
