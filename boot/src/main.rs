//! The bootable binary of Sluice: entry points and what a loader reports. It calls `kernel` and knows nothing else.
//!
//! | loader | enters at | who builds `BootInfo` |
//! |---|---|---|
//! | PVH (`qemu -kernel`) | the 32-bit stub that the ELF note names | `pvh` |
//! | the `bootloader` crate (BIOS, UEFI: `make bootimage`) | `_start`, the ELF entry | the loader |
//!
//! `kernel_main` cannot tell which of them came before it: memory is mapped at the same place, the ramdisk is an address in mapped
//! memory, and whatever the loader has mapped may be read-only. What differs is where the command line comes from (`kernel::cmdline`).
//! The package `image` in this folder makes the disk images; it has a toolchain of its own, and the kernel does not know it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "only the bare binary boots"))]
mod memory_map;
#[cfg(target_os = "none")]
mod pvh;
#[cfg(target_os = "none")]
mod start;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("boot is the kernel binary; build it with --target x86_64-unknown-none");
}
