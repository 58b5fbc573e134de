//! The blocks of the log. Big-endian, unlike the rest of ext4.
//!
//! Reading checks everything that later arithmetic relies on; writing always uses checksums of version 3 and 64-bit block
//! numbers where the file system has checksums, as Linux does.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use crate::ext4::csum::crc32c;
use alloc::vec::Vec;
use base::{Errno, Result};
use bitflags::bitflags;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first word of every block of the log that is not a copy.
pub const MAGIC: u32 = 0xc03b_3998;
/// `h_blocktype`.
pub const DESCRIPTOR: u32 = 1;
/// `h_blocktype`.
pub const COMMIT: u32 = 2;
/// `h_blocktype`: the superblock of version 1, which has no features.
pub const SUPER_V1: u32 = 3;
/// `h_blocktype`: the superblock of version 2.
pub const SUPER_V2: u32 = 4;
/// `h_blocktype`.
pub const REVOKE: u32 = 5;
/// Bytes of the superblock; the rest of block 0 is not used.
pub const SUPER_SIZE: usize = 1024;
/// `s_checksum_type`: crc32c.
const CRC32C: u8 = 4;
/// Bytes of a header.
const HEADER: usize = 12;
/// Bytes of the checksum at the end of descriptors and revoke blocks.
const TAIL: usize = 4;
/// Bytes of a revoke block before its records.
const REVOKE_HEADER: usize = HEADER + 4;

bitflags! {
    /// `s_feature_incompat`: what a reader must know.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs)]
    pub struct Features: u32 {
        const REVOKE = 0x1;
        const BIT64 = 0x2;
        const ASYNC_COMMIT = 0x4;
        const CSUM_V2 = 0x8;
        const CSUM_V3 = 0x10;
        const FAST_COMMIT = 0x20;
    }

    /// `t_flags` of a tag.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct TagFlags: u32 {
        /// The copy began with the magic number, which was replaced by zeros.
        const ESCAPED = 0x1;
        /// No UUID follows.
        const SAME_UUID = 0x2;
        /// The block was deleted later in the transaction.
        const DELETED = 0x4;
        const LAST = 0x8;
    }
}

/// What is understood. Without `ASYNC_COMMIT`: a commit block always follows a flush.
const KNOWN: Features = Features::REVOKE.union(Features::BIT64).union(Features::CSUM_V2).union(Features::CSUM_V3);

impl Features {
    /// The name of the lowest feature that is not understood, as `dumpe2fs` prints it.
    pub fn unknown(self) -> Option<&'static str> {
        let unknown = self.difference(KNOWN);
        if unknown.is_empty() {
            None
        } else if unknown.contains(Features::ASYNC_COMMIT) {
            Some("journal_async_commit")
        } else if unknown.contains(Features::FAST_COMMIT) {
            Some("fast_commit")
        } else {
            Some("unknown journal feature")
        }
    }
    fn summed(self) -> bool {
        self.intersects(Features::CSUM_V2.union(Features::CSUM_V3))
    }
    fn tag_bytes(self) -> usize {
        match (self.contains(Features::CSUM_V3), self.contains(Features::CSUM_V2), self.contains(Features::BIT64)) {
            (true, ..) => 16,
            (_, true, true) => 14,
            (_, true, false) => 10,
            (_, false, true) => 12,
            (_, false, false) => 8,
        }
    }
    fn revoke_bytes(self) -> usize {
        if self.contains(Features::BIT64) { 8 } else { 4 }
    }
    fn tail_bytes(self) -> usize {
        if self.summed() { TAIL } else { 0 }
    }
}

/// The header of every block of the log that is not a copy.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: U32,
    /// Which kind.
    pub kind: U32,
    /// The number of the transaction.
    pub sequence: U32,
}

