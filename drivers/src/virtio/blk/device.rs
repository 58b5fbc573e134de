//! A virtio block device: bring-up, and the block layer's interface.
use super::config::{self, Agreement};
use super::protocol::Features;
use super::request;
use super::state::{Core, Phase};
use crate::virtio::queue::{RequestMemory, SplitQueue};
use alloc::string::String;
use base::block::{BioOp, BlockDevice, Durability, Limits, SECTOR_SIZE, SubmittedBio};
use base::errno::{Errno, Result};
use base::sync::{IrqLock, WaitQueue};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use virtio_drivers::transport::{DeviceType, Transport};

/// The request queue; the device may have more, which stay unused.
pub(super) const QUEUE: u16 = 0;

/// What a block device's transport can do beyond `virtio-drivers`' [`Transport`].
///
/// [`Transport::notify`] is called under the queue lock for every kick: it should be one store to a cached address.
pub trait BlkTransport: Transport + Send {
    /// Binds the interrupts of configuration changes and of `queue`, and reads the binding back. Called after every
    /// negotiation, before the queue is enabled. Errors: `EIO` if the device did not take them.
    fn bind_interrupts(&mut self, queue: u16) -> Result<()>;
}

/// How a device is driven.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Most entries of the ring; the device's own maximum counts too.
    pub queue_size: u16,
    /// Most data segments of one bio; the device's own maximum counts too. Each costs 16 bytes of DMA memory per entry.
    pub max_segments: u16,
    /// How long a request may take before the device is reset.
    pub timeout_ns: u64,
    /// How long a reset may take before the disk is declared dead.
    pub reset_timeout_ns: u64,
}

impl Default for Params {
    /// 256 requests of 64 segments (286,720 bytes of DMA memory), 60 seconds, 5 seconds.
    fn default() -> Params {
        Params { queue_size: 256, max_segments: 64, timeout_ns: 60_000_000_000, reset_timeout_ns: 5_000_000_000 }
    }
}

/// A virtio block device. See the front page of this folder.
pub struct VirtioBlk<T: BlkTransport> {
    name: String,
    pub(super) params: Params,
    pub(super) agreement: Agreement,
    durability: AtomicU8,
    pub(super) core: IrqLock<Core<T>>,
    /// Submitters that found no room, and those who wait for the identity.
    pub(super) room: WaitQueue,
    /// The device's task.
    pub(super) attention: WaitQueue,
    pub(super) needs_attention: AtomicBool,
}

impl<T: BlkTransport> VirtioBlk<T> {
    /// Resets the device, negotiates and allocates all memory; nothing runs until [`start`](Self::start). Task context.
    /// Errors: `ENODEV` if it is no block device, `ENOMEM`, and those of negotiation (logged): `EOPNOTSUPP`, `EINVAL`,
    /// `EIO`.
    pub fn new(name: String, mut transport: T, params: Params) -> Result<VirtioBlk<T>> {
        if transport.device_type() != DeviceType::Block {
            return Err(Errno::ENODEV);
        }
        let agreement = config::negotiate(&mut transport, &params)?;
        let durability = config::durability(&transport, agreement.features);
        let size = ring_size(transport.max_queue_size(QUEUE), params.queue_size)?;
        let memory = RequestMemory::new(size, agreement.descriptors, agreement.segment_bytes_max)?;
        let event_idx = agreement.features.contains(Features::EVENT_IDX);
        let queue = SplitQueue::new(size, event_idx, |slot| memory.table_address(slot))?;
        Ok(VirtioBlk {
            name,
            params,
            agreement,
            durability: AtomicU8::new(durability as u8),
            core: IrqLock::new(Core::new(transport, queue, memory)),
            room: WaitQueue::new(),
            attention: WaitQueue::new(),
            needs_attention: AtomicBool::new(false),
        })
    }

    /// Sets the queue up and lets the device run; its interrupts must lead to [`interrupt`](Self::interrupt) and
    /// [`config_changed`](Self::config_changed). Task context. Errors: `EIO`; the device is then dead.
    pub fn start(&self) -> Result<()> {
        let mut core = self.core.lock();
        debug_assert!(core.phase == Phase::Created);
        core.run().inspect_err(|_| core.phase = Phase::Dead)
    }

    /// The features agreed on.
    pub fn features(&self) -> Features {
        self.agreement.features
    }

