//! The end of an I/O: the one place that fixes the order of the finish steps (CMP-8).
//!
//! | step | what | why here |
//! |---|---|---|
//! | F1 | convert extents, raise d_size, in one transaction | before F2: a folio that is neither dirty nor under writeback must be readable from disk (CMP-9; R12, R13, R50) |
//! | F2 | end writeback of each folio; on error mark it dirty first | before F4: truncate removes folios once the count is zero |
//! | F4 | drop the drain count | before F5: a truncate does not wait for a cache flush (CMP-10) |
//! | F5 | commit or flush, if durability is owed | before F6: the outcome says that it is done (R54) |
//! | F6 | post the outcome, release the file and freeze protection | last: the issuer may tear everything down |
//!
//! (F3 of the specification, a mapping-wide stable count, does not exist here: stability is a mark on each folio, STB-2.)
//!
//! F1 to F4 run on the completion queue and must not wait for an inode, invalidate or folio lock, for writeback, for the drain
//! count or for another context (LOCK-5). F5 runs elsewhere (QUE-5).
use super::IomapOps;
use super::drain::DrainGuard;
use super::range_lock::RangeGuard;
use super::shared_flush::Ticket;
use crate::io::Pinned;
use crate::kiocb::{Completion, IoFlags, Kiocb, Outcome};
use crate::page_cache::Folio;
use crate::vfs::{File, FreezeGuard, Inode, Leaving, SyncKind, fput_deferred};
use base::stats::{self, Counter};
use base::sync::Arc;
use base::trace::{self, Kind};
use base::{Errno, PAGE_SIZE, Result};
use core::ops::Range;
use smallvec::SmallVec;

/// The blocks of one folio that a write-through has under writeback.
pub struct WrittenFolio {
    /// The folio; the context's reference to it (FS-12).
    pub folio: Arc<Folio>,
    /// First byte within the folio, at a block boundary.
    pub offset: u32,
    /// Bytes, whole blocks.
    pub len: u32,
    /// It came into the cache with this write, and leaves it with its end (DNC-1).
    pub passing: bool,
}

/// The folios of one write-through, ascending.
pub type WrittenFolios = SmallVec<[WrittenFolio; 2]>;

/// What kind of I/O ends.
pub enum IoKind {
    /// A buffered write-through with these folios under writeback.
    Writethrough(WrittenFolios),
    /// A direct write from these frames.
    DirectWrite(Pinned),
    /// A direct read into these frames.
    DirectRead(Pinned),
}

/// What an I/O owes when its last bio has ended. Every field is a duty that is done once, by moving it, whatever error there was
/// (ERR-11).
pub struct Owed {
    /// The inode; kept alive by the request's file too.
    pub inode: Arc<Inode>,
    /// First byte of the original range.
    pub pos: u64,
    /// Bytes of the original range that were copied or sent (ALN-5).
    pub len: usize,
    /// The end of the file's bytes that went to the device; behind that of the original range where its last block held more of the file.
    pub written_end: u64,
    /// Why the submission stopped before its end, if it did; the outcome if no byte was sent (ERR-1).
    pub stopped: Option<Errno>,
    /// The folios or frames.
    pub kind: IoKind,
    /// F1 is needed: an unwritten block was written, or the range ends behind d_size.
    pub convert: bool,
    /// The durability owed (DUR-1, DUR-2); a plain write owes none (DUR-10).
    pub sync: Option<SyncKind>,
    /// Metadata needed to reach the bytes, d_size among it, was pending at submission: the flush alone will not do (DUR-4, R53).
    pub metadata_pending: bool,
    /// The range of a direct write: unlocked in F4, when the cache and the disk agree.
    pub range: Option<RangeGuard>,
    /// F4.
    pub drain: Option<DrainGuard>,
    /// Released in F6 (FRZ-2); reads have none.
    pub freeze: Option<FreezeGuard>,
    /// Keeps the inode and the superblock until F6 (CTX-8). Synchronous requests borrow their caller's.
    pub file: Option<Arc<File>>,
    /// The issuer of an asynchronous request.
    pub completion: Option<Completion>,
}

impl Owed {
    /// What every I/O owes, with nothing but its memory to give back: nobody is told, nothing is counted.
    pub fn bare(inode: &Arc<Inode>, pos: u64, kind: IoKind) -> Owed {
        Owed {
            inode: inode.clone(),
            pos,
            len: 0,
            written_end: 0,
            stopped: None,
            kind,
            convert: false,
            sync: None,
            metadata_pending: false,
            range: None,
            drain: None,
            freeze: None,
            file: None,
            completion: None,
        }
    }

