//! The blocks of a directory's index (htree): pairs of a hash and the block for names from that hash on.
//!
//! ```text
//! root   "." 12 bytes | ".." up to the end of the block, and inside its slack:
//!        0 u32 | hash version u8 | 8 u8 | levels u8 | flags u8 | limit u16, count u16, block u32 | hash u32, block u32 | ...
//! node   an unused record as long as the block, and inside it:    limit u16, count u16, block u32 | hash u32, block u32 | ...
//! ```
//! The first pair has no hash: its place holds how many pairs fit and how many there are. Bit 0 of a hash says that names
//! with it also stand in the block before. To somebody who does not know the index, both look like directory blocks without
//! entries of their own. With checksums the place of the last pair holds the checksum.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::entry;
use base::{Errno, Result};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where the pairs of a root begin.
const ROOT_PAIRS: usize = 32;
/// Where the pairs of a node begin.
const NODE_PAIRS: usize = 8;
/// Bytes of the checksum behind the last pair: reserved u32, checksum u32.
pub const INDEX_TAIL: usize = 8;
/// The high bits of a block number are not part of it.
const BLOCK_MASK: u32 = 0x0fff_ffff;

/// Which of the two kinds of index blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Block 0 of the directory.
    Root,
    /// A block below it.
    Node,
}

impl Kind {
    fn pairs_at(self) -> usize {
        match self {
            Kind::Root => ROOT_PAIRS,
            Kind::Node => NODE_PAIRS,
        }
    }

    /// How many pairs fit into a block.
    #[allow(clippy::arithmetic_side_effects)] // A division by 8.
    pub fn limit(self, block_bytes: usize, summed: bool) -> usize {
        let tail = if summed { INDEX_TAIL } else { 0 };
        block_bytes.saturating_sub(self.pairs_at()).saturating_sub(tail) / size_of::<Pair>()
    }
}

/// A hash and a block.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Pair {
    hash: U32,
    block: U32,
}

impl Pair {
    /// A new pair.
    pub fn new(hash: u32, block: u32) -> Pair {
        Pair { hash: hash.into(), block: block.into() }
    }
    /// The hash from which on names stand in the block; bit 0 as said above. Meaningless in the first pair.
    pub fn hash(&self) -> u32 {
        self.hash.get()
    }
    /// The block of the directory.
    pub fn block(&self) -> u32 {
        self.block.get() & BLOCK_MASK
    }
}

/// The fields of a root between `..` and the pairs.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RootInfo {
    reserved: U32,
    hash_version: u8,
    info_length: u8,
    levels: u8,
    flags: u8,
}

/// What a root says beside its pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    /// The hash version.
    pub hash_version: u8,
    /// 0: the root's pairs lead to entries; 1: to nodes.
    pub levels: u8,
}

/// Reads and checks the fields of a root. Errors: `EUCLEAN`; `EOPNOTSUPP` for three levels (large_dir).
pub fn root(block: &[u8]) -> Result<Root> {
    let mut entries = entry::Entries::new(block);
    let dot = entries.next().ok_or(Errno::EUCLEAN)??;
    let dotdot = entries.next().ok_or(Errno::EUCLEAN)??;
    let info = block.get(24..ROOT_PAIRS).ok_or(Errno::EUCLEAN)?;
    let info = RootInfo::ref_from_bytes(info).map_err(|_| Errno::EUCLEAN)?;
    let names = dot.name == b"." && dot.len == 12 && dotdot.name == b".." && entries.next().is_none();
    if !names || info.reserved.get() != 0 || info.info_length != 8 || info.flags & 1 != 0 {
        return Err(Errno::EUCLEAN);
    }
    match info.levels {
        0 | 1 => Ok(Root { hash_version: info.hash_version, levels: info.levels }),
        2 => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EUCLEAN),
    }
}

/// The pairs in use of an index block, at least one. Errors: `EUCLEAN`.
pub fn pairs(block: &[u8], kind: Kind, summed: bool) -> Result<&[Pair]> {
    let (all, count) = slots(block, kind, summed)?;
    all.get(..count).ok_or(Errno::EUCLEAN)
}

/// Checks the order of the pairs. Errors: `EUCLEAN`.
pub fn check(block: &[u8], kind: Kind, summed: bool) -> Result<()> {
    let hashed = pairs(block, kind, summed)?.get(1..).unwrap_or_default();
    if hashed.is_sorted_by_key(Pair::hash) { Ok(()) } else { Err(Errno::EUCLEAN) }
}

/// The pair whose block holds names of `hash`, or where they begin.
pub fn position(pairs: &[Pair], hash: u32) -> usize {
    pairs.get(1..).unwrap_or_default().partition_point(|p| p.hash() <= hash)
}

