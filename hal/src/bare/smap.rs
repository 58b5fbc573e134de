//! `stac` and `clac`, which exist only where the CPU has SMAP.
//!
//! The sites hold a three-byte no-op in the binary and are listed in `.stac_sites` and `.clac_sites`; once, at boot,
//! before the text is protected from writes, they are patched on a CPU with SMAP. So the hot paths have no branch.
use super::image;
use x86_64::registers::control::{Cr0, Cr0Flags};

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

/// Puts the instructions in place. Once, on the boot CPU, with interrupts off, before [`super::cpu::init`]: a loader may have made the
/// text read-only, and the protection that takes the right to write from ring 0 is off from here to there.
pub(super) fn patch() {
    // SAFETY: nothing but the sites below is written until it is on again.
    unsafe { Cr0::update(|cr0| cr0.remove(Cr0Flags::WRITE_PROTECT)) };
    for (sites, code) in [(image::clac_sites(), CLAC), (image::stac_sites(), STAC)] {
        for &site in sites {
            // SAFETY: the macros above list the addresses of three-byte no-ops; the text is mapped, and nothing is protected;
            // no other CPU runs, and the instructions aren't executing.
            unsafe { core::ptr::write_volatile(site as *mut [u8; 3], code) };
        }
    }
}
