//! The x86_64 backend.
//!
//! # What other crates call
//!
//! | module | contents |
//! |---|---|
//! | [`sync`], [`irq`], [`time`], [`thread`], [`mem`], [`user`] | the common API of `hal`, see the crate's front page |
//! | [`start`] | takes the machine over and calls the kernel's main function |
//! | [`frames`] | runs of contiguous page frames (rings, DMA) |
//! | [`paging`] | physical to virtual and back, uncached mappings of device memory |
//! | [`mmio`], [`pci`], [`msi`] | device registers, configuration space, message-signalled interrupts |
//! | [`console`] | the polled serial port and the sink of the `log` crate |
//! | [`power`] | power off with a status |
//! | [`random`] | random bytes |
//! | [`smp`] | further CPUs: starting and interrupting them |
//! | [`watchdog`] | telling what takes too long to be right |
//! | [`fw_cfg`] | options that QEMU was given for us |
//! | [`backtrace`] | return addresses for last words |
//!
//! # How it is put together
//!
//! | idea | files |
//! |---|---|
//! | start | `init`, `image` (what the linker laid out), `cpu` (features, control registers), `smap` |
//! | CPU tables | `percpu` (through GS), `gdt` (and TSS), `idt` |
//! | ways in and out | `entry` (stubs), `trap` (kernel-mode exceptions), `user_entry` (ring 3), `irq` (dispatch) |
//! | memory | `frames`, `heap`, `mem`, `stack`, `tables` (walks), `paging` (kernel half), `page_table` (user half), `uaccess` |
//! | time | `tsc`, `apic`, `ioapic`, `rtc`, `time` |
//! | threads | `thread`, `fpu`, `user` |
//! | further CPUs | `smp`, `trampoline` (from real mode), `shootdown` (translations that all must forget) |
//!
//! # What it does not do
//!
//! No CPU is taken away or added while the system runs; interrupts of devices go to the CPU that set the device up.
pub mod backtrace;
pub mod console;
pub(crate) mod dma;
pub mod frames;
pub mod fw_cfg;
pub mod irq;
pub mod mem;
pub mod mmio;
pub mod msi;
pub mod paging;
pub mod pci;
pub mod power;
pub mod random;
pub mod smp;
pub mod sync;
pub mod thread;
pub mod time;
pub mod user;
pub mod watchdog;

mod apic;
mod cpu;
mod entry;
mod fpu;
mod gdt;
mod heap;
mod idt;
pub(crate) mod image;
mod init;
mod ioapic;
mod page_table;
mod percpu;
mod rtc;
mod shootdown;
mod smap;
mod stack;
mod tables;
#[cfg(feature = "ktest")]
mod tests;
mod trampoline;
mod trap;
mod tsc;
mod uaccess;
mod user_entry;

pub use bootloader_api::BootInfo;
pub use cpu::Features;
pub use init::{Platform, platform, start};
