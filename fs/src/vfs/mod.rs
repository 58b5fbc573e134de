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
//! | `dcache`, `name_limit` | the name cache of each directory, and what keeps it from growing for ever |
//! | `mount`, `walk` | the mount table; from a path to an inode |
//! | `perm` | permission checks |
//! | `open`, `namespace`, `rename` | open and creation; mkdir, link, unlink and so on; rename |
//! | `stat`, `setattr` | attributes: shown, changed; truncate |
//! | `flags` | validation of a request's flags (A1) |
//! | `rw`, `readdir`, `sync` | what is done with an open file |
//! | `fallocate`, `extents` | changes of a range as a whole; what stands where on the device |
//! | `device` | what stands behind device nodes |
//!
//! # Locks
//!
//! `File::pos` → `Freeze(write)` → rename mutex → inode locks of directories, parents before children → inode locks of files →
//! what the file systems take. Name tables, attributes, inode cache and mount table are spin-locked leaves, held for a few
//! instructions and never while an inode is let go.
//!
//! # What it does not do
//!
//! No hard limit on open files (the descriptor table has one), no bind mounts or mount namespaces, no `chroot`, no file locks, no
//! `O_TMPFILE`, no access times on reading: every mount behaves as `noatime`.
mod dcache;
mod device;
mod errseq;
mod extents;
mod fallocate;
mod file;
mod flags;
mod inode;
mod inode_cache;
mod inode_ops;
mod mount;
mod name_limit;
mod namespace;
mod open;
mod perm;
mod readdir;
mod release;
mod rename;
mod rw;
mod setattr;
mod stat;
mod super_block;
mod sync;
mod types;
mod walk;
mod writers;

pub use device::{DeviceTable, OpenFifo, makedev};
pub use errseq::{ErrCursor, ErrSeq};
pub use extents::{check_extents, report_extents};
pub use fallocate::{check_limit, fallocate};
pub use file::{File, FileOps, OpenFlags, Readiness};
pub use flags::{Request, request_flags};
pub use inode::{Attr, Inode, SetAttr};
pub use inode_cache::InodeCache;
pub use inode_ops::{InodeOps, MemoryFrames};
pub use mount::{Mount, Site, Vfs};
pub use namespace::Change;
pub use perm::{Access, permission};
pub use readdir::readdir;
pub use release::{Leaving, fput, fput_deferred, iput};
pub use rw::{MAX_RW_COUNT, Whence, read, read_at, read_current, seek, write, write_at, write_current};
pub use setattr::{SetTime, chmod, chown, ftruncate, needs_privilege_removal, remove_privileges, truncate, utimens};
pub use stat::{Stat, stat, statfs};
pub use super_block::{DurabilityReport, Shutdown, StatFs, SuperBlock, SuperOps};
pub use sync::{fsync, fsync_range, sync_file_range, syncfs};
pub use types::{DirEntry, FallocMode, FileExtent, FileFeatures, FileType, SyncKind, Timespec};
pub use writers::{FreezeGuard, FreezeLevel, WriteAccess};

#[cfg(test)]
mod tests;
