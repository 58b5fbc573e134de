//! The virtual file system: what all file systems share.
//!
//! | file | contents |
//! |---|---|
//! | `inode` | the in-memory inode, its locks, sizes and drain count; the trait a file system implements |
//! | `file` | the open file description and the trait behind it |
//! | `super_block` | a mounted file system |
mod file;
mod inode;
mod super_block;
mod types;

pub use file::{File, FileOps, OpenFlags};
pub use inode::{Attr, Inode, InodeOps, SetAttr};
pub use super_block::{StatFs, SuperBlock, SuperOps};
pub use types::{DirEntry, FallocMode, FileFeatures, FileType, SyncKind, Timespec};