/// The superblock of the log.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SuperRaw {
    pub header: Header,
    pub block_size: U32,
    /// Blocks of the log, this one included.
    pub max_len: U32,
    /// The first block after this one.
    pub first: U32,
    /// The number of the first transaction in the log, or of the next one where the log is empty.
    pub sequence: U32,
    /// The block where that transaction starts; 0: the log is empty.
    pub start: U32,
    /// Why the log was given up, if it was: a negative error number.
    pub errno: U32,
    pub feature_compat: U32,
    pub feature_incompat: U32,
    pub feature_ro_compat: U32,
    pub uuid: [u8; 16],
    pub nr_users: U32,
    pub dynsuper: U32,
    pub max_transaction: U32,
    pub max_trans_data: U32,
    pub checksum_type: u8,
    pub padding2: [u8; 3],
    pub num_fc_blocks: U32,
    pub head: U32,
    pub padding: [U32; 40],
    pub checksum: U32,
    pub users: [[u8; 16]; 48],
}
const _: () = assert!(size_of::<SuperRaw>() == SUPER_SIZE);

impl SuperRaw {
    /// The features that a reader must know.
    pub fn features(&self) -> Features {
        Features::from_bits_retain(self.feature_incompat.get())
    }

    /// Reads block 0 and checks every number. `blocks` is how many the log's inode has. Errors: `EUCLEAN` (damaged),
    /// `EOPNOTSUPP` (version 1, or a feature that is not understood: see [`Features::unknown`]).
    pub fn parse(bytes: &[u8], block_size: u32, blocks: u32) -> Result<SuperRaw> {
        let raw = bytes.get(..SUPER_SIZE).and_then(|b| SuperRaw::read_from_bytes(b).ok()).ok_or(Errno::EUCLEAN)?;
        if raw.header.magic.get() != MAGIC {
            return Err(Errno::EUCLEAN);
        }
        match raw.header.kind.get() {
            SUPER_V2 => {}
            SUPER_V1 => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EUCLEAN),
        }
        let features = raw.features();
        if features.unknown().is_some() {
            return Err(Errno::EOPNOTSUPP);
        }
        let both = Features::CSUM_V2.union(Features::CSUM_V3);
        if features.contains(both) || (features.summed() && (raw.checksum_type != CRC32C || !raw.sum_is_right())) {
            return Err(Errno::EUCLEAN);
        }
        let (first, len, start) = (raw.first.get(), raw.max_len.get(), raw.start.get());
        let sane = raw.block_size.get() == block_size
            && first >= 1
            && len <= blocks
            && len >= MIN_BLOCKS
            && first < len
            && (start == 0 || (first..len).contains(&start));
        if sane { Ok(raw) } else { Err(Errno::EUCLEAN) }
    }

    fn sum(&self) -> u32 {
        let mut zeroed = self.clone();
        zeroed.checksum = 0.into();
        crc32c(!0, zeroed.as_bytes())
    }
    fn sum_is_right(&self) -> bool {
        self.sum() == self.checksum.get()
    }
    /// Sets the checksum, where the features ask for one.
    pub fn seal(&mut self) {
        if self.features().summed() {
            self.checksum_type = CRC32C;
            self.checksum = self.sum().into();
        }
    }
}

/// What all blocks of one log have in common.
#[derive(Clone, Copy)]
pub struct Style {
    /// The features in use.
    pub features: Features,
    /// The start of every checksum.
    pub seed: u32,
    /// Bytes of a block.
    pub block_size: usize,
}

/// Blocks of the shortest log: what Linux takes, and room for two of the largest changes there are.
const MIN_BLOCKS: u32 = 1024;

/// One copy in the log: what a tag says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// The block of the file system that it belongs to.
    pub home: u64,
    /// The copy's checksum, as much of it as the tag has room for.
    pub csum: u32,
    /// Its first word was replaced by zeros.
    pub escaped: bool,
    /// The block was deleted later in the same transaction: not to be copied.
    pub deleted: bool,
}

impl Style {
    /// The style of a log with this superblock.
    pub fn of(raw: &SuperRaw) -> Style {
        Style { features: raw.features(), seed: crc32c(!0, &raw.uuid), block_size: raw.block_size.get() as usize }
    }

    /// The header of a block, if it is one of transaction `sequence`.
    pub fn header(&self, bytes: &[u8], sequence: u32) -> Option<Header> {
        let (header, _) = Header::read_from_prefix(bytes).ok()?;
        (header.magic.get() == MAGIC && header.sequence.get() == sequence).then_some(header)
    }

