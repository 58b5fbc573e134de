//! Mount, sync and unmount.
//!
//! ```text
//!   clean ──mount rw──▶ marked on the disk: needs recovery (with a journal), or not clean ──unmount──▶ clean
//!                          └── power cut ──▶ the journal is replayed; without one, `e2fsck` is advised ──▶ orphans processed
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::features::{Compat, Incompat, RoCompat};
use super::geometry::{self, Geometry, Verdict};
use super::groups::Groups;
use super::journal::{self, Journal};
use super::layout::{STATE_CLEAN, STATE_ERROR, SUPER_OFFSET, SUPER_SIZE, SuperBlockRaw};
use super::meta::{MetaCache, Seal};
use super::txn::{Credits, Handle};
use super::{Ext4Fs, Ext4Inode, inode, meta_io, orphan};
use crate::iomap;
use crate::page_cache::PageCache;
use crate::vfs::{DurabilityReport, Inode, StatFs, SuperBlock, SuperOps, Timespec, iput};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::{BlockDevice, Durability, SECTOR_SIZE};
use base::sched::Task;
use base::sync::{Arc, SpinLock};
use base::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

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
    /// Every how many seconds changes are committed by themselves; 0: never.
    pub commit_interval_s: u32,
}

/// The VFS's handle on a mounted ext4.
pub struct Ext4Super {
    /// The file system.
    pub fs: Arc<Ext4Fs>,
    page_cache: Option<Arc<PageCache>>,
    commit_interval_s: u32,
    committer: SpinLock<Option<Task>>,
}

/// Mounts `device`; `dev` is the number `stat` shows for its files. What a power cut left in a journal is put to its place first.
/// Task context. Errors: `EINVAL` (no ext4 there), `EOPNOTSUPP` (a feature that is not supported, named on the log), `EUCLEAN`
/// (damaged), `EROFS` (the device is read-only and the mount is not, or a read-only mount meets a journal that needs recovery),
/// `EIO`, `ENOMEM`.
pub fn mount(device: Arc<dyn BlockDevice>, dev: u64, options: MountOptions) -> Result<Arc<SuperBlock>> {
    let found = read_super(&device)?;
    // Looked at for a read-only mount too: what is not understood cannot be read either.
    let access = allowed_features(&device, &found.raw)?;
    let read_only = options.read_only || access == Access::ReadOnly;
    if device.limits().read_only && !read_only {
        return Err(Errno::EROFS);
    }
    let (raw, journal) = open_journal(&device, found, !read_only)?;
    let geo = geometry(&device, &raw)?;
    let limit = META_CACHE_BYTES >> geo.block_bits;
    let meta = MetaCache::new(device.clone(), geo.block_size, geo.block_count, limit);
    let log: Vec<(u64, u32)> = journal.iter().flat_map(Journal::runs).collect();
    let groups = Groups::load(&geo, &meta, &log)
        .inspect_err(|e| log::error!("ext4 {}: group descriptors: {e}", device.name()))?;
    let fs = Arc::new(Ext4Fs::new(device, geo, meta, groups, journal, read_only));
    let own = Ext4Super {
        fs: fs.clone(),
        page_cache: options.page_cache,
        commit_interval_s: options.commit_interval_s,
        committer: SpinLock::new(None),
    };
    let sb = SuperBlock::with_mode(dev, Box::new(own), read_only);
    fs.set_super_block(&sb);
    announce(&fs, &raw, read_only);
    if !read_only {
        fs.mark_mounted()?;
        orphan::process(&sb)?;
        Ext4Super::of(&sb).start_committer()?;
    }
    Ok(sb)
}

/// Opens the journal, if there is one. If it was needed to put the file system in order, the superblock is read once more.
fn open_journal(
    device: &Arc<dyn BlockDevice>,
    found: Found,
    writable: bool,
) -> Result<(SuperBlockRaw, Option<Journal>)> {
    let has_journal = Compat::from_bits_retain(found.raw.feature_compat.get()).contains(Compat::HAS_JOURNAL);
    let wrong_sum = || {
        log::error!("ext4 {}: the checksum of the superblock is wrong", device.name());
        Errno::EUCLEAN
    };
    if !has_journal {
        return if found.sum_is_right { Ok((found.raw, None)) } else { Err(wrong_sum()) };
    }
    // A superblock that was torn by a cut while it was written is still whole in the journal.
    let unclean = Incompat::from_bits_retain(found.raw.feature_incompat.get()).contains(Incompat::RECOVER);
    let recover = unclean || !found.sum_is_right;
    let geo = geometry(device, &found.raw)?;
    let journal = journal::open(device, &geo, &found.raw, recover, writable)?;
    let found = if recover { read_super(device)? } else { found };
    if found.sum_is_right { Ok((found.raw, Some(journal))) } else { Err(wrong_sum()) }
}

