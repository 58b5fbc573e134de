//! The tree of an inode: the root in [`InodeCore`], the other nodes in the cache of metadata blocks.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::grow::worst_case_blocks;
use super::node::{self, Expect, Node, NodeMut};
use super::store::{NodeAt, NodeStore, NodeStoreMut};
use crate::ext4::Ext4Inode;
use crate::ext4::balloc::{BlockRun, Purpose};
use crate::ext4::csum::crc32c;
use crate::ext4::inode::InodeCore;
use crate::ext4::meta::{MetaBlock, Seal};
use crate::ext4::txn::Handle;
use base::{Errno, Result};

/// A tree that is only read. The borrow of `core` proves that the extent lock is held.
pub struct Tree<'a> {
    own: &'a Ext4Inode,
    core: &'a InodeCore,
    /// A node that would have to be waited for is not read: `EAGAIN`.
    nowait: bool,
}

impl<'a> Tree<'a> {
    /// The tree of the inode `own`, whose `core` is locked.
    pub fn new(own: &'a Ext4Inode, core: &'a InodeCore) -> Self {
        Tree { own, core, nowait: false }
    }

    /// The same for who must not sleep: what is not in memory and found good, or is being changed, reads as `EAGAIN` (NOW-1).
    pub fn in_memory(own: &'a Ext4Inode, core: &'a InodeCore) -> Self {
        Tree { own, core, nowait: true }
    }
}

impl NodeStore for Tree<'_> {
    fn read<R>(&self, at: NodeAt, expect: &Expect, f: impl FnOnce(&Node<'_>) -> Result<R>) -> Result<R> {
        if let (NodeAt::Block(number), true) = (at, self.nowait) {
            let block = self.own.fs.meta.verified(number).ok_or(Errno::EAGAIN)?;
            let bytes = block.try_read().ok_or(Errno::EAGAIN)?;
            return f(&Node::parse(&bytes, expect.depth).map_err(|_| Errno::EAGAIN)?);
        }
        read_node(self.own, &self.core.root, at, expect, f)
    }
}

/// A tree that is changed within `handle`. Nodes and the block count of the inode are kept right; the caller ends its change
/// with [`Ext4Inode::store`], which writes the root and that count.
pub struct TreeMut<'a, 'h> {
    handle: &'a mut Handle<'h>,
    own: &'a Ext4Inode,
    core: &'a mut InodeCore,
    purpose: Purpose,
}

impl<'a, 'h> TreeMut<'a, 'h> {
    /// The tree of the inode `own`, whose `core` is locked exclusively. New nodes are allocated for `purpose`.
    pub fn new(handle: &'a mut Handle<'h>, own: &'a Ext4Inode, core: &'a mut InodeCore, purpose: Purpose) -> Self {
        TreeMut { handle, own, core, purpose }
    }

    fn free(&mut self, run: BlockRun) -> Result<()> {
        self.own.fs.free_blocks(self.handle, run)?;
        self.core.blocks = self.core.blocks.saturating_sub(run.len.into());
        Ok(())
    }
}