    /// How many requests can be with the device at once.
    pub fn queue_size(&self) -> u16 {
        self.core.lock().queue.size()
    }

    /// How many requests the device has now.
    pub fn in_flight(&self) -> u16 {
        self.core.lock().queue.in_flight()
    }

    /// Whether the disk was given up: a reset failed, or the device changed under it. Every bio ends with `EIO`, except
    /// those that the device may still write to, which never end.
    pub fn is_dead(&self) -> bool {
        self.core.lock().phase == Phase::Dead
    }

    pub(super) fn set_durability(&self, durability: Durability) {
        self.durability.store(durability as u8, Ordering::Relaxed);
    }

    /// Puts the bio into the ring or on the answered list, if that is possible now; see the front page, states 1, 2, 5.
    fn place(&self, bio: &mut Option<SubmittedBio>, verdict: Result<()>) -> bool {
        let mut core = self.core.lock();
        let refused = match (verdict, core.phase) {
            (Ok(()), Phase::Live) => return core.offer(bio),
            (Err(error), _) => error,
            (Ok(()), Phase::Dead) => Errno::EIO,
            (Ok(()), _) => {
                core.starved = true;
                return false;
            }
        };
        let placed = core.answer(bio, refused);
        drop(core);
        self.call_task();
        placed
    }

    /// Wakes the device's task. Any context, the lock not held.
    pub(super) fn call_task(&self) {
        self.needs_attention.store(true, Ordering::Release);
        self.attention.wake_all();
    }
}

impl<T: BlkTransport> BlockDevice for VirtioBlk<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        self.agreement.limits
    }

    fn durability(&self) -> Durability {
        const ON_COMPLETION: u8 = Durability::OnCompletion as u8;
        const ON_FLUSH: u8 = Durability::OnFlush as u8;
        match self.durability.load(Ordering::Relaxed) {
            ON_COMPLETION => Durability::OnCompletion,
            ON_FLUSH => Durability::OnFlush,
            _ => Durability::Unknown,
        }
    }

    fn submit(&self, bio: SubmittedBio) {
        let verdict = request::admissible(&bio, &self.agreement);
        let mut bio = Some(bio);
        if !self.place(&mut bio, verdict) {
            self.room.wait_until(|| self.place(&mut bio, verdict));
        }
    }

    fn reserve(&self) -> bool {
        self.core.lock().reserve()
    }

    /// A bio that finds the device broken ends with `EIO`, as those do that the device had then.
    fn submit_reserved(&self, bio: SubmittedBio) {
        let verdict = request::admissible(&bio, &self.agreement);
        let mut bio = Some(bio);
        let mut core = self.core.lock();
        core.reserved -= 1;
        let error = match (verdict, core.phase) {
            (Ok(()), Phase::Live) => None,
            (refused, _) => refused.err().or(Some(Errno::EIO)),
        };
        let placed = match error {
            None => core.offer(&mut bio),
            Some(error) => core.answer(&mut bio, error),
        };
        drop(core);
        debug_assert!(placed, "there is a slot and a place on the list for what was reserved");
        if error.is_some() {
            self.call_task();
        }
    }

    fn unreserve(&self) {
        let starved = {
            let mut core = self.core.lock();
            core.reserved -= 1;
            core::mem::take(&mut core.starved)
        };
        if starved {
            self.room.wake_all();
        }
    }

    fn kick(&self) {
        self.core.lock().kick();
    }
}

impl<T: BlkTransport> VirtioBlk<T> {
    /// Most bytes of one bio without data (discard, write-zeroes); 0 where the operation is not supported.
    pub fn max_bytes_without_data(&self, op: BioOp) -> u64 {
        match op {
            BioOp::Discard => u64::from(self.agreement.discard_sectors_max) * SECTOR_SIZE,
            BioOp::WriteZeroes => u64::from(self.agreement.write_zeroes_sectors_max) * SECTOR_SIZE,
            BioOp::Read | BioOp::Write | BioOp::Flush => 0,
        }
    }
}

/// The size of the ring: a power of two, not above the device's maximum nor the parameter. Errors: `EIO` if the device has
/// no such queue.
fn ring_size(device_max: u32, wanted: u16) -> Result<u16> {
    let max = device_max.min(u32::from(wanted)).min(32768);
    let log2 = max.checked_ilog2().ok_or(Errno::EIO)?;
    Ok(1 << log2)
}
