//! The extent tree: which device blocks hold which file blocks.
//!
//! The root is 60 bytes in the inode and holds four entries; below it stand whole blocks, at most five levels. All
//! algorithms here work on a [`NodeStore`], so that they are tested over nodes in memory with room for a few entries, where
//! trees get deep quickly. They do not allocate data blocks, do not zero anything, and take no lock: the caller holds the
//! extent lock of the inode (`Rank::Extent`), shared for [`lookup`], exclusively for the rest.
//!
//! | file | contents |
//! |---|---|
//! | `node` | the on-disk form of one node, checked |
//! | `store` | where nodes live: the trait the rest of ext4 implements |
//! | `tree` | nodes of a real inode: the root in it, the others in the cache of metadata blocks |
//! | `path` | the way from the root to a leaf |
//! | `lookup` | what stands at a block |
//! | `insert` | newly allocated blocks enter the tree |
//! | `convert` | unwritten blocks become mapped |
//! | `remove` | truncate and punch hole |
//! | `split` | a block becomes the boundary between two extents |
//! | `unwrite` | mapped blocks become unwritten |
//! | `shift` | extents move to other file blocks |
//! | `edit` | the one way in which a leaf changes |
//! | `grow`, `shrink` | splitting full nodes, dropping empty ones |
//!
//! Invariants, between any two calls: entries ascend and do not overlap; an index entry's block is the first block of its
//! child; no node but the root is empty; all leaves have the same depth. Two entries side by side may remain that could be
//! merged: merging never looks beyond one leaf.
mod convert;
mod edit;
mod grow;
mod insert;
mod lookup;
pub mod node;
mod path;
mod remove;
mod shift;
mod shrink;
mod split;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod unwrite;

pub use convert::convert;
pub use grow::worst_case_blocks;
pub use insert::insert;
pub use lookup::{Run, lookup};
pub use node::{END_OF_FILE_SPACE, Extent, MAX_MAPPED, MAX_UNWRITTEN};
pub use remove::remove;
pub use shift::{end_of, join, nodes_from, shift_down, shift_up};
pub use split::split;
pub use store::{NodeAt, NodeStore, NodeStoreMut};
pub use tree::{Tree, TreeMut, check_root, empty_root};
pub use unwrite::unwrite;
