//! The mounted ext4: what all its parts share.
use super::geometry::Geometry;
use super::groups::Groups;
use super::meta::MetaCache;
use super::orphan::Orphans;
use super::queues::Queues;
use super::super_block::Ext4Super;
use super::txn::TxnState;
use crate::iomap::{SharedFlush, Ticket};
use crate::vfs::SuperBlock;
use base::block::BlockDevice;
use base::sync::atomic::{AtomicU32, Ordering};
use base::sync::{Arc, SpinLock, Weak};
use base::{Errno, Result};

const READ_ONLY: u32 = 1;
const SHUT_DOWN: u32 = 2;
const DAMAGED: u32 = 4;
const FAILED: u32 = 8;

/// A mounted ext4. Shared by its inodes; the VFS holds it through [`Ext4Super`].
pub struct Ext4Fs {
    /// The device.
    pub device: Arc<dyn BlockDevice>,
    /// The fixed numbers.
    pub geo: Geometry,
    /// The metadata blocks.
    pub meta: MetaCache,
    /// The block groups.
    pub groups: Groups,
    /// Numbers of changes.
    pub txn: TxnState,
    /// Flushes of the device, shared (DUR-8).
    pub flush: SharedFlush,
    /// The work queues.
    pub queues: Queues,
    pub(super) orphans: Orphans,
    pub(super) generations: AtomicU32,
    state: AtomicU32,
    sb: SpinLock<Weak<SuperBlock>>,
}

impl Ext4Fs {
    pub(super) fn new(
        device: Arc<dyn BlockDevice>,
        geo: Geometry,
        meta: MetaCache,
        groups: Groups,
        read_only: bool,
    ) -> Self {
        Ext4Fs {
            flush: SharedFlush::new(device.clone()),
            device,
            geo,
            meta,
            groups,
            txn: TxnState::new(),
            queues: Queues::new(),
            orphans: Orphans::new(),
            generations: AtomicU32::new(0),
            state: AtomicU32::new(if read_only { READ_ONLY } else { 0 }),
            sb: SpinLock::new(Weak::new()),
        }
    }

    /// The ext4 behind a super block. Panics for another file system's: a caller's bug.
    pub fn of(sb: &SuperBlock) -> &Arc<Ext4Fs> {
        let own: &Ext4Super =
            sb.ops().as_any().downcast_ref().expect("the super block of an ext4 carries an Ext4Super");
        &own.fs
    }

    pub(super) fn set_super_block(&self, sb: &Arc<SuperBlock>) {
        *self.sb.lock() = Arc::downgrade(sb);
    }

    /// The VFS's side; `None` while it goes away.
    pub fn super_block(&self) -> Option<Arc<SuperBlock>> {
        self.sb.lock().upgrade()
    }

    /// Whether nothing may be changed: mounted so, or after an error.
    pub fn is_read_only(&self) -> bool {
        self.state.load(Ordering::Acquire) & READ_ONLY != 0
    }

    pub(super) fn set_read_only(&self, read_only: bool) {
        if read_only {
            self.state.fetch_or(READ_ONLY, Ordering::AcqRel);
        } else {
            self.state.fetch_and(!READ_ONLY, Ordering::AcqRel);
        }
    }

    /// `EROFS` when read-only, `EIO` when shut down (SHD-1, SHD-2).
    pub fn check_writable(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            0 => Ok(()),
            s if s & SHUT_DOWN != 0 => Err(Errno::EIO),
            _ => Err(Errno::EROFS),
        }
    }

    /// Nothing reaches the device from now on: a forced shutdown (SHD-1). Any context.
    pub fn shut_down(&self) {
        self.state.fetch_or(SHUT_DOWN, Ordering::AcqRel);
    }

    /// A damaged structure was met: logs it once and refuses changes from now on. Gives `EUCLEAN` to hand on. Task context.
    pub fn corrupt(&self, what: &str, place: u64) -> Errno {
        if self.state.fetch_or(READ_ONLY | DAMAGED, Ordering::AcqRel) & DAMAGED == 0 {
            log::error!("ext4 {}: damaged {what} {place}; no more changes are made", self.device.name());
        }
        if let Some(sb) = self.super_block() {
            sb.force_read_only();
        }
        Errno::EUCLEAN
    }

    /// The error policy (DUR-9): the device refused metadata or a flush. Logs it once, refuses changes from now on (SHD-2) and notes
    /// the error in the superblock, if the device takes that. Gives `EIO` to hand on. Lack of memory is no such failure and is
    /// handed on as it is. Task context; no extent, allocator or block lock held.
    pub(super) fn io_failed(&self, what: &str, error: Errno) -> Errno {
        if error == Errno::ENOMEM {
            return error;
        }
        if self.state.fetch_or(READ_ONLY | FAILED, Ordering::AcqRel) & FAILED == 0 {
            log::error!("ext4 {}: {what} failed: {error}; no more changes are made", self.device.name());
            if let Some(sb) = self.super_block() {
                sb.force_read_only();
            }
            self.record_error();
        }
        Errno::EIO
    }

    /// Whether damage was found, or metadata or a flush failed, since mount: only `e2fsck` clears that.
    pub fn has_errors(&self) -> bool {
        self.state.load(Ordering::Acquire) & (DAMAGED | FAILED) != 0
    }

    /// `EIO` once metadata or a flush has failed: what is not durable by then is not said to become it. Also after a shutdown.
    pub(super) fn check_can_commit(&self) -> Result<()> {
        if self.state.load(Ordering::Acquire) & (SHUT_DOWN | FAILED) != 0 { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Makes writes that completed before `ticket` durable. Task context, no extent lock held. Errors: `EIO`, by the error policy.
    pub(super) fn flush_device(&self, ticket: Ticket) -> Result<()> {
        self.flush.flush(ticket).map_err(|error| self.io_failed("a flush", error))
    }

    /// Writes those of `blocks` (ascending) that are dirty. As [`Self::flush_device`].
    pub(super) fn write_metadata(&self, blocks: &[u64]) -> Result<()> {
        self.meta.write_some(blocks).map_err(|error| self.io_failed("a write of metadata", error))
    }

    /// Whether damage was found since mount.
    pub fn is_damaged(&self) -> bool {
        self.state.load(Ordering::Acquire) & DAMAGED != 0
    }

    /// Writes all dirty metadata, after a flush, so that no metadata becomes durable before the data it exposes (CRA-1).
    /// May sleep; no extent, allocator or block lock held. Errors: `EIO`.
    pub fn write_back_metadata(&self) -> Result<()> {
        self.check_not_shut_down()?;
        self.flush_device(self.flush.ticket())?;
        self.meta.write_all().map_err(|error| self.io_failed("a write of metadata", error))
    }

    /// `EIO` after a forced shutdown.
    pub fn check_not_shut_down(&self) -> Result<()> {
        if self.state.load(Ordering::Acquire) & SHUT_DOWN != 0 { Err(Errno::EIO) } else { Ok(()) }
    }
}
