//! What the queue lock protects, and the steps taken under it. Nothing here sleeps, wakes, completes or logs.
use super::device::{BlkTransport, QUEUE};
use super::protocol::ID_BYTES;
use super::request;
use crate::virtio::queue::{Broken, Kick, RequestMemory, Slot, SplitQueue, Used};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::SubmittedBio;
use base::errno::{Errno, Result};
use base::stats::{self, Counter};
use virtio_drivers::transport::DeviceStatus;

/// Where the device stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Negotiated, not running.
    Created,
    /// Running.
    Live,
    /// It broke the protocol or asks for a reset; the device's task will reset it. Its ring is not looked at any more.
    Broken(Fault),
    /// The device's task resets it.
    Resetting,
    /// Given up.
    Dead,
}

/// Why a device must be reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// What it wrote to the used ring cannot be.
    Ring(Broken),
    /// It set `DEVICE_NEEDS_RESET`.
    NeedsReset,
    /// A request is older than the timeout.
    Timeout,
}

/// Who waits for a request.
pub enum Owner {
    /// A bio of the block layer.
    Bio(SubmittedBio),
    /// The driver itself asks for the identity.
    Identify,
}

/// The driver's private record of a slot.
pub struct Entry {
    /// `Some` exactly while the slot is with the device.
    pub owner: Option<Owner>,
    /// When the device's task first saw the request; 0 before. So submitting reads no clock, and no request times out
    /// early.
    pub since_ns: u64,
}

/// The state under the queue lock.
pub struct Core<T> {
    // Dropped first, which resets the device: only then may the memory below go.
    pub transport: T,
    pub phase: Phase,
    pub queue: SplitQueue,
    pub memory: RequestMemory,
    pub entries: Box<[Entry]>,
    /// Bios that end without the device; the device's task ends them. Never grows past its first capacity.
    pub answered: Vec<(SubmittedBio, Errno)>,
    /// Slots set aside for bios whose submitters must not sleep (NOW-1), and as many places on the `answered` list: should the device
    /// break before they come, they end there. Never more than are free while the device runs.
    pub reserved: usize,
    /// A submitter found no room and sleeps, or is about to; whoever makes room clears this and wakes.
    pub starved: bool,
    /// The answer to the identity request.
    pub identity: Option<Result<[u8; ID_BYTES]>>,
}

impl<T: BlkTransport> Core<T> {
    /// Before the first run.
    pub fn new(transport: T, queue: SplitQueue, memory: RequestMemory) -> Core<T> {
        let size = usize::from(queue.size());
        Core {
            transport,
            phase: Phase::Created,
            memory,
            entries: (0..size).map(|_| Entry { owner: None, since_ns: 0 }).collect(),
            answered: Vec::with_capacity(size),
            reserved: 0,
            starved: false,
            identity: None,
            queue,
        }
    }

    /// Sets the queue up and starts the negotiated device. Errors: `EIO`.
    pub fn run(&mut self) -> Result<()> {
        self.transport.bind_interrupts(QUEUE)?;
        let (descriptors, avail, used) = self.queue.addresses();
        self.transport.queue_set(QUEUE, self.queue.size().into(), descriptors, avail, used);
        if !self.transport.queue_used(QUEUE) {
            return Err(Errno::EIO);
        }
        self.transport.finish_init();
        if !self.transport.get_status().contains(DeviceStatus::DRIVER_OK) {
            return Err(Errno::EIO);
        }
        self.phase = Phase::Live;
        Ok(())
    }

    /// Gives the bio to the device, if a slot is free. If none is, tells the device of what it has not been told of, since
    /// the submitter is going to sleep until something comes back.
    #[inline]
    pub fn offer(&mut self, bio: &mut Option<SubmittedBio>) -> bool {
        let Some(slot) = self.take_slot() else {
            self.kick();
            self.starved = true;
            return false;
        };
        let Some(request) = bio.take() else { return true };
        match request::build(&self.memory, slot, &request) {
            Ok((descriptors, writable)) => {
                self.hand_over(slot, Owner::Bio(request), descriptors, writable);
                true
            }
            Err(error) => {
                debug_assert!(false, "admission lets nothing pass that does not fit a table");
                self.queue.put_back(slot);
                *bio = Some(request);
                self.answer(bio, error)
            }
        }
    }

    /// A free slot that is not set aside.
    #[inline]
    pub fn take_slot(&mut self) -> Option<Slot> {
        if self.queue.free_slots() > self.reserved { self.queue.take() } else { None }
    }

    /// Sets a slot aside, if one is free.
    pub fn reserve(&mut self) -> bool {
        let free = self.queue.free_slots() > self.reserved;
        let room = self.phase == Phase::Live && free && self.can_answer();
        self.reserved += usize::from(room);
        room
    }

    /// Whether there is a place on the list of bios that end without the device.
    fn can_answer(&self) -> bool {
        self.answered.len() + self.reserved < self.answered.capacity()
    }

    /// Records the owner, then publishes the slot: the device may return it before the next line runs.
    #[inline]
    pub fn hand_over(&mut self, slot: Slot, owner: Owner, descriptors: u16, writable: u32) {
        let Some(entry) = self.entries.get_mut(usize::from(slot.0)) else { return };
        debug_assert!(entry.owner.is_none());
        *entry = Entry { owner: Some(owner), since_ns: 0 };
        self.queue.offer(slot, descriptors, writable);
        stats::in_flight(self.queue.in_flight().into());
    }

    /// Puts the bio on the list of those that end without the device; false if the list is full.
    pub fn answer(&mut self, bio: &mut Option<SubmittedBio>, error: Errno) -> bool {
        if !self.can_answer() {
            self.starved = true;
            return false;
        }
        self.answered.extend(bio.take().map(|bio| (bio, error)));
        true
    }

    /// Notifies the device of everything it was not told of, if it wants to know.
    #[inline]
    pub fn kick(&mut self) {
        if self.phase != Phase::Live {
            return;
        }
        match self.queue.kick() {
            Kick::Nothing => {}
            Kick::Suppressed => stats::count(Counter::KicksSuppressed),
            Kick::Notify => {
                self.transport.notify(QUEUE);
                stats::count(Counter::Kicks);
            }
        }
    }

    /// Takes a used slot back: the bio to complete and how, unless the driver itself had asked.
    #[inline]
    pub fn retire(&mut self, used: Used) -> Option<(SubmittedBio, Result<()>)> {
        let owner = self.entries.get_mut(usize::from(used.slot.0)).and_then(|e| e.owner.take());
        let status = self.memory.status(used.slot);
        let ended = match owner {
            Some(Owner::Bio(bio)) => {
                let result = request::outcome(&bio, status, used.written);
                Some((bio, result))
            }
            Some(Owner::Identify) => {
                self.take_identity(used.slot, status);
                None
            }
            None => None,
        };
        self.queue.put_back(used.slot);
        ended
    }
}
