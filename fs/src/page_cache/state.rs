//! The state word of a folio.
//!
//! All flags and the bits of all sectors stand in one atomic word, so that every transition of SEMANTICS A10 is one step
//! for whoever looks without the folio lock. Bits count sectors of 512 bytes, the smallest block there is: the same
//! word serves every block size, and "all of it" is a constant. Whoever sets bits rounds to blocks first.

/// Bytes of one bit.
const SECTOR: usize = 512;
const SECTORS: usize = base::PAGE_SIZE / SECTOR;
const UPTODATE_SHIFT: u32 = 16;
const DIRTY_SHIFT: u32 = 32;
/// All sectors of a folio.
const ALL: u64 = (1 << SECTORS) - 1;
const _: () = assert!(SECTORS <= 16, "a bit for each sector");

pub(super) const LOCKED: u64 = 1 << 0;
/// Somebody sleeps for the lock or for the end of writeback; whoever clears it wakes.
pub(super) const WAITERS: u64 = 1 << 1;
pub(super) const WRITEBACK: u64 = 1 << 2;
pub(super) const WT: u64 = 1 << 3;
/// Touched since the clock's hand last passed.
pub(super) const REFERENCED: u64 = 1 << 4;
/// In its mapping's tree. Cleared once, at removal: the still-belongs check.
pub(super) const ATTACHED: u64 = 1 << 5;
/// A reader that comes here should have the next window read ahead.
pub(super) const READAHEAD: u64 = 1 << 6;

/// A snapshot of a folio's state word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State(pub(super) u64);

impl State {
    /// Whether the folio is locked.
    pub fn locked(self) -> bool {
        self.0 & LOCKED != 0
    }
    /// U: whether all bytes are valid.
    pub fn uptodate(self) -> bool {
        self.0 & (ALL << UPTODATE_SHIFT) == ALL << UPTODATE_SHIFT
    }
    /// Whether it holds nothing: no valid byte, none dirty, none on its way.
    pub fn blank(self) -> bool {
        self.0 & (ALL << UPTODATE_SHIFT | ALL << DIRTY_SHIFT | WRITEBACK) == 0
    }
    /// Whether the sectors that `len` bytes from `offset` touch are valid.
    pub fn uptodate_in(self, offset: usize, len: usize) -> bool {
        let bits = sectors(offset, len) << UPTODATE_SHIFT;
        self.0 & bits == bits
    }
    /// D: whether any block is dirty (FOL-1).
    pub fn dirty(self) -> bool {
        self.0 & (ALL << DIRTY_SHIFT) != 0
    }
    /// Whether any of the sectors that `len` bytes from `offset` touch is dirty.
    pub fn dirty_in(self, offset: usize, len: usize) -> bool {
        self.0 & (sectors(offset, len) << DIRTY_SHIFT) != 0
    }
    /// Whether all of the sectors that `len` bytes from `offset` touch are dirty.
    pub(super) fn all_dirty_in(self, offset: usize, len: usize) -> bool {
        let bits = sectors(offset, len) << DIRTY_SHIFT;
        self.0 & bits == bits
    }
    /// W: whether the folio is under writeback.
    pub fn writeback(self) -> bool {
        self.0 & WRITEBACK != 0
    }
    /// Whether the writeback belongs to a write-through: the bytes must not change (STB-1).
    pub fn wt(self) -> bool {
        self.0 & WT != 0
    }
    /// Whether the folio is still in its mapping.
    pub fn attached(self) -> bool {
        self.0 & ATTACHED != 0
    }
    pub(super) fn readahead(self) -> bool {
        self.0 & READAHEAD != 0
    }
    /// The first run of dirty bytes at or after `offset`, as (offset, length); dirty bits are set in whole blocks.
    pub fn dirty_run(self, offset: usize) -> Option<(usize, usize)> {
        let first = offset.div_ceil(SECTOR);
        if first >= SECTORS {
            return None;
        }
        let bits = (self.0 >> DIRTY_SHIFT & ALL) >> first;
        if bits == 0 {
            return None;
        }
        let start = first + bits.trailing_zeros() as usize;
        let len = (bits >> bits.trailing_zeros()).trailing_ones() as usize;
        Some((start * SECTOR, len * SECTOR))
    }
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let flags = [(LOCKED, 'L'), (WRITEBACK, 'W'), (WT, 't'), (REFERENCED, 'r'), (ATTACHED, 'a')];
        for (_, letter) in flags.iter().filter(|(bit, _)| self.0 & bit != 0) {
            write!(f, "{letter}")?;
        }
        write!(f, " U{:02x} D{:02x}", self.0 >> UPTODATE_SHIFT & ALL, self.0 >> DIRTY_SHIFT & ALL)
    }
}

/// A bit for each sector that `len` bytes from `offset` touch.
fn sectors(offset: usize, len: usize) -> u64 {
    debug_assert!(offset + len <= base::PAGE_SIZE);
    if len == 0 {
        return 0;
    }
    let end = (offset + len).div_ceil(SECTOR);
    (ALL >> (SECTORS - end)) & (ALL << (offset / SECTOR))
}

/// The dirty bits of the whole folio.
pub(super) const DIRTY_ALL: u64 = ALL << DIRTY_SHIFT;

/// The uptodate bits of a byte range.
pub(super) fn uptodate_bits(offset: usize, len: usize) -> u64 {
    sectors(offset, len) << UPTODATE_SHIFT
}

/// The dirty bits of a byte range.
pub(super) fn dirty_bits(offset: usize, len: usize) -> u64 {
    sectors(offset, len) << DIRTY_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_cover_what_a_range_touches() {
        assert_eq!(sectors(0, 4096), 0xff);
        assert_eq!(sectors(0, 1), 0x01);
        assert_eq!(sectors(511, 2), 0x03);
        assert_eq!(sectors(1024, 1024), 0x0c);
        assert_eq!(sectors(4095, 1), 0x80);
        assert_eq!(sectors(100, 0), 0);
    }

    #[test]
    fn dirty_runs_are_found_in_order() {
        let s = State(dirty_bits(1024, 1024) | dirty_bits(3072, 1024));
        assert_eq!(s.dirty_run(0), Some((1024, 1024)));
        assert_eq!(s.dirty_run(2048), Some((3072, 1024)));
        assert_eq!(s.dirty_run(4096), None);
        assert!(s.dirty() && s.dirty_in(0, 1025) && !s.dirty_in(0, 1024) && !s.uptodate());
    }

    #[test]
    fn a_folio_is_uptodate_when_all_sectors_are() {
        assert!(State(uptodate_bits(0, 4096)).uptodate());
        assert!(!State(uptodate_bits(0, 3584)).uptodate());
        assert!(State(uptodate_bits(1024, 1024)).uptodate_in(1500, 10));
    }
}
