//! The queue: slots go out to the device and come back, and nothing the device writes is believed unchecked.
use super::kick::{Kick, KickGate, SharedWords, UsedCursor};
use super::layout::Layout;
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::errno::{Errno, Result};
use hal::mem::DmaBuffer;

/// Descriptor flag: the descriptor's memory is a table of descriptors.
const INDIRECT: u64 = 4;
/// Bytes of one descriptor.
const DESCRIPTOR_BYTES: u64 = 16;

/// A request's place: the index of its descriptor and of its request memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub u16);

/// A slot the device has returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// Which.
    pub slot: Slot,
    /// Bytes the device says it wrote; not more than it was allowed to.
    pub written: u32,
}

/// How the device broke the protocol. It must be reset: what it does to memory is no longer known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The used index ran past the requests the device has.
    Index {
        /// The index it wrote.
        published: u16,
        /// The first entry not yet taken.
        seen: u16,
    },
    /// A used entry names a slot that is not with the device.
    Id(u32),
    /// A used entry claims more bytes than the request let the device write.
    Length {
        /// The slot.
        slot: Slot,
        /// What it wrote.
        written: u32,
    },
}

/// A split virtqueue. Not locked: the device driver holds it under its queue lock.
///
/// # Invariants
/// * `out[slot] != 0` exactly for the slots with the device, and there are `in_flight` of them.
/// * The free list holds each free slot once; free, taken and offered slots are `out.len()` together.
pub struct SplitQueue {
    memory: Ring,
    gate: KickGate,
    cursor: UsedCursor,
    free: Vec<u16>,
    out: Box<[u32]>,
    in_flight: u16,
}

/// The memory of the ring, shared with the device.
struct Ring {
    dma: DmaBuffer,
    layout: Layout,
}

impl SharedWords for Ring {
    #[inline]
    fn store_avail_idx(&self, index: u16) {
        self.dma.store_release_u16(self.layout.avail_idx(), index);
    }
    #[inline]
    fn load_avail_event(&self) -> u16 {
        self.dma.read_u16(self.layout.avail_event())
    }
    #[inline]
    fn kick_unwanted(&self) -> bool {
        self.dma.read_u16(self.layout.used_flags()) & 1 != 0
    }
    #[inline]
    fn load_used_idx(&self) -> u16 {
        self.dma.load_acquire_u16(self.layout.used_idx())
    }
    #[inline]
    fn store_used_event(&self, index: u16) {
        self.dma.write_u16(self.layout.used_event(), index);
    }
}

impl SplitQueue {
    /// An empty ring of `size` entries. `tables(slot)` is the bus address of the slot's descriptor table. Errors: `ENOMEM`;
    /// `EINVAL` for a size that is no power of two or above 32768. Task context.
    pub fn new(size: u16, event_idx: bool, tables: impl Fn(Slot) -> u64) -> Result<SplitQueue> {
        let layout = Layout::new(size).ok_or(Errno::EINVAL)?;
        let dma = DmaBuffer::alloc(layout.len_bytes()).ok_or(Errno::ENOMEM)?;
        for slot in 0..size {
            dma.write_u64(layout.descriptor(slot), tables(Slot(slot)));
        }
        Ok(SplitQueue {
            memory: Ring { dma, layout },
            gate: KickGate::new(event_idx),
            cursor: UsedCursor::new(event_idx),
            free: (0..size).rev().collect(),
            out: core::iter::repeat_n(0, usize::from(size)).collect(),
            in_flight: 0,
        })
    }

    /// Entries of the ring.
    pub fn size(&self) -> u16 {
        self.out.len() as u16
    }

    /// The bus addresses of descriptors, available area and used area.
    pub fn addresses(&self) -> (u64, u64, u64) {
        let start = self.memory.dma.phys();
        (start, start + self.memory.layout.avail() as u64, start + self.memory.layout.used() as u64)
    }

