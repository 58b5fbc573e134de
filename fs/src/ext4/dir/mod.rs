//! Directories: blocks of entries, with an index by hash where they are large (htree).
//!
//! A directory's blocks are metadata blocks, in the cache of those. Its entries stand in *leaves*. A small directory is one
//! leaf; with the feature `dir_index` a directory that outgrows one block gets an index in block 0, one or two levels deep:
//!
//! ```text
//!            block 0: root  [ -> 1 | h1 -> 2 | h2 -> 5 ]        hashes ascend; a leaf holds the names from its hash on
//!   leaves              1            2            5             entries in any order
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `entry` | the records of one leaf |
//! | `index` | the pairs of one index block |
//! | `block` | a directory's blocks: reading with checks, checksums, adding one |
//! | `find` | from a name to its place, through the index if there is one |
//! | `insert` | adding, removing and changing an entry |
//! | `split` | making room: splitting a leaf or an index node, making an index |
//! | `read` | all entries, from a position on |
//!
//! Locks: the caller holds the directory's inode lock, shared for `find` and `read`, exclusively for the rest. The extent
//! lock is taken inside, for the time of one lookup.
//!
//! Order without a journal: what an entry or a pair points to is filled before, so that a power cut between two block writes
//! loses names at most, which `e2fsck` finds.
mod block;
mod entry;
mod find;
mod index;
mod insert;
mod read;
mod split;
#[cfg(test)]
mod tests;

pub use block::Dir;
pub use entry::{Found, MAX_NAME, type_byte};
