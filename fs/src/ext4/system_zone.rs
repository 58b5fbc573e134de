//! The blocks of the file system's own fixed structures: superblock copies, descriptors, bitmaps, inode tables, the journal.
//!
//! No file may own them and nothing frees them; a damaged extent or bitmap that says otherwise is found out here.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::geometry::Geometry;
use super::groups::GroupPlace;
use alloc::vec::Vec;
use base::{Errno, Result};

/// Sorted, disjoint runs of blocks.
pub struct SystemZone {
    runs: Vec<(u64, u64)>,
}

impl SystemZone {
    /// Collects the runs of all groups and of the journal, `log`; neighbours are merged, so that flexible groups need few entries.
    /// Errors: `EUCLEAN` where two structures overlap, `ENOMEM`.
    pub fn new(geo: &Geometry, places: &[GroupPlace], log: &[(u64, u32)]) -> Result<SystemZone> {
        let mut runs: Vec<(u64, u64)> =
            log.iter().map(|&(start, len)| (start, start.saturating_add(u64::from(len)))).collect();
        runs.try_reserve(places.len().saturating_mul(4)).map_err(|_| Errno::ENOMEM)?;
        let copies = u64::from(geo.desc_blocks()).saturating_add(u64::from(geo.reserved_gdt_blocks)).saturating_add(1);
        let table = u64::from(geo.inode_table_blocks());
        for (group, place) in (0u32..).zip(places) {
            if geo.has_super(group) {
                let room = u64::from(geo.group_len(group));
                let start = geo.group_start(group);
                runs.push((start, start.saturating_add(copies.min(room))));
            }
            runs.push((place.block_bitmap, place.block_bitmap.saturating_add(1)));
            runs.push((place.inode_bitmap, place.inode_bitmap.saturating_add(1)));
            runs.push((place.inode_table, place.inode_table.saturating_add(table)));
        }
        runs.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in runs {
            match merged.last_mut() {
                Some(last) if start < last.1 => return Err(Errno::EUCLEAN),
                Some(last) if start == last.1 => last.1 = end,
                _ => merged.push((start, end)),
            }
        }
        merged.shrink_to_fit();
        Ok(SystemZone { runs: merged })
    }

    /// Whether any block of the run belongs to the file system itself.
    pub fn touches(&self, start: u64, len: u64) -> bool {
        let end = start.saturating_add(len);
        let at = self.runs.partition_point(|run| run.1 <= start);
        self.runs.get(at).is_some_and(|run| run.0 < end)
    }

    /// Blocks of the zone.
    pub fn blocks(&self) -> u64 {
        self.runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.1.saturating_sub(run.0)))
    }

    /// Calls `each` with every part of the zone in `[start, start + len)`, as offset from `start` and length.
    pub fn each_within(&self, start: u64, len: u32, mut each: impl FnMut(u32, u32)) {
        let end = start.saturating_add(u64::from(len));
        let at = self.runs.partition_point(|run| run.1 <= start);
        for &(run_start, run_end) in self.runs.get(at..).unwrap_or_default().iter().take_while(|run| run.0 < end) {
            let (from, to) = (run_start.max(start), run_end.min(end));
            each(from.saturating_sub(start) as u32, to.saturating_sub(from) as u32);
        }
    }
}
