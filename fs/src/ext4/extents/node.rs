//! The on-disk form of one node: a 12-byte header and 12-byte entries, all little endian (EXT-6).
//!
//! ```text
//! header  magic 0xf30a u16 | entries u16 | max u16 | depth u16 | generation u32
//! extent  first block u32 | length u16 (above 32768: unwritten) | physical high u16 | physical low u32      depth 0
//! index   first block u32 | child low u32 | child high u16 | unused u16                                     depth 1..=5
//! ```
//!
//! A [`Node`] can only be had from bytes whose header was checked, so that nothing below depends on what the disk says
//! about lengths. The order of the entries is checked by [`Node::check`], once for each block read.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use base::{Errno, Result};
use core::ops::Range;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest mapped extent, in blocks.
pub const MAX_MAPPED: u32 = 32768;
/// Longest unwritten extent, in blocks.
pub const MAX_UNWRITTEN: u32 = 32767;
/// Deepest tree: levels of index nodes above the leaves.
pub const MAX_DEPTH: u16 = 5;
/// Bytes of the root, which lives in the inode.
pub const ROOT_BYTES: usize = 60;
/// The first logical block that no file has: a file has fewer than 2^32 blocks.
pub const END_OF_FILE_SPACE: u32 = u32::MAX;

const MAGIC: u16 = 0xf30a;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 12;

/// A run of file blocks on consecutive device blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First logical block in the file.
    pub lblk: u32,
    /// Blocks; never 0.
    pub len: u32,
    /// First block on the device.
    pub pblk: u64,
    /// Allocated, but reads as zeros until it is converted (EXT-1).
    pub unwritten: bool,
}

impl Extent {
    /// The logical block after the last one.
    pub fn end(&self) -> u32 {
        self.lblk.saturating_add(self.len)
    }

    /// The part of this extent inside `range`, if there is one.
    pub fn clip(&self, range: &Range<u32>) -> Option<Extent> {
        let (lblk, end) = (self.lblk.max(range.start), self.end().min(range.end));
        let len = end.checked_sub(lblk).filter(|&len| len > 0)?;
        let skipped = lblk.saturating_sub(self.lblk);
        Some(Extent { lblk, len, pblk: self.pblk.saturating_add(skipped.into()), ..*self })
    }

    /// This extent and `next` as one, where the format allows that (EXT-6).
    pub fn merged(&self, next: &Extent) -> Option<Extent> {
        let len = self.len.checked_add(next.len)?;
        let limit = if self.unwritten { MAX_UNWRITTEN } else { MAX_MAPPED };
        let contiguous = self.end() == next.lblk && self.pblk.checked_add(self.len.into()) == Some(next.pblk);
        (contiguous && self.unwritten == next.unwritten && len <= limit).then_some(Extent { len, ..*self })
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: U16,
    entries: U16,
    max: U16,
    depth: U16,
    generation: U32,
}

/// An entry of either kind; both begin with their first logical block.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub struct RawEntry {
    key: U32,
    rest: [u8; 8],
}

impl RawEntry {
    /// The first logical block.
    pub fn key(&self) -> u32 {
        self.key.get()
    }

    /// The entry of a leaf.
    pub fn extent(&self) -> Extent {
        let [l0, l1, h0, h1, p0, p1, p2, p3] = self.rest;
        let raw_len = u32::from(u16::from_le_bytes([l0, l1]));
        let unwritten = raw_len > MAX_MAPPED;
        let len = if unwritten { raw_len.saturating_sub(MAX_MAPPED) } else { raw_len };
        let pblk = u64::from_le_bytes([p0, p1, p2, p3, h0, h1, 0, 0]);
        Extent { lblk: self.key(), len, pblk, unwritten }
    }

    /// The block of the child that an index entry points to.
    pub fn child(&self) -> u64 {
        let [l0, l1, l2, l3, h0, h1, _, _] = self.rest;
        u64::from_le_bytes([l0, l1, l2, l3, h0, h1, 0, 0])
    }

