//! Mount, sync and unmount.
//!
//! ```text
//!   clean ──mount rw──▶ marked not clean on the disk ──unmount──▶ clean
//!                          └── power cut ──▶ found not clean: logged, orphans processed; `e2fsck` is advised
//! ```
use super::features::RoCompat;
use super::geometry::{self, Geometry, Verdict};
use super::groups::Groups;
use super::layout::{STATE_CLEAN, STATE_ERROR, SUPER_OFFSET, SUPER_SIZE, SuperBlockRaw};
use super::meta::{MetaCache, Seal};
use super::txn::{Credits, Handle};
use super::{Ext4Fs, inode, meta_io, orphan};
use crate::iomap;
use crate::page_cache::PageCache;
use crate::vfs::{StatFs, SuperBlock, SuperOps, Timespec};
use alloc::boxed::Box;
use base::block::{BlockDevice, Durability, SECTOR_SIZE};
use base::sync::Arc;
use base::{Errno, Result};
use zerocopy::FromBytes;

/// The magic number that statfs shows.
const STATFS_MAGIC: u64 = 0xef53;
/// Bytes of metadata that are kept in memory.
const META_CACHE_BYTES: usize = 4 << 20;

/// How to mount.
#[derive(Clone, Default)]
pub struct MountOptions {
    /// Never write to the device.
    pub read_only: bool,
    /// The page cache of the system; `None`: one of its own.
    pub page_cache: Option<Arc<PageCache>>,
}

/// The VFS's handle on a mounted ext4.
pub struct Ext4Super {
    /// The file system.
    pub fs: Arc<Ext4Fs>,
    page_cache: Option<Arc<PageCache>>,
}

/// Mounts `device`; `dev` is the number `stat` shows for its files. Task context.
/// Errors: `EINVAL` (no ext4 there), `EOPNOTSUPP` (a feature that is not supported, named on the log), `EUCLEAN` (damaged),
/// `EROFS` (the device is read-only and the mount is not), `EIO`, `ENOMEM`.
pub fn mount(device: Arc<dyn BlockDevice>, dev: u64, options: MountOptions) -> Result<Arc<SuperBlock>> {
    let raw = read_super(&device)?;
    // Looked at for a read-only mount too: what is not understood cannot be read either.
    let access = allowed_features(&device, &raw)?;
    let read_only = options.read_only || access == Access::ReadOnly;
    if device.limits().read_only && !read_only {
        return Err(Errno::EROFS);
    }
    let geo = Geometry::from_raw(&raw, device.limits().capacity_sectors.saturating_mul(SECTOR_SIZE))?;
    let limit = META_CACHE_BYTES >> geo.block_bits;
    let meta = MetaCache::new(device.clone(), geo.block_size, geo.block_count, limit);
    let groups =
        Groups::load(&geo, &meta).inspect_err(|e| log::error!("ext4 {}: group descriptors: {e}", device.name()))?;
    let fs = Arc::new(Ext4Fs::new(device, geo, meta, groups, read_only));
    let sb =
        SuperBlock::with_mode(dev, Box::new(Ext4Super { fs: fs.clone(), page_cache: options.page_cache }), read_only);
    fs.set_super_block(&sb);
    announce(&fs, &raw, read_only);
    if !read_only {
        fs.mark_mounted()?;
        orphan::process(&sb)?;
    }
    Ok(sb)
}

#[derive(PartialEq, Eq)]
enum Access {
    Full,
    ReadOnly,
}

fn read_super(device: &Arc<dyn BlockDevice>) -> Result<SuperBlockRaw> {
    let mut bytes = [0u8; SUPER_SIZE];
    meta_io::read_bytes(device, SUPER_OFFSET, &mut bytes)?;
    let raw = SuperBlockRaw::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
    if raw.magic.get() != super::layout::MAGIC {
        return Err(Errno::EINVAL);
    }
    let summed = RoCompat::from_bits_retain(raw.feature_ro_compat.get()).contains(RoCompat::METADATA_CSUM);
    if summed && (raw.checksum_type != 1 || geometry::super_checksum(&bytes) != raw.checksum.get()) {
        log::error!("ext4 {}: the checksum of the superblock is wrong", device.name());
        return Err(Errno::EUCLEAN);
    }
    Ok(raw)
}

fn allowed_features(device: &Arc<dyn BlockDevice>, raw: &SuperBlockRaw) -> Result<Access> {
    match geometry::check_features(raw) {
        Verdict::Writable => Ok(Access::Full),
        Verdict::ReadOnly(bits) => {
            let name = geometry::ro_compat_name(bits);
            log::warn!("ext4 {}: feature {name} ({bits:#x}) is not supported: read-only", device.name());
            Ok(Access::ReadOnly)
        }
        Verdict::Refused(name, bits) => {
            log::error!("ext4 {}: feature {name} ({bits:#x}) is not supported", device.name());
            Err(Errno::EOPNOTSUPP)
        }
    }
}