    /// How many requests the device has.
    #[inline]
    pub fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// Whether something was offered since the last kick.
    #[inline]
    pub fn unkicked(&self) -> bool {
        self.gate.unkicked()
    }

    /// Takes a free slot; `None` when all are taken or with the device.
    #[inline]
    pub fn take(&mut self) -> Option<Slot> {
        self.free.pop().map(Slot)
    }

    /// Slots that [`take`](Self::take) has to give.
    #[inline]
    pub fn free_slots(&self) -> usize {
        self.free.len()
    }

    /// Puts a slot back that was taken or has been used.
    #[inline]
    pub fn put_back(&mut self, slot: Slot) {
        debug_assert!(self.free.len() < self.out.len());
        self.free.push(slot.0);
    }

    /// Gives a taken slot to the device: its table has `descriptors` entries, of which the device may write `writable`
    /// bytes in all (more than 0). From here on the device owns it; it is told by the next [`kick`](Self::kick).
    #[inline]
    pub fn offer(&mut self, slot: Slot, descriptors: u16, writable: u32) {
        debug_assert!(writable > 0);
        let Some(out) = self.out.get_mut(usize::from(slot.0)) else { return };
        *out = writable;
        self.in_flight += 1;
        let Ring { dma, layout } = &self.memory;
        let len_bytes = u64::from(descriptors) * DESCRIPTOR_BYTES;
        dma.write_u64(layout.descriptor(slot.0) + 8, len_bytes | INDIRECT << 32);
        dma.write_u16(layout.avail_entry(self.gate.next()), slot.0);
        self.gate.publish(&self.memory);
    }

    /// Whether the device must be notified of what was offered since the last call.
    #[inline]
    pub fn kick(&mut self) -> Kick {
        self.gate.kick(&self.memory)
    }

    /// Takes the next returned slot; `Ok(None)` if the used ring is empty. Errors: [`Broken`], after which the queue must
    /// not be used until the device is quiet and [`forget`](Self::forget) was called.
    pub fn next_used(&mut self) -> core::result::Result<Option<Used>, Broken> {
        let seen = self.cursor.seen();
        match self.cursor.pending(&self.memory, self.in_flight) {
            None => return Err(Broken::Index { published: self.memory.load_used_idx(), seen }),
            Some(0) => return Ok(None),
            Some(_) => {}
        }
        let entry = self.memory.layout.used_entry(seen);
        let id = self.memory.dma.read_u32(entry);
        let written = self.memory.dma.read_u32(entry + 4);
        let used = self.check(id, written)?;
        self.cursor.advance();
        self.in_flight -= 1;
        Ok(Some(used))
    }

    /// Checks what a used entry says and takes the slot back (state 3 to 4).
    fn check(&mut self, id: u32, written: u32) -> core::result::Result<Used, Broken> {
        let out = usize::try_from(id).ok().and_then(|i| self.out.get_mut(i)).ok_or(Broken::Id(id))?;
        let slot = Slot(id as u16);
        match core::mem::take(out) {
            0 => Err(Broken::Id(id)),
            allowed if written > allowed => {
                *out = allowed;
                Err(Broken::Length { slot, written })
            }
            _ => Ok(Used { slot, written }),
        }
    }

    /// Asks for the next interrupt and looks once more: false if there is more to drain.
    #[inline]
    #[must_use = "entries that came meanwhile raise no interrupt"]
    pub fn arm(&self) -> bool {
        self.cursor.arm(&self.memory)
    }

    /// Makes the ring empty again, with every slot free. Only for a device that is quiet: it was reset, or never started.
    pub fn forget(&mut self, event_idx: bool) {
        let Ring { dma, layout } = &self.memory;
        for offset in (layout.avail()..layout.len_bytes()).step_by(2) {
            dma.write_u16(offset, 0);
        }
        self.gate = KickGate::new(event_idx);
        self.cursor = UsedCursor::new(event_idx);
        self.free.clear();
        self.free.extend((0..self.out.len() as u16).rev());
        self.out.fill(0);
        self.in_flight = 0;
    }
}
