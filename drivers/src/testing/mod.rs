//! A scripted virtio block device for host tests.
//!
//! | file | idea |
//! |---|---|
//! | `device` | [`ScriptedDisk`]: registers, the script's verbs, the disk's content |
//! | `rings` | the device's view of a split ring, through bus addresses only |
//! | `transport` | the registers as `virtio-drivers`' `Transport` |
//! | `bench` | a driver on a scripted device, and bios that remember how they ended |
//!
//! The device reaches memory by bus address through `hal::host::dma`, which knows what is shared with devices at the
//! moment: an access anywhere else, for instance to a page of a bio that has already ended, fails the test. It does
//! nothing by itself. The test is its script: it fetches requests only after it was kicked, as a real device that sleeps
//! would, holds them, and returns them in any order, in any wrong way, or not at all.
mod bench;
mod device;
mod rings;
mod transport;

pub use bench::{Bench, Io};
pub use device::Config;
pub use transport::move_to_cpu;
