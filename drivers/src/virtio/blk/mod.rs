//! The virtio block device (VIRTIO 1.2, section 5.2) as a [`BlockDevice`](base::block::BlockDevice).
//!
//! | file | idea |
//! |---|---|
//! | `protocol` | the numbers of the specification |
//! | `config` | feature negotiation, limits, durability |
//! | `device` | [`VirtioBlk`]: bring-up, submit, kick |
//! | `registers` | what is done for all queues: starting them, and saying where the device stands |
//! | `queue` | one request queue: what its lock protects, and the steps taken under it |
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
//! # Queues
//!
//! A disk has a request queue for each CPU, or fewer, which CPUs then share. A CPU submits to its queue, and the queue's interrupt comes
//! to that CPU (`pci`): who submits and who completes meet the same cache lines. Until the other CPUs run, only the first
//! queue has requests. Room is of a queue: a submitter that finds none in that of its CPU sleeps, and tries that of the CPU
//! where it wakes up; a promise of room names its queue, and holds on any CPU.
//!
//! # Kicks
//!
//! A task may move to another CPU between submit and kick. So each queue names the task that submitted to it last, until it is kicked,
//! and a kick is for the queue of this CPU and for those that name the caller. The name changes under the lock and is read without
//! it. Who looks for its own name finds what it wrote, or something later:
//! * nobody: the queue was kicked, and its own requests with the others;
//! * another task: that one owes a kick for what it submitted last, which tells of everything before it too.
//!
//! # Locks
//!
//! One [`IrqLock`](base::sync::IrqLock) for the registers of the device and, taken after it where both are needed, one for each queue.
//! Submitting, kicking and completing take the queue's alone. Nothing is woken, completed, allocated or logged under them. The
//! interrupt handler drains the used ring to a list on its stack under the lock, unlocks, and completes each.
//!
//! A queue knows where the device stands (`queue::Phase`). It finds out alone that its ring is broken; all else is said to
//! all queues with the lock of the registers held. Until the device's task has done so for a broken ring, the others go on.
//!
//! # The device's task
//!
//! Somebody must call [`VirtioBlk::check_timeouts`] about once a second, and at once when
//! [`VirtioBlk::needs_attention`] turns true: a loop over [`VirtioBlk::wait_for_attention`] and it. A reset is of the whole device
//! and ends the requests of all queues.
mod config;
mod device;
mod identify;
mod interrupt;
mod protocol;
mod queue;
#[cfg(all(test, not(loom), not(shuttle)))]
mod queue_tests;
mod recovery;
mod registers;
mod request;
#[cfg(all(test, not(loom), not(shuttle)))]
mod tests;

pub use device::{BlkTransport, Params, VirtioBlk};
pub use protocol::Features;
pub use queue::Doorbell;
