//! The hardware under Sluice, and the only crate with `unsafe` in it.
//!
//! Two families of backends stand behind one API:
//!
//! | backend | chosen by | what it is |
//! |---|---|---|
//! | `bare` | `target_os = "none"` | x86_64: CPU, interrupts, paging, system-call entry, frames, heap, DMA, MMIO |
//! | `host` | otherwise | threads of the host; under `--cfg loom` or `--cfg shuttle` the threads of that checker |
//!
//! # The common API (same paths, same meaning on every backend)
//!
//! | module | contents |
//! |---|---|
//! | [`sync`] | `SpinLock`, `IrqLock` and the checked `atomic` types |
//! | [`mem`] | `Page` (a counted page frame), `DmaBuffer`, `PhysAddr`, allocation statistics |
//! | [`mmio`] | `Mmio`, registers of a device (on the host of a simulated one) |
//! | [`irq`] | hard-interrupt context: query, masking, handler registration |
//! | [`time`] | monotonic nanoseconds, wall clock, one-shot timer |
//! | [`user`] | copies to and from user memory that never fault in the kernel |
//!
//! # What it does not do
//!
//! No policy: no scheduler, no page cache, no limits. Those stand in `base`.
#![cfg_attr(target_os = "none", no_std)]
extern crate alloc;

#[cfg(target_os = "none")]
pub mod bare;
#[cfg(target_os = "none")]
use bare::dma as backend_dma;
#[cfg(target_os = "none")]
pub use bare::{irq, mem, mmio, sync, thread, time, user};

#[cfg(not(target_os = "none"))]
pub mod host;
#[cfg(not(target_os = "none"))]
use host::dma as backend_dma;
#[cfg(not(target_os = "none"))]
pub use host::{irq, mem, mmio, sync, thread, time, user};

pub mod acpi;
mod cpu_info;
mod crc32c;
mod dma;
mod fpu;
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "the host has a log of its own"))]
mod log_limit;
mod user_abi;

pub mod cell;
mod ktest;
pub use cpu_info::CpuInfo;
pub use crc32c::crc32c;
pub use ktest::{KTest, ktests};

/// Bytes in a page frame, the unit of [`mem::Page`].
pub const PAGE_SIZE: usize = 4096;
