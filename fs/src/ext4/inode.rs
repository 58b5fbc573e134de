//! The in-memory ext4 inode.
//!
//! The private part that hangs on a VFS inode is one [`Ext4Inode`] for every type, wrapped in the type that implements
//! `InodeOps` for it (`DirInode` in `namei`, `SymlinkInode` in `symlink`, `FileInode` in `file`); their `as_any` gives the
//! `Ext4Inode`, so [`Ext4Inode::of`] works for all.
//!
//! What the VFS changes (times, mode, owner) stays in memory until [`write_dirty`] or the next [`Ext4Inode::store`]; what the file
//! system changes (size, extents, links) is stored within the handle that changes it.
use super::extents::Extent;
use super::features::{InodeFlags, RoCompat};
use super::meta::MetaBlock;
use super::raw_inode::{self, InodeImage};
use super::txn::{Credits, Handle, Pending};
use super::unconverted::Unconverted;
use super::{DirInode, Ext4Fs, FileInode, SpecialInode, SymlinkInode, extents};
use crate::vfs::{Attr, FileType, Inode, InodeOps, SuperBlock, SyncKind};
use alloc::boxed::Box;
use base::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use base::sync::{Arc, Rank, RwLock, SpinLock};
use base::{Errno, Result};
use core::ops::Range;

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
    /// Where the next allocation should be tried.
    pub goal: u64,
    /// Ranges handed out for writing and not converted yet.
    pub unconverted: Unconverted,
    /// Metadata blocks set aside for their conversion (EXT-2).
    pub reserved: u32,
}

impl InodeCore {
    /// Depth of the extent tree, as its root says.
    pub fn depth(&self) -> u16 {
        u16::from_le_bytes([self.root[6], self.root[7]])
    }
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
    pub pending: Pending,
    /// Bytes in use beyond the first 128 of the on-disk inode.
    extra_isize: u16,
    /// `i_dtime`: the next orphan while on the orphan list, later the time of deletion. Changed under the allocator lock.
    pub(super) dtime: Arc<AtomicU32>,
    /// `chattr +S`: every write is synchronous.
    pub(super) sync: bool,
    seq: AtomicU64,
    /// The extent that was looked up last, with the sequence number under which it is true: a file has few extents, and
    /// most calls come back to the same.
    recent: SpinLock<Option<(u64, Extent)>>,
    /// A copy of `core.disk_size` that is read without the lock.
    disk_size: AtomicU64,
    /// Attributes are newer than the on-disk inode in the cache.
    attr_dirty: AtomicBool,
}

impl Ext4Inode {
    /// The private part of an inode of this file system. Panics for another file system's inode: a caller's bug.
    pub fn of(inode: &Inode) -> &Ext4Inode {
        inode.ops().as_any().downcast_ref().expect("an inode of an ext4 carries an Ext4Inode")
    }

    /// `changed_in`: the last transaction that changed its block, so that its fsync commits what an earlier life of the inode in memory has
    /// left; 0 for none.
    fn from_image(fs: &Arc<Ext4Fs>, ino: u32, image: &InodeImage, changed_in: u64) -> Ext4Inode {
        let core = InodeCore {
            root: image.root,
            disk_size: image.size,
            blocks: image.blocks,
            flags: image.flags,
            xattr_block: image.xattr_block,
            goal: fs.first_goal(ino),
            unconverted: Unconverted::default(),
            reserved: 0,
        };
        Ext4Inode {
            fs: fs.clone(),
            ino,
            generation: image.generation,
            seed: raw_inode::inode_seed(&fs.geo, ino, image.generation),
            core: RwLock::new(Rank::Extent, core),
            pending: Pending::new(changed_in),
            extra_isize: image.extra_isize,
            dtime: Arc::new(AtomicU32::new(image.dtime)),
            sync: image.flags.contains(InodeFlags::SYNC),
            seq: AtomicU64::new(0),
            recent: SpinLock::new(None),
            disk_size: AtomicU64::new(image.size),
            attr_dirty: AtomicBool::new(false),
        }
    }

    /// The extent sequence number (MAP-1).
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Bumps it: called by every change of the extent tree, with the extent lock held exclusively (EXT-5).
    pub fn bump_seq(&self) {
        self.seq.fetch_add(1, Ordering::AcqRel);
    }

    /// The extent that holds `block`, if it was the last one remembered and the map has not changed since. The extent lock is
    /// held: whoever changes the map bumps the sequence number within an exclusive hold of it.
    pub(super) fn recent_extent(&self, block: u32) -> Option<Extent> {
        let (seq, extent) = (*self.recent.lock())?;
        (seq == self.seq() && extent.lblk <= block && block < extent.end()).then_some(extent)
    }

    /// Remembers an extent that was looked up and found sound. The extent lock is held.
    pub(super) fn remember_extent(&self, extent: Extent) {
        *self.recent.lock() = Some((self.seq(), extent));
    }

    /// d_size, as last stored. Exact under the extent lock.
    pub fn disk_size(&self) -> u64 {
        self.disk_size.load(Ordering::Acquire)
    }