/// The line on the log: what is mounted, and what a write promises there (DUR-3).
fn announce(fs: &Ext4Fs, raw: &SuperBlockRaw, read_only: bool) {
    let name = fs.device.name();
    let promise = match fs.device.durability() {
        Durability::OnCompletion => "a completed write is durable",
        Durability::OnFlush => "volatile write cache, flushed by fsync and O_DSYNC",
        Durability::Unknown => "the device offers no flush: fsync and O_DSYNC cannot keep their promise",
    };
    let mode = if read_only { "read-only" } else { "read-write" };
    let geo = &fs.geo;
    log::info!(
        "ext4 {name}: mounted {mode}, {} blocks of {}, features {:?} {:?} {:?}; {promise}",
        geo.block_count,
        geo.block_size,
        geo.compat,
        geo.incompat,
        geo.ro_compat
    );
    if !read_only {
        log::info!(
            "ext4 {name}: no journal: a power cut keeps what fsync covered, and can leave free counts, directories or \
             half-made changes for e2fsck"
        );
    }
    let state = raw.state.get();
    if state & STATE_CLEAN == 0 || state & STATE_ERROR != 0 {
        log::warn!("ext4 {name}: was not unmounted cleanly (state {state:#x}); run e2fsck");
    }
}

/// Stores the checksum of the superblock into the block that holds it.
fn seal_super(_seed: u32, block: &mut [u8]) {
    let at = super_at(block.len());
    let Some(bytes) = block.get_mut(at..at + SUPER_SIZE) else { return };
    let crc = geometry::super_checksum(bytes);
    if let Some(field) = bytes.last_chunk_mut::<4>() {
        *field = crc.to_le_bytes();
    }
}

/// Where the superblock stands in its block.
fn super_at(block_size: usize) -> usize {
    if block_size == SUPER_SIZE { 0 } else { SUPER_OFFSET as usize }
}

impl Ext4Fs {
    /// Changes the superblock on the disk. No metadata block lock held. Errors: `EIO`, `EUCLEAN`.
    pub(super) fn update_super(&self, handle: &mut Handle<'_>, change: impl FnOnce(&mut SuperBlockRaw)) -> Result<()> {
        let block = self.meta.read(SUPER_OFFSET >> self.geo.block_bits)?;
        let mut bytes = match self.geo.csum_seed {
            Some(seed) => handle.write_sealed(&block, Seal { seed, apply: seal_super })?,
            None => handle.write(&block)?,
        };
        let at = super_at(bytes.len());
        let raw = bytes.get_mut(at..at + SUPER_SIZE).and_then(|b| SuperBlockRaw::mut_from_bytes(b).ok());
        change(raw.ok_or(Errno::EUCLEAN)?);
        Ok(())
    }

    /// Reads a field of the superblock as it stands in the cache. Errors: `EIO`.
    pub(super) fn with_super<R>(&self, read: impl FnOnce(&SuperBlockRaw) -> R) -> Result<R> {
        let block = self.meta.read(SUPER_OFFSET >> self.geo.block_bits)?;
        let bytes = block.read();
        let at = super_at(bytes.len());
        let raw = bytes.get(at..at + SUPER_SIZE).and_then(|b| SuperBlockRaw::ref_from_bytes(b).ok());
        raw.map(read).ok_or(Errno::EUCLEAN)
    }

    /// Marks the image as in use: a power cut from here on is noticed at the next mount.
    fn mark_mounted(&self) -> Result<()> {
        let mut handle = self.begin(Credits(1))?;
        self.update_super(&mut handle, |raw| {
            raw.state = (raw.state.get() & !STATE_CLEAN).into();
            raw.mnt_count = raw.mnt_count.get().wrapping_add(1).into();
            raw.mtime = (Timespec::now().sec as u32).into();
        })?;
        drop(handle);
        self.meta.write_all().map_err(|error| self.io_failed("a write of metadata", error))?;
        self.flush_device(self.flush.ticket())
    }

    /// Notes in the superblock on the disk that there was an error, as far as the device takes it: who mounts next is told.
    pub(super) fn record_error(&self) {
        let mut handle = self.begin_unchecked();
        let noted = self.update_super(&mut handle, |raw| raw.state = (raw.state.get() | STATE_ERROR).into());
        drop(handle);
        let block = SUPER_OFFSET >> self.geo.block_bits;
        let written = noted.and_then(|()| self.meta.write_some(&[block]));
        if let Err(error) = written.and_then(|()| self.flush.flush(self.flush.ticket())) {
            log::error!("ext4 {}: the error could not be noted on the disk: {error}", self.device.name());
        }
    }