fn geometry(device: &Arc<dyn BlockDevice>, raw: &SuperBlockRaw) -> Result<Geometry> {
    Geometry::from_raw(raw, device.limits().capacity_sectors.saturating_mul(SECTOR_SIZE))
}

#[derive(PartialEq, Eq)]
enum Access {
    Full,
    ReadOnly,
}

/// The superblock as it stands on the disk.
struct Found {
    raw: SuperBlockRaw,
    sum_is_right: bool,
}

fn read_super(device: &Arc<dyn BlockDevice>) -> Result<Found> {
    let mut bytes = [0u8; SUPER_SIZE];
    meta_io::read_bytes(device, SUPER_OFFSET, &mut bytes)?;
    let raw = SuperBlockRaw::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
    if raw.magic.get() != super::layout::MAGIC {
        return Err(Errno::EINVAL);
    }
    let summed = RoCompat::from_bits_retain(raw.feature_ro_compat.get()).contains(RoCompat::METADATA_CSUM);
    let right = |raw: &SuperBlockRaw| geometry::super_checksum(raw.as_bytes()) == raw.checksum.get();
    if !summed || (raw.checksum_type == 1 && right(&raw)) {
        return Ok(Found { raw, sum_is_right: true });
    }
    // A cut may have torn the mark "needs recovery" from its checksum, where it was set or cleared: then all else is whole.
    let mut other = raw.clone();
    other.feature_incompat = (raw.feature_incompat.get() ^ Incompat::RECOVER.bits()).into();
    let torn = raw.checksum_type == 1 && right(&other);
    let mut raw = raw;
    if torn {
        raw.feature_incompat = (raw.feature_incompat.get() | Incompat::RECOVER.bits()).into();
    }
    Ok(Found { raw, sum_is_right: torn })
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
    if !read_only && !fs.has_journal() {
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
    let Some(bytes) = block.get_mut(at..at.saturating_add(SUPER_SIZE)) else { return };
    let crc = geometry::super_checksum(bytes);
    if let Some(field) = bytes.last_chunk_mut::<4>() {
        *field = crc.to_le_bytes();
    }
}

/// The superblock in the bytes of its block. Errors: `EUCLEAN`.
fn super_in(block: &mut [u8]) -> Result<&mut SuperBlockRaw> {
    let at = super_at(block.len());
    let bytes = block.get_mut(at..at.saturating_add(SUPER_SIZE)).ok_or(Errno::EUCLEAN)?;
    SuperBlockRaw::mut_from_bytes(bytes).map_err(|_| Errno::EUCLEAN)
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
        change(super_in(&mut bytes)?);
        Ok(())
    }

    /// Reads a field of the superblock as it stands in the cache. Errors: `EIO`.
    pub(super) fn with_super<R>(&self, read: impl FnOnce(&SuperBlockRaw) -> R) -> Result<R> {
        let block = self.meta.read(SUPER_OFFSET >> self.geo.block_bits)?;
        let bytes = block.read();
        let at = super_at(bytes.len());
        let raw = bytes.get(at..at.saturating_add(SUPER_SIZE)).and_then(|b| SuperBlockRaw::ref_from_bytes(b).ok());
        raw.map(read).ok_or(Errno::EUCLEAN)
    }

    /// Marks the image as in use: a power cut from here on is noticed at the next mount. With a journal the mark is the journal's:
    /// `needs_recovery`; without, it is the state.
    fn mark_mounted(&self) -> Result<()> {
        let given_up = self.log.lock().journal.as_ref().is_some_and(Journal::was_given_up);
        if self.has_journal() {
            // Before the log is used: recovery does not look at a log that the superblock does not send it to.
            self.set_needs_recovery(true)?;
        }
        let mut handle = self.begin(Credits(1))?;
        self.update_super(&mut handle, |raw| {
            if !self.has_journal() {
                raw.state = (raw.state.get() & !STATE_CLEAN).into();
            }
            if given_up {
                raw.state = (raw.state.get() | STATE_ERROR).into();
            }
            raw.mnt_count = raw.mnt_count.get().wrapping_add(1).into();
            raw.mtime = (Timespec::now().sec as u32).into();
        })?;
        drop(handle);
        self.commit_all()?;
        if !given_up {
            return Ok(());
        }
        if let Some(journal) = &mut self.log.lock().journal {
            journal.clear_error();
        }
        self.checkpoint()
    }

    /// Brings the superblock up to date for the end of a mount: its counters, and that all is in order.
    fn mark_unmounted(&self) -> Result<()> {
        let (free_blocks, free_inodes) = {
            let state = self.groups.state.lock();
            (state.free_blocks, state.free_inodes)
        };
        let mut handle = self.begin(Credits(1))?;
        self.update_super(&mut handle, |raw| {
            raw.free_blocks_count_lo = (free_blocks as u32).into();
            raw.free_blocks_count_hi = ((free_blocks >> 32) as u32).into();
            raw.free_inodes_count = (free_inodes as u32).into();
            raw.state = (raw.state.get() | STATE_CLEAN).into();
            raw.wtime = (Timespec::now().sec as u32).into();
        })?;
        drop(handle);
        self.commit_and_checkpoint()?;
        if self.has_journal() { self.set_needs_recovery(false) } else { Ok(()) }
    }

    /// Sets or clears the mark "needs recovery" at its place, past the journal, whose log is empty. That is one bit and the checksum, so
    /// that a cut which tears the two apart leaves what [`read_super`] knows.
    fn set_needs_recovery(&self, on: bool) -> Result<()> {
        let change = |raw: &mut SuperBlockRaw| {
            let bits = raw.feature_incompat.get() & !Incompat::RECOVER.bits();
            raw.feature_incompat = (bits | if on { Incompat::RECOVER.bits() } else { 0 }).into();
        };
        let block = self.meta.read(SUPER_OFFSET >> self.geo.block_bits)?;
        change(super_in(&mut block.lock_for_change())?);
        self.write_super(change)
    }

    /// Notes in the superblock on the disk that there was an error, as far as the device takes it: who mounts next is told. What is on the
    /// disk is changed there, not what is in memory, where half a change may stand.
    pub(super) fn record_error(&self) {
        let noted = self.write_super(|raw| raw.state = (raw.state.get() | STATE_ERROR).into());
        if let Err(error) = noted {
            log::error!("ext4 {}: the error could not be noted on the disk: {error}", self.device.name());
        }
    }

    /// Changes the superblock at its place on the disk, past everything, and flushes. Errors: `EIO`, `EUCLEAN`, `ENOMEM`.
    fn write_super(&self, change: impl FnOnce(&mut SuperBlockRaw)) -> Result<()> {
        let number = SUPER_OFFSET >> self.geo.block_bits;
        let mut bytes = alloc::vec![0; self.geo.block_size as usize];
        meta_io::read_block(&self.device, number, &mut bytes)?;
        change(super_in(&mut bytes)?);
        if self.geo.csum_seed.is_some() {
            seal_super(0, &mut bytes);
        }
        let page = base::memory::alloc_page_zeroed()?;
        page.write_from(0, &bytes);
        meta_io::write_pages(&self.device, self.geo.block_size, [(number, &page)])?;
        self.flush.flush(self.flush.ticket())
    }

    /// Stores the attributes of all inodes that wait for it; the first error is given after all were tried.
    fn write_dirty_inodes(&self, sb: &SuperBlock) -> Result<()> {
        let mut result = Ok(());
        for inode in sb.inodes().dirty() {
            result = result.and(inode::write_dirty(&inode));
        }
        result
    }

    /// `EIO` if data or attributes are in memory alone. For a file system that takes no changes.
    fn check_nothing_dirty(&self, sb: &SuperBlock) -> Result<()> {
        let is_dirty = |inode: &Arc<Inode>| inode.mapping.nr_dirty() > 0 || Ext4Inode::of(inode).attr_dirty();
        if sb.inodes().dirty().iter().any(is_dirty) { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Stores and commits everything that was changed in memory, but no data: the metadata part of sync, and what the committer does.
    pub(super) fn sync_metadata(&self, sb: &SuperBlock) -> Result<()> {
        let stored = self.write_dirty_inodes(sb);
        let committed = self.commit_all();
        sb.inodes().dirty().iter().for_each(inode::unpin);
        stored.and(committed)
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

    fn durability(&self) -> Option<DurabilityReport> {
        let (volatile_bytes, flushes) = self.fs.flush.figures();
        let (uncommitted_blocks, commits) = self.fs.txn.figures();
        Some(DurabilityReport {
            promise: self.fs.device.durability(),
            journal: self.fs.has_journal(),
            volatile_bytes,
            uncommitted_blocks,
            flushes,
            commits,
        })
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
            blocks: geo.block_count.saturating_sub(geo.first_block).saturating_sub(self.fs.groups.zone.blocks()),
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
        self.fs.check_not_shut_down()?;
        let Some(sb) = self.fs.super_block() else { return Ok(()) };
        if self.fs.is_read_only() {
            return self.fs.check_nothing_lost().and(self.fs.check_nothing_dirty(&sb));
        }
        let data = iomap::sync_data(&sb);
        let written = self.fs.flush.ticket();
        let metadata = self.fs.sync_metadata(&sb);
        // Where no commit was needed, what was written in place may still be volatile.
        data.and(metadata).and(self.fs.flush_device(written))
    }

    fn settle(&self) {
        self.fs.queues.completion.wait_idle();
        self.fs.queues.sync.wait_idle();
    }

    fn unmount(&self) -> Result<()> {
        self.stop_committer();
        if self.fs.is_shut_down() {
            self.close_queues();
            self.forget_dirty();
            return Ok(());
        }
        if self.fs.has_errors() {
            return self.give_up();
        }
        if self.fs.is_read_only() {
            return Ok(());
        }
        let Some(sb) = self.fs.super_block() else { return Ok(()) };
        let ended = self.end_in_order(&sb);
        if ended.is_err() && self.fs.has_errors() {
            // What was met on the way is the end of it too.
            let _ = self.give_up();
        }
        ended
    }

    fn remount(&self, read_only: bool) -> Result<()> {
        match (read_only, self.fs.is_read_only()) {
            (true, false) => self.unmount(),
            (false, true) => self.remount_writable(),
            _ => Ok(()),
        }
    }

    fn can_shut_down(&self) -> bool {
        true
    }

    fn shut_down(&self, flush_log: bool) -> Result<()> {
        if !flush_log || !self.fs.has_journal() || self.fs.is_read_only() {
            self.fs.shut_down();
            return Ok(());
        }
        // Attributes that are only in memory belong to what has changed.
        let stored = self.fs.super_block().map_or(Ok(()), |sb| self.fs.write_dirty_inodes(&sb));
        stored.and(self.fs.commit_and_shut_down())
    }
}

impl Ext4Super {
    /// The ext4 side of a super block. Panics for another file system's: a caller's bug.
    pub(super) fn of(sb: &SuperBlock) -> &Ext4Super {
        sb.ops().as_any().downcast_ref().expect("the super block of an ext4 carries an Ext4Super")
    }

    /// The end of a file system without errors. One that is met here may be passing (`ENOMEM`): all stays as it was.
    fn end_in_order(&self, sb: &Arc<SuperBlock>) -> Result<()> {
        iomap::sync_data(sb)?;
        self.fs.write_dirty_inodes(sb)?;
        self.close_queues();
        // First all else: the superblock may say that all is in order only when that has reached its place.
        self.fs.commit_all()?;
        self.fs.mark_unmounted()?;
        // Inodes on the dirty list hold the super block, which holds the list.
        sb.inodes().dirty().iter().for_each(inode::unpin);
        self.fs.set_read_only(true);
        Ok(())
    }

    /// Starts the task that commits every so many seconds, so that a change without fsync is not lost for long. Errors: `ENOMEM`.
    fn start_committer(&self) -> Result<()> {
        if self.commit_interval_s == 0 {
            return Ok(());
        }
        let Some(sb) = self.fs.super_block() else { return Ok(()) };
        let task = self.fs.background.start(&sb, self.commit_interval_s)?;
        *self.committer.lock() = Some(task);
        Ok(())
    }

    fn stop_committer(&self) {
        let task = self.committer.lock().take();
        if let Some(task) = task {
            self.fs.background.stop(&task);
        }
    }

    /// The end of a file system with errors. Without a journal, what is changed in memory is written as far as that goes; with one the
    /// disk keeps its last consistent state, to be recovered by the next mount. It is not marked clean.
    fn give_up(&self) -> Result<()> {
        self.close_queues();
        let result = if self.fs.has_journal() { self.fs.give_up_journal() } else { self.fs.commit_all() };
        self.fs.record_error();
        let Some(sb) = self.fs.super_block() else { return result };
        let lost = self.fs.check_nothing_dirty(&sb);
        self.forget_dirty();
        result.and(lost)
    }

    fn close_queues(&self) {
        self.fs.queues.completion.close();
        self.fs.queues.sync.close();
    }

    /// What is still dirty will never be written. The list would keep it in memory, and with it the super block.
    fn forget_dirty(&self) {
        let Some(sb) = self.fs.super_block() else { return };
        for inode in sb.inodes().dirty() {
            drop(sb.inodes().clear_dirty(&inode));
            iput(inode);
        }
    }

    fn remount_writable(&self) -> Result<()> {
        let writable = self.fs.with_super(|raw| matches!(geometry::check_features(raw), Verdict::Writable))?;
        if self.fs.has_errors() || !writable || self.fs.device.limits().read_only {
            return Err(Errno::EROFS);
        }
        self.fs.set_read_only(false);
        self.fs.mark_mounted().and_then(|()| self.start_committer()).inspect_err(|_| self.fs.set_read_only(true))
    }
}
