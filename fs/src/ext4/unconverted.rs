//! The ranges of a file that were handed out for writing and are not converted yet, and what their conversion may need (EXT-2).
//!
//! In the worst case every second block is converted before the others, and each block needs an entry of its own. The blocks set
//! aside are those of a whole split from leaf to root, twice (both ends of a conversion), and leaves for all these entries, taken as
//! a third full: a split leaves a half, and the nodes above need some.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::extents;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Ranges of logical blocks, disjoint, each mapped from its start to its end.
#[derive(Default)]
pub struct Unconverted {
    ranges: BTreeMap<u32, u32>,
    /// Blocks in all of them.
    blocks: u64,
}

impl Unconverted {
    /// Whether the whole range is in the set.
    pub fn contains(&self, range: &Range<u32>) -> bool {
        self.ranges.range(..=range.start).next_back().is_some_and(|(_, &end)| end >= range.end)
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds a range; what touches it becomes one with it.
    pub fn add(&mut self, range: Range<u32>) {
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back() {
            if e < start {
                break;
            }
            (start, end) = (start.min(s), end.max(e));
            self.drop_range(s);
        }
        self.put_range(start, end);
    }

    /// Takes a range out, wherever it is in the set.
    pub fn remove(&mut self, range: Range<u32>) {
        while let Some((&s, &e)) = self.ranges.range(..range.end).next_back() {
            if e <= range.start {
                break;
            }
            self.drop_range(s);
            if e > range.end {
                self.put_range(range.end, e);
            }
            if s < range.start {
                self.put_range(s, range.start);
            }
        }
    }

    /// Metadata blocks to set aside for the conversion of everything in the set, in a tree whose root has `depth` and whose leaves
    /// have room for `leaf_entries`.
    pub fn blocks_needed(&self, depth: u16, leaf_entries: u32) -> u32 {
        if self.blocks == 0 {
            return 0;
        }
        let leaves = self.blocks.div_ceil(u64::from((leaf_entries / 3).max(1)));
        // One level more than there is: the entries themselves may make the tree grow.
        let split = extents::worst_case_blocks(depth.saturating_add(1)).saturating_mul(2);
        split.saturating_add(u32::try_from(leaves).unwrap_or(u32::MAX))
    }

    fn put_range(&mut self, start: u32, end: u32) {
        self.ranges.insert(start, end);
        self.blocks = self.blocks.saturating_add(u64::from(end.saturating_sub(start)));
    }

    fn drop_range(&mut self, start: u32) {
        if let Some(end) = self.ranges.remove(&start) {
            self.blocks = self.blocks.saturating_sub(u64::from(end.saturating_sub(start)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_set_of_blocks() {
        let mut set = Unconverted::default();
        let mut plain = [false; 128];
        let mut seed = 1u32;
        for round in 0..5000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (start, len) = (seed >> 24 & 63, 1 + (seed >> 16 & 31));
            let add = round % 2 == 0;
            if add {
                set.add(start..start + len)
            } else {
                set.remove(start..start + len)
            }
            plain.iter_mut().skip(start as usize).take(len as usize).for_each(|b| *b = add);
            let mut rebuilt = [false; 128];
            for (&s, &e) in &set.ranges {
                assert!(s < e);
                rebuilt.iter_mut().take(e as usize).skip(s as usize).for_each(|b| *b = true);
            }
            assert_eq!(rebuilt, plain);
            assert_eq!(set.blocks, plain.iter().filter(|&&b| b).count() as u64);
            assert_eq!(set.contains(&(start..start + len)), add);
        }
    }
}
