//! ext4, as `mke2fs -t ext4` makes it, with a journal or without.
//!
//! # What stands where
//!
//! | file | contents |
//! |---|---|
//! | `layout`, `features` | on-disk structures, feature and flag words |
//! | `csum` | crc32c |
//! | `geometry` | the checked numbers of a file system |
//! | `fs` | what all parts of a mounted file system share |
//! | `super_block` | mount, sync, unmount |
//! | `meta`, `meta_io` | the cache of metadata blocks and its device I/O |
//! | `txn` | transactions and handles: atomic changes |
//! | `close` | their end: copies of what they changed |
//! | `commit`, `committer` | making transactions durable, when somebody asks and every few seconds |
//! | `journal` | the log they go to, and what a mount finds in it after a power cut |
//! | `balloc`, `ialloc` | allocation of blocks and inodes |
//! | `raw_inode` | the on-disk inode |
//! | `inode` | the in-memory inode, reading and storing it |
//! | `extents` | the extent tree of a file |
//! | `dir`, `hash` | directories: blocks of entries, the index by hash |
//! | `namei`, `rename`, `symlink` | operations on names |
//! | `map`, `unconverted` | the iomap side of a regular file; what its conversions have in reserve |
//! | `file`, `limited` | open regular files: read, write |
//! | `nowait` | writes that must not sleep |
//! | `fallocate`, `punch`, `shift` | fallocate: checks and allocation; punch hole and zero range; collapse and insert range |
//! | `seek`, `fiemap` | where data and holes begin; what stands where on the device |
//! | `truncate` | shrinking, growing, and the end of an inode |
//! | `fsync` | durability of one inode |
//! | `queues` | the work queues of finished I/O |
//! | `xattr` | letting go of the block of extended attributes |
//! | `orphan` | the on-disk list of inodes whose blocks are still to be freed |
//!
//! # What it does not do
//!
//! No extended attributes beyond keeping them, no inline data, encryption, quota or bigalloc. A feature that is
//! not supported refuses the mount, or allows only reading, by its name.
//!
//! # Locks
//!
//! ```text
//! inode lock → invalidate lock → folio locks → [handle begins before; commit lock] extent lock (core) → allocator lock → one metadata block
//! ```
//! A handle is begun with neither folio nor extent lock held (LOCK-1). The allocator is called with no metadata block locked.
pub mod balloc;
mod bitmap;
mod close;
mod commit;
mod committer;
pub mod csum;
pub mod dir;
pub mod extents;
mod fallocate;
pub mod features;
mod fiemap;
mod file;
mod fs;
mod fsync;
pub mod geometry;
pub mod groups;
pub mod hash;
pub mod ialloc;
pub mod inode;
mod journal;
pub mod layout;
mod limited;
mod map;
pub mod meta;
mod meta_io;
mod namei;
mod nowait;
pub mod orphan;
mod punch;
pub mod queues;
mod raw_inode;
mod rename;
mod seek;
mod shift;
mod special;
mod super_block;
mod symlink;
mod system_zone;
mod truncate;
pub mod txn;
mod unconverted;
mod xattr;

pub use file::FileInode;
pub use fs::Ext4Fs;
pub use inode::{Ext4Inode, iget};
pub use layout::ROOT_INO;
pub use namei::DirInode;
pub use special::SpecialInode;
pub use super_block::{Ext4Super, MountOptions, mount};
pub use symlink::SymlinkInode;
pub use truncate::evict;
