//! Where the three areas of a split ring lie in one piece of memory (VIRTIO 1.2, section 2.7).
//!
//! ```text
//!   0            16n               16n + 6 + 2n, rounded up to 4
//!   | descriptors | flags idx ring[n] used_event | flags idx {id, len}[n] avail_event |
//!   | n * 16      |  available area: driver to    |  used area: device to driver       |
//!   |             |  device                       |                                    |
//! ```

/// Byte offsets within a ring of `size` entries.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    size: usize,
}

impl Layout {
    /// For a ring of `size` entries: a power of two up to 32768.
    pub fn new(size: u16) -> Option<Layout> {
        (size.is_power_of_two() && size <= 32768).then_some(Layout { size: usize::from(size) })
    }

    /// Bytes of the whole ring.
    pub fn len_bytes(self) -> usize {
        self.used() + 6 + 8 * self.size
    }

    /// The descriptor of `slot`: 64 bits of address, then length, flags and next.
    #[inline]
    pub fn descriptor(self, slot: u16) -> usize {
        16 * usize::from(slot)
    }

    /// The available area.
    pub fn avail(self) -> usize {
        16 * self.size
    }
    /// Its flags.
    pub fn avail_flags(self) -> usize {
        self.avail()
    }
    /// Its index.
    #[inline]
    pub fn avail_idx(self) -> usize {
        self.avail() + 2
    }
    /// The entry that the running `index` falls on.
    #[inline]
    pub fn avail_entry(self, index: u16) -> usize {
        self.avail() + 4 + 2 * (usize::from(index) & (self.size - 1))
    }
    /// Where the driver asks for its next interrupt.
    #[inline]
    pub fn used_event(self) -> usize {
        self.avail() + 4 + 2 * self.size
    }

    /// The used area.
    #[inline]
    pub fn used(self) -> usize {
        (self.used_event() + 2).next_multiple_of(4)
    }
    /// Its flags.
    pub fn used_flags(self) -> usize {
        self.used()
    }
    /// Its index.
    #[inline]
    pub fn used_idx(self) -> usize {
        self.used() + 2
    }
    /// The entry (id, then length) that the running `index` falls on.
    #[inline]
    pub fn used_entry(self, index: u16) -> usize {
        self.used() + 4 + 8 * (usize::from(index) & (self.size - 1))
    }
    /// Where the device asks for its next kick.
    #[inline]
    pub fn avail_event(self) -> usize {
        self.used() + 4 + 8 * self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_areas_are_aligned_and_do_not_overlap() {
        for shift in 0..=15 {
            let size = 1u16 << shift;
            let l = Layout::new(size).unwrap();
            assert_eq!(l.avail(), l.descriptor(size - 1) + 16);
            assert_eq!(l.avail() % 2, 0);
            assert!(l.used() >= l.used_event() + 2 && l.used().is_multiple_of(4));
            assert_eq!(l.avail_entry(size - 1) + 2, l.used_event());
            assert_eq!(l.used_entry(size - 1) + 8, l.avail_event());
            assert_eq!(l.len_bytes(), l.avail_event() + 2);
            assert_eq!(l.avail_entry(size), l.avail_entry(0), "entries repeat");
        }
        assert!(Layout::new(0).is_none() && Layout::new(3).is_none());
    }
}
