//! The ring as user space sees it: pages with a header, the events behind it, and two positions.
//!
//! ```text
//!   header: id, slots, head, tail, magic, compat, incompat, header length      (eight words, `struct aio_ring` of the ABI)
//!   events: `slots` of them; those in [head, tail) are there to be taken, wrapping around
//! ```
//!
//! The kernel stores events and the tail, which user space only reads. A program that takes events itself moves the head (libaio and
//! fio do); the kernel looks at it when it needs to know, and moves it when it hands events out itself.
//!
//! # What is trusted (AIO-15)
//!
//! Nothing in the pages but the difference between the head that is there and the one that the kernel put there, cut to the events
//! that there are. So a wild value takes events away from the program that stored it, and does nothing else.
use super::ring::Event;
use alloc::vec::Vec;
use base::memory::alloc_page_zeroed;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Page, Result};
use core::mem::size_of;
use zerocopy::IntoBytes;

/// `AIO_RING_MAGIC`: a library that finds it takes events without a call.
const MAGIC: u32 = 0xa10a_10a1;
/// `AIO_RING_COMPAT_FEATURES`
const COMPAT: u32 = 1;
const HEADER: usize = 32;
const HEAD: usize = 8;
const TAIL: usize = 12;
const EVENT: usize = size_of::<Event>();
const _: () = assert!(HEADER == EVENT && PAGE_SIZE.is_multiple_of(EVENT));

/// The pages of a context and where the kernel is in them. The owner has a lock.
pub struct MappedRing {
    pages: Arc<[Page]>,
    slots: u32,
    /// Where the kernel put the head.
    head: u32,
    tail: u32,
}

impl MappedRing {
    /// Room for `capacity` events. Errors: `ENOMEM`, `EINVAL` (more than a ring can have).
    pub fn new(capacity: usize) -> Result<MappedRing> {
        // One slot stays free, so that a full ring is not taken for an empty one; the header is as long as a slot.
        let bytes = capacity.checked_add(2).and_then(|slots| slots.checked_mul(EVENT)).ok_or(Errno::EINVAL)?;
        let count = bytes.div_ceil(PAGE_SIZE);
        let slots = u32::try_from(count * (PAGE_SIZE / EVENT) - 1).map_err(|_| Errno::EINVAL)?;
        let mut pages: Vec<Page> = Vec::new();
        pages.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        for _ in 0..count {
            pages.push(alloc_page_zeroed()?);
        }
        let header = [0, slots, 0, 0, MAGIC, COMPAT, 0, HEADER as u32];
        pages.first().ok_or(Errno::EINVAL)?.write_from(0, header.as_bytes());
        Ok(MappedRing { pages: pages.into(), slots, head: 0, tail: 0 })
    }

    /// What is to be mapped.
    pub fn pages(&self) -> &Arc<[Page]> {
        &self.pages
    }

    /// Adds an event. There is room: whoever calls has counted.
    pub fn push(&mut self, event: &Event) {
        let at = HEADER + self.tail as usize * EVENT;
        if let Some(page) = self.pages.get(at / PAGE_SIZE) {
            page.write_from(at % PAGE_SIZE, event.as_bytes());
        }
        self.tail = self.after(self.tail, 1);
        // Who sees the tail sees the event (AIO-6).
        self.store(TAIL, self.tail);
    }

    /// The kernel has handed out the first `n` events.
    pub fn advance(&mut self, n: usize) {
        self.head = self.after(self.head, n);
        self.store(HEAD, self.head);
    }

    /// How many events the program has taken since the kernel last looked, of the `ready` that there are.
    pub fn taken(&mut self, ready: usize) -> usize {
        let seen = self.pages.first().map_or(0, |page| page.load_u32(HEAD)) % self.slots;
        if seen == self.head {
            return 0;
        }
        let moved = (u64::from(seen) + u64::from(self.slots) - u64::from(self.head)) % u64::from(self.slots);
        let taken = if base::guard!("AIO-15", true) { ready.min(moved as usize) } else { moved as usize };
        self.head = self.after(self.head, taken);
        taken
    }

    fn after(&self, position: u32, n: usize) -> u32 {
        ((u64::from(position) + n as u64) % u64::from(self.slots)) as u32
    }

    fn store(&self, offset: usize, value: u32) {
        if let Some(page) = self.pages.first() {
            page.store_u32(offset, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: u64) -> Event {
        Event { data, ..Event::default() }
    }
    fn word(ring: &MappedRing, offset: usize) -> u32 {
        ring.pages[0].load_u32(offset)
    }
    /// Takes an event as a library does.
    fn take(ring: &MappedRing) -> Option<u64> {
        let (head, tail) = (word(ring, HEAD), word(ring, TAIL));
        if head == tail {
            return None;
        }
        let at = HEADER + head as usize * EVENT;
        let mut data = [0; 8];
        ring.pages[at / PAGE_SIZE].read_into(at % PAGE_SIZE, &mut data);
        ring.pages[0].store_u32(HEAD, (head + 1) % word(ring, 4));
        Some(u64::from_ne_bytes(data))
    }

    #[test]
    fn the_header_is_that_of_the_abi() {
        for (capacity, pages, slots) in [(1, 1, 127), (126, 1, 127), (127, 2, 255), (1000, 8, 1023)] {
            let ring = MappedRing::new(capacity).unwrap();
            let header: Vec<u32> = (0..8).map(|i| word(&ring, i * 4)).collect();
            assert_eq!(header, [0, slots, 0, 0, 0xa10a_10a1, 1, 0, 32]);
            assert_eq!(ring.pages.len(), pages);
        }
    }

    #[test]
    fn a_program_takes_events_across_pages_and_the_end() {
        let mut ring = MappedRing::new(130).unwrap();
        let mut next = 0;
        for round in 0..20 {
            for n in 0..130 {
                ring.push(&event(round * 130 + n));
            }
            for left in (1..=130).rev() {
                assert_eq!(take(&ring), Some(next));
                assert_eq!(ring.taken(left), 1);
                next += 1;
            }
            assert_eq!((take(&ring), ring.taken(0)), (None, 0));
        }
    }

    #[test]
    fn what_the_kernel_hands_out_is_gone_for_the_program() {
        let mut ring = MappedRing::new(4).unwrap();
        (0..3).for_each(|n| ring.push(&event(n)));
        ring.advance(2);
        assert_eq!(ring.taken(1), 0);
        assert_eq!((take(&ring), take(&ring)), (Some(2), None));
        assert_eq!(ring.taken(1), 1);
    }

    #[test]
    fn aio_15_a_wild_head_takes_no_more_than_there_is() {
        for wild in [3, 4, 126, 127, 1000, u32::MAX] {
            let mut ring = MappedRing::new(4).unwrap();
            (0..2).for_each(|n| ring.push(&event(n)));
            ring.pages[0].store_u32(HEAD, wild);
            let taken = ring.taken(2);
            assert!(taken <= 2, "{taken} of 2 events");
            ring.pages[0].write_from(0, &[0xff; PAGE_SIZE]);
            assert_eq!(ring.taken(0), 0, "nothing is there");
            // It goes on where the kernel is.
            ring.push(&event(7));
            ring.advance(2 - taken + 1);
            assert_eq!(word(&ring, HEAD), word(&ring, TAIL));
        }
    }
}
