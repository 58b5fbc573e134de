//! The end of ordinary writeback: one work item for each bio, finished on the completion queue.
use super::IomapOps;
use super::ctx::wait_for_stragglers;
use crate::page_cache::Folio;
use crate::vfs::Inode;
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::Result;
use base::block::{Bio, BioEnd, BioOp, BlockDevice, Sector, Segment};
use base::sync::{Arc, IrqLock};
use base::workqueue::{Work, WorkLink, WorkQueue};
use core::ops::Range;

/// Blocks of one folio that are under writeback.
pub(super) struct Piece {
    pub folio: Arc<Folio>,
    pub offset: u32,
    pub len: u32,
}

/// One bio of writeback and what its end owes.
pub(super) struct WritebackEnd {
    inode: Arc<Inode>,
    pieces: Vec<Piece>,
    /// The file bytes written, cut to the size of the file at submission (ALN-5, SIZE-7).
    range: Range<u64>,
    /// The blocks were UNWRITTEN.
    convert: bool,
    ended: IrqLock<Option<Box<Bio>>>,
    queue: Arc<WorkQueue>,
    link: WorkLink,
}

impl WritebackEnd {
    /// Sends `pieces`, which are under writeback, contiguous on the device from `sector`.
    pub fn submit(
        inode: &Arc<Inode>,
        queue: Arc<WorkQueue>,
        device: &Arc<dyn BlockDevice>,
        sector: Sector,
        pieces: Vec<Piece>,
        range: Range<u64>,
        convert: bool,
    ) {
        let ended = IrqLock::new(None);
        let link = WorkLink::new();
        let this = Arc::new(WritebackEnd { inode: inode.clone(), pieces, range, convert, ended, queue, link });
        let mut bio = Bio::new(BioOp::Write, sector, this.clone());
        for piece in &this.pieces {
            bio.push(Segment { page: piece.folio.page().clone(), offset: piece.offset, len: piece.len });
        }
        drop(this);
        bio.submit_to(&**device);
    }

    /// F1 of ordinary writeback, by the rule of [`IomapOps::finish_write`].
    fn convert(&self, ops: &dyn IomapOps) -> Result<()> {
        let needed = self.convert || self.range.end > ops.disk_size();
        if !needed || self.range.is_empty() {
            return Ok(());
        }
        ops.finish_write(&self.inode, self.range.start, self.range.end - self.range.start)
    }
}

impl BioEnd for WritebackEnd {
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        bio.chain(&mut self.ended.lock());
        // With a reference of its own: the worker waits until this one has gone, and with it the last hold on the queue.
        self.queue.queue(self.clone());
        base::anchor!("bio.end.after_queue", self.inode.ino);
    }
}

impl Work for WritebackEnd {
    fn link(&self) -> &WorkLink {
        &self.link
    }

    /// Conversion, then the end of writeback (CMP-9). After an error the blocks stay clean and the error is recorded (ERR-4):
    /// retrying for ever would fill the memory with what no device takes.
    fn run(self: Arc<Self>) {
        let bio = self.ended.lock().take();
        // The bio goes first, and with it the handles to the pages: a folio that has left writeback can be evicted.
        let mut result = bio.map_or(Ok(()), |bio| bio.status());
        if let Some(ops) = self.inode.ops().iomap() {
            result = result.and(ops.check_not_shut_down());
            // DUR-11: the next fsync owes a flush that was issued after this.
            self.inode.written.note(ops.shared_flush().ticket());
            if result.is_ok() {
                ops.shared_flush().wrote(self.range.end.saturating_sub(self.range.start));
                result = self.convert(ops);
            }
        }
        if let Err(error) = result {
            self.inode.sb.record_error(&self.inode, error);
        }
        for piece in &self.pieces {
            self.inode.mapping.end_writeback(&piece.folio, piece.len as usize);
        }
        self.inode.mapping.unpin_if_clean(&self.inode);
        // The worker has one more while the item runs.
        wait_for_stragglers(&self, 2);
    }
}
