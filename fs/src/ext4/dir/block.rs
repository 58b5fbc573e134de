//! A directory's blocks: where they are, whether they are sound, and adding one.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::index::Kind;
use super::{entry, index};
use crate::ext4::Ext4Inode;
use crate::ext4::balloc::Purpose;
use crate::ext4::csum::crc32c;
use crate::ext4::extents::{self, Extent, Run, Tree, TreeMut};
use crate::ext4::features::InodeFlags;
use crate::ext4::meta::{MetaBlock, Seal};
use crate::ext4::txn::Handle;
use crate::vfs::{Inode, SyncKind};
use base::sync::Arc;
use base::{Errno, Result};

/// What a block is to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Entries.
    Leaf,
    /// Pairs of the index.
    Index(Kind),
}

/// A directory, whose inode lock the caller holds.
pub struct Dir<'a> {
    /// The VFS inode.
    pub inode: &'a Inode,
    /// Its private part.
    pub own: &'a Ext4Inode,
}

impl<'a> Dir<'a> {
    /// The directory behind an inode of an ext4.
    pub fn new(inode: &'a Inode) -> Self {
        Dir { inode, own: Ext4Inode::of(inode) }
    }

    /// Whether metadata carries checksums.
    pub(super) fn summed(&self) -> bool {
        self.own.fs.geo.csum_seed.is_some()
    }

    pub(super) fn block_bytes(&self) -> usize {
        self.own.fs.geo.block_size as usize
    }

    /// Bytes of a leaf that hold entries.
    pub(super) fn leaf_bytes(&self) -> usize {
        self.block_bytes().saturating_sub(if self.summed() { entry::TAIL } else { 0 })
    }

    /// Blocks of the directory. One that claims more than can be addressed has the rest ignored.
    pub(super) fn blocks(&self) -> u32 {
        u32::try_from(self.inode.size() >> self.own.fs.geo.block_bits).unwrap_or(u32::MAX)
    }

    /// Whether there is an index.
    pub(super) fn is_indexed(&self) -> bool {
        self.own.core.read().flags.contains(InodeFlags::INDEX)
    }

    /// Logs damage and stops changes to the file system. Gives `EUCLEAN`.
    pub(super) fn corrupt(&self) -> Errno {
        self.own.fs.corrupt("directory", u64::from(self.own.ino))
    }

    /// Block `lblk` of the directory, not checked. Errors: `EUCLEAN` (not there), `EIO`.
    pub(super) fn fetch(&self, lblk: u32) -> Result<Arc<MetaBlock>> {
        if lblk >= self.blocks() {
            return Err(self.corrupt());
        }
        let run = extents::lookup(&Tree::new(self.own, &self.own.core.read()), lblk)?;
        match run {
            Run::Extent(e) if !e.unwritten => {
                self.own.fs.meta.read(e.pblk.saturating_add(u64::from(lblk.saturating_sub(e.lblk))))
            }
            _ => Err(self.corrupt()),
        }
    }

    /// Block `lblk`, checked once while it is cached to be what `role` says. Errors: `EUCLEAN`, `EIO`.
    pub(super) fn read(&self, lblk: u32, role: Role) -> Result<Arc<MetaBlock>> {
        let block = self.fetch(lblk)?;
        if !block.is_verified() {
            let checked = self.check(&block.read(), role);
            checked.map_err(|_| self.corrupt())?;
            block.set_verified();
        }
        Ok(block)
    }

    fn check(&self, bytes: &[u8], role: Role) -> Result<()> {
        match role {
            Role::Leaf => {
                if self.summed() && !(entry::has_tail(bytes) && leaf_sum_is_right(self.own.seed, bytes)) {
                    return Err(Errno::EUCLEAN);
                }
                entry::check(bytes.get(..self.leaf_bytes()).ok_or(Errno::EUCLEAN)?, self.own.fs.geo.inode_count)
            }
            Role::Index(kind) => {
                index::check(bytes, kind, self.summed())?;
                if self.summed() && !index_sum_is_right(self.own.seed, bytes, kind) {
                    return Err(Errno::EUCLEAN);
                }
                Ok(())
            }
        }
    }

    /// Changes a block, which becomes what `role` says.
    pub(super) fn change<R>(
        &self,
        handle: &mut Handle<'_>,
        block: &Arc<MetaBlock>,
        role: Role,
        f: impl FnOnce(&mut [u8]) -> Result<R>,
    ) -> Result<R> {
        handle.attach(&self.own.pending, SyncKind::All);
        if self.summed() { f(&mut handle.write_sealed(block, self.seal(role))?) } else { f(&mut handle.write(block)?) }
    }

