//! Device reads into locked folios: one batch of bios, and who finishes it.
//!
//! # States of a batch
//!
//! 1. *Filling*: the reader adds runs of blocks; each full or interrupted run leaves as a bio. The reader owns it.
//! 2. *In flight*: `refs` counts the reader and each bio. Nobody touches the folios; they stay locked (BUF-3).
//! 3. *Ended*: whoever dropped the last reference decides, in [`ReadBatch::put`], how it goes on: it wakes the reader that
//!    waits, or queues the batch to a worker if nobody does.
//! 4. *Finished*: a task marks the folios uptodate and unlocks them.
use super::ctx::wait_for_stragglers;
use super::{CtxRefs, Done, FirstError, IomapOps};
use crate::page_cache::LockedFolio;
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::{Bio, BioEnd, BioOp, BlockDevice, Limits, Plug, Sector, Segment};
use base::sync::{Arc, IrqLock, SpinLock};
use base::workqueue::{Work, WorkLink, WorkQueue};
use base::{Page, Result};

/// The reads of one window.
struct ReadBatch {
    refs: CtxRefs,
    error: FirstError,
    done: Done,
    /// Ended bios, kept until a task frees them.
    ended: IrqLock<Option<Box<Bio>>>,
    /// Folios to mark and unlock when all has ended.
    folios: SpinLock<Vec<LockedFolio>>,
    /// Where the batch is finished if its reader does not wait.
    queue: Option<Arc<WorkQueue>>,
    link: WorkLink,
}

impl ReadBatch {
    /// Drops a reference; the last one makes the batch go on.
    fn put(self: Arc<Self>) {
        if !self.refs.put() {
            return;
        }
        match &self.queue {
            // With a reference of its own: the worker waits until this one has gone, and with it the last hold on the queue.
            Some(queue) => {
                queue.queue(self.clone());
            }
            None => self.done.signal(),
        }
    }

    /// Marks and unlocks the folios, unless a read failed: then they stay as they were, and whoever needs them reads again and
    /// gets the error.
    fn finish(&self) -> Result<()> {
        // The bios go first, and with them the handles to the pages: a folio that is unlocked can be evicted.
        let ended = self.ended.lock().take();
        drop(ended);
        let result = self.error.get().map_or(Ok(()), Err);
        for folio in core::mem::take(&mut *self.folios.lock()) {
            if result.is_ok() {
                folio.set_all_uptodate();
            }
        }
        result
    }
}

impl BioEnd for ReadBatch {
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        if let Err(error) = bio.status() {
            self.error.set(error);
        }
        bio.chain(&mut self.ended.lock());
        self.put();
    }
}

impl Work for ReadBatch {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    fn run(self: Arc<Self>) {
        // The outcome is for whoever comes to these folios and finds them not uptodate.
        let _ = self.finish();
        // The worker has one more while the item runs.
        wait_for_stragglers(&self, 2);
    }
}

/// Collects the blocks of a window into bios.
pub(super) struct Reader<'a> {
    device: &'a Arc<dyn BlockDevice>,
    limits: Limits,
    batch: Arc<ReadBatch>,
    bio: Option<Box<Bio>>,
}

impl<'a> Reader<'a> {
    /// A reader that will wait.
    pub fn waiting(ops: &'a dyn IomapOps) -> Reader<'a> {
        Reader::new(ops, None)
    }

    /// A reader that will not: `queue` finishes what it starts.
    pub fn ahead(ops: &'a dyn IomapOps, queue: Arc<WorkQueue>) -> Reader<'a> {
        Reader::new(ops, Some(queue))
    }

    fn new(ops: &'a dyn IomapOps, queue: Option<Arc<WorkQueue>>) -> Reader<'a> {
        let batch = ReadBatch {
            refs: CtxRefs::new(),
            error: FirstError::new(),
            done: Done::new(),
            ended: IrqLock::new(None),
            folios: SpinLock::new(Vec::new()),
            queue,
            link: WorkLink::new(),
        };
        Reader { device: ops.device(), limits: ops.device().limits(), batch: Arc::new(batch), bio: None }
    }

    /// Adds `len` bytes at `sector`, to be read to `offset` of `page`. The folio is locked until the batch is finished.
    pub fn add(&mut self, sector: Sector, page: &Page, offset: usize, len: usize) {
        if self.bio.as_ref().is_some_and(|bio| !bio.takes(sector, len as u64, &self.limits)) {
            self.send();
        }
        let batch = &self.batch;
        let bio = self.bio.get_or_insert_with(|| Bio::new(BioOp::Read, sector, batch.clone()));
        bio.push(Segment { page: page.clone(), offset: offset as u32, len: len as u32 });
    }

    /// Gives the batch a folio all of whose missing blocks were zeroed or added: valid and unlocked when the batch is finished.
    pub fn keep(&mut self, folio: LockedFolio) {
        self.batch.folios.lock().push(folio);
    }

    fn send(&mut self) {
        if let Some(bio) = self.bio.take() {
            self.batch.refs.get();
            bio.submit_to(&**self.device);
        }
    }

    /// Sends the rest and waits for all of it. Errors: the first of the device.
    pub fn wait(mut self) -> Result<()> {
        self.send();
        Plug::submitted(self.device);
        let batch = self.batch;
        if !batch.refs.put() {
            batch.done.wait();
        }
        wait_for_stragglers(&batch, 1);
        batch.finish()
    }

    /// Sends the rest and leaves.
    pub fn leave(mut self) {
        self.send();
        Plug::submitted(self.device);
        self.batch.put();
    }
}
