//! The order in which sleeping locks are taken (SEMANTICS A6).

/// The rank of a sleeping lock: a task takes ranks in ascending order only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// Position lock of an open file.
    FilePos = 10,
    /// Directory tree changes across directories (rename).
    Rename = 15,
    /// Write-freeze protection of a superblock.
    Freeze = 20,
    /// Inode lock of a directory that is the parent in a name operation.
    DirInode = 29,
    /// Inode lock.
    Inode = 30,
    /// Map of a user address space.
    Mmap = 40,
    /// Invalidate lock of a page cache.
    Invalidate = 50,
    /// Folio locks, ascending index within one mapping.
    Folio = 60,
    /// Extent tree and metadata fields of one inode (`i_data`).
    Extent = 70,
    /// The one writer of a file system's metadata cache.
    MetaWrite = 75,
    /// Block and inode allocators of a file system.
    Alloc = 80,
    /// One metadata block.
    MetaBlock = 85,
    /// Anything below which no other sleeping lock is taken.
    Leaf = 100,
}