impl NodeStore for TreeMut<'_, '_> {
    fn read<R>(&self, at: NodeAt, expect: &Expect, f: impl FnOnce(&Node<'_>) -> Result<R>) -> Result<R> {
        read_node(self.own, &self.core.root, at, expect, f)
    }
}

impl NodeStoreMut for TreeMut<'_, '_> {
    fn change<R>(&mut self, at: NodeAt, f: impl FnOnce(&mut NodeMut<'_>) -> Result<R>) -> Result<R> {
        match at {
            NodeAt::Root => f(&mut NodeMut::parse(&mut self.core.root)?),
            NodeAt::Block(number) => {
                let block = self.own.fs.meta.read(number)?;
                let mut bytes = self.handle.write_sealed(&block, seal(self.own))?;
                f(&mut NodeMut::parse(&mut bytes)?)
            }
        }
    }

    fn create(&mut self, f: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<u64> {
        let fs = &self.own.fs;
        let run = fs.alloc_blocks(self.handle, self.core.goal, 1, self.purpose)?;
        let filled =
            fs.meta.get_new(run.start).and_then(|block| f(&mut self.handle.write_sealed(&block, seal(self.own))?));
        if let Err(error) = filled {
            fs.free_blocks(self.handle, run)?;
            return Err(error);
        }
        self.core.blocks = self.core.blocks.saturating_add(1);
        Ok(run.start)
    }

    fn reset_root(&mut self, f: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()> {
        f(&mut self.core.root)
    }

    fn free_node(&mut self, block: u64) -> Result<()> {
        self.free(BlockRun { start: block, len: 1 })
    }

    fn free_data(&mut self, pblk: u64, len: u32) -> Result<()> {
        self.free(BlockRun { start: pblk, len })
    }

    fn may_go_on(&self) -> bool {
        // The way to the leaf, as many new nodes, the bitmaps of these, and the inode.
        self.handle.credits() > worst_case_blocks(self.core.depth().saturating_add(1)).saturating_mul(3)
    }

    fn map_changed(&mut self) {
        self.own.bump_seq();
    }
}

fn read_node<R>(
    own: &Ext4Inode,
    root: &[u8],
    at: NodeAt,
    expect: &Expect,
    f: impl FnOnce(&Node<'_>) -> Result<R>,
) -> Result<R> {
    match at {
        NodeAt::Root => f(&Node::parse(root, expect.depth)?),
        NodeAt::Block(number) => {
            let block = own.fs.meta.read(number)?;
            let bytes = block.read();
            let node = verified(own, &block, &bytes, expect);
            f(&node.map_err(|_| own.fs.corrupt("extent node", number))?)
        }
    }
}

/// The node in a block; its checksum and its entries are looked at once while the block is cached.
fn verified<'a>(own: &Ext4Inode, block: &MetaBlock, bytes: &'a [u8], expect: &Expect) -> Result<Node<'a>> {
    let node = Node::parse(bytes, expect.depth)?;
    if !block.is_verified() {
        node.check(expect, own.fs.geo.block_count)?;
        if own.fs.geo.csum_seed.is_some() {
            check_sum(own.seed, bytes)?;
        }
        block.set_verified();
    }
    Ok(node)
}

fn check_sum(seed: u32, bytes: &[u8]) -> Result<()> {
    let at = node::checksum_offset(bytes).ok_or(Errno::EUCLEAN)?;
    let (covered, tail) = bytes.split_at_checked(at).ok_or(Errno::EUCLEAN)?;
    if tail.starts_with(&crc32c(seed, covered).to_le_bytes()) { Ok(()) } else { Err(Errno::EUCLEAN) }
}

/// Without the checksum feature the tail is written as well: nobody reads it there.
fn seal(own: &Ext4Inode) -> Seal {
    Seal { seed: own.seed, apply: store_sum }
}

fn store_sum(seed: u32, bytes: &mut [u8]) {
    let Some(at) = node::checksum_offset(bytes) else { return };
    if let Some((covered, tail)) = bytes.split_at_mut_checked(at) {
        let sum = crc32c(seed, covered).to_le_bytes();
        tail.iter_mut().zip(sum).for_each(|(to, byte)| *to = byte);
    }
}

/// Checks a root as it was read with its inode: nothing else ever does. Errors: `EUCLEAN`.
pub fn check_root(root: &[u8], device_blocks: u64) -> Result<()> {
    Node::parse(root, None)?.check(&Expect::ROOT, device_blocks)
}

/// The root of an empty tree.
pub fn empty_root() -> [u8; node::ROOT_BYTES] {
    let mut root = [0; node::ROOT_BYTES];
    // Fits: the root has room for four entries, and this writes none.
    let _ = NodeMut::init(&mut root, 0, &[]);
    root
}
