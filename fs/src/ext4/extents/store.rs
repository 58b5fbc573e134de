//! Where the nodes of a tree live: what the algorithms ask of the rest of the file system.
use super::node::{Expect, Node, NodeMut};
use base::Result;

/// A node's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeAt {
    /// The 60 bytes in the inode.
    Root,
    /// A block of the device.
    Block(u64),
}

/// The nodes of one file's tree. The extent lock of the inode is held during every call (shared for reading).
pub trait NodeStore {
    /// Calls `f` with the node at `at`. A block is checked by [`Node::check`] against `expect` when it comes from the disk;
    /// its header is checked at each call. May read the device. Errors: `EIO`, `EUCLEAN`.
    fn read<R>(&self, at: NodeAt, expect: &Expect, f: impl FnOnce(&Node<'_>) -> Result<R>) -> Result<R>;
}

/// A store whose nodes can change, all within one transaction.
pub trait NodeStoreMut: NodeStore {
    /// Changes the node at `at`, which this task has read before.
    fn change<R>(&mut self, at: NodeAt, f: impl FnOnce(&mut NodeMut<'_>) -> Result<R>) -> Result<R>;

    /// Allocates a block, lets `f` fill it with a node, and gives its number. Errors: `ENOSPC`, `EIO`, `ENOMEM`; then nothing
    /// has changed.
    fn create(&mut self, f: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<u64>;

    /// Makes the root an empty node of `depth` 0 or one with the given entries; see [`NodeMut::init`].
    fn reset_root(&mut self, f: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()>;

    /// Frees the block of a node that nothing points to any more.
    fn free_node(&mut self, block: u64) -> Result<()>;

    /// Frees data blocks that no extent covers any more.
    fn free_data(&mut self, pblk: u64, len: u32) -> Result<()>;

    /// Whether the transaction has room for a change of one more leaf: asked between the steps of a long change.
    fn may_go_on(&self) -> bool {
        true
    }

    /// Tells that the map of the file changed: raises the extent sequence (MAP-1, EXT-5).
    fn map_changed(&mut self);
}
