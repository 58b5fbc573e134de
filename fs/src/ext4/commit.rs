//! Commits: making the running transaction durable, for all that wait for it.
//!
//! | | with a journal | without |
//! |---|---|---|
//! | first | it closes: see `close` | the same |
//! | then | the copies go to the log: see `journal` | flush; the copies go to their places; flush; those of inode tables too; flush (DUR-5) |
//! | after a cut | all of the transaction or nothing | what was not durable may be there in part; `e2fsck` repairs it |
//!
//! One task commits at a time. Who comes meanwhile waits for the lock, and then finds its transaction committed with that of
//! everybody else who waited: a group commit. Handles go on in the next transaction as soon as the copies are made. Where finishes
//! have closed full ones before, those are written first.
//!
//! A commit waits for open handles and for the device; for no folio, no data and no finish of any I/O. So a finish may wait for
//! it, and a write that waits for a finish is no circle (R47).
use super::Ext4Fs;
use super::close::Batch;
use super::journal::{Copy, Journal};
use super::meta_io;
use base::stats::{self, Counter};
use base::{Errno, Result};

/// What commits work with, behind their lock.
pub(super) struct Log {
    /// The journal, if the file system has one.
    pub journal: Option<Journal>,
}

impl Log {
    pub(super) fn new(journal: Option<Journal>) -> Self {
        Log { journal }
    }
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

    /// The last commit: what was changed so far becomes durable, and the file system is shut down (SHD-1). As [`Self::commit`].
    pub(super) fn commit_and_shut_down(&self) -> Result<()> {
        let mut log = self.log.lock();
        let possible = self.check_can_commit();
        // First: no handle begins after those that the commit waits for.
        self.shut_down();
        possible?;
        self.commit_running(&mut log).map_err(|error| self.give_up_log(&mut log, "a commit", error))
    }

    fn commit_running(&self, log: &mut Log) -> Result<()> {
        self.close(self.txn.running())?;
        while let Some(batch) = self.txn.take_closed() {
            if let Err(error) = self.write_batch(log, &batch) {
                self.txn.put_back(batch);
                return Err(error);
            }
            stats::count(Counter::Commits);
            self.txn.set_committed(batch.tid);
            self.release_freed(batch.tid);
            if let Some(journal) = &mut log.journal {
                journal.keep(batch);
                let later = !journal.needs_checkpoint() && self.background.is_running();
                match journal.wants_checkpoint() {
                    true if later => self.background.ask_for_checkpoint(),
                    true => self.empty_log(log)?,
                    false => {}
                }
            }
        }
        Ok(())
    }

    /// Makes a closed transaction durable, after a checkpoint if the log has no room. Errors: `EIO`; `ENOMEM` before anything was written.
    fn write_batch(&self, log: &mut Log, batch: &Batch) -> Result<()> {
        base::anchor!("commit.closed", batch.tid);
        let Some(journal) = &mut log.journal else { return self.write_in_place(&batch.copies) };
        let needed = journal.blocks_needed(batch);
        if !journal.has_room(needed) {
            journal.checkpoint(batch.tid as u32, &self.flush)?;
            self.txn.log_is_empty(Some(batch));
        }
        if !journal.has_room(needed) {
            log::error!("ext4 {}: a transaction of {needed} blocks is larger than the journal", self.device.name());
            return Err(Errno::EIO);
        }
        let supplies = journal.supplies(batch)?;
        journal.commit(batch, supplies, &self.flush)
    }

    /// Without a journal: data first, then what points to it, inodes last (CRA-1, DUR-5).
    fn write_in_place(&self, copies: &[Copy]) -> Result<()> {
        self.flush.flush(self.flush.ticket())?;
        for inodes in [false, true] {
            let part = copies.iter().filter(|copy| copy.holds_inodes() == inodes);
            let pages = part.map(|copy| (copy.home(), &copy.page));
            meta_io::write_pages(&self.device, self.geo.block_size, pages)?;
            // Between the two also: an inode that points to a new block of extents must not be durable before that block is.
            self.flush.flush(self.flush.ticket())?;
        }
        Ok(())
    }

    fn empty_log(&self, log: &mut Log) -> Result<()> {
        if let Some(journal) = &mut log.journal {
            journal.checkpoint(self.txn.committed().wrapping_add(1) as u32, &self.flush)?;
            self.txn.log_is_empty(None);
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
