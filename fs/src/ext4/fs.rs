//! The mounted ext4: what all its parts share.
use super::commit::Log;
use super::committer::Background;
use super::geometry::Geometry;
use super::groups::Groups;
use super::journal::{Journal, Style};
use super::meta::MetaCache;
use super::orphan::Orphans;
use super::queues::Queues;
use super::super_block::Ext4Super;
use super::txn::{Limits, Transactions};
use crate::iomap::{SharedFlush, Ticket};
use crate::vfs::SuperBlock;
use base::block::BlockDevice;
use base::sync::atomic::{AtomicU32, Ordering};
use base::sync::{Arc, Mutex, Rank, SpinLock, Weak};
use base::{Errno, Result};

/// Blocks of a transaction at most, however long the log is: a copy of each is in memory.
const MOST_BLOCKS: Limits = Limits { ordinary: 256, finish: 512 };

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
    /// The running transaction.
    pub txn: Transactions,
    /// Flushes of the device, shared (DUR-8).
    pub flush: SharedFlush,
    /// The work queues.
    pub queues: Queues,
    /// What commits work with (`Rank::Commit`).
    pub(super) log: Mutex<Log>,
    has_journal: bool,
    pub(super) log_style: Option<Style>,
    pub(super) background: Background,
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
        journal: Option<Journal>,
        read_only: bool,
    ) -> Self {
        let first = journal.as_ref().map_or(1, |journal| u64::from(journal.next_sequence()).max(1));
        let limits = journal.as_ref().map_or(MOST_BLOCKS, |journal| MOST_BLOCKS.within(journal.capacity()));
        Ext4Fs {
            flush: SharedFlush::new(device.clone()),
            device,
            geo,
            meta,
            groups,
            txn: Transactions::new(first, limits),
            log_style: journal.as_ref().map(Journal::style),
            has_journal: journal.is_some(),
            background: Background::new(),
            log: Mutex::new(Rank::Commit, Log::new(journal)),
            queues: Queues::new(),
            orphans: Orphans::new(),
            generations: AtomicU32::new(0),
            state: AtomicU32::new(if read_only { READ_ONLY } else { 0 }),
            sb: SpinLock::new(Weak::new()),
        }
    }

    /// The ext4 behind a super block. Panics for another file system's: a caller's bug.
    pub fn of(sb: &SuperBlock) -> &Arc<Ext4Fs> {
        &Ext4Super::of(sb).fs
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

    /// A forced shutdown (SHD-1): no data and no metadata is sent to the device from now on. What is on its way may reach it, and a
    /// commit under way may end. Task context.
    pub fn shut_down(&self) {
        if self.state.fetch_or(SHUT_DOWN, Ordering::AcqRel) & SHUT_DOWN == 0 {
            log::warn!("ext4 {}: shut down", self.device.name());
        }
        if let Some(sb) = self.super_block() {
            sb.cut_off();
        }
    }

    /// Whether it was shut down by force.
    pub(super) fn is_shut_down(&self) -> bool {
        self.state.load(Ordering::Acquire) & SHUT_DOWN != 0
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

    /// `EIO` once metadata or a flush has failed: what is not durable by then is not said to become it. Also after a shutdown, and,
    /// where a journal keeps the last consistent state, once damage was found, since half a change may be in memory.
    pub(super) fn check_can_commit(&self) -> Result<()> {
        let stop = if self.has_journal { SHUT_DOWN | FAILED | DAMAGED } else { SHUT_DOWN | FAILED };
        if self.state.load(Ordering::Acquire) & stop != 0 { Err(Errno::EIO) } else { Ok(()) }
    }

    /// `EIO` if something was changed that cannot become durable any more. For a file system that takes no changes.
    pub(super) fn check_nothing_lost(&self) -> Result<()> {
        match self.check_can_commit() {
            Err(_) if self.state.load(Ordering::Acquire) & (SHUT_DOWN | FAILED) == 0 && !self.txn.is_dirty() => Ok(()),
            other => other,
        }
    }

    /// Makes writes that completed before `ticket` durable. Task context, no extent lock held. Errors: `EIO`, by the error policy.
    pub(super) fn flush_device(&self, ticket: Ticket) -> Result<()> {
        self.flush.flush(ticket).map_err(|error| self.io_failed("a flush", error))
    }

    /// Whether damage was found since mount.
    pub fn is_damaged(&self) -> bool {
        self.state.load(Ordering::Acquire) & DAMAGED != 0
    }

    /// Whether changes are made durable by way of a journal.
    pub fn has_journal(&self) -> bool {
        self.has_journal
    }

    /// `EIO` after a forced shutdown.
    pub fn check_not_shut_down(&self) -> Result<()> {
        if self.is_shut_down() { Err(Errno::EIO) } else { Ok(()) }
    }
}
