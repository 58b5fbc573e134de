//! Commits: making the running transaction durable, for all that wait for it.
//!
//! | | with a journal | without |
//! |---|---|---|
//! | while it closes | group descriptors are brought up to date, checksums are stored, every block is copied | the same |
//! | then | the copies go to the log: see `journal` | flush; the copies go to their places; flush; those of inode tables too; flush (DUR-5) |
//! | after a cut | all of the transaction or nothing | what was not durable may be there in part; `e2fsck` repairs it |
//!
//! One task commits at a time. Who comes meanwhile waits for the lock, and then finds its transaction committed with that of
//! everybody else who waited: a group commit. Handles go on in the next transaction as soon as the copies are made.
//!
//! A commit waits for open handles and for the device; for no folio, no data and no finish of any I/O. So a finish may wait for
//! it, and a write that waits for a finish is no circle (R47).
use super::Ext4Fs;
use super::journal::{Copy, Journal, Supplies};
use super::meta_io;
use super::txn::Closed;
use alloc::vec::Vec;
use base::stats::{self, Counter};
use base::{Errno, Result};

/// What commits work with, behind their lock.
pub(super) struct Log {
    /// The journal, if the file system has one.
    pub journal: Option<Journal>,
    /// Blocks whose commit has failed: newer than the disk, and held so that readers go on seeing them.
    stuck: Vec<Copy>,
}

impl Log {
    pub(super) fn new(journal: Option<Journal>) -> Self {
        Log { journal, stuck: Vec::new() }
    }
}

/// A closed transaction, ready to be written.
struct Batch {
    tid: u64,
    copies: Vec<Copy>,
    revoked: Vec<u64>,
    supplies: Option<Supplies>,
}

impl Ext4Fs {
    /// Returns when transaction `tid` and all before it are durable, and with them all data that had ended on the device before they were
    /// changed last. Sleeps; no folio, extent or later lock held, and no handle open. Errors: `EIO` (by the error policy), `ENOMEM` (then
    /// nothing is lost: a later call tries again).
    pub fn commit(&self, tid: u64) -> Result<()> {
        if self.txn.committed() >= tid {
            return Ok(());
        }
        let mut log = self.log.lock();
        if self.txn.committed() >= tid {
            return Ok(());
        }
        self.check_can_commit()?;
        self.commit_running(&mut log).map_err(|error| self.give_up_log(&mut log, "a commit", error))
    }

    /// Commits whatever was changed so far. As [`Self::commit`].
    pub fn commit_all(&self) -> Result<()> {
        self.commit(self.txn.running())
    }

    /// Commits, and writes all committed blocks to their places: the log is empty then. As [`Self::commit`].
    pub(super) fn commit_and_checkpoint(&self) -> Result<()> {
        self.commit_all()?;
        self.checkpoint()
    }

    /// Writes what is committed to its place. As [`Self::commit`].
    pub(super) fn checkpoint(&self) -> Result<()> {
        let mut log = self.log.lock();
        self.check_can_commit()?;
        self.empty_log(&mut log).map_err(|error| self.give_up_log(&mut log, "a checkpoint", error))
    }

    fn commit_running(&self, log: &mut Log) -> Result<()> {
        self.txn.start_closing();
        let batch = self.close(&mut log.journal).inspect_err(|_| self.txn.reopen())?;
        let Some(batch) = batch else {
            self.txn.reopen();
            return Ok(());
        };
        let Batch { tid, copies, revoked, supplies } = batch;
        base::anchor!("commit.closed", tid);
        let written = match (&mut log.journal, supplies) {
            (Some(journal), Some(supplies)) => journal.commit(tid as u32, &copies, &revoked, supplies, &self.flush),
            _ => self.write_in_place(&copies),
        };
        if let Err(error) = written {
            log.stuck.extend(copies);
            return Err(error);
        }
        stats::count(Counter::Commits);
        self.txn.set_committed(tid);
        self.release_freed(tid);
        if let Some(journal) = &mut log.journal {
            journal.keep(copies, &revoked);
            let later = !journal.needs_checkpoint() && self.background.is_running();
            match journal.wants_checkpoint() {
                true if later => self.background.ask_for_checkpoint(),
                true => return self.empty_log(log),
                false => {}
            }
        }
        Ok(())
    }

