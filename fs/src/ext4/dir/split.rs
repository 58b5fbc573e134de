//! Making room in a directory with an index: leaves and nodes are split, the index gets a second level, or is made.
//!
//! In every case the new block is filled first, then an index block points to it, then the old block loses what moved.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::block::{Dir, Role};
use super::entry::{self, Entries};
use super::find::{Frame, Probe};
use super::index::{self, Kind, Pair};
use crate::ext4::features::InodeFlags;
use crate::ext4::hash::NameHash;
use crate::ext4::txn::Handle;
use crate::vfs::SyncKind;
use alloc::vec::Vec;
use base::{Errno, Result};

/// An entry of a copied block, with its hash.
struct Hashed<'a> {
    hash: u32,
    entry: entry::Entry<'a>,
}

impl Dir<'_> {
    /// One step towards room in the leaf that `probe` leads to: the innermost index block gets room first, then the leaf is
    /// split. The caller probes again. Errors: `ENOSPC` (no block; or the index is full), `EUCLEAN`, `EIO`.
    pub(super) fn make_room(&self, handle: &mut Handle<'_>, probe: &Probe) -> Result<()> {
        let full = |frame: &Frame, kind: Kind| frame.count >= kind.limit(self.block_bytes(), self.summed());
        match &probe.node {
            None if full(&probe.root, Kind::Root) => self.add_level(handle),
            None => self.split_leaf(handle, probe, &probe.root, Kind::Root),
            Some(node) if full(node, Kind::Node) => {
                if full(&probe.root, Kind::Root) {
                    log::warn!("ext4: the index of directory {} is full", self.own.ino);
                    return Err(Errno::ENOSPC);
                }
                self.split_node(handle, &probe.root, node)
            }
            Some(node) => self.split_leaf(handle, probe, node, Kind::Node),
        }
    }

    /// Moves the names with the upper half of the hashes to a new leaf.
    fn split_leaf(&self, handle: &mut Handle<'_>, probe: &Probe, parent: &Frame, kind: Kind) -> Result<()> {
        let block = self.read(probe.leaf, Role::Leaf)?;
        let copy = block.read().to_vec();
        let mut entries = self.hashed(&copy, &probe.hashing)?;
        entries.sort_by_key(|e| e.hash);
        let at = half(&entries);
        if let (Some(last_low), Some(first_high)) = (at.checked_sub(1).and_then(|i| entries.get(i)), entries.get(at)) {
            let continued = u32::from(last_low.hash == first_high.hash);
            let high = entries.get(at..).unwrap_or_default();
            let new = self.append_leaf(handle, |bytes, end| pack(bytes, end, high))?;
            let pair = Pair::new(first_high.hash | continued, new);
            self.insert_pair(handle, parent, kind, pair)?;
        }
        // A leaf with a single name, or none, is only packed: there is room then.
        let low = entries.get(..at).unwrap_or_default();
        self.change_leaf(handle, &block, |bytes| {
            let end = bytes.len();
            pack(bytes, end, low)
        })
    }

    /// The entries of a leaf with their hashes.
    fn hashed<'b>(&self, leaf: &'b [u8], hashing: &NameHash) -> Result<Vec<Hashed<'b>>> {
        let records = leaf.get(..self.leaf_bytes()).ok_or(Errno::EUCLEAN)?;
        let mut all = Vec::new();
        for entry in Entries::new(records) {
            let entry = entry.map_err(|_| self.corrupt())?;
            if entry.ino != 0 {
                all.push(Hashed { hash: hashing.of(entry.name), entry });
            }
        }
        Ok(all)
    }

    fn insert_pair(&self, handle: &mut Handle<'_>, parent: &Frame, kind: Kind, pair: Pair) -> Result<()> {
        let role = Role::Index(kind);
        let block = self.read(parent.lblk, role)?;
        let summed = self.summed();
        let slot = parent.slot.saturating_add(1);
        self.change(handle, &block, role, |bytes| index::insert(bytes, kind, summed, slot, pair))
    }

    /// Moves the root's pairs into a node, the only one below the root.
    fn add_level(&self, handle: &mut Handle<'_>) -> Result<()> {
        let summed = self.summed();
        let pairs = self.with_pairs(0, Kind::Root, <[Pair]>::to_vec)?;
        let node = self.append_node(handle, &pairs)?;
        let role = Role::Index(Kind::Root);
        let block = self.read(0, role)?;
        self.change(handle, &block, role, |bytes| {
            index::set_pairs(bytes, Kind::Root, summed, &[Pair::new(0, node)])?;
            index::set_levels(bytes, 1)
        })
    }

    /// Moves the upper half of a node's pairs to a new node.
    fn split_node(&self, handle: &mut Handle<'_>, root: &Frame, node: &Frame) -> Result<()> {
        let summed = self.summed();
        let pairs = self.with_pairs(node.lblk, Kind::Node, <[Pair]>::to_vec)?;
        let (low, high) = pairs.split_at_checked(pairs.len() / 2).ok_or(Errno::EUCLEAN)?;
        let first = high.first().ok_or(Errno::EUCLEAN)?;
        let new = self.append_node(handle, high)?;
        self.insert_pair(handle, root, Kind::Root, Pair::new(first.hash(), new))?;
        let role = Role::Index(Kind::Node);
        let block = self.read(node.lblk, role)?;
        self.change(handle, &block, role, |bytes| index::set_pairs(bytes, Kind::Node, summed, low))
    }

    fn append_node(&self, handle: &mut Handle<'_>, pairs: &[Pair]) -> Result<u32> {
        let summed = self.summed();
        self.append(handle, Role::Index(Kind::Node), |bytes| {
            index::init_node(bytes)?;
            index::set_pairs(bytes, Kind::Node, summed, pairs)
        })
    }

    /// Gives a directory of one block an index: its names move to block 1, and block 0 becomes the root.
    pub(super) fn make_index(&self, handle: &mut Handle<'_>) -> Result<()> {
        let geo = &self.own.fs.geo;
        let hashing = NameHash::new(geo.hash_version, geo.hash_unsigned, geo.hash_seed)?;
        let block = self.read(0, Role::Leaf)?;
        let copy = block.read().to_vec();
        let mut entries = self.hashed(&copy, &hashing)?;
        let dots: Vec<Hashed<'_>> = entries.drain(..entries.len().min(2)).collect();
        let parent = match &dots[..] {
            [dot, dotdot] if dot.entry.name == b"." && dotdot.entry.name == b".." => dotdot.entry.ino,
            _ => return Err(self.corrupt()),
        };
        self.append_leaf(handle, |bytes, end| pack(bytes, end, &entries))?;
        let (version, summed) = (geo.hash_version, self.summed());
        self.change(handle, &block, Role::Index(Kind::Root), |bytes| {
            index::init_root(bytes, self.own.ino, parent, version, summed)
        })?;
        let mut core = self.own.core.write();
        core.flags.insert(InodeFlags::INDEX);
        self.own.store(handle, self.inode, &core, SyncKind::All)
    }
}

/// Where the upper half begins, by bytes; at least one entry stays below.
fn half(entries: &[Hashed<'_>]) -> usize {
    let size = |e: &Hashed<'_>| entry::record_len(e.entry.name.len());
    let total: usize = entries.iter().map(size).sum();
    let mut low = 0usize;
    let at = entries.iter().position(|e| {
        low = low.saturating_add(size(e));
        low > total / 2
    });
    at.unwrap_or(entries.len()).max(1).min(entries.len())
}

/// Writes entries one after the other; the last one, or an unused record, takes the room up to `end`.
fn pack(bytes: &mut [u8], end: usize, entries: &[Hashed<'_>]) -> Result<()> {
    let Some((last, others)) = entries.split_last() else {
        return entry::put(bytes, 0, end, &[], 0, 0);
    };
    let mut at = 0;
    for Hashed { entry: e, .. } in others {
        let len = entry::record_len(e.name.len());
        entry::put(bytes, at, len, e.name, e.ino, e.kind)?;
        at = at.saturating_add(len);
    }
    entry::put(bytes, at, end.saturating_sub(at), last.entry.name, last.entry.ino, last.entry.kind)
}