    /// Puts the inode, `core` included, into its block of the inode table, and lists the handle's blocks for its fsync. With
    /// `SyncKind::Data` the change is needed to read data back. Errors: `EIO`, `EUCLEAN`, `EROFS`.
    pub fn store(&self, handle: &mut Handle<'_>, inode: &Inode, core: &InodeCore, kind: SyncKind) -> Result<()> {
        // Cleared before the attributes are read: a change that comes in between is stored now or marks the inode again.
        self.attr_dirty.store(false, Ordering::Release);
        let shift = self.fs.geo.block_bits - 9;
        let attr = inode.update_attr(|attr| {
            attr.blocks_512 = core.blocks << shift;
            *attr
        });
        let mut image = self.image(inode.kind, &attr, core);
        let (block, slot) = self.fs.inode_slot(self.ino)?;
        let mut bytes = handle.write(&block)?;
        // Under the block's lock, under which the orphan list changes it.
        image.dtime = self.dtime.load(Ordering::Acquire);
        let slot = bytes.get_mut(slot).ok_or(Errno::EUCLEAN)?;
        raw_inode::store(&self.fs.geo, self.seed, &image, slot)?;
        drop(bytes);
        // In this order: who sees the size finds what it waits for (R53).
        handle.attach(&self.pending, kind);
        self.disk_size.store(core.disk_size, Ordering::Release);
        Ok(())
    }

    fn image(&self, kind: FileType, attr: &Attr, core: &InodeCore) -> InodeImage {
        InodeImage {
            kind,
            mode: attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            links: attr.nlink.min(0xffff) as u16,
            size: core.disk_size,
            blocks: core.blocks,
            flags: core.flags,
            generation: self.generation,
            root: core.root,
            xattr_block: core.xattr_block,
            dtime: 0,
            atime: attr.atime,
            mtime: attr.mtime,
            ctime: attr.ctime,
            btime: attr.btime,
            extra_isize: self.extra_isize,
        }
    }

    /// Notes that attributes changed; [`write_dirty`] stores them. Keeps the inode in memory until then. Task context; no sleep.
    pub fn mark_attr_dirty(&self, inode: &Arc<Inode>) -> Result<()> {
        if !self.attr_dirty.swap(true, Ordering::AcqRel) {
            self.fs.check_writable()?;
            inode.sb.inodes().mark_dirty(inode);
        }
        Ok(())
    }

    /// Bytes in use beyond the first 128 of the on-disk inode.
    pub(super) fn extra_isize(&self) -> u16 {
        self.extra_isize
    }

    /// Whether attributes wait to be stored.
    pub fn attr_dirty(&self) -> bool {
        self.attr_dirty.load(Ordering::Acquire)
    }
}

/// Stores the attributes if they are newer than the cached on-disk inode. Task context, extent lock not held. Errors: as `store`.
pub fn write_dirty(inode: &Inode) -> Result<()> {
    let own = Ext4Inode::of(inode);
    if !own.attr_dirty() {
        return Ok(());
    }
    let mut handle = own.fs.begin(Credits(1))?;
    let core = own.core.read();
    own.store(&mut handle, inode, &core, SyncKind::All)
}

/// Lets an inode leave memory once nothing of it waits to be stored. Task context.
pub(super) fn unpin(inode: &Arc<Inode>) {
    let own = Ext4Inode::of(inode);
    if own.attr_dirty() {
        return;
    }
    inode.mapping.unpin_if_clean(inode);
    if own.attr_dirty() {
        inode.sb.inodes().mark_dirty(inode);
    }
}

/// The inode `ino`, read if it is not in the inode cache. May sleep. Errors: `EUCLEAN` (not in use, damaged), `EIO`, `ENOMEM`,
/// `EOPNOTSUPP` (encrypted, verity, inline data: FLAG-5).
pub fn iget(sb: &Arc<SuperBlock>, ino: u32) -> Result<Arc<Inode>> {
    let fs = Ext4Fs::of(sb);
    let deleted = || fs.corrupt("directory entry of a deleted inode", u64::from(ino));
    // Refused before it is an inode in memory: as one without names it would have to be evicted.
    let named = |image: &InodeImage| if image.links == 0 { Err(deleted()) } else { Ok(()) };
    let inode = sb.inodes().get_or_load(u64::from(ino), || load(sb, fs, ino, named))?;
    if inode.nlink() == 0 { Err(deleted()) } else { Ok(inode) }
}

/// As [`iget`], also for an inode without names: the orphan list leads to those.
pub(super) fn get(sb: &Arc<SuperBlock>, ino: u32) -> Result<Arc<Inode>> {
    let fs = Ext4Fs::of(sb);
    sb.inodes().get_or_load(u64::from(ino), || load(sb, fs, ino, |_| Ok(())))
}

