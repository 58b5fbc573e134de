//! The fixed numbers of a file system, checked once at mount so that later arithmetic can rely on them.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::csum::crc32c;
use super::features::{Compat, Incompat, RoCompat};
use super::layout::{MAGIC, SuperBlockRaw};
use base::{Errno, Result};

/// Incompatible features that are understood.
const KNOWN_INCOMPAT: Incompat = Incompat::FILETYPE
    .union(Incompat::RECOVER)
    .union(Incompat::EXTENTS)
    .union(Incompat::BIT64)
    .union(Incompat::FLEX_BG)
    .union(Incompat::CSUM_SEED)
    .union(Incompat::LARGEDIR);
/// Read-only compatible features that are understood well enough to write.
const KNOWN_RO: RoCompat = RoCompat::SPARSE_SUPER
    .union(RoCompat::LARGE_FILE)
    .union(RoCompat::HUGE_FILE)
    .union(RoCompat::DIR_NLINK)
    .union(RoCompat::EXTRA_ISIZE)
    .union(RoCompat::METADATA_CSUM);

/// The numbers of one file system.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Geometry {
    /// Bytes of a block: 1024, 2048 or 4096.
    pub block_size: u32,
    /// log2 of it.
    pub block_bits: u32,
    /// Blocks of the file system, also those before the first group.
    pub block_count: u64,
    /// Block number where group 0 starts: 1 with blocks of 1024 bytes, else 0.
    pub first_block: u64,
    /// Blocks of a group; at most 8 times the block size.
    pub blocks_per_group: u32,
    /// Inodes of a group; at most 8 times the block size.
    pub inodes_per_group: u32,
    pub inode_count: u32,
    /// First inode number that is not reserved.
    pub first_ino: u32,
    /// Bytes of an inode: a power of two from 128 to the block size.
    pub inode_size: u32,
    /// Bytes of a group descriptor: 32 or 64.
    pub desc_size: u32,
    pub group_count: u32,
    /// log2 of the groups of a flexible group.
    pub log_flex: u32,
    /// Blocks for root alone.
    pub reserved_blocks: u64,
    pub reserved_gdt_blocks: u32,
    /// Bytes beyond 128 that a new inode uses.
    pub want_extra_isize: u16,
    /// The start of every metadata checksum; `None` without the feature.
    pub csum_seed: Option<u32>,
    /// A number for `statfs`, made from the UUID.
    pub fsid: u64,
    /// The two groups with copies of the superblock under `sparse_super2`.
    pub backup_groups: [u32; 2],
    pub compat: Compat,
    pub incompat: Incompat,
    pub ro_compat: RoCompat,
    /// Seed and version of directory hashes, and whether `char` is unsigned in them.
    pub hash_seed: [u32; 4],
    pub hash_version: u8,
    pub hash_unsigned: bool,
}

/// What a feature check found.
pub enum Verdict {
    /// All features are known.
    Writable,
    /// A read-only compatible feature is not known: its name or bit.
    ReadOnly(u32),
    /// An incompatible feature is not known or not supported: its bits.
    Refused(&'static str, u32),
}

/// Compares the feature words with what is built.
pub fn check_features(raw: &SuperBlockRaw) -> Verdict {
    let compat = Compat::from_bits_retain(raw.feature_compat.get());
    let incompat = Incompat::from_bits_retain(raw.feature_incompat.get());
    let ro_compat = RoCompat::from_bits_retain(raw.feature_ro_compat.get());
    if incompat.contains(Incompat::RECOVER) && !compat.contains(Compat::HAS_JOURNAL) {
        return Verdict::Refused("needs_recovery without a journal", Incompat::RECOVER.bits());
    }
    let unknown = incompat.bits() & !KNOWN_INCOMPAT.bits();
    if unknown != 0 {
        return Verdict::Refused(incompat_name(unknown), unknown);
    }
    let unknown = ro_compat.bits() & !KNOWN_RO.bits();
    if unknown != 0 { Verdict::ReadOnly(unknown) } else { Verdict::Writable }
}

/// The name of the lowest bit, as `mke2fs` spells it.
fn incompat_name(bits: u32) -> &'static str {
    const NAMES: [(Incompat, &str); 12] = [
        (Incompat::COMPRESSION, "compression"),
        (Incompat::RECOVER, "needs_recovery"),
        (Incompat::JOURNAL_DEV, "journal_dev"),
        (Incompat::META_BG, "meta_bg"),
        (Incompat::MMP, "mmp"),
        (Incompat::EA_INODE, "ea_inode"),
        (Incompat::DIRDATA, "dirdata"),
        (Incompat::INLINE_DATA, "inline_data"),
        (Incompat::ENCRYPT, "encrypt"),
        (Incompat::CASEFOLD, "casefold"),
        (Incompat::LARGEDIR, "large_dir"),
        (Incompat::CSUM_SEED, "metadata_csum_seed"),
    ];
    NAMES.iter().find(|(bit, _)| bits & bit.bits() != 0).map_or("unknown incompatible feature", |(_, name)| name)
}