    /// Whether the checksum of a descriptor, revoke or commit block is right. True where the log has none.
    pub fn sum_is_right(&self, bytes: &[u8], kind: u32) -> bool {
        if !self.features.summed() {
            return true;
        }
        let at = self.sum_at(kind);
        let stored = bytes.get(at..at.saturating_add(TAIL)).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        stored == Some(self.block_sum(bytes, at))
    }

    fn sum_at(&self, kind: u32) -> usize {
        // Of a commit block: after the header, two bytes of kind and size, and two of padding.
        if kind == COMMIT { HEADER.saturating_add(4) } else { self.block_size.saturating_sub(TAIL) }
    }

    fn block_sum(&self, bytes: &[u8], at: usize) -> u32 {
        let crc = crc32c(self.seed, bytes.get(..at).unwrap_or_default());
        let crc = crc32c(crc, &[0; TAIL]);
        crc32c(crc, bytes.get(at.saturating_add(TAIL)..).unwrap_or_default())
    }

    fn seal(&self, bytes: &mut [u8], kind: u32) {
        if self.features.summed() {
            let at = self.sum_at(kind);
            let sum = self.block_sum(bytes, at).to_be_bytes();
            put(bytes, at, &sum);
        }
    }

    /// The checksum of a copy, as it stands in the log, of transaction `sequence`.
    pub fn copy_sum(&self, sequence: u32, copy: &[u8]) -> u32 {
        let crc = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), copy);
        if self.features.contains(Features::CSUM_V3) { crc } else { crc & 0xffff }
    }

    /// Whether a copy is what its tag says. True where the log has no checksums.
    pub fn copy_is_right(&self, sequence: u32, copy: &[u8], tag: &Tag) -> bool {
        !self.features.summed() || self.copy_sum(sequence, copy) == tag.csum
    }

    /// The tags of a descriptor. Errors: `EUCLEAN` where there is none.
    pub fn tags(&self, bytes: &[u8]) -> Result<Vec<Tag>> {
        let room = self.block_size.saturating_sub(self.features.tail_bytes());
        let mut rest = bytes.get(HEADER..room).ok_or(Errno::EUCLEAN)?;
        let mut tags = Vec::new();
        while let Some((raw, after)) = rest.split_at_checked(self.features.tag_bytes()) {
            let (tag, flags) = self.tag(raw).ok_or(Errno::EUCLEAN)?;
            tags.push(tag);
            let uuid = if flags.contains(TagFlags::SAME_UUID) { 0 } else { 16 };
            rest = after.get(uuid..).unwrap_or_default();
            if flags.contains(TagFlags::LAST) {
                break;
            }
        }
        if tags.is_empty() { Err(Errno::EUCLEAN) } else { Ok(tags) }
    }

    fn tag(&self, raw: &[u8]) -> Option<(Tag, TagFlags)> {
        let word = |at: usize| raw.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes);
        let half = |at: usize| raw.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_be_bytes);
        let low = u64::from(word(0)?);
        let high = if self.features.contains(Features::BIT64) { u64::from(word(8)?) } else { 0 };
        let (csum, flags) = if self.features.contains(Features::CSUM_V3) {
            (word(12)?, word(4)?)
        } else {
            (u32::from(half(4)?), u32::from(half(6)?))
        };
        let flags = TagFlags::from_bits_retain(flags);
        let tag = Tag {
            home: low | high << 32,
            csum,
            escaped: flags.contains(TagFlags::ESCAPED),
            deleted: flags.contains(TagFlags::DELETED),
        };
        Some((tag, flags))
    }

    /// The block numbers of a revoke block. Errors: `EUCLEAN`.
    pub fn revoked(&self, bytes: &[u8]) -> Result<Vec<u64>> {
        let used = bytes.get(HEADER..REVOKE_HEADER).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        let used = used.ok_or(Errno::EUCLEAN)? as usize;
        if used > self.block_size.saturating_sub(self.features.tail_bytes()) {
            return Err(Errno::EUCLEAN);
        }
        let records = bytes.get(REVOKE_HEADER..used).ok_or(Errno::EUCLEAN)?;
        if !records.len().is_multiple_of(self.features.revoke_bytes()) {
            return Err(Errno::EUCLEAN);
        }
        let number = |record: &[u8]| record.iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        Ok(records.chunks_exact(self.features.revoke_bytes()).map(number).collect())
    }

    /// How many copies one descriptor describes.
    pub fn tags_per_block(&self) -> usize {
        let room = self.block_size.saturating_sub(HEADER).saturating_sub(self.features.tail_bytes());
        // The first tag is followed by the log's UUID.
        room.saturating_sub(16).checked_div(self.features.tag_bytes()).unwrap_or(1)
    }

    /// How many numbers one revoke block holds.
    pub fn revokes_per_block(&self) -> usize {
        let room = self.block_size.saturating_sub(REVOKE_HEADER).saturating_sub(self.features.tail_bytes());
        room.checked_div(self.features.revoke_bytes()).unwrap_or(1)
    }

    fn start_block(&self, kind: u32, sequence: u32) -> Vec<u8> {
        let mut bytes = alloc::vec![0; self.block_size];
        let header = Header { magic: MAGIC.into(), kind: kind.into(), sequence: sequence.into() };
        put(&mut bytes, 0, header.as_bytes());
        bytes
    }

    /// A descriptor of at most [`Self::tags_per_block`] copies.
    pub fn descriptor(&self, sequence: u32, uuid: &[u8; 16], tags: &[Tag]) -> Vec<u8> {
        let mut bytes = self.start_block(DESCRIPTOR, sequence);
        let mut at = HEADER;
        for (index, tag) in tags.iter().enumerate() {
            let mut flags = TagFlags::empty();
            flags.set(TagFlags::ESCAPED, tag.escaped);
            flags.set(TagFlags::SAME_UUID, index > 0);
            flags.set(TagFlags::LAST, index.saturating_add(1) == tags.len());
            self.put_tag(&mut bytes, at, tag, flags);
            at = at.saturating_add(self.features.tag_bytes());
            if index == 0 {
                put(&mut bytes, at, uuid);
                at = at.saturating_add(uuid.len());
            }
        }
        self.seal(&mut bytes, DESCRIPTOR);
        bytes
    }

    fn put_tag(&self, bytes: &mut [u8], at: usize, tag: &Tag, flags: TagFlags) {
        let field = |offset: usize| at.saturating_add(offset);
        put(bytes, field(0), U32::new(tag.home as u32).as_bytes());
        if self.features.contains(Features::BIT64) {
            put(bytes, field(8), U32::new((tag.home >> 32) as u32).as_bytes());
        }
        if self.features.contains(Features::CSUM_V3) {
            put(bytes, field(4), U32::new(flags.bits()).as_bytes());
            put(bytes, field(12), U32::new(tag.csum).as_bytes());
        } else {
            put(bytes, field(4), U16::new(tag.csum as u16).as_bytes());
            put(bytes, field(6), U16::new(flags.bits() as u16).as_bytes());
        }
    }

    /// A block with at most [`Self::revokes_per_block`] revoked numbers.
    pub fn revoke(&self, sequence: u32, numbers: &[u64]) -> Vec<u8> {
        let mut bytes = self.start_block(REVOKE, sequence);
        let mut at = REVOKE_HEADER;
        for &number in numbers {
            if self.features.contains(Features::BIT64) {
                put(&mut bytes, at, U64::new(number).as_bytes());
            } else {
                put(&mut bytes, at, U32::new(number as u32).as_bytes());
            }
            at = at.saturating_add(self.features.revoke_bytes());
        }
        put(&mut bytes, HEADER, U32::new(at as u32).as_bytes());
        self.seal(&mut bytes, REVOKE);
        bytes
    }

    /// The block that completes a transaction; `now_ns` is the wall clock.
    pub fn commit(&self, sequence: u32, now_ns: u64) -> Vec<u8> {
        const SECONDS: usize = HEADER + 4 + 32;
        let mut bytes = self.start_block(COMMIT, sequence);
        put(&mut bytes, SECONDS, U64::new(now_ns / 1_000_000_000).as_bytes());
        put(&mut bytes, SECONDS + 8, U32::new((now_ns % 1_000_000_000) as u32).as_bytes());
        self.seal(&mut bytes, COMMIT);
        bytes
    }
}

