//! Block groups: descriptors, bitmaps, and the counters that must agree with them (I12).
//!
//! Descriptors are read and checked once at mount and kept parsed. A change of a bitmap or a counter marks the group; its descriptor,
//! with the checksums of its bitmaps, is brought up to date by `seal_groups` when the transaction closes, so that a
//! hundred allocations cost one checksum.
//!
//! A group that was never used has no bitmap on the disk (`BLOCK_UNINIT`, `INODE_UNINIT`): it is made up from the places of
//! the metadata when the group is first used.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::csum::crc32c;
use super::features::GroupFlags;
use super::geometry::Geometry;
use super::layout::GroupDescRaw;
use super::meta::{MetaBlock, MetaCache};
use super::system_zone::SystemZone;
use super::txn::Handle;
use super::{Ext4Fs, bitmap};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use base::sync::{Arc, Mutex, Rank};
use base::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

/// Where a group's own metadata stands. Never changes while mounted.
#[derive(Clone, Copy, Debug)]
pub struct GroupPlace {
    /// Block of the block bitmap.
    pub block_bitmap: u64,
    /// Block of the inode bitmap.
    pub inode_bitmap: u64,
    /// First block of the inode table.
    pub inode_table: u64,
}

/// What changes of a group.
pub struct Group {
    /// Free blocks.
    pub free_blocks: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Directories.
    pub used_dirs: u32,
    /// Inodes at the end of the table that were never used.
    pub itable_unused: u32,
    /// State of bitmaps and table.
    pub flags: GroupFlags,
    block_csum: u32,
    inode_csum: u32,
    block_csum_stale: bool,
    inode_csum_stale: bool,
}

/// What the allocator lock protects.
pub struct AllocState {
    groups: Vec<Group>,
    /// Groups whose descriptor on the disk is behind.
    dirty: BTreeSet<u32>,
    /// The sum over the groups.
    pub free_blocks: u64,
    /// The sum over the groups.
    pub free_inodes: u64,
    /// Blocks set aside for conversions (EXT-2); part of `free_blocks`.
    pub set_aside: u64,
    /// Freed blocks that nobody may have yet; part of `free_blocks`.
    pub held: Held,
}

/// Blocks whose freeing is not durable. Given to somebody else they would be written at once, as file data, and a cut would leave
/// that in their old owner (CRA-3).
#[derive(Default)]
pub struct Held {
    /// Disjoint runs: from the start of each to its end, and the transaction that freed it.
    runs: BTreeMap<u64, (u64, u64)>,
    blocks: u64,
}

impl Held {
    /// Blocks in all runs.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Adds a run that transaction `tid` frees.
    pub(super) fn add(&mut self, start: u64, len: u64, tid: u64) {
        self.runs.insert(start, (start.saturating_add(len), tid));
        self.blocks = self.blocks.saturating_add(len);
    }

    /// Lets go what was freed up to transaction `tid`.
    fn release(&mut self, tid: u64) {
        self.runs.retain(|_, (_, freed_in)| *freed_in > tid);
        self.blocks =
            self.runs.iter().fold(0, |sum: u64, (start, (end, _))| sum.saturating_add(end.saturating_sub(*start)));
    }

    /// The first held part of `[start, end)`.
    pub(super) fn first_within(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        let before = self.runs.range(..=start).next_back().filter(|(_, (run_end, _))| *run_end > start);
        let run = before.or_else(|| self.runs.range(start..end).next())?;
        Some(((*run.0).max(start), run.1.0.min(end)))
    }
}

/// The groups of a file system.
pub struct Groups {
    places: Vec<GroupPlace>,
    /// Every block that belongs to the file system's own fixed structures.
    pub zone: SystemZone,
    /// The allocator lock (`Rank::Alloc`).
    pub state: Mutex<AllocState>,
}

/// Which of the two bitmaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitmapKind {
    /// Blocks of the group.
    Blocks,
    /// Inodes of the group.
    Inodes,
}

impl BitmapKind {
    /// The flag of a group that was never used.
    fn uninit(self) -> GroupFlags {
        match self {
            BitmapKind::Blocks => GroupFlags::BLOCK_UNINIT,
            BitmapKind::Inodes => GroupFlags::INODE_UNINIT,
        }
    }
}

