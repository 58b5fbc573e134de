//! Closing a transaction: its blocks are copied, and the next one runs.
//!
//! Done by whoever commits, and by a finish that finds the transaction full (R47). It needs neither the log nor the lock of those who
//! write to it: what is closed waits in a queue, and is written in order by whoever commits next.
//!
//! | step | held off meanwhile |
//! |---|---|
//! | new handles wait; the open ones end | |
//! | the descriptors of changed groups are brought up to date | new handles |
//! | checksums are stored, every block is copied to the page that it joined with | new handles |
//! | the copies go to the queue, the next transaction begins | nobody |
use super::Ext4Fs;
use super::journal::Copy;
use super::txn::{Running, Transactions};
use alloc::vec::Vec;
use base::Result;

/// A closed transaction, ready to be written.
pub(super) struct Batch {
    /// Its number.
    pub tid: u64,
    /// Its blocks as they were.
    pub copies: Vec<Copy>,
    /// Freed blocks that have a copy in the log.
    pub revoked: Vec<u64>,
}

impl Ext4Fs {
    /// Closes transaction `tid` if it is the running one and anything was changed in it. Waits for open handles, and for another who closes
    /// it. No handle open, no folio, extent or later lock held. Errors: `ENOMEM`, `EIO`, `EUCLEAN`; nothing has happened then.
    pub(super) fn close(&self, tid: u64) -> Result<()> {
        if !self.txn.start_closing(tid) {
            return Ok(());
        }
        let sealed = self.seal_groups();
        let closed = sealed.and_then(|()| self.copy_running(tid)).map(|batch| self.txn.push_closed(batch));
        self.txn.end_closing();
        closed
    }

    /// Copies of all blocks of the transaction that is closing. Errors: `ENOMEM`.
    fn copy_running(&self, tid: u64) -> Result<Batch> {
        let (blocks, revoked) = {
            let state = self.txn.state.lock();
            let Running { members, revoked } = &state.running;
            let blocks: Vec<_> = members.values().map(|m| (m.block.clone(), m.page.clone())).collect();
            (blocks, revoked.iter().copied().collect())
        };
        let copies = blocks.iter().map(|(block, page)| Copy::new(self.log_style, tid, block, page));
        Ok(Batch { tid, copies: copies.collect::<Result<_>>()?, revoked })
    }
}

impl Transactions {
    /// Keeps new handles out of transaction `tid` and waits until the open ones have ended. False if there is nothing to close: it is not
    /// running any more, or nothing was changed. Else ended by [`Self::end_closing`].
    fn start_closing(&self, tid: u64) -> bool {
        let mut claimed = false;
        self.changed.wait_until(|| {
            let mut state = self.state.lock();
            let wait = state.tid == tid && state.closing;
            claimed = state.tid == tid && !state.closing;
            state.closing |= claimed;
            !wait
        });
        if !claimed {
            return false;
        }
        self.changed.wait_until(|| self.state.lock().handles == 0);
        let changed = self.state.lock().running.is_changed();
        if !changed {
            self.end_closing();
        }
        changed
    }

    /// Puts what was copied in the queue, and begins the next transaction.
    fn push_closed(&self, batch: Batch) {
        let mut state = self.state.lock();
        // Dropped outside the lock.
        let old = core::mem::take(&mut state.running);
        state.logged.extend(old.members.keys());
        state.closed.push_back(batch);
        state.tid += 1;
        drop(state);
        drop(old);
    }

    fn end_closing(&self) {
        self.state.lock().closing = false;
        self.changed.wake_all();
    }

    /// Takes the oldest closed transaction, to be written.
    pub(super) fn take_closed(&self) -> Option<Batch> {
        self.state.lock().closed.pop_front()
    }

    /// It could not be written: it goes back to where it was, and readers go on seeing its blocks, which are newer than the disk.
    pub(super) fn put_back(&self, batch: Batch) {
        self.state.lock().closed.push_front(batch);
    }

    /// The log is empty: what needs to be revoked from now on is what is on its way there, `next` first of all.
    pub(super) fn log_is_empty(&self, next: Option<&Batch>) {
        let mut state = self.state.lock();
        let coming = state.closed.iter().chain(next).flat_map(|batch| batch.copies.iter().map(Copy::home)).collect();
        // Dropped outside the lock.
        let gone = core::mem::replace(&mut state.logged, coming);
        drop(state);
        drop(gone);
    }
}