/// Whether transaction number `a` is not later than `b`: the numbers wrap around.
pub fn not_after(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).cast_signed() >= 0
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(at..at.saturating_add(value.len())) {
        slot.copy_from_slice(value);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn styles() -> impl Iterator<Item = Style> {
        let sets = [
            Features::empty(),
            Features::REVOKE,
            Features::REVOKE | Features::BIT64,
            Features::REVOKE | Features::CSUM_V2,
            Features::REVOKE | Features::BIT64 | Features::CSUM_V2,
            Features::REVOKE | Features::BIT64 | Features::CSUM_V3,
        ];
        sets.into_iter().flat_map(|features| [1024, 4096].map(|block_size| Style { features, seed: 7, block_size }))
    }

    #[test]
    fn what_is_written_is_read_back_in_every_style() {
        for style in styles() {
            let wide = if style.features.contains(Features::BIT64) { 1 << 33 } else { 0 };
            let copy = [9u8; 64];
            let tags: Vec<Tag> = (0..style.tags_per_block() as u64)
                .map(|n| Tag {
                    home: n + 5 + wide,
                    csum: if style.features.summed() { style.copy_sum(3, &copy) } else { 0 },
                    escaped: n % 3 == 0,
                    deleted: false,
                })
                .collect();
            for some in [&tags[..1], &tags[..2], &tags[..]] {
                let block = style.descriptor(3, &[1; 16], some);
                assert!(style.header(&block, 3).is_some_and(|h| h.kind.get() == DESCRIPTOR));
                assert!(style.header(&block, 4).is_none());
                assert!(style.sum_is_right(&block, DESCRIPTOR));
                assert_eq!(style.tags(&block).as_deref(), Ok(some));
                assert!(some.iter().all(|tag| style.copy_is_right(3, &copy, tag)));
            }
            let numbers: Vec<u64> = (0..style.revokes_per_block() as u64).map(|n| n + wide).collect();
            let block = style.revoke(3, &numbers);
            assert!(style.sum_is_right(&block, REVOKE));
            assert_eq!(style.revoked(&block).as_deref(), Ok(&numbers[..]));
            assert!(style.sum_is_right(&style.commit(3, 5_000_000_001), COMMIT));
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        for style in styles().filter(|style| style.features.summed()) {
            for kind in [DESCRIPTOR, REVOKE, COMMIT] {
                let good = match kind {
                    DESCRIPTOR => {
                        style.descriptor(9, &[0; 16], &[Tag { home: 4, csum: 1, escaped: false, deleted: false }])
                    }
                    REVOKE => style.revoke(9, &[77]),
                    _ => style.commit(9, 1),
                };
                for at in 0..good.len() {
                    let mut bad = good.clone();
                    bad[at] ^= 0x10;
                    assert!(!style.sum_is_right(&bad, kind), "kind {kind}, byte {at}");
                }
            }
        }
    }

    #[test]
    fn malformed_blocks_are_refused() {
        let style = Style { features: Features::REVOKE, seed: 0, block_size: 1024 };
        assert_eq!(style.tags(&[0; 10]), Err(Errno::EUCLEAN));
        let mut block = style.revoke(1, &[5]);
        for used in [0u32, 15, 17, 19, 1025, u32::MAX] {
            block[12..16].copy_from_slice(&used.to_be_bytes());
            assert_eq!(style.revoked(&block), Err(Errno::EUCLEAN), "{used} bytes in use");
        }
    }

    #[test]
    fn numbers_of_transactions_wrap_around() {
        assert!(not_after(1, 1) && not_after(1, 2) && !not_after(2, 1));
        assert!(not_after(u32::MAX, 0) && !not_after(0, u32::MAX));
    }
}