impl Groups {
    /// Reads and checks all descriptors. `log` are the runs of the journal's blocks. Errors: `EUCLEAN`, `EIO`, `ENOMEM`.
    pub fn load(geo: &Geometry, meta: &MetaCache, log: &[(u64, u32)]) -> Result<Groups> {
        let count = geo.group_count as usize;
        let (mut places, mut groups) = (Vec::new(), Vec::new());
        places.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        groups.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        let size = geo.desc_size as usize;
        for index in 0..geo.group_count {
            let block = meta.read(desc_block(geo, index))?;
            let bytes = block.read();
            let raw =
                desc_slot(geo, index).and_then(|at| bytes.get(at..at.checked_add(size)?)).ok_or(Errno::EUCLEAN)?;
            let (place, group) = parse(geo, index, raw)?;
            places.push(place);
            groups.push(group);
        }
        let zone = SystemZone::new(geo, &places, log)?;
        let free_blocks = groups.iter().fold(0u64, |sum, g| sum.saturating_add(u64::from(g.free_blocks)));
        let free_inodes = groups.iter().fold(0u64, |sum, g| sum.saturating_add(u64::from(g.free_inodes)));
        let state = AllocState {
            groups,
            dirty: BTreeSet::new(),
            free_blocks,
            free_inodes,
            set_aside: 0,
            held: Held::default(),
        };
        Ok(Groups { places, zone, state: Mutex::new(Rank::Alloc, state) })
    }

    /// Where a group's metadata stands. Errors: `EUCLEAN` for a group that doesn't exist.
    pub fn place(&self, group: u32) -> Result<GroupPlace> {
        self.places.get(group as usize).copied().ok_or(Errno::EUCLEAN)
    }
}

impl AllocState {
    /// A group. Errors: `EUCLEAN` for one that doesn't exist.
    pub fn group(&self, index: u32) -> Result<&Group> {
        self.groups.get(index as usize).ok_or(Errno::EUCLEAN)
    }
    /// A group to change; its descriptor will be written.
    pub fn group_mut(&mut self, index: u32) -> Result<&mut Group> {
        self.dirty.insert(index);
        self.groups.get_mut(index as usize).ok_or(Errno::EUCLEAN)
    }
}

impl Ext4Fs {
    /// A group's bitmap, checked or made up. The allocator lock is held: `state` is its content. Errors: `EUCLEAN`, `EIO`, `ENOMEM`.
    pub fn bitmap(
        &self,
        handle: &mut Handle<'_>,
        state: &mut AllocState,
        group: u32,
        kind: BitmapKind,
    ) -> Result<Arc<MetaBlock>> {
        let place = self.groups.place(group)?;
        let number = match kind {
            BitmapKind::Blocks => place.block_bitmap,
            BitmapKind::Inodes => place.inode_bitmap,
        };
        if self.was_never_used(state, group, kind)? {
            let block = self.meta.get_new(number)?;
            self.make_bitmap(&mut handle.write(&block)?, group, kind);
            let changed = state.group_mut(group)?;
            changed.flags.remove(kind.uninit());
            changed.mark_bitmap(kind);
            return Ok(block);
        }
        let block = self.meta.read(number)?;
        if !block.is_verified() {
            self.verify_bitmap(&block.read(), state, group, kind)?;
            block.set_verified();
        }
        Ok(block)
    }

    /// Whether a group has no such bitmap on the disk. Errors: `EUCLEAN` for a group that doesn't exist.
    pub(super) fn was_never_used(&self, state: &AllocState, group: u32, kind: BitmapKind) -> Result<bool> {
        Ok(self.geo.csum_seed.is_some() && state.group(group)?.flags.contains(kind.uninit()))
    }

    /// The content of a bitmap whose group was never used.
    pub(super) fn make_bitmap(&self, bits: &mut [u8], group: u32, kind: BitmapKind) {
        let total = self.geo.block_size.saturating_mul(8);
        let used = match kind {
            BitmapKind::Blocks => {
                let (start, len) = (self.geo.group_start(group), self.geo.group_len(group));
                self.groups.zone.each_within(start, len, |at, n| bitmap::fill(bits, true, at, n));
                len
            }
            BitmapKind::Inodes => self.geo.inodes_per_group,
        };
        bitmap::fill(bits, true, used, total.saturating_sub(used));
    }

    fn verify_bitmap(&self, bits: &[u8], state: &AllocState, group: u32, kind: BitmapKind) -> Result<()> {
        let desc = state.group(group)?;
        let stored = match kind {
            BitmapKind::Blocks => desc.block_csum,
            BitmapKind::Inodes => desc.inode_csum,
        };
        let good = self.bitmap_csum(bits, kind).is_none_or(|csum| csum == stored);
        let zone_in_use = kind == BitmapKind::Inodes || {
            let mut used = true;
            let (start, len) = (self.geo.group_start(group), self.geo.group_len(group));
            self.groups.zone.each_within(start, len, |at, n| used &= bitmap::all(bits, true, at, n));
            used
        };
        if good && zone_in_use { Ok(()) } else { Err(self.corrupt("bitmap of group", u64::from(group))) }
    }

