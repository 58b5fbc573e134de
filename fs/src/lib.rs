//! File systems: the VFS, the page cache, iomap and ext4.
//!
//! | module | contents |
//! |---|---|
//! | [`vfs`] | super blocks, inodes, dentries, open files, path walk |
//! | [`page_cache`] | folios and the mapping of one inode; eviction |
//! | [`iomap`] | what a file operation does to the cache and the disk, split by operation |
//! | [`ext4`] | the on-disk format of `mke2fs -t ext4` |
//! | [`devfs`], [`procfs`], [`tmpfs`] | files that are not on a disk |
//! | [`io`] | where bytes of a read or write come from and go to |
//! | [`kiocb`] | one read or write request and its outcome |
//! | [`caller`] | what a file system asks about the task that called |
//! | `testing` | a file system in memory, for tests |
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod caller;
pub mod devfs;
pub mod ext4;
pub mod io;
pub mod iomap;
pub mod kiocb;
pub mod page_cache;
pub mod procfs;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tmpfs;
pub mod vfs;
