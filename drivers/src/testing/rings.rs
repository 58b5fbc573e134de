//! The device's view of a split ring.
use hal::host::dma;
use std::sync::atomic::{Ordering, fence};
use std::vec::Vec;

/// One descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub address: u64,
    pub len: u32,
    pub flags: u16,
    pub next: u16,
}

const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A ring as the driver set it up, and how far the device has come in it.
pub struct Rings {
    pub size: u16,
    pub descriptors: u64,
    pub avail: u64,
    pub used: u64,
    pub event_idx: bool,
    next_avail: u16,
    next_used: u16,
    /// The used index at the last decision whether to interrupt.
    announced: u16,
}

impl Rings {
    pub fn new(size: u16, descriptors: u64, avail: u64, used: u64, event_idx: bool) -> Rings {
        Rings { size, descriptors, avail, used, event_idx, next_avail: 0, next_used: 0, announced: 0 }
    }

    fn load(&self, address: u64) -> u16 {
        dma::load_u16(address).expect("a ring index lies in shared memory")
    }

    /// Takes everything that is available and goes to sleep: the heads of the chains.
    pub fn take_available(&mut self) -> Vec<u16> {
        let mut heads = Vec::new();
        loop {
            let index = self.load(self.avail + 2);
            assert!(index.wrapping_sub(self.next_avail) <= self.size, "more offered than the ring holds");
            while self.next_avail != index {
                let entry = u64::from(self.next_avail % self.size);
                heads.push(self.load(self.avail + 4 + 2 * entry));
                self.next_avail = self.next_avail.wrapping_add(1);
            }
            if self.event_idx {
                let event = self.used + 4 + 8 * u64::from(self.size);
                dma::store_u16(event, self.next_avail).expect("avail_event");
            }
            fence(Ordering::SeqCst);
            if self.load(self.avail + 2) == self.next_avail {
                return heads;
            }
        }
    }

    /// The chain behind `head`, which must be one indirect table.
    pub fn chain(&self, head: u16) -> Vec<Descriptor> {
        assert!(head < self.size, "a head past the ring");
        let outer = descriptor_at(self.descriptors + 16 * u64::from(head));
        assert_eq!(outer.flags, INDIRECT);
        assert!(outer.len > 0 && outer.len.is_multiple_of(16));
        let mut chain = Vec::new();
        let mut index = 0;
        loop {
            assert!(16 * (u32::from(index) + 1) <= outer.len, "a chain past its table");
            let descriptor = descriptor_at(outer.address + 16 * u64::from(index));
            chain.push(descriptor);
            assert!(descriptor.len > 0, "an empty descriptor");
            if descriptor.flags & NEXT == 0 {
                assert_eq!(chain.len() * 16, outer.len as usize, "the table is longer than its chain");
                return chain;
            }
            index = descriptor.next;
        }
    }

    /// Writes a used entry and publishes it.
    pub fn push_used(&mut self, id: u32, len: u32) {
        let entry = self.used + 4 + 8 * u64::from(self.next_used % self.size);
        dma::write(entry, &id.to_le_bytes()).expect("used ring");
        dma::write(entry + 4, &len.to_le_bytes()).expect("used ring");
        self.next_used = self.next_used.wrapping_add(1);
        dma::store_u16(self.used + 2, self.next_used).expect("used index");
    }

    /// Publishes a used index without entries behind it: a lie.
    pub fn jump_used(&mut self, by: u16) {
        self.next_used = self.next_used.wrapping_add(by);
        dma::store_u16(self.used + 2, self.next_used).expect("used index");
    }

    /// Whether the driver wants an interrupt for what was returned since the last call.
    pub fn interrupt_wanted(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let old = std::mem::replace(&mut self.announced, self.next_used);
        if !self.event_idx {
            return self.load(self.avail) & 1 == 0 && old != self.next_used;
        }
        let event = self.load(self.avail + 4 + 2 * u64::from(self.size));
        crate::virtio::queue::need_event(event, old, self.next_used)
    }
}

fn descriptor_at(address: u64) -> Descriptor {
    let mut raw = [0; 16];
    dma::read(address, &mut raw).expect("a descriptor lies in shared memory");
    let word = |i: usize| u32::from_le_bytes([raw[i], raw[i + 1], raw[i + 2], raw[i + 3]]);
    let half = |i: usize| u16::from_le_bytes([raw[i], raw[i + 1]]);
    Descriptor { address: u64::from(word(0)) | u64::from(word(4)) << 32, len: word(8), flags: half(12), next: half(14) }
}
