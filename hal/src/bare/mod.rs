//! The x86_64 backend.
//!
//! # What other crates call
//!
//! | module | contents |
//! |---|---|
//! | [`sync`], [`irq`], [`time`], [`thread`], [`mem`], [`user`] | the common API of `hal`, see the crate's front page |
//! | [`frames`] | runs of contiguous page frames (rings, DMA) |
//! | [`paging`] | physical to virtual and back, uncached mappings of device memory |
//! | [`mmio`], [`pci`], [`msi`] | device registers, configuration space, message-signalled interrupts |
//! | [`console`] | the polled serial port and the sink of the `log` crate |
//! | [`power`] | power off with a status |
//! | [`random`] | random bytes |
pub mod console;
pub(crate) mod dma;
pub mod frames;
mod heap;
pub mod irq;
pub mod mem;
pub mod mmio;
pub mod msi;
pub mod paging;
pub mod pci;
pub mod power;
pub mod random;
pub mod sync;
pub mod thread;
pub mod time;
pub mod user;

pub use bootloader_api::BootInfo;
