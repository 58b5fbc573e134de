//! From a name to its place.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::block::{Dir, Role};
use super::entry::{self, Found};
use super::index::{self, Kind, Pair};
use crate::ext4::hash::NameHash;
use base::{Errno, Result};

/// A place in an index block: which pair was followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Block of the directory.
    pub lblk: u32,
    /// The pair.
    pub slot: usize,
    /// Pairs in use.
    pub count: usize,
}

/// The way through the index to the first leaf that may hold a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// How names are hashed here.
    pub hashing: NameHash,
    /// The name's hash.
    pub hash: u32,
    /// The place in block 0.
    pub root: Frame,
    /// The place in the node below, where there are two levels.
    pub node: Option<Frame>,
    /// The leaf.
    pub leaf: u32,
}

impl Dir<'_> {
    /// Finds `name`. Errors: `EUCLEAN`, `EIO`.
    pub fn find(&self, name: &[u8]) -> Result<Option<Found>> {
        Ok(self.locate(name)?.map(|(_, found)| found))
    }

    /// As [`Self::find`], with the block it stands in.
    pub(super) fn locate(&self, name: &[u8]) -> Result<Option<(u32, Found)>> {
        // The index does not cover these two.
        if !self.is_indexed() || name == b"." || name == b".." {
            return self.locate_in_order(name);
        }
        let mut probe = self.probe(name)?;
        loop {
            if let Some(found) = self.find_in_leaf(probe.leaf, name)? {
                return Ok(Some((probe.leaf, found)));
            }
            if !self.next_leaf(&mut probe)? {
                return Ok(None);
            }
        }
    }

    fn locate_in_order(&self, name: &[u8]) -> Result<Option<(u32, Found)>> {
        if self.is_indexed() {
            let block = self.read(0, Role::Index(Kind::Root))?;
            return Ok(entry::find(&block.read(), name)?.map(|found| (0, found)));
        }
        for lblk in 0..self.blocks() {
            if let Some(found) = self.find_in_leaf(lblk, name)? {
                return Ok(Some((lblk, found)));
            }
        }
        Ok(None)
    }

    fn find_in_leaf(&self, lblk: u32, name: &[u8]) -> Result<Option<Found>> {
        let block = self.read(lblk, Role::Leaf)?;
        let bytes = block.read();
        entry::find(bytes.get(..self.leaf_bytes()).ok_or(Errno::EUCLEAN)?, name)
    }

    /// Goes through the index to the first leaf for `name`.
    pub(super) fn probe(&self, name: &[u8]) -> Result<Probe> {
        let (hashing, levels) = {
            let block = self.read(0, Role::Index(Kind::Root))?;
            let root = index::root(&block.read()).inspect_err(|_| _ = self.corrupt())?;
            let geo = &self.own.fs.geo;
            (NameHash::new(root.hash_version, geo.hash_unsigned, geo.hash_seed)?, root.levels)
        };
        let hash = hashing.of(name);
        let by_hash = |pairs: &[Pair]| index::position(pairs, hash);
        let (root, mut leaf) = self.follow(0, Kind::Root, by_hash)?;
        let mut node = None;
        if levels > 0 {
            let (frame, below) = self.follow(leaf, Kind::Node, by_hash)?;
            (node, leaf) = (Some(frame), below);
        }
        Ok(Probe { hashing, hash, root, node, leaf })
    }

    /// Moves on to the next leaf, if names with the hash may stand there too: its pair has the hash with bit 0 set.
    pub(super) fn next_leaf(&self, probe: &mut Probe) -> Result<bool> {
        let (frame, kind) = match probe.node {
            Some(node) if node.slot.saturating_add(1) < node.count => (node, Kind::Node),
            _ => (probe.root, Kind::Root),
        };
        let slot = frame.slot.saturating_add(1);
        if slot >= frame.count {
            return Ok(false);
        }
        let hash = self.with_pairs(frame.lblk, kind, |pairs| pairs.get(slot).map(Pair::hash))?;
        if hash.ok_or(Errno::EUCLEAN)? != probe.hash | 1 {
            return Ok(false);
        }
        let (frame, mut below) = self.follow(frame.lblk, kind, |_| slot)?;
        match (kind, probe.node.is_some()) {
            (Kind::Node, _) => probe.node = Some(frame),
            (Kind::Root, has_nodes) => {
                probe.root = frame;
                if has_nodes {
                    let (node, leaf) = self.follow(below, Kind::Node, |_| 0)?;
                    (probe.node, below) = (Some(node), leaf);
                }
            }
        }
        probe.leaf = below;
        Ok(true)
    }

    /// Picks a pair of an index block; gives its place and the block it leads to.
    fn follow(&self, lblk: u32, kind: Kind, pick: impl FnOnce(&[Pair]) -> usize) -> Result<(Frame, u32)> {
        let found = self.with_pairs(lblk, kind, |pairs| {
            let slot = pick(pairs);
            let below = pairs.get(slot).map(Pair::block).filter(|&b| b != 0 && b != lblk);
            below.map(|below| (Frame { lblk, slot, count: pairs.len() }, below))
        })?;
        found.ok_or_else(|| self.corrupt())
    }

    pub(super) fn with_pairs<R>(&self, lblk: u32, kind: Kind, f: impl FnOnce(&[Pair]) -> R) -> Result<R> {
        let block = self.read(lblk, Role::Index(kind))?;
        let bytes = block.read();
        index::pairs(&bytes, kind, self.summed()).map(f).map_err(|_| self.corrupt())
    }
}