/// The name of the lowest read-only compatible bit, as `mke2fs` spells it.
pub fn ro_compat_name(bits: u32) -> &'static str {
    const NAMES: [(RoCompat, &str); 8] = [
        (RoCompat::GDT_CSUM, "uninit_bg"),
        (RoCompat::QUOTA, "quota"),
        (RoCompat::BIGALLOC, "bigalloc"),
        (RoCompat::READONLY, "read-only"),
        (RoCompat::PROJECT, "project"),
        (RoCompat::SHARED_BLOCKS, "shared_blocks"),
        (RoCompat::VERITY, "verity"),
        (RoCompat::ORPHAN_PRESENT, "orphan_present"),
    ];
    NAMES.iter().find(|(bit, _)| bits & bit.bits() != 0).map_or("unknown read-only feature", |(_, name)| name)
}

impl Geometry {
    /// Checks every number of the superblock that later arithmetic relies on, against the device's size in bytes.
    /// Errors: `EINVAL` (not ext4), `EUCLEAN` (damaged), `EOPNOTSUPP` (a form that is not supported).
    pub fn from_raw(raw: &SuperBlockRaw, device_bytes: u64) -> Result<Geometry> {
        if raw.magic.get() != MAGIC {
            return Err(Errno::EINVAL);
        }
        let incompat = Incompat::from_bits_retain(raw.feature_incompat.get());
        let ro_compat = RoCompat::from_bits_retain(raw.feature_ro_compat.get());
        let wide = incompat.contains(Incompat::BIT64);
        let log = raw.log_block_size.get();
        if log > 2 {
            return Err(if log <= 6 { Errno::EOPNOTSUPP } else { Errno::EUCLEAN });
        }
        let block_bits = log.wrapping_add(10);
        let block_size = 1u32 << block_bits;
        let hi = |part: u32| if wide { u64::from(part) << 32 } else { 0 };
        let block_count = u64::from(raw.blocks_count_lo.get()) | hi(raw.blocks_count_hi.get());
        let first_block = u64::from(raw.first_data_block.get());
        let blocks_per_group = raw.blocks_per_group.get();
        let inodes_per_group = raw.inodes_per_group.get();
        let bits = block_size.wrapping_mul(8);
        let desc_size = if wide { u32::from(raw.desc_size.get()) } else { 32 };
        let inode_size = if raw.rev_level.get() == 0 { 128 } else { u32::from(raw.inode_size.get()) };
        let sane = first_block == u64::from(block_size == 1024)
            && raw.log_cluster_size.get() == log
            && (256..=bits).contains(&blocks_per_group)
            && blocks_per_group.is_multiple_of(8)
            && raw.clusters_per_group.get() == blocks_per_group
            && (8..=bits).contains(&inodes_per_group)
            && inodes_per_group.is_multiple_of(8)
            && (128..=block_size).contains(&inode_size)
            && inode_size.is_power_of_two()
            && raw.log_groups_per_flex <= 16
            && block_count > first_block
            && block_count.checked_mul(u64::from(block_size)).is_some_and(|bytes| bytes <= device_bytes);
        if !sane || (wide && desc_size != 64) {
            return Err(Errno::EUCLEAN);
        }
        let data_blocks = block_count.saturating_sub(first_block);
        let groups = data_blocks.div_ceil(u64::from(blocks_per_group));
        let inodes = groups.checked_mul(u64::from(inodes_per_group)).ok_or(Errno::EUCLEAN)?;
        let inode_count = u64::from(raw.inodes_count.get());
        if inodes != inode_count || inode_count < 16 {
            return Err(Errno::EUCLEAN);
        }
        let first_ino = if raw.rev_level.get() == 0 { 11 } else { raw.first_ino.get() };
        let reserved_blocks = u64::from(raw.r_blocks_count_lo.get()) | hi(raw.r_blocks_count_hi.get());
        if first_ino < 11 || u64::from(first_ino) > inode_count || reserved_blocks > block_count {
            return Err(Errno::EUCLEAN);
        }
        Ok(Geometry {
            block_size,
            block_bits,
            block_count,
            first_block,
            blocks_per_group,
            inodes_per_group,
            inode_count: raw.inodes_count.get(),
            first_ino,
            inode_size,
            desc_size,
            group_count: u32::try_from(groups).map_err(|_| Errno::EUCLEAN)?,
            log_flex: if incompat.contains(Incompat::FLEX_BG) { raw.log_groups_per_flex.into() } else { 0 },
            reserved_blocks,
            reserved_gdt_blocks: u32::from(raw.reserved_gdt_blocks.get()),
            want_extra_isize: raw.want_extra_isize.get(),
            csum_seed: csum_seed(raw, incompat, ro_compat),
            fsid: fold_uuid(&raw.uuid),
            backup_groups: raw.backup_bgs.map(|word| word.get()),
            compat: Compat::from_bits_retain(raw.feature_compat.get()),
            incompat,
            ro_compat,
            hash_seed: raw.hash_seed.map(|word| word.get()),
            hash_version: raw.def_hash_version,
            hash_unsigned: raw.flags.get() & super::layout::FLAG_UNSIGNED_HASH != 0,
        })
    }

