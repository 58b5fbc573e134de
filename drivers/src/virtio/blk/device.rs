//! A virtio block device: bring-up, and the block layer's interface.
use super::config::{self, Agreement};
use super::protocol::Features;
use super::queue::{Doorbell, Phase, Placed, RequestQueue};
use super::request;
use crate::virtio::queue::{RequestMemory, SplitQueue};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use base::block::{BioOp, BlockDevice, Durability, Limits, Promise, SECTOR_SIZE, SubmittedBio};
use base::errno::{Errno, Result};
use base::sched;
use base::sync::{IrqLock, WaitQueue};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use virtio_drivers::transport::{DeviceType, Transport};

/// What a block device's transport can do beyond `virtio-drivers`' [`Transport`].
pub trait BlkTransport: Transport + Send {
    /// What rings for one queue.
    type Doorbell: Doorbell;

    /// Binds the interrupt of configuration changes, and reads the binding back. Called after every negotiation, before the
    /// queues are enabled. Errors: `EIO` if the device did not take it.
    fn bind_config(&mut self) -> Result<()>;

    /// The same for the interrupt of `queue`; gives the queue's doorbell.
    fn bind_queue(&mut self, queue: u16) -> Result<Self::Doorbell>;

    /// The CPU that asks, by which a queue is chosen. A test pretends.
    fn cpu() -> usize {
        sched::cpu()
    }
}

/// How a device is driven.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Most entries of the ring; the device's own maximum counts too.
    pub queue_size: u16,
    /// Most data segments of one bio; the device's own maximum counts too. Each costs 16 bytes of DMA memory per entry.
    pub max_segments: u16,
    /// Most request queues; the device's own number counts too. A CPU uses the queue of its own number, modulo how many there are.
    pub queues: u16,
    /// How long a request may take before the device is reset.
    pub timeout_ns: u64,
    /// How long a reset may take before the disk is declared dead.
    pub reset_timeout_ns: u64,
}

impl Default for Params {
    /// As many queues as there are, each of 256 requests of 64 segments (286,720 bytes of DMA memory); 60 seconds, 5 seconds.
    fn default() -> Params {
        Params {
            queue_size: 256,
            max_segments: 64,
            queues: u16::MAX,
            timeout_ns: 60_000_000_000,
            reset_timeout_ns: 5_000_000_000,
        }
    }
}