    /// A leaf entry. The length is within the format's limits.
    pub fn from_extent(e: &Extent) -> RawEntry {
        debug_assert!(e.len > 0 && e.len <= if e.unwritten { MAX_UNWRITTEN } else { MAX_MAPPED });
        let raw_len = if e.unwritten { e.len.saturating_add(MAX_MAPPED) } else { e.len };
        let [l0, l1, _, _] = raw_len.to_le_bytes();
        let [p0, p1, p2, p3, h0, h1, _, _] = e.pblk.to_le_bytes();
        RawEntry { key: e.lblk.into(), rest: [l0, l1, h0, h1, p0, p1, p2, p3] }
    }

    /// An index entry.
    pub fn from_index(key: u32, child: u64) -> RawEntry {
        let [l0, l1, l2, l3, h0, h1, _, _] = child.to_le_bytes();
        RawEntry { key: key.into(), rest: [l0, l1, l2, l3, h0, h1, 0, 0] }
    }
}

/// What the parent says about a node.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Its depth; `None` for the root, which may have any.
    pub depth: Option<u16>,
    /// The logical blocks its entries may cover.
    pub range: Range<u32>,
}

impl Expect {
    /// What is known about the root.
    pub const ROOT: Expect = Expect { depth: None, range: 0..END_OF_FILE_SPACE };
}

/// A node whose header is right.
pub struct Node<'a> {
    depth: u16,
    max: usize,
    entries: &'a [RawEntry],
}

impl<'a> Node<'a> {
    /// The node in `bytes`, which are the root's 60 bytes or a whole block. Constant time. Errors: `EUCLEAN`.
    pub fn parse(bytes: &'a [u8], depth: Option<u16>) -> Result<Node<'a>> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| Errno::EUCLEAN)?;
        let (entries, max) = (usize::from(header.entries.get()), usize::from(header.max.get()));
        let (slots, _) = <[RawEntry]>::ref_from_prefix_with_elems(rest, max).map_err(|_| Errno::EUCLEAN)?;
        let node_depth = header.depth.get();
        let right_depth = depth.is_none_or(|d| d == node_depth) && node_depth <= MAX_DEPTH;
        let entries = slots.get(..entries).ok_or(Errno::EUCLEAN)?;
        if header.magic.get() != MAGIC || !right_depth || (node_depth > 0 && entries.is_empty()) {
            return Err(Errno::EUCLEAN);
        }
        Ok(Node { depth: node_depth, max, entries })
    }

    /// Checks the entries as well: ascending, not overlapping, within `expect.range` of the file and `device_blocks` of the
    /// device. Linear in the number of entries. Errors: `EUCLEAN`.
    pub fn check(&self, expect: &Expect, device_blocks: u64) -> Result<()> {
        let mut from = expect.range.start;
        for entry in self.entries {
            let key = entry.key();
            let (end, first, blocks) = if self.depth == 0 {
                let e = entry.extent();
                (key.checked_add(e.len), e.pblk, u64::from(e.len))
            } else {
                (key.checked_add(1), entry.child(), 1)
            };
            let end = end.filter(|&end| end <= expect.range.end && end > key).ok_or(Errno::EUCLEAN)?;
            let on_device = first > 0 && first.checked_add(blocks).is_some_and(|last| last <= device_blocks);
            if key < from || !on_device {
                return Err(Errno::EUCLEAN);
            }
            from = end;
        }
        Ok(())
    }

    /// 0 for a leaf.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// How many entries fit.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The entries in use.
    pub fn entries(&self) -> &'a [RawEntry] {
        self.entries
    }

    /// How many entries begin at or before `lblk`: the one that may hold it is the last of them.
    pub fn position(&self, lblk: u32) -> usize {
        self.entries.partition_point(|e| e.key() <= lblk)
    }
}