    /// Makes the copies of the transaction that is closing, and lets the next one run; `None` if nothing was changed. Nothing has
    /// happened after an error. Errors: `ENOMEM`, `EIO`, `EUCLEAN`.
    fn close(&self, journal: &mut Option<Journal>) -> Result<Option<Batch>> {
        if self.txn.with_closing(|_, running| running.members.is_empty() && running.revoked.is_empty()) {
            return Ok(None);
        }
        self.seal_groups()?;
        let (tid, blocks, revoked) = self.txn.with_closing(|tid, running| {
            let blocks: Vec<_> = running.members.values().map(|m| (m.block.clone(), m.page.clone())).collect();
            (tid, blocks, running.revoked.iter().copied().collect::<Vec<u64>>())
        });
        let mut supplies = None;
        if let Some(journal) = &mut *journal {
            let needed = journal.blocks_needed(blocks.len(), revoked.len());
            if !journal.has_room(needed) {
                journal.checkpoint(tid as u32, &self.flush)?;
                self.txn.log_is_empty();
            }
            if !journal.has_room(needed) {
                log::error!("ext4 {}: a transaction of {needed} blocks is larger than the journal", self.device.name());
                return Err(Errno::EIO);
            }
            supplies = Some(journal.supplies(blocks.len(), revoked.len())?);
        }
        let mut copies = Vec::with_capacity(blocks.len());
        for (block, page) in &blocks {
            copies.push(block.take(|data| match journal {
                Some(journal) => journal.copy(tid as u32, block, page, data),
                None => Ok(Copy::plain(block, page, data)),
            })?);
        }
        let Closed { members, .. } = self.txn.close(journal.is_some());
        drop(members);
        Ok(Some(Batch { tid, copies, revoked, supplies }))
    }

    /// Without a journal: data first, then what points to it, inodes last (CRA-1, DUR-5).
    fn write_in_place(&self, copies: &[Copy]) -> Result<()> {
        self.flush.flush(self.flush.ticket())?;
        for inodes in [false, true] {
            let part = copies.iter().filter(|copy| copy.block.holds_inodes() == inodes);
            let pages = part.map(|copy| (copy.block.number(), &copy.page));
            meta_io::write_pages(&self.device, self.geo.block_size, pages)?;
            // Between the two also: an inode that points to a new block of extents must not be durable before that block is.
            self.flush.flush(self.flush.ticket())?;
        }
        Ok(())
    }

    fn empty_log(&self, log: &mut Log) -> Result<()> {
        if let Some(journal) = &mut log.journal {
            journal.checkpoint(self.txn.committed().wrapping_add(1) as u32, &self.flush)?;
            self.txn.log_is_empty();
        }
        Ok(())
    }

    /// The end of a journal whose file system has errors: the next mount is told. Errors: `EIO` if changes are lost with it.
    pub(super) fn give_up_journal(&self) -> Result<()> {
        let noted = self.log.lock().journal.as_mut().map_or(Ok(()), |journal| journal.give_up(Errno::EIO));
        noted.and(self.check_nothing_lost())
    }

    /// After an error other than lack of memory no more changes are made, and the journal says so on the disk: what it holds up to
    /// here is recovered by the next mount.
    fn give_up_log(&self, log: &mut Log, what: &str, error: Errno) -> Errno {
        if error == Errno::ENOMEM {
            return error;
        }
        if let Some(journal) = &mut log.journal
            && let Err(error) = journal.give_up(error)
        {
            log::error!("ext4 {}: the error could not be noted in the journal: {error}", self.device.name());
        }
        self.io_failed(what, error)
    }
}