    /// Changes the entries of a leaf.
    pub(super) fn change_leaf<R>(
        &self,
        handle: &mut Handle<'_>,
        block: &Arc<MetaBlock>,
        f: impl FnOnce(&mut [u8]) -> Result<R>,
    ) -> Result<R> {
        self.change(handle, block, Role::Leaf, |bytes| f(bytes.get_mut(..self.leaf_bytes()).ok_or(Errno::EUCLEAN)?))
    }

    /// Adds a block at the end of the directory, filled by `fill` before anything points to it; gives its number in the
    /// directory. Errors: `ENOSPC`, `EIO`, `ENOMEM`; then the directory has not changed.
    pub(super) fn append(
        &self,
        handle: &mut Handle<'_>,
        role: Role,
        fill: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<u32> {
        let fs = &self.own.fs;
        let mut core = self.own.core.write();
        let lblk = u32::try_from(core.disk_size >> fs.geo.block_bits).map_err(|_| Errno::ENOSPC)?;
        let run = fs.alloc_blocks(handle, core.goal, 1, Purpose::Meta)?;
        let extent = Extent { lblk, len: 1, pblk: run.start, unwritten: false };
        let entered = fs.meta.get_new(run.start).and_then(|block| {
            self.change(handle, &block, role, fill)?;
            extents::insert(&mut TreeMut::new(handle, self.own, &mut core, Purpose::Meta), &extent)
        });
        if let Err(error) = entered {
            fs.free_blocks(handle, run)?;
            return Err(error);
        }
        core.blocks = core.blocks.saturating_add(1);
        core.goal = run.start.saturating_add(1);
        core.disk_size = u64::from(lblk).saturating_add(1) << fs.geo.block_bits;
        self.inode.set_size(core.disk_size);
        self.own.store(handle, self.inode, &core, SyncKind::Data)?;
        Ok(lblk)
    }

    fn seal(&self, role: Role) -> Seal {
        let apply = match role {
            Role::Leaf => store_leaf_sum,
            Role::Index(Kind::Root) => store_root_sum,
            Role::Index(Kind::Node) => store_node_sum,
        };
        Seal { seed: self.own.seed, apply }
    }
}

/// The checksum of a leaf covers what stands before its last record, which ends with it.
fn leaf_sum(seed: u32, block: &[u8]) -> [u8; 4] {
    let covered = block.len().checked_sub(entry::TAIL).and_then(|end| block.get(..end)).unwrap_or_default();
    crc32c(seed, covered).to_le_bytes()
}

fn leaf_sum_is_right(seed: u32, block: &[u8]) -> bool {
    block.ends_with(&leaf_sum(seed, block))
}

fn store_leaf_sum(seed: u32, block: &mut [u8]) {
    let sum = leaf_sum(seed, block);
    if let Some(last) = block.last_chunk_mut::<4>() {
        *last = sum;
    }
}

/// The checksum of an index block covers its pairs in use and what stands before them, then the reserved word of the tail, then
/// its own place taken as zero. Gives its place as well.
fn index_sum(seed: u32, block: &[u8], kind: Kind) -> Option<(usize, [u8; 4])> {
    let (end, tail) = index::checksum_place(block, kind).ok()?;
    let place = tail.checked_add(4)?;
    let sum = crc32c(crc32c(crc32c(seed, block.get(..end)?), block.get(tail..place)?), &[0; 4]);
    Some((place, sum.to_le_bytes()))
}

fn index_sum_is_right(seed: u32, block: &[u8], kind: Kind) -> bool {
    index_sum(seed, block, kind).is_some_and(|(at, sum)| block.get(at..).is_some_and(|tail| tail.starts_with(&sum)))
}

fn store_index_sum(seed: u32, block: &mut [u8], kind: Kind) {
    let Some((at, sum)) = index_sum(seed, block, kind) else { return };
    if let Some(place) = block.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<4>()) {
        *place = sum;
    }
}

fn store_root_sum(seed: u32, block: &mut [u8]) {
    store_index_sum(seed, block, Kind::Root);
}

fn store_node_sum(seed: u32, block: &mut [u8]) {
    store_index_sum(seed, block, Kind::Node);
}