/// A node to be changed.
pub struct NodeMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> NodeMut<'a> {
    /// The node in `bytes`, with its header checked. Errors: `EUCLEAN`.
    pub fn parse(bytes: &'a mut [u8]) -> Result<NodeMut<'a>> {
        Node::parse(bytes, None)?;
        Ok(NodeMut { bytes })
    }

    /// Makes `bytes` a node with `entries`. Errors: `EUCLEAN` if they do not fit.
    pub fn init(bytes: &mut [u8], depth: u16, entries: &[RawEntry]) -> Result<()> {
        let max = capacity(bytes.len());
        let (header, rest) = Header::mut_from_prefix(bytes).map_err(|_| Errno::EUCLEAN)?;
        rest.fill(0);
        rest.get_mut(..size_of_val(entries)).ok_or(Errno::EUCLEAN)?.copy_from_slice(entries.as_bytes());
        let count = u16::try_from(entries.len()).ok().filter(|&n| n <= max).ok_or(Errno::EUCLEAN)?;
        *header = Header {
            magic: MAGIC.into(),
            entries: count.into(),
            max: max.into(),
            depth: depth.into(),
            generation: 0.into(),
        };
        Ok(())
    }

    /// Replaces the entries `range` by `new`. Errors: `EUCLEAN` if the range is not there or the result does not fit.
    pub fn replace(&mut self, range: Range<usize>, new: &[RawEntry]) -> Result<()> {
        let (header, rest) = Header::mut_from_prefix(self.bytes).map_err(|_| Errno::EUCLEAN)?;
        let (count, max) = (usize::from(header.entries.get()), usize::from(header.max.get()));
        let (slots, _) = <[RawEntry]>::mut_from_prefix_with_elems(rest, max).map_err(|_| Errno::EUCLEAN)?;
        let gap_end = range.start.checked_add(new.len()).ok_or(Errno::EUCLEAN)?;
        let tail = count.checked_sub(range.end).ok_or(Errno::EUCLEAN)?;
        let new_count = gap_end.checked_add(tail).filter(|&n| n <= max).ok_or(Errno::EUCLEAN)?;
        if range.start > range.end {
            return Err(Errno::EUCLEAN);
        }
        slots.copy_within(range.end..count, gap_end);
        slots.get_mut(range.start..gap_end).ok_or(Errno::EUCLEAN)?.copy_from_slice(new);
        header.entries = u16::try_from(new_count).map_err(|_| Errno::EUCLEAN)?.into();
        Ok(())
    }

    /// Gives the entries `slots` the first logical blocks that `to` makes of theirs; their order stays. Errors: `EUCLEAN` if an entry is not
    /// there or `to` has no answer.
    pub fn shift_keys(&mut self, slots: Range<usize>, to: impl Fn(u32) -> Option<u32>) -> Result<()> {
        let (header, rest) = Header::mut_from_prefix(self.bytes).map_err(|_| Errno::EUCLEAN)?;
        let entries = usize::from(header.entries.get());
        let (all, _) = <[RawEntry]>::mut_from_prefix_with_elems(rest, entries).map_err(|_| Errno::EUCLEAN)?;
        for entry in all.get_mut(slots).ok_or(Errno::EUCLEAN)? {
            entry.key = to(entry.key.get()).ok_or(Errno::EUCLEAN)?.into();
        }
        Ok(())
    }

    /// Sets the first logical block of entry `slot` and gives the one it had. Errors: `EUCLEAN`.
    pub fn set_key(&mut self, slot: usize, key: u32) -> Result<u32> {
        let (header, rest) = Header::mut_from_prefix(self.bytes).map_err(|_| Errno::EUCLEAN)?;
        let max = usize::from(header.max.get());
        let (slots, _) = <[RawEntry]>::mut_from_prefix_with_elems(rest, max).map_err(|_| Errno::EUCLEAN)?;
        let old = core::mem::replace(&mut slots.get_mut(slot).ok_or(Errno::EUCLEAN)?.key, key.into());
        Ok(old.get())
    }
}

/// How many entries fit into a node of `bytes` bytes; where blocks carry a checksum, its four bytes find room in the rest,
/// because block sizes leave one when divided by 12.
#[allow(clippy::arithmetic_side_effects)] // By constants that are not zero.
fn capacity(bytes: usize) -> u16 {
    (bytes.saturating_sub(HEADER_BYTES) / ENTRY_BYTES) as u16
}

/// The byte where the node in `bytes` has its checksum, after the last slot; what stands before is covered. `None` where the
/// header says that there is no room for one.
pub fn checksum_offset(bytes: &[u8]) -> Option<usize> {
    let (header, _) = Header::ref_from_prefix(bytes).ok()?;
    let slots = usize::from(header.max.get()).checked_mul(ENTRY_BYTES)?;
    let offset = slots.checked_add(HEADER_BYTES)?;
    bytes.get(offset..offset.checked_add(4)?).map(|_| offset)
}
