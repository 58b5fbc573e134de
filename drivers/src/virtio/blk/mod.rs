//! The virtio block device (VIRTIO 1.2, section 5.2) as a [`BlockDevice`](base::block::BlockDevice).
//!
//! | file | idea |
//! |---|---|
//! | `protocol` | the numbers of the specification |
//! | `config` | feature negotiation, limits, durability |
//! | `device` | [`VirtioBlk`]: bring-up, submit, kick |
//! | `state` | what the queue lock protects, and the steps taken under it |
//! | `request` | admission, and from a bio to a descriptor table |
//! | `interrupt` | the completion path |
//! | `recovery` | timeouts, broken devices, reset, and when a disk is dead |
//! | `identify` | the device's identity string |
//!
//! # The life of a bio here
//!
//! 1. *submitted*: [`VirtioBlk::submit`](base::block::BlockDevice::submit) owns it. It goes on to 2, or to 5 if the
//!    device cannot be asked for it. The submitter sleeps while neither is possible.
//! 2. *in a slot, published, unkicked*: `entries[slot].owner` owns it; the device may already read it.
//! 3. *kicked*: as 2; the device was told.
//! 4. *returned*: the interrupt handler (or the device's task) took it out of the slot under the lock, and ends it after
//!    unlocking, with the device's status.
//! 5. *answered*: on the `answered` list with an error, because it is malformed or the disk is dead; the device's task
//!    ends it. Never inside submit.
//! 6. *drawn back*: the device timed out or broke the protocol, was reset and read back as quiet; the device's task takes
//!    the bio out of its slot and ends it with `EIO`.
//! 7. *pinned*: the reset failed, so the device may still write to the bio's memory. It is never ended and its frames are
//!    never freed; the disk is dead.
//!
//! # Locks
//!
//! One [`IrqLock`](base::sync::IrqLock) for each device, a leaf: nothing is woken, completed, allocated or logged under it.
//! The interrupt handler drains the used ring to a list on its stack under the lock, unlocks, and completes each.
//!
//! # The device's task
//!
//! Somebody must call [`VirtioBlk::check_timeouts`] about once a second, and at once when
//! [`VirtioBlk::needs_attention`] turns true: a loop over [`VirtioBlk::wait_for_attention`] and it..
mod config;
mod device;
mod identify;
mod interrupt;
mod protocol;
mod recovery;
mod request;
mod state;
#[cfg(all(test, not(loom), not(shuttle)))]
mod tests;

pub use device::{BlkTransport, Params, VirtioBlk};
pub use protocol::Features;