    /// As [`Owed::bare`], with what the request brings along: an asynchronous one its file and the duty to complete it, a write the
    /// durability it asks for.
    pub fn by(kiocb: &mut Kiocb<'_>, inode: &Arc<Inode>, pos: u64, kind: IoKind) -> Owed {
        let writes = !matches!(kind, IoKind::DirectRead(_));
        Owed {
            sync: sync_kind(kiocb.flags).filter(|_| writes),
            file: (!kiocb.is_sync()).then(|| kiocb.file.clone()),
            completion: kiocb.take_completion(),
            ..Owed::bare(inode, pos, kind)
        }
    }

    /// For anchors and traces.
    pub fn ino(&self) -> u64 {
        self.inode.ino
    }

    /// F1 to F4. Task context. An error is the outcome of this request alone (QUE-7).
    pub fn finish(mut self, error: Option<Errno>) -> Finished {
        let ino = self.inode.ino;
        trace::record(Kind::WtFinish, ino, self.pos);
        let mut result = self.outcome(error);
        let ticket = iomap_of(&self.inode).shared_flush().ticket();
        if base::guard!("R51", !matches!(self.kind, IoKind::DirectRead(_))) {
            // Before F2: an fsync that has waited for writeback must learn that a flush is owed (DUR-11, R51).
            self.inode.written.note(ticket);
            iomap_of(&self.inode).shared_flush().wrote(result.unwrap_or(0) as u64);
        }
        base::mistake!("R12", result = self.end_writeback(result));
        base::anchor!("F1", ino);
        base::mistake!("R45", drop(self.inode.lock.read()));
        result = self.convert(result);
        base::anchor!("F2", ino);
        result = self.end_writeback(result);
        let stale = self.drop_cached();
        base::anchor!("F4", ino);
        drop(self.range.take());
        drop(self.drain.take());
        base::anchor!("F4.drained", ino);
        // From here on a truncate may have set the size (SIZE-1): the finish has no business with it any more.
        base::mistake!("SIZE-1", self.inode.set_size(self.inode.size().max(self.pos + self.len as u64)));
        Finished {
            owes: self.sync.filter(|_| result.is_ok_and(|n| n > 0)),
            stale,
            full_commit: self.convert || self.metadata_pending || self.sync == Some(SyncKind::All),
            ticket,
            result,
            inode: self.inode,
            freeze: self.freeze,
            file: self.file,
            completion: self.completion,
        }
    }

    /// ERR-1 before the finish: any bio's error wins over a short count, a short count over the reason it is short. A write that the
    /// shutdown has met on its way has failed, whatever the device says (SHD-1).
    fn outcome(&self, error: Option<Errno>) -> Result<usize> {
        let cut_off = match self.kind {
            IoKind::DirectRead(_) => None,
            _ => iomap_of(&self.inode).check_not_shut_down().err(),
        };
        match (error.or(cut_off), self.stopped) {
            (Some(error), _) => Err(error),
            (None, Some(reason)) if self.len == 0 => Err(reason),
            (None, _) => Ok(self.len),
        }
    }

    /// F1. A failed write converts nothing and raises no size on the disk (ERR-7); i_size stays where the copy has put it (ERR-8).
    fn convert(&self, result: Result<usize>) -> Result<usize> {
        let len = result?;
        if self.convert && len > 0 {
            let end = self.written_end.max(self.pos + len as u64);
            iomap_of(&self.inode).finish_write(&self.inode, self.pos, end - self.pos)?;
            trace::record(Kind::WtConvert, self.inode.ino, self.pos);
        }
        Ok(len)
    }

    /// F2. The error is recorded before writeback ends, so that an fsync that waited for it sees it (ERR-6); the blocks are
    /// dirty again before writeback ends, so that no reader finds them clean and old (ERR-3, FOL-4). A submission that ended before it had
    /// marked a folio has no folios here, and its error is no news to anybody's fsync.
    fn end_writeback(&mut self, result: Result<usize>) -> Result<usize> {
        let folios = match &mut self.kind {
            IoKind::Writethrough(folios) => folios,
            IoKind::DirectWrite(frames) | IoKind::DirectRead(frames) => {
                frames.clear(); // The device is done with them; this lets go of the pins.
                return result;
            }
        };
        if let Err(error) = result
            && base::guard!("ERR-6", !folios.is_empty())
        {
            self.inode.sb.record_error(&self.inode, error);
        }
        for written in folios.drain(..) {
            if base::guard!("ERR-3", result.is_err()) {
                self.inode.mapping.redirty(&written.folio, written.offset as usize, written.len as usize);
                base::anchor!("F2.redirtied", self.inode.ino);
            }
            self.inode.mapping.end_writeback(&written.folio, written.len as usize);
            if written.passing {
                self.inode.mapping.drop_behind(&written.folio);
            }
        }
        result
    }