    /// The checksum a descriptor holds of a bitmap, cut to what it has room for; `None` without checksums.
    fn bitmap_csum(&self, bits: &[u8], kind: BitmapKind) -> Option<u32> {
        let seed = self.geo.csum_seed?;
        let len = match kind {
            BitmapKind::Blocks => self.geo.blocks_per_group / 8,
            BitmapKind::Inodes => self.geo.inodes_per_group / 8,
        };
        let csum = crc32c(seed, bits.get(..len as usize)?);
        Some(if self.geo.desc_size == 64 { csum } else { csum & 0xffff })
    }

    /// Brings the descriptors of all changed groups up to date, with the checksums of their bitmaps: part of closing a transaction.
    /// Takes the allocator lock. Errors: `EIO`, `EUCLEAN`, `ENOMEM`.
    pub(super) fn seal_groups(&self) -> Result<()> {
        let mut handle = self.begin_closing();
        let mut state = self.groups.state.lock();
        while let Some(group) = state.dirty.pop_first() {
            if let Err(error) = self.seal_group(&mut handle, &mut state, group) {
                state.dirty.insert(group);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Transactions up to `tid` are durable: what they freed can be had again. Takes the allocator lock.
    pub(super) fn release_freed(&self, tid: u64) {
        self.groups.state.lock().held.release(tid);
    }

    fn seal_group(&self, handle: &mut Handle<'_>, state: &mut AllocState, index: u32) -> Result<()> {
        let place = self.groups.place(index)?;
        let group = state.groups.get_mut(index as usize).ok_or(Errno::EUCLEAN)?;
        if group.block_csum_stale {
            let block = self.meta.read(place.block_bitmap)?;
            group.block_csum = self.bitmap_csum(&block.read(), BitmapKind::Blocks).unwrap_or(0);
            group.block_csum_stale = false;
        }
        if group.inode_csum_stale {
            let block = self.meta.read(place.inode_bitmap)?;
            group.inode_csum = self.bitmap_csum(&block.read(), BitmapKind::Inodes).unwrap_or(0);
            group.inode_csum_stale = false;
        }
        let block = self.meta.read(desc_block(&self.geo, index))?;
        let mut bytes = handle.write(&block)?;
        let size = self.geo.desc_size as usize;
        let slot = desc_slot(&self.geo, index).and_then(|at| bytes.get_mut(at..at.checked_add(size)?));
        store(&self.geo, index, group, slot.ok_or(Errno::EUCLEAN)?);
        Ok(())
    }
}

impl Group {
    /// Tells that a bitmap of the group was changed.
    pub fn mark_bitmap(&mut self, kind: BitmapKind) {
        match kind {
            BitmapKind::Blocks => self.block_csum_stale = true,
            BitmapKind::Inodes => self.inode_csum_stale = true,
        }
    }
}

/// The block that holds a group's descriptor.
fn desc_block(geo: &Geometry, group: u32) -> u64 {
    let index = group.checked_div(geo.descs_per_block()).unwrap_or(0);
    geo.first_block.saturating_add(1).saturating_add(u64::from(index))
}

/// The descriptor's place in its block.
fn desc_slot(geo: &Geometry, group: u32) -> Option<usize> {
    group.checked_rem(geo.descs_per_block())?.checked_mul(geo.desc_size).map(|at| at as usize)
}

/// The checksum of a descriptor: over the group's number and the descriptor without its checksum.
fn desc_csum(seed: u32, group: u32, raw: &[u8]) -> u16 {
    const FIELD: usize = 0x1e;
    let crc = crc32c(seed, &group.to_le_bytes());
    let crc = crc32c(crc, raw.get(..FIELD).unwrap_or_default());
    let crc = crc32c(crc, &[0, 0]);
    crc32c(crc, raw.get(FIELD.saturating_add(2)..).unwrap_or_default()) as u16
}

fn wide(lo: u32, hi: u32) -> u64 {
    u64::from(lo) | u64::from(hi) << 32
}

fn pair(lo: u16, hi: u16) -> u32 {
    u32::from(lo) | u32::from(hi) << 16
}

fn parse(geo: &Geometry, index: u32, bytes: &[u8]) -> Result<(GroupPlace, Group)> {
    let mut full = [0u8; 64];
    full.get_mut(..bytes.len()).ok_or(Errno::EUCLEAN)?.copy_from_slice(bytes);
    let raw = GroupDescRaw::read_from_bytes(&full).map_err(|_| Errno::EUCLEAN)?;
    let place = GroupPlace {
        block_bitmap: wide(raw.block_bitmap_lo.get(), raw.block_bitmap_hi.get()),
        inode_bitmap: wide(raw.inode_bitmap_lo.get(), raw.inode_bitmap_hi.get()),
        inode_table: wide(raw.inode_table_lo.get(), raw.inode_table_hi.get()),
    };
    let group = Group {
        free_blocks: pair(raw.free_blocks_lo.get(), raw.free_blocks_hi.get()),
        free_inodes: pair(raw.free_inodes_lo.get(), raw.free_inodes_hi.get()),
        used_dirs: pair(raw.used_dirs_lo.get(), raw.used_dirs_hi.get()),
        itable_unused: pair(raw.itable_unused_lo.get(), raw.itable_unused_hi.get()),
        flags: GroupFlags::from_bits_retain(raw.flags.get()),
        block_csum: pair(raw.block_bitmap_csum_lo.get(), raw.block_bitmap_csum_hi.get()),
        inode_csum: pair(raw.inode_bitmap_csum_lo.get(), raw.inode_bitmap_csum_hi.get()),
        block_csum_stale: false,
        inode_csum_stale: false,
    };
    let table = u64::from(geo.inode_table_blocks());
    let sane = geo.csum_seed.is_none_or(|seed| desc_csum(seed, index, bytes) == raw.checksum.get())
        && geo.contains_run(place.block_bitmap, 1)
        && geo.contains_run(place.inode_bitmap, 1)
        && geo.contains_run(place.inode_table, table)
        && group.free_blocks <= geo.group_len(index)
        && group.free_inodes <= geo.inodes_per_group
        && group.used_dirs <= geo.inodes_per_group
        && group.itable_unused <= geo.inodes_per_group;
    if sane { Ok((place, group)) } else { Err(Errno::EUCLEAN) }
}

/// Puts what changes of a group into its descriptor on the disk, and the checksum.
fn store(geo: &Geometry, index: u32, group: &Group, bytes: &mut [u8]) {
    let mut full = [0u8; 64];
    let Some(part) = full.get_mut(..bytes.len()) else { return };
    part.copy_from_slice(bytes);
    let Ok(mut raw) = GroupDescRaw::read_from_bytes(&full) else { return };
    raw.free_blocks_lo = (group.free_blocks as u16).into();
    raw.free_blocks_hi = ((group.free_blocks >> 16) as u16).into();
    raw.free_inodes_lo = (group.free_inodes as u16).into();
    raw.free_inodes_hi = ((group.free_inodes >> 16) as u16).into();
    raw.used_dirs_lo = (group.used_dirs as u16).into();
    raw.used_dirs_hi = ((group.used_dirs >> 16) as u16).into();
    raw.itable_unused_lo = (group.itable_unused as u16).into();
    raw.itable_unused_hi = ((group.itable_unused >> 16) as u16).into();
    raw.flags = group.flags.bits().into();
    raw.block_bitmap_csum_lo = (group.block_csum as u16).into();
    raw.block_bitmap_csum_hi = ((group.block_csum >> 16) as u16).into();
    raw.inode_bitmap_csum_lo = (group.inode_csum as u16).into();
    raw.inode_bitmap_csum_hi = ((group.inode_csum >> 16) as u16).into();
    raw.checksum = 0.into();
    let crc = geo.csum_seed.and_then(|seed| Some(desc_csum(seed, index, raw.as_bytes().get(..bytes.len())?)));
    raw.checksum = crc.unwrap_or(0).into();
    if let Some(part) = raw.as_bytes().get(..bytes.len()) {
        bytes.copy_from_slice(part);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::Held;

    #[test]
    fn held_runs_behave_like_a_set_of_blocks() {
        let mut held = Held::default();
        let mut freed_in = [0u64; 256];
        let mut seed = 3u32;
        for tid in 1..400 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (start, len) = ((seed >> 24) as usize, 1 + (seed >> 20 & 7) as usize);
            let end = (start + len).min(256);
            if freed_in[start..end].iter().all(|&tid| tid == 0) {
                held.add(start as u64, (end - start) as u64, tid);
                freed_in[start..end].fill(tid);
            }
            if tid % 7 == 0 {
                held.release(tid - 5);
                freed_in.iter_mut().filter(|freed| **freed <= tid - 5).for_each(|freed| *freed = 0);
            }
            assert_eq!(held.blocks(), freed_in.iter().filter(|&&tid| tid != 0).count() as u64);
            let (from, to) = ((seed >> 8 & 255) as usize, 256);
            let first = (from..to).find(|&block| freed_in[block] != 0);
            let found = held.first_within(from as u64, to as u64);
            assert_eq!(found.map(|(start, _)| start as usize), first);
            if let Some((start, end)) = found {
                assert!((start..end).all(|block| freed_in[block as usize] != 0));
            }
        }
    }
}
