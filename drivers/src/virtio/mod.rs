//! Virtio devices, version 1 and later ("modern"), on PCI.
//!
//! | module | contents |
//! |---|---|
//! | [`queue`] | the split virtqueue: ring arithmetic, kick and interrupt suppression, checks of what the device writes |
//! | [`transport`] | interrupts and a cheap doorbell for the PCI transport |
//! | [`blk`] | the block device |
//!
//! The crate `virtio-drivers` finds capabilities and reaches the configuration registers (its `Transport`); everything
//! between a bio and the ring is ours. References: the VIRTIO 1.2 specification, sections 2.7 (split virtqueues) and 5.2
//! (block device).
pub mod blk;
pub mod queue;
pub mod transport;
