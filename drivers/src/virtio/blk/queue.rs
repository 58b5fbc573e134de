//! One request queue: what its lock protects, and the steps taken under it. Nothing here sleeps, wakes, completes or logs.
use super::protocol::ID_BYTES;
use super::request;
use crate::virtio::queue::{Broken, Kick, RequestMemory, Slot, SplitQueue, Used};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::SubmittedBio;
use base::errno::{Errno, Result};
use base::sched;
use base::stats::{self, Counter};
use base::sync::IrqLock;
use core::sync::atomic::{AtomicU64, Ordering};

/// Tells a device that a queue has requests.
pub trait Doorbell: Send {
    /// Rings. Called under the queue's lock for every kick: it should be one store.
    fn ring(&self);
}

/// Where the device stands, as a queue knows it.
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

/// A request queue. On cache lines of its own, because each CPU has one.
#[repr(align(128))]
pub struct RequestQueue<D> {
    pub number: u16,
    pub core: IrqLock<Core<D>>,
    /// The task that submitted last what was not kicked yet; 0 if all was. Changes under the lock. See the front page, "Kicks".
    unkicked_by: AtomicU64,
}

impl<D: Doorbell> RequestQueue<D> {
    /// Before the device's first run.
    pub fn new(number: u16, ring: SplitQueue, memory: RequestMemory) -> RequestQueue<D> {
        RequestQueue { number, core: IrqLock::new(Core::new(ring, memory)), unkicked_by: AtomicU64::new(0) }
    }

    /// Whether the current task owes a kick here.
    pub fn is_owed_by_me(&self) -> bool {
        self.unkicked_by.load(Ordering::Relaxed) == sched::current_id()
    }

    /// Notifies the device of everything it was not told of, if it wants to know. Any context.
    #[inline]
    pub fn kick(&self) {
        let mut core = self.core.lock();
        core.kick();
        self.unkicked_by.store(0, Ordering::Relaxed);
    }

    /// Puts the bio into the ring or on the answered list, if that is possible now; see the front page, states 1, 2, 5. For a bio
    /// with a slot `reserved`, 1 and else 0, it always is: if it finds the device broken it ends with `EIO`, as those do that the
    /// device had then.
    #[inline]
    pub fn place(&self, bio: &mut Option<SubmittedBio>, verdict: Result<()>, reserved: usize) -> Placed {
        let mut core = self.core.lock();
        core.reserved -= reserved;
        let refused = match (verdict, core.phase) {
            (Ok(()), Phase::Live) => {
                // If there is no room, `offer` kicks what others owe a kick for.
                self.unkicked_by.store(sched::current_id(), Ordering::Relaxed);
                return core.offer(bio);
            }
            (Err(error), _) => error,
            (Ok(()), Phase::Dead) => Errno::EIO,
            (Ok(()), _) if reserved > 0 => Errno::EIO,
            (Ok(()), _) => {
                core.starved = true;
                return Placed::Nowhere;
            }
        };
        core.answer(bio, refused)
    }
}

/// Where a bio has come to.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Placed {
    /// In the ring.
    InRing,
    /// On the list of those that end without the device: the device's task has to be called.
    Answered,
    /// There was no room.
    Nowhere,
}

/// The state under the queue's lock.
pub struct Core<D> {
    pub phase: Phase,
    pub ring: SplitQueue,
    pub memory: RequestMemory,
    /// Known from the device's first run on.
    pub doorbell: Option<D>,
    pub entries: Box<[Entry]>,
    /// Bios that end without the device; the device's task ends them. Never grows past its first capacity.
    pub answered: Vec<(SubmittedBio, Errno)>,
    /// Slots set aside for bios whose submitters must not sleep (NOW-1), and as many places on the `answered` list: should the device
    /// break before they come, they end there. Never more than are free while the device runs.
    pub reserved: usize,
    /// A submitter found no room and sleeps, or is about to; whoever makes room clears this and wakes.
    pub starved: bool,
    /// The answer to the identity request, which is asked for in the first queue.
    pub identity: Option<Result<[u8; ID_BYTES]>>,
}

impl<D: Doorbell> Core<D> {
    fn new(ring: SplitQueue, memory: RequestMemory) -> Core<D> {
        let size = usize::from(ring.size());
        Core {
            phase: Phase::Created,
            memory,
            doorbell: None,
            entries: (0..size).map(|_| Entry { owner: None, since_ns: 0 }).collect(),
            answered: Vec::with_capacity(size),
            reserved: 0,
            starved: false,
            identity: None,
            ring,
        }
    }

    /// Gives the bio to the device, if a slot is free. If none is, tells the device of what it has not been told of, since
    /// the submitter is going to sleep until something comes back.
    #[inline]
    fn offer(&mut self, bio: &mut Option<SubmittedBio>) -> Placed {
        let Some(slot) = self.take_slot() else {
            self.kick();
            self.starved = true;
            return Placed::Nowhere;
        };
        let Some(request) = bio.take() else { return Placed::InRing };
        match request::build(&self.memory, slot, &request) {
            Ok((descriptors, writable)) => {
                self.hand_over(slot, Owner::Bio(request), descriptors, writable);
                Placed::InRing
            }
            Err(error) => {
                debug_assert!(false, "admission lets nothing pass that does not fit a table");
                self.ring.put_back(slot);
                *bio = Some(request);
                self.answer(bio, error)
            }
        }
    }

    /// A free slot that is not set aside.
    #[inline]
    pub fn take_slot(&mut self) -> Option<Slot> {
        if self.ring.free_slots() > self.reserved { self.ring.take() } else { None }
    }

    /// Sets a slot aside, if one is free.
    pub fn reserve(&mut self) -> bool {
        let free = self.ring.free_slots() > self.reserved;
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
        self.ring.offer(slot, descriptors, writable);
        stats::in_flight(self.ring.in_flight().into());
    }

    /// Puts the bio on the list of those that end without the device, if the list is not full.
    fn answer(&mut self, bio: &mut Option<SubmittedBio>, error: Errno) -> Placed {
        if !self.can_answer() {
            self.starved = true;
            return Placed::Nowhere;
        }
        self.answered.extend(bio.take().map(|bio| (bio, error)));
        Placed::Answered
    }

    /// Notifies the device of everything it was not told of, if it wants to know.
    #[inline]
    pub fn kick(&mut self) {
        if self.phase != Phase::Live {
            return;
        }
        match self.ring.kick() {
            Kick::Nothing => {}
            Kick::Suppressed => stats::count(Counter::KicksSuppressed),
            Kick::Notify => {
                if let Some(doorbell) = &self.doorbell {
                    doorbell.ring();
                }
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
        self.ring.put_back(used.slot);
        ended
    }
}