    /// After a direct write, folios of its range hold old bytes (DIO-4). Those that are free go now; a worker must not wait for the
    /// others (LOCK-5), so their range is left to the second stage.
    fn drop_cached(&self) -> Option<Range<u64>> {
        if !matches!(self.kind, IoKind::DirectWrite(_)) || self.inode.mapping.nr_pages() == 0 {
            return None;
        }
        let range = self.pos..self.pos + self.len as u64;
        (!self.inode.mapping.invalidate_range_clean(range.clone())).then_some(range)
    }
}

/// An I/O after F4: its bytes are where they belong, and what is left is durability and the outcome.
pub struct Finished {
    result: Result<usize>,
    owes: Option<SyncKind>,
    /// Clean folios of a direct write's range that were locked when it ended: they may hold what the disk held before.
    stale: Option<Range<u64>>,
    full_commit: bool,
    ticket: Ticket,
    inode: Arc<Inode>,
    freeze: Option<FreezeGuard>,
    file: Option<Arc<File>>,
    completion: Option<Completion>,
}

impl Finished {
    /// Whether something is left that may wait for locks, log or device, and so belongs on the second queue (QUE-5).
    pub fn owes_second_stage(&self) -> bool {
        self.owes.is_some() || self.stale.is_some()
    }

    /// The second stage: waits for readers that hold stale folios, then F5: nothing, one shared flush (the shortcut of DUR-4), or
    /// a commit (DUR-5). May sleep for long: no lock is held.
    pub fn second_stage(mut self) -> Finished {
        if let Some(range) = self.stale.take() {
            drop_clean(&self.inode, range);
        }
        if let Some(kind) = self.owes.take().filter(|_| base::guard!("R54", true)) {
            base::anchor!("F5", self.inode.ino);
            let iomap = iomap_of(&self.inode);
            let durable = if self.full_commit { iomap.commit(&self.inode, kind) } else { iomap.flush(self.ticket) };
            if let Err(error) = durable {
                self.inode.sb.record_error(&self.inode, error);
                self.result = Err(error);
            }
        }
        self
    }

    /// F6 of an asynchronous request that a worker finished: its one event, in the order of completion (AIO-9). Whoever sees it may unmount at once, so the request is
    /// announced as leaving before (R64).
    pub fn conclude(mut self) {
        base::anchor!("F6", self.inode.ino);
        let leaving = base::guard!("R64", true).then(|| Leaving::announce(&self.inode.sb));
        if let Some(completion) = self.completion.take() {
            completion.complete(self.result);
        }
        base::anchor!("F6.posted", self.inode.ino);
        self.release();
        drop(leaving);
    }

    /// F6 of a request that ends by its return value (CMP-7).
    pub fn conclude_inline(mut self) -> Result<Outcome> {
        base::anchor!("F6", self.inode.ino);
        base::mistake!("R44", self.completion.take().into_iter().for_each(|twice| twice.complete(self.result)));
        if let Some(completion) = self.completion.take() {
            completion.disarm();
        }
        let result = self.result;
        self.release();
        result.map(Outcome::Done)
    }

    /// What a request holds to its very end. The file goes by way of another task: it might be the last reference (CTX-8).
    fn release(self) {
        stats::count(Counter::WtFinished);
        trace::record(Kind::WtDone, self.inode.ino, self.result.map_or_else(|e| e.to_ret() as u64, |n| n as u64));
        let Finished { freeze, inode, file, .. } = self;
        drop(inode);
        if let Some(file) = file {
            base::mistake!("R49", return drop(file));
            fput_deferred(file);
        }
        // Last: when a freeze has waited for every request (FRZ-1), none of them keeps a file open, and an unmount succeeds.
        drop(freeze);
    }
}

/// The durability a request asks for (A13).
pub(super) fn sync_kind(flags: IoFlags) -> Option<SyncKind> {
    if flags.contains(IoFlags::SYNC) {
        Some(SyncKind::All)
    } else {
        flags.contains(IoFlags::DSYNC).then_some(SyncKind::Data)
    }
}

/// The file system's side of an inode that has I/O in flight.
fn iomap_of(inode: &Inode) -> &dyn IomapOps {
    inode.ops().iomap().expect("I/O was started through it")
}

/// Drops clean folios of `range`, waiting for their locks. What is dirty or under writeback is newer than the direct write.
fn drop_clean(inode: &Inode, range: Range<u64>) {
    let indices = range.start / PAGE_SIZE as u64..range.end.div_ceil(PAGE_SIZE as u64);
    for index in indices {
        if let Some(folio) = inode.mapping.find_locked(index) {
            let state = folio.folio().state();
            if !state.dirty() && !state.writeback() {
                inode.mapping.remove(folio);
            }
        }
    }
}
