//! The virtual file system: what all file systems share.
//!
//! | file | contents |
//! |---|---|
//! | `inode`, `inode_ops` | the in-memory inode, its life, its locks; the trait a file system implements |
//! | `inode_cache` | one inode in memory for each number; the dirty list |
//! | `file` | the open file description and the trait behind it |
//! | `super_block` | a mounted file system |
//! | `writers` | the writer count of a super block, and freeze |
//! | `errseq` | writeback errors, reported once to each open file |
//! | `release` | how files and inodes go away, and where |
//! | `dcache` | the name cache |
mod dcache;
mod errseq;
mod file;
mod inode;
mod inode_cache;
mod inode_ops;
mod release;
mod super_block;
mod types;
mod writers;

pub use errseq::{ErrCursor, ErrSeq};
pub use file::{File, FileOps, OpenFlags};
pub use inode::{Attr, Inode, SetAttr};
pub use inode_cache::InodeCache;
pub use inode_ops::InodeOps;
pub use release::{fput, fput_deferred, iput};
pub use super_block::{StatFs, SuperBlock, SuperOps};
pub use types::{DirEntry, FallocMode, FileFeatures, FileType, SyncKind, Timespec};
pub use writers::{FreezeGuard, FreezeLevel, WriteAccess};