fn load(
    sb: &Arc<SuperBlock>,
    fs: &Arc<Ext4Fs>,
    ino: u32,
    check: impl Fn(&InodeImage) -> Result<()>,
) -> Result<Arc<Inode>> {
    let (block, slot) = fs.inode_slot(ino)?;
    let parsed = raw_inode::parse(&fs.geo, ino, block.read().get(slot).ok_or(Errno::EUCLEAN)?);
    let changed_in = block.changed_in();
    let image = parsed.map_err(|_| fs.corrupt("inode", u64::from(ino)))?;
    let refused = InodeFlags::ENCRYPT | InodeFlags::VERITY | InodeFlags::INLINE_DATA | InodeFlags::EA_INODE;
    if image.flags.intersects(refused) {
        return Err(Errno::EOPNOTSUPP);
    }
    check_map(fs, ino, &image)?;
    check(&image)?;
    let inode = build(sb, fs, ino, &image, changed_in);
    // What was written to it before may still be volatile (DUR-11).
    inode.written.note(fs.flush.ticket());
    Ok(inode)
}

/// Whether the inode's data is mapped in a way that is understood. Errors: `EOPNOTSUPP` (indirect blocks), `EUCLEAN`.
fn check_map(fs: &Ext4Fs, ino: u32, image: &InodeImage) -> Result<()> {
    let mapped = match image.kind {
        FileType::Regular | FileType::Directory => true,
        // A short target stands in the inode, without a tree.
        FileType::Symlink => image.flags.contains(InodeFlags::EXTENTS),
        _ => false,
    };
    if !mapped {
        return Ok(());
    }
    if !image.flags.contains(InodeFlags::EXTENTS) {
        return Err(Errno::EOPNOTSUPP);
    }
    extents::check_root(&image.root, fs.geo.block_count).map_err(|_| fs.corrupt("extent tree of inode", u64::from(ino)))
}

/// Makes the in-memory inode of an image, whose block was last changed in transaction `changed_in`.
pub(super) fn build(
    sb: &Arc<SuperBlock>,
    fs: &Arc<Ext4Fs>,
    ino: u32,
    image: &InodeImage,
    changed_in: u64,
) -> Arc<Inode> {
    let is_device = matches!(image.kind, FileType::CharDevice | FileType::BlockDevice);
    let attr = Attr {
        mode: image.mode,
        uid: image.uid,
        gid: image.gid,
        nlink: u32::from(image.links),
        rdev: if is_device { raw_inode::device_number(&image.root) } else { 0 },
        blocks_512: image.blocks << (fs.geo.block_bits - 9),
        atime: image.atime,
        mtime: image.mtime,
        ctime: image.ctime,
        btime: image.btime,
        append_only: image.flags.contains(InodeFlags::APPEND),
        immutable: image.flags.contains(InodeFlags::IMMUTABLE),
    };
    let ops = ops_for(image.kind, Ext4Inode::from_image(fs, ino, image, changed_in));
    Inode::new(sb.clone(), u64::from(ino), image.kind, attr, image.size, ops)
}

/// The operations for a type.
fn ops_for(kind: FileType, inner: Ext4Inode) -> Box<dyn InodeOps> {
    match kind {
        FileType::Directory => Box::new(DirInode(inner)),
        FileType::Symlink => Box::new(SymlinkInode(inner)),
        FileType::Regular => Box::new(FileInode(inner)),
        _ => Box::new(SpecialInode(inner)),
    }
}

impl Ext4Fs {
    /// The block of the inode table that holds an inode, and its bytes there. Errors: `EUCLEAN` (no such inode), `EIO`.
    pub(super) fn inode_slot(&self, ino: u32) -> Result<(Arc<MetaBlock>, Range<usize>)> {
        let geo = &self.geo;
        if ino == 0 || ino > geo.inode_count {
            return Err(self.corrupt("inode number", u64::from(ino)));
        }
        let (group, index) = ((ino - 1) / geo.inodes_per_group, (ino - 1) % geo.inodes_per_group);
        let per_block = geo.block_size / geo.inode_size;
        let table = self.groups.place(group)?.inode_table;
        let block = self.meta.read(table + u64::from(index / per_block))?;
        block.set_holds_inodes();
        let start = (index % per_block * geo.inode_size) as usize;
        Ok((block, start..start + geo.inode_size as usize))
    }

    /// Where the first allocation of an inode is tried: in its group, at one of sixteen places, so that files that grow side by
    /// side do not interleave.
    pub(super) fn first_goal(&self, ino: u32) -> u64 {
        let geo = &self.geo;
        let group = (ino.saturating_sub(1) / geo.inodes_per_group).min(geo.group_count - 1);
        geo.group_start(group) + u64::from(ino % 16) * u64::from(geo.group_len(group) / 16)
    }

    /// Largest file size in bytes: 2^32 - 1 blocks (the last block number is not used), unless the image forbids large files.
    pub fn max_file_size(&self) -> u64 {
        if !self.geo.ro_compat.contains(RoCompat::LARGE_FILE) {
            return 0x7fff_ffff;
        }
        u64::from(u32::MAX - 1) << self.geo.block_bits
    }
}