    /// The group a block lies in; `None` outside the file system.
    pub fn group_of(&self, block: u64) -> Option<u32> {
        let offset = block.checked_sub(self.first_block)?;
        if block >= self.block_count {
            return None;
        }
        u32::try_from(offset.checked_div(u64::from(self.blocks_per_group))?).ok()
    }

    /// The first block of a group.
    pub fn group_start(&self, group: u32) -> u64 {
        self.first_block.saturating_add(u64::from(group).saturating_mul(u64::from(self.blocks_per_group)))
    }

    /// Blocks of a group; the last one may be shorter.
    pub fn group_len(&self, group: u32) -> u32 {
        let left = self.block_count.saturating_sub(self.group_start(group));
        u32::try_from(left).unwrap_or(u32::MAX).min(self.blocks_per_group)
    }

    /// Whether a run of blocks lies inside the file system.
    pub fn contains_run(&self, start: u64, len: u64) -> bool {
        start >= self.first_block && start.checked_add(len).is_some_and(|end| end <= self.block_count)
    }

    /// Group descriptors in a block.
    pub fn descs_per_block(&self) -> u32 {
        self.block_size.checked_div(self.desc_size).unwrap_or(1)
    }

    /// Blocks that hold all group descriptors.
    pub fn desc_blocks(&self) -> u32 {
        self.group_count.div_ceil(self.descs_per_block())
    }

    /// The blocks of the group descriptors.
    pub fn desc_table(&self) -> core::ops::Range<u64> {
        let start = self.first_block.saturating_add(1);
        start..start.saturating_add(u64::from(self.desc_blocks()))
    }

    /// Blocks of a group's inode table.
    pub fn inode_table_blocks(&self) -> u32 {
        self.inodes_per_group.saturating_mul(self.inode_size).div_ceil(self.block_size)
    }

    /// How much of a new inode beyond its first 128 bytes is in use.
    pub fn new_extra_isize(&self) -> u16 {
        let room = self.inode_size.saturating_sub(128) as u16;
        let known = size_of::<super::layout::InodeExtra>() as u16;
        self.want_extra_isize.max(known).min(room) & !3
    }

    /// Whether a group begins with a copy of the superblock and the descriptors.
    pub fn has_super(&self, group: u32) -> bool {
        if group != 0 && self.compat.contains(Compat::SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        if group <= 1 || !self.ro_compat.contains(RoCompat::SPARSE_SUPER) {
            return true;
        }
        [3u32, 5, 7].iter().any(|&base| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        })
    }
}

/// Both halves of the UUID, folded.
fn fold_uuid(uuid: &[u8; 16]) -> u64 {
    let value = u128::from_le_bytes(*uuid);
    (value as u64) ^ (value >> 64) as u64
}

/// The start of every checksum (crc32c over the UUID, or a stored value).
fn csum_seed(raw: &SuperBlockRaw, incompat: Incompat, ro_compat: RoCompat) -> Option<u32> {
    if !ro_compat.contains(RoCompat::METADATA_CSUM) {
        return None;
    }
    Some(if incompat.contains(Incompat::CSUM_SEED) { raw.checksum_seed.get() } else { crc32c(!0, &raw.uuid) })
}

/// The checksum of the superblock itself: over all bytes before the field.
pub fn super_checksum(bytes: &[u8]) -> u32 {
    crc32c(!0, bytes.get(..bytes.len().saturating_sub(4)).unwrap_or(bytes))
}