/// Puts a pair into a block that has room. Errors: `EUCLEAN`.
pub fn insert(block: &mut [u8], kind: Kind, summed: bool, at: usize, pair: Pair) -> Result<()> {
    let (_, count) = slots(block, kind, summed)?;
    let new_count = count.checked_add(1).ok_or(Errno::EUCLEAN)?;
    if at == 0 || at > count {
        return Err(Errno::EUCLEAN);
    }
    set_count(block, kind, summed, new_count)?;
    let all = slots_mut(block, kind, new_count)?;
    all.copy_within(at..count, at.saturating_add(1));
    *all.get_mut(at).ok_or(Errno::EUCLEAN)? = pair;
    Ok(())
}

/// Replaces all pairs; the hash of the first is not stored. Errors: `EUCLEAN` if they do not fit.
pub fn set_pairs(block: &mut [u8], kind: Kind, summed: bool, new: &[Pair]) -> Result<()> {
    slots_mut(block, kind, new.len())?.copy_from_slice(new);
    set_count(block, kind, summed, new.len())
}

/// Makes a block an empty node. Its pairs are set with [`set_pairs`].
pub fn init_node(block: &mut [u8]) -> Result<()> {
    block.fill(0);
    entry::put(block, 0, block.len(), &[], 0, 0)
}

/// Makes a block a root without levels, with one pair to block 1.
pub fn init_root(block: &mut [u8], ino: u32, parent: u32, hash_version: u8, summed: bool) -> Result<()> {
    let rest = block.len().checked_sub(12).ok_or(Errno::EUCLEAN)?;
    block.fill(0);
    entry::put(block, 0, 12, b".", ino, 2)?;
    entry::put(block, 12, rest, b"..", parent, 2)?;
    let info = RootInfo { reserved: 0.into(), hash_version, info_length: 8, levels: 0, flags: 0 };
    block.get_mut(24..ROOT_PAIRS).ok_or(Errno::EUCLEAN)?.copy_from_slice(info.as_bytes());
    set_pairs(block, Kind::Root, summed, &[Pair::new(0, 1)])
}

/// Sets the number of levels of a root. Errors: `EUCLEAN`.
pub fn set_levels(block: &mut [u8], levels: u8) -> Result<()> {
    *block.get_mut(30).ok_or(Errno::EUCLEAN)? = levels;
    Ok(())
}

/// Whether a block whose kind is not known is a node: one unused record as long as the block.
pub fn looks_like_node(block: &[u8]) -> bool {
    matches!(entry::Entries::new(block).next(), Some(Ok(e)) if e.ino == 0 && e.len == block.len())
}

/// The bytes that the checksum of an index block covers, and where its eight bytes of tail begin. Errors: `EUCLEAN`.
pub fn checksum_place(block: &[u8], kind: Kind) -> Result<(usize, usize)> {
    let (all, count) = slots(block, kind, true)?;
    let end = |pairs: usize| pairs.saturating_mul(size_of::<Pair>()).saturating_add(kind.pairs_at());
    Ok((end(count), end(all.len())))
}

/// All places for pairs and the number in use, from the block's own fields, which are checked.
fn slots(block: &[u8], kind: Kind, summed: bool) -> Result<(&[Pair], usize)> {
    let bytes = block.get(kind.pairs_at()..).ok_or(Errno::EUCLEAN)?;
    let (first, _) = Pair::ref_from_prefix(bytes).map_err(|_| Errno::EUCLEAN)?;
    let (limit, count) = unpack(first);
    if limit != kind.limit(block.len(), summed) || count == 0 || count > limit {
        return Err(Errno::EUCLEAN);
    }
    let (all, _) = <[Pair]>::ref_from_prefix_with_elems(bytes, limit).map_err(|_| Errno::EUCLEAN)?;
    Ok((all, count))
}

fn slots_mut(block: &mut [u8], kind: Kind, count: usize) -> Result<&mut [Pair]> {
    let bytes = block.get_mut(kind.pairs_at()..).ok_or(Errno::EUCLEAN)?;
    let (slots, _) = <[Pair]>::mut_from_prefix_with_elems(bytes, count).map_err(|_| Errno::EUCLEAN)?;
    Ok(slots)
}

fn set_count(block: &mut [u8], kind: Kind, summed: bool, count: usize) -> Result<()> {
    let limit = kind.limit(block.len(), summed);
    let first = slots_mut(block, kind, 1)?.first_mut().ok_or(Errno::EUCLEAN)?;
    let count = u16::try_from(count).ok().filter(|&n| usize::from(n) <= limit).ok_or(Errno::EUCLEAN)?;
    let limit = u16::try_from(limit).map_err(|_| Errno::EUCLEAN)?;
    first.hash = (u32::from(count) << 16 | u32::from(limit)).into();
    Ok(())
}

/// Limit and count, which stand in the place of the first pair's hash.
fn unpack(first: &Pair) -> (usize, usize) {
    let [l0, l1, c0, c1] = first.hash().to_le_bytes();
    (u16::from_le_bytes([l0, l1]).into(), u16::from_le_bytes([c0, c1]).into())
}
