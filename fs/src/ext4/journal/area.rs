//! Where the log is: the blocks of its inode, which never move.
//!
//! Looked up before anything else of the file system is trusted, since what is in the log may have to repair it: of the group
//! descriptors only the place of the first inode table is taken, and the inode has a checksum of its own.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use crate::ext4::extents::node::{Expect, Node};
use crate::ext4::extents::{self, NodeAt, NodeStore, Run};
use crate::ext4::features::InodeFlags;
use crate::ext4::geometry::Geometry;
use crate::ext4::layout::GroupDescRaw;
use crate::ext4::{meta_io, raw_inode};
use alloc::vec;
use alloc::vec::Vec;
use base::block::BlockDevice;
use base::sync::Arc;
use base::{Errno, Result};
use zerocopy::FromBytes;

/// A contiguous part of the log.
#[derive(Clone, Copy)]
struct Part {
    log: u32,
    device: u64,
    len: u32,
}

/// The places of the blocks of a log.
pub struct Area {
    parts: Vec<Part>,
    blocks: u32,
}

impl Area {
    /// Finds the blocks of the log, inode `ino`. Errors: `EUCLEAN` (damaged), `EOPNOTSUPP` (not mapped by extents), `EIO`, `ENOMEM`.
    pub fn find(device: &Arc<dyn BlockDevice>, geo: &Geometry, ino: u32) -> Result<Area> {
        let image = read_inode(device, geo, ino)?;
        if !image.flags.contains(InodeFlags::EXTENTS) {
            return Err(Errno::EOPNOTSUPP);
        }
        let store = Nodes { device, geo, root: image.root };
        Node::parse(&image.root, None)?.check(&Expect::ROOT, geo.block_count)?;
        let len = u32::try_from(image.size >> geo.block_bits).map_err(|_| Errno::EUCLEAN)?;
        let mut parts = Vec::new();
        let mut at = 0;
        while at < len {
            let Run::Extent(extent) = extents::lookup(&store, at)? else { return Err(Errno::EUCLEAN) };
            let skip = at.checked_sub(extent.lblk).ok_or(Errno::EUCLEAN)?;
            let device = extent.pblk.saturating_add(u64::from(skip));
            let part = Part { log: at, device, len: extent.end().min(len).saturating_sub(at) };
            if extent.unwritten || !geo.contains_run(part.device, u64::from(part.len)) {
                return Err(Errno::EUCLEAN);
            }
            parts.push(part);
            at = extent.end();
        }
        Ok(Area { parts, blocks: len })
    }

    /// Blocks of the log.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The device block of a block of the log. Errors: `EUCLEAN` behind its end.
    pub fn block(&self, log: u32) -> Result<u64> {
        let after = self.parts.partition_point(|part| part.log <= log);
        let part = after.checked_sub(1).and_then(|at| self.parts.get(at)).ok_or(Errno::EUCLEAN)?;
        let offset = log.saturating_sub(part.log);
        if offset < part.len { Ok(part.device.saturating_add(u64::from(offset))) } else { Err(Errno::EUCLEAN) }
    }

    /// Whether a device block belongs to the log.
    pub fn contains(&self, block: u64) -> bool {
        self.runs().any(|(start, len)| block.checked_sub(start).is_some_and(|offset| offset < u64::from(len)))
    }

    /// The device blocks of the log, as runs.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u32)> {
        self.parts.iter().map(|part| (part.device, part.len))
    }
}

fn read_inode(device: &Arc<dyn BlockDevice>, geo: &Geometry, ino: u32) -> Result<raw_inode::InodeImage> {
    let index = ino.checked_sub(1).filter(|&index| index < geo.inodes_per_group).ok_or(Errno::EUCLEAN)?;
    let mut bytes = vec![0; geo.block_size as usize];
    meta_io::read_block(device, geo.first_block.saturating_add(1), &mut bytes)?;
    let mut desc = [0; size_of::<GroupDescRaw>()];
    let size = geo.desc_size as usize;
    desc.get_mut(..size).ok_or(Errno::EUCLEAN)?.copy_from_slice(bytes.get(..size).ok_or(Errno::EUCLEAN)?);
    let desc = GroupDescRaw::read_from_bytes(&desc).map_err(|_| Errno::EUCLEAN)?;
    let table = u64::from(desc.inode_table_lo.get()) | u64::from(desc.inode_table_hi.get()) << 32;
    let per_block = geo.block_size.checked_div(geo.inode_size).ok_or(Errno::EUCLEAN)?;
    let block = table.saturating_add(u64::from(index.checked_div(per_block).ok_or(Errno::EUCLEAN)?));
    if !geo.contains_run(block, 1) {
        return Err(Errno::EUCLEAN);
    }
    meta_io::read_block(device, block, &mut bytes)?;
    let start = index.checked_rem(per_block).unwrap_or(0).saturating_mul(geo.inode_size) as usize;
    let slot = bytes.get(start..start.saturating_add(geo.inode_size as usize)).ok_or(Errno::EUCLEAN)?;
    raw_inode::parse(geo, ino, slot)
}

/// The extent nodes of the log's inode, read past all caches.
struct Nodes<'a> {
    device: &'a Arc<dyn BlockDevice>,
    geo: &'a Geometry,
    root: [u8; 60],
}

impl NodeStore for Nodes<'_> {
    fn read<R>(&self, at: NodeAt, expect: &Expect, f: impl FnOnce(&Node<'_>) -> Result<R>) -> Result<R> {
        let NodeAt::Block(number) = at else { return f(&Node::parse(&self.root, expect.depth)?) };
        if !self.geo.contains_run(number, 1) {
            return Err(Errno::EUCLEAN);
        }
        let mut bytes = vec![0; self.geo.block_size as usize];
        meta_io::read_block(self.device, number, &mut bytes)?;
        let node = Node::parse(&bytes, expect.depth)?;
        node.check(expect, self.geo.block_count)?;
        f(&node)
    }
}
