//! The in-memory ext4 inode.
//!
//! The private part that hangs on a VFS inode is one [`Ext4Inode`] for every type, wrapped in the type that implements
//! `InodeOps` for it (`DirInode` in `namei`, `SymlinkInode` in `symlink`, `FileInode` in `file`); their `as_any` gives the
//! `Ext4Inode`, so [`Ext4Inode::of`] works for all.
use super::Ext4Fs;
use super::features::InodeFlags;
use super::txn::{Handle, Pending};
use crate::vfs::{Inode, SuperBlock, SyncKind};
use base::sync::atomic::{AtomicU64, Ordering};
use base::sync::{Arc, RwLock};
use base::{Errno, Result};

/// What the extent lock (`Rank::Extent`) protects: the extent tree and the sizes on the disk.
pub struct InodeCore {
    /// `i_block`: the root of the extent tree, the target of a short symbolic link, or a device number.
    pub root: [u8; 60],
    /// The size in the on-disk inode (d_size), in bytes. A directory's size is changed here and with `Inode::set_size`.
    pub disk_size: u64,
    /// Blocks allocated to the inode, extent nodes included, in file-system blocks. Whoever allocates or frees counts here.
    pub blocks: u64,
    /// `i_flags`.
    pub flags: InodeFlags,
    /// The block of extended attributes, 0 for none.
    pub xattr_block: u64,
    /// Where the next allocation should be tried; 0: near the inode's group.
    pub goal: u64,
    /// Metadata blocks set aside for conversions of this inode (EXT-2).
    pub reserved: u32,
}

/// The private part of an inode.
pub struct Ext4Inode {
    /// The file system.
    pub fs: Arc<Ext4Fs>,
    /// Number.
    pub ino: u32,
    /// `i_generation`.
    pub generation: u32,
    /// The start of the checksums of this inode's extent nodes and directory blocks (seed of the file system, number, generation).
    pub seed: u32,
    /// Extent tree and disk size.
    pub core: RwLock<InodeCore>,
    /// What of it waits for a commit.
    pub pending: Arc<Pending>,
    seq: AtomicU64,
}

impl Ext4Inode {
    /// The private part of an inode of this file system. Panics for another file system's inode: a caller's bug.
    pub fn of(inode: &Inode) -> &Ext4Inode {
        inode.ops().as_any().downcast_ref().expect("an inode of an ext4 carries an Ext4Inode")
    }

    /// The extent sequence number (MAP-1).
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Bumps it: called by every change of the extent tree, with the extent lock held exclusively (EXT-5).
    pub fn bump_seq(&self) {
        self.seq.fetch_add(1, Ordering::AcqRel);
    }

    /// Puts the inode, `core` included, into its block of the inode table, and lists the handle's blocks for its fsync. With
    /// `SyncKind::Data` the change is needed to read data back. Errors: `EIO`, `EUCLEAN`, `EROFS`.
    pub fn store(&self, handle: &mut Handle<'_>, inode: &Inode, core: &InodeCore, kind: SyncKind) -> Result<()> {
        handle.attach(&self.pending, kind);
        let _ = (inode, core);
        Err(Errno::EOPNOTSUPP)
    }
}

/// The inode `ino`, read if it is not in the inode cache. May sleep. Errors: `EUCLEAN` (not in use, damaged), `EIO`, `ENOMEM`,
/// `EOPNOTSUPP` (encrypted, verity, inline data: FLAG-5).
pub fn iget(sb: &Arc<SuperBlock>, ino: u32) -> Result<Arc<Inode>> {
    let _ = (sb, ino);
    Err(Errno::EOPNOTSUPP)
}