/// A virtio block device. See the front page of this folder.
pub struct VirtioBlk<T: BlkTransport> {
    name: String,
    pub(super) params: Params,
    pub(super) agreement: Agreement,
    durability: AtomicU8,
    /// The device's registers. Dropped before the queues, which resets the device: only then may their memory go.
    pub(super) registers: IrqLock<T>,
    /// At least one.
    pub(super) queues: Box<[RequestQueue<T::Doorbell>]>,
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
        let queues = make_queues(&mut transport, &agreement, &params)?;
        Ok(VirtioBlk {
            name,
            params,
            agreement,
            durability: AtomicU8::new(durability as u8),
            registers: IrqLock::new(transport),
            queues,
            room: WaitQueue::new(),
            attention: WaitQueue::new(),
            needs_attention: AtomicBool::new(false),
        })
    }

    /// Sets the queues up and lets the device run; its interrupts must lead to [`interrupt`](Self::interrupt) and
    /// [`config_changed`](Self::config_changed). Task context. Errors: `EIO`; the device is then dead.
    pub fn start(&self) -> Result<()> {
        let mut registers = self.registers.lock();
        debug_assert!(self.phase() == Phase::Created);
        self.run(&mut registers).inspect_err(|_| self.set_phase(&mut registers, Phase::Dead))
    }

    /// The features agreed on.
    pub fn features(&self) -> Features {
        self.agreement.features
    }

    /// How many queues are used.
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// How many requests of the first queue can be with the device at once.
    pub fn queue_size(&self) -> u16 {
        self.first().core.lock().ring.size()
    }

    /// How many requests the device has now.
    pub fn in_flight(&self) -> usize {
        self.queues.iter().map(|queue| usize::from(queue.core.lock().ring.in_flight())).sum()
    }

    /// Whether the disk was given up: a reset failed, or the device changed under it. Every bio ends with `EIO`, except
    /// those that the device may still write to, which never end.
    pub fn is_dead(&self) -> bool {
        self.phase() == Phase::Dead
    }

    pub(super) fn set_durability(&self, durability: Durability) {
        self.durability.store(durability as u8, Ordering::Relaxed);
    }

    /// The queue that carries what is of the device alone.
    pub(super) fn first(&self) -> &RequestQueue<T::Doorbell> {
        &self.queues[0]
    }

    /// The queue of this CPU.
    #[inline]
    fn here(&self) -> &RequestQueue<T::Doorbell> {
        match &*self.queues {
            [only] => only,
            many => &many[T::cpu() % many.len()],
        }
    }

    /// [`RequestQueue::place`] in `queue`; whether it was placed.
    fn place(
        &self,
        queue: &RequestQueue<T::Doorbell>,
        bio: &mut Option<SubmittedBio>,
        verdict: Result<()>,
        reserved: usize,
    ) -> bool {
        let placed = queue.place(bio, verdict, reserved);
        if placed == Placed::Answered {
            self.call_task();
        }
        placed != Placed::Nowhere
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
        if !self.place(self.here(), &mut bio, verdict, 0) {
            self.kick();
            // The task may wake up on another CPU, and then tries the queue there.
            self.room.wait_until(|| self.place(self.here(), &mut bio, verdict, 0));
        }
    }

    fn reserve(&self) -> Option<Promise> {
        let queue = self.here();
        queue.core.lock().reserve().then_some(Promise { queue: queue.number })
    }

    fn submit_reserved(&self, bio: SubmittedBio, promise: Promise) {
        let verdict = request::admissible(&bio, &self.agreement);
        let queue = &self.queues[usize::from(promise.queue)];
        let placed = self.place(queue, &mut Some(bio), verdict, 1);
        debug_assert!(placed, "there is a slot and a place on the list for what was reserved");
    }

    fn unreserve(&self, promise: Promise) {
        let starved = {
            let mut core = self.queues[usize::from(promise.queue)].core.lock();
            core.reserved -= 1;
            core::mem::take(&mut core.starved)
        };
        if starved {
            self.room.wake_all();
        }
    }

    fn kick(&self) {
        let here = self.here();
        here.kick();
        if self.queues.len() == 1 {
            return;
        }
        for other in &self.queues {
            // The task may have come from another CPU since it submitted, and nobody else owes a kick for its requests there.
            if other.number != here.number && base::guard!("R40-kick", other.is_owed_by_me()) {
                other.kick();
            }
        }
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

/// The queues that the device has, of those that it says it has, that are wanted and that there is memory for. Errors: those of the
/// first one, without which there is no disk.
fn make_queues<T: BlkTransport>(
    transport: &mut T,
    agreement: &Agreement,
    params: &Params,
) -> Result<Box<[RequestQueue<T::Doorbell>]>> {
    let wanted = agreement.queues.min(params.queues).max(1);
    let mut queues = Vec::new();
    for queue in 0..wanted {
        match make_queue(transport, queue, agreement, params) {
            Ok(made) => queues.push(made),
            Err(error) if queue == 0 => return Err(error),
            Err(error) => {
                log::warn!("virtio-blk: queue {queue} of {wanted} cannot be used ({error}): {queue} are");
                break;
            }
        }
    }
    Ok(queues.into_boxed_slice())
}

/// Errors: `EIO` if the device has no such queue, `ENOMEM`.
fn make_queue<T: BlkTransport>(
    transport: &mut T,
    queue: u16,
    agreement: &Agreement,
    params: &Params,
) -> Result<RequestQueue<T::Doorbell>> {
    let size = ring_size(transport.max_queue_size(queue), params.queue_size)?;
    let memory = RequestMemory::new(size, agreement.descriptors, agreement.segment_bytes_max)?;
    let event_idx = agreement.features.contains(Features::EVENT_IDX);
    let ring = SplitQueue::new(size, event_idx, |slot| memory.table_address(slot))?;
    Ok(RequestQueue::new(queue, ring, memory))
}

/// The size of the ring: a power of two, not above the device's maximum nor the parameter. Errors: `EIO` if the device has
/// no such queue.
fn ring_size(device_max: u32, wanted: u16) -> Result<u16> {
    let max = device_max.min(u32::from(wanted)).min(32768);
    let log2 = max.checked_ilog2().ok_or(Errno::EIO)?;
    Ok(1 << log2)
}