    /// Brings the superblock's counters up to date; `clean` also marks the image as unmounted in order.
    fn store_super(&self, clean: bool) -> Result<()> {
        let (free_blocks, free_inodes) = {
            let state = self.groups.state.lock();
            (state.free_blocks, state.free_inodes)
        };
        let (damaged, errors) = (self.is_damaged(), self.has_errors());
        let mut handle = self.begin_unchecked();
        self.update_super(&mut handle, |raw| {
            if errors {
                raw.state = (raw.state.get() | STATE_ERROR).into();
            }
            if !damaged {
                raw.free_blocks_count_lo = (free_blocks as u32).into();
                raw.free_blocks_count_hi = ((free_blocks >> 32) as u32).into();
                raw.free_inodes_count = (free_inodes as u32).into();
                if clean && !errors {
                    raw.state = (raw.state.get() | STATE_CLEAN).into();
                }
            }
            raw.wtime = (Timespec::now().sec as u32).into();
        })
    }

    /// Makes every change so far durable: attributes, descriptors, superblock, metadata blocks, flush. Data was written before.
    /// Errors: `EIO`, `EUCLEAN`.
    pub(super) fn commit_all(&self, clean: bool) -> Result<()> {
        self.check_not_shut_down()?;
        let upto = self.txn.last();
        if !self.is_damaged() {
            self.seal_groups()?;
        }
        self.store_super(clean)?;
        self.write_back_metadata()?;
        self.flush_device(self.flush.ticket())?;
        self.txn.set_durable(upto);
        base::stats::count(base::stats::Counter::Commits);
        Ok(())
    }

    /// Stores the attributes of all inodes that wait for it; the first error is given after all were tried.
    fn write_dirty_inodes(&self, sb: &SuperBlock) -> Result<()> {
        let mut result = Ok(());
        for inode in sb.inodes().dirty() {
            result = result.and(inode::write_dirty(&inode));
        }
        result
    }

    /// Commits when so much metadata is dirty that memory should be given back. No extent lock held.
    pub(super) fn make_room(&self) -> Result<()> {
        let Some(sb) = self.super_block() else { return Ok(()) };
        self.commit_all(false)?;
        sb.inodes().dirty().iter().for_each(inode::unpin);
        Ok(())
    }
}

impl SuperOps for Ext4Super {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn type_name(&self) -> &'static str {
        "ext4"
    }

    fn page_cache(&self) -> Option<Arc<PageCache>> {
        self.page_cache.clone()
    }

    fn durability(&self) -> Option<Durability> {
        Some(self.fs.device.durability())
    }

    fn statfs(&self) -> StatFs {
        let geo = &self.fs.geo;
        let (free, inodes_free) = {
            let state = self.fs.groups.state.lock();
            (state.free_blocks.saturating_sub(state.set_aside), state.free_inodes)
        };
        StatFs {
            magic: STATFS_MAGIC,
            block_size: u64::from(geo.block_size),
            blocks: geo.block_count - geo.first_block - self.fs.groups.zone.blocks(),
            blocks_free: free,
            blocks_available: free.saturating_sub(geo.reserved_blocks),
            inodes: u64::from(geo.inode_count),
            inodes_free,
            name_max: 255,
            fsid: geo.fsid,
            read_only: self.fs.is_read_only(),
        }
    }

    fn sync(&self) -> Result<()> {
        if self.fs.is_read_only() {
            return self.fs.check_can_commit();
        }
        let Some(sb) = self.fs.super_block() else { return Ok(()) };
        let data = iomap::sync_data(&sb);
        let attributes = self.fs.write_dirty_inodes(&sb);
        data.and(attributes).and(self.fs.make_room())
    }

    fn unmount(&self) -> Result<()> {
        if self.fs.has_errors() {
            return self.give_up();
        }
        if self.fs.is_read_only() {
            return Ok(());
        }
        let Some(sb) = self.fs.super_block() else { return Ok(()) };
        iomap::sync_data(&sb)?;
        self.fs.write_dirty_inodes(&sb)?;
        self.fs.queues.completion.close();
        self.fs.queues.sync.close();
        self.fs.commit_all(true)?;
        // Inodes on the dirty list hold the super block, which holds the list.
        sb.inodes().dirty().iter().for_each(inode::unpin);
        self.fs.set_read_only(true);
        Ok(())
    }

    fn remount(&self, read_only: bool) -> Result<()> {
        match (read_only, self.fs.is_read_only()) {
            (true, false) => self.unmount(),
            (false, true) => self.remount_writable(),
            _ => Ok(()),
        }
    }
}

impl Ext4Super {
    /// The end of a file system with errors: what is changed in memory is written as far as that goes, and not marked clean.
    fn give_up(&self) -> Result<()> {
        self.fs.queues.completion.close();
        self.fs.queues.sync.close();
        let result = self.fs.commit_all(false);
        if let Some(sb) = self.fs.super_block() {
            sb.inodes().dirty().iter().for_each(inode::unpin);
        }
        result
    }

    fn remount_writable(&self) -> Result<()> {
        let writable = self.fs.with_super(|raw| matches!(geometry::check_features(raw), Verdict::Writable))?;
        if self.fs.has_errors() || !writable || self.fs.device.limits().read_only {
            return Err(Errno::EROFS);
        }
        self.fs.set_read_only(false);
        self.fs.mark_mounted().inspect_err(|_| self.fs.set_read_only(true))
    }
}
