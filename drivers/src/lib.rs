//! Device drivers: PCI discovery, virtio-blk, the serial port.
//!
//! | module | contents |
//! |---|---|
//! | [`virtio`] | our split virtqueue and block driver, over the transport of the crate `virtio-drivers` |
//! | `pci` | finding disks and bringing them up (bare metal only) |
//! | `serial` | the 16550 console: interrupt-driven input, bounded output (bare metal only) |
//!
//! # What it does not do
//!
//! No file systems, no partitions, no processes. The wall clock is read by `hal::time`. A driver reaches memory and
//! registers only through `hal`, so there is no `unsafe` here, and the block driver runs on the host against a scripted
//! device.
#![no_std]
extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

#[cfg(all(feature = "ktest", target_os = "none"))]
mod ktests;
#[cfg(target_os = "none")]
pub mod pci;
#[cfg(target_os = "none")]
pub mod serial;
#[cfg(all(feature = "ktest", target_os = "none"))]
mod smp_ktests;
#[cfg(all(test, not(loom), not(shuttle)))]
mod testing;
pub mod virtio;
