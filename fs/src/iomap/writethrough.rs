//! Buffered write-through: the data is copied into the page cache and its I/O is issued before the call returns.
//!
//! This file is the submission, steps S-5 to S-11 of SEMANTICS A4; what happens when the I/O has ended stands in
//! [`super::ioend`]. The order inside one hold of the folio lock is what the whole promise rests on (SUB-1):
//!
//! ```text
//!   lock folio ─ wait until no writeback ─ mapping still true? ─ fill partial blocks ─ copy ─ i_size
//!      ─ write-protect user mappings ─ zero past the end ─ clear dirty + set writeback and wt, in one step ─ unlock
//! ```
//!
//! Two rules shape the control flow. A task never sleeps with folios that are marked and not submitted, or two of them wait for
//! each other (LOCK-6, R26): [`Submission::send`] stands before everything that sleeps. And a folio that this very call has under
//! writeback is never waited for: its end needs the reference that the submitter still holds (R75).
//!
//! Order (ORD-1 to ORD-6): of two writes to one block the later one waits for the folio of the earlier, so that the device ends with what
//! the cache has; writes to different blocks are in flight together and may end in any order, whatever durability one of them asks
//! for; writes of many folios do not mix, by the inode lock or that on the range. So an append whose device write fails keeps its place,
//! and the next one stands behind it (APP-3).
//!
//! What is different for a request that must not sleep stands in `nowait`.
mod nowait;

use super::buffered_write::{ALLOCATE_AT_ONCE, discard_unused, give_up, prepare_folio};
use super::ioctx::IoCtx;
use super::ioend::{IoKind, Owed, WrittenFolio, WrittenFolios};
use super::request::WriteRequest;
use super::zero::{protect_old_end, zero_gap};
use super::{DrainGuard, DrainKind, InodeLock, Iomap, IomapKind, IomapOps, RangeGuard};
use crate::io::IoSource;
use crate::kiocb::{IoFlags, Kiocb, Outcome};
use crate::page_cache::FolioGuard;
use crate::vfs::{Inode, SyncKind};
use alloc::boxed::Box;
use base::block::{Bio, BioOp, BlockDevice, Limits, Plug, Room, Segment};
use base::stats::Counter;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Result, sched, stats, trace};

const PS: u64 = PAGE_SIZE as u64;

/// Writes `request.len` bytes of `source` through the cache to the device (WT-1 to WT-8). Task context; sleeps, but for its own
/// device I/O only if the request is synchronous (AIO-13). The inode lock is let go here; it is held exclusively, or shared by a write
/// that changes neither the size nor where blocks are (LOCK-9).
///
/// Errors before anything is copied leave everything as it was (CHK-8); after that the outcome is a short count or the first
/// error of the device, by the table of ERR-1.
///
/// An asynchronous request with `NOWAIT`, whose lock is shared, does not sleep: `EAGAIN`, or a short count (NOW-1).
pub fn writethrough_write(
    request: WriteRequest<'_>,
    kiocb: &mut Kiocb<'_>,
    source: &mut dyn IoSource,
) -> Result<Outcome> {
    let WriteRequest { inode, freeze, lock, pos, len } = request;
    let iomap = inode.ops().iomap().ok_or(Errno::EOPNOTSUPP)?;
    // DIO-3: a direct write in flight and this copy would leave the cache and the disk different for ever.
    let nowait = kiocb.flags.contains(IoFlags::NOWAIT);
    let range = match lock {
        InodeLock::Shared(_) if nowait => Some(nowait::lock_range(inode, iomap, pos, len)?),
        InodeLock::Shared(_) => Some(RangeGuard::new(inode, pos..pos + len as u64, iomap.block_size())),
        InodeLock::Exclusive(_) => {
            inode.drain.drain_direct();
            zero_gap(inode, iomap, pos)?;
            None
        }
    };
    base::anchor!("S-5", inode.ino);
    let old_size = inode.size();
    let ctx =
        context(kiocb, iomap).inspect_err(|_| base::mistake!("R43", inode.drain.raise(DrainKind::Writethrough)))?;
    base::anchor!("S-6", inode.ino);
    // A synchronous request too: it lets go of the inode lock before its I/O has ended.
    let raised = if kiocb.is_sync() { base::guard!("R10", true) } else { base::guard!("R01", true) };
    let drain = raised.then(|| DrainGuard::new(inode, DrainKind::Writethrough));
    trace::record(trace::Kind::WtSubmit, inode.ino, pos);
    let plug = Plug::start();
    let mut submission = Submission::new(inode, iomap, ctx, source);
    submission.passing = kiocb.flags.contains(IoFlags::DONTCACHE);
    submission.nowait = nowait;
    let stopped = submission.run(pos, len, &|| kiocb.caller.fatal_signal_pending()).err();
    let Submission { ctx, folios, copied, mapped, unwritten, metadata_pending, .. } = submission;
    drop(plug);
    if let Some(error) = stopped.filter(|_| nowait && copied == 0) {
        // Nothing has happened, so nothing is owed: not even a flush by the next fsync, as a finish would note.
        trace::record(trace::Kind::WtDone, inode.ino, error.to_ret() as u64);
        return Err(error);
    }
    stats::count(Counter::WtStarted);
    let end = pos + copied as u64;
    if stopped.is_some() && !nowait {
        give_up(inode, iomap, end..mapped);
    }
    protect_old_end(inode, old_size);
    drop(range);
    // The last block goes to the device whole, and what others have dirtied in it is clean from then on (SUB-2, WT-7): d_size has to
    // cover that too, because nobody else will raise it. The inode lock keeps i_size.
    let written_end = end.next_multiple_of(u64::from(iomap.block_size())).min(inode.size());
    let convert = unwritten || written_end > iomap.disk_size();
    // Looked at again, and behind d_size: another write's finish may have raised that since the blocks were mapped, as when this write
    // has waited for its writeback. Then there is nothing to raise, but the size is not durable (DUR-4, R53).
    let size_pending = base::guard!("R53", iomap.metadata_pending(inode, SyncKind::Data));
    let owed = Owed {
        len: copied,
        written_end,
        stopped,
        convert,
        metadata_pending: metadata_pending || size_pending,
        drain,
        freeze: Some(freeze),
        ..Owed::by(kiocb, inode, pos, IoKind::Writethrough(folios))
    };
    ctx.hand_over(owed, || drop(lock))
}

/// The context of a request. For an asynchronous one the queues that will finish it are made here, before a byte is copied
/// (CHK-8, QUE-1); one that must not sleep needs them made already (NOW-1). Errors: `ENOMEM`, `EAGAIN`.
pub(super) fn context(kiocb: &Kiocb<'_>, iomap: &dyn IomapOps) -> Result<Arc<IoCtx>> {
    if kiocb.is_sync() {
        return Ok(IoCtx::new_sync());
    }
    if kiocb.flags.contains(IoFlags::NOWAIT) {
        return iomap.queues_now().map(IoCtx::new_nowait).ok_or(Errno::EAGAIN);
    }
    Ok(IoCtx::new_aio(iomap.completion_queue()?, iomap.sync_queue()?))
}

/// What became of one try at a folio.
enum Step {
    /// This many bytes of the range are in the cache and marked for the device.
    Copied(usize),
    /// The extent map changed under us: map again (MAP-1).
    Remap,
    /// The source has no readable byte in memory: fault it in, with nothing locked.
    Fault,
}

/// The collecting phase of one write-through.
struct Submission<'a> {
    inode: &'a Arc<Inode>,
    iomap: &'a dyn IomapOps,
    device: &'a Arc<dyn BlockDevice>,
    limits: Limits,
    ctx: Arc<IoCtx>,
    source: &'a mut dyn IoSource,
    /// The bio that is being filled; its folios are marked and unsubmitted.
    bio: Option<Box<Bio>>,
    folios: WrittenFolios,
    /// Bytes of the original range copied and marked.
    copied: usize,
    /// The position up to which blocks were mapped for this write.
    mapped: u64,
    /// Some block was UNWRITTEN when it was mapped.
    unwritten: bool,
    metadata_pending: bool,
    /// Folios that come into the cache with this write leave it with its end (`RWF_DONTCACHE`, DNC-1).
    passing: bool,
    /// Nothing may sleep (NOW-1).
    nowait: bool,
    /// Room on the device for the bio that is being filled or comes next, if nothing may sleep.
    room: Option<Room>,
}

impl<'a> Submission<'a> {
    fn new(inode: &'a Arc<Inode>, iomap: &'a dyn IomapOps, ctx: Arc<IoCtx>, source: &'a mut dyn IoSource) -> Self {
        let device = iomap.device();
        Submission {
            inode,
            iomap,
            device,
            limits: device.limits(),
            ctx,
            source,
            bio: None,
            folios: WrittenFolios::new(),
            copied: 0,
            mapped: 0,
            unwritten: false,
            metadata_pending: false,
            passing: false,
            nowait: false,
            room: None,
        }
    }

    /// S-7: extent after extent. An error says why the range was not copied to its end; bytes before it stand (ERR-1).
    fn run(&mut self, pos: u64, len: usize, killed: &dyn Fn() -> bool) -> Result<()> {
        let result = self.extents(pos, len, killed);
        result.and(self.send())
    }

    fn extents(&mut self, pos: u64, len: usize, killed: &dyn Fn() -> bool) -> Result<()> {
        let block = u64::from(self.iomap.block_size());
        let end = pos + len as u64;
        while self.copied < len {
            self.send()?;
            let at = pos + self.copied as u64;
            let start = at / block * block;
            let want = (end.next_multiple_of(block) - start).min(ALLOCATE_AT_ONCE as u64);
            let map = if self.nowait {
                self.iomap.map_now(start, want)?
            } else {
                self.iomap.map_write(self.inode, start, want)?
            };
            self.mapped = map.end();
            base::anchor!("S-7", self.inode.ino);
            self.unwritten |= matches!(map.kind, IomapKind::Unwritten(_));
            self.metadata_pending |= map.metadata_pending;
            self.extent(&map, pos, end, killed)?;
        }
        Ok(())
    }

    /// S-8 over the folios of one extent, none beyond it (SUB-3). Returns early to have the rest mapped again.
    fn extent(&mut self, map: &Iomap, pos: u64, end: u64, killed: &dyn Fn() -> bool) -> Result<()> {
        let end = end.min(map.end());
        let mut most = PAGE_SIZE;
        loop {
            let at = pos + self.copied as u64;
            if at >= end {
                return Ok(());
            }
            if killed() {
                return Err(Errno::EINTR);
            }
            let len = (PS - at % PS).min(end - at).min(most as u64) as usize;
            match self.folio(map, at, len)? {
                Step::Copied(n) => {
                    self.copied += n;
                    most = PAGE_SIZE;
                }
                Step::Remap => return Ok(()),
                Step::Fault if self.nowait => return Err(Errno::EAGAIN),
                Step::Fault => {
                    if base::guard!("R26", true) {
                        self.send()?;
                    }
                    most = self.source.fault_in(len);
                    if most == 0 {
                        return Err(Errno::EFAULT);
                    }
                }
            }
        }
    }

    /// S-8b to S-8m for `len` bytes at `at`, which lie in one folio and one extent.
    fn folio(&mut self, map: &Iomap, at: u64, len: usize) -> Result<Step> {
        let inode = self.inode;
        let folio = self.lock_folio(at / PS)?;
        let offset = (at % PS) as usize;
        let own = self.folios.last().filter(|own| Arc::ptr_eq(&own.folio, folio.folio()));
        let passing = self.passing && own.map_or(folio.state().blank(), |own| own.passing);
        self.wait_writeback(&folio, offset)?;
        if base::guard!("R16", self.iomap.extent_seq() != map.seq) {
            self.leave(folio);
            return Ok(Step::Remap);
        }
        if self.nowait
            && let Err(error) = self.ready_now(&folio, map, offset, len)
        {
            self.leave(folio);
            return Err(error);
        }
        // Filling a partly covered block may read it.
        let sent = if self.whole_blocks(offset, len) { Ok(()) } else { self.send() };
        let copied = match sent.and_then(|()| prepare_folio(inode, self.iomap, &folio, map, offset, len)) {
            Ok(()) => self.copy(&folio, offset, len),
            Err(error) => {
                discard_unused(inode, folio);
                return Err(error);
            }
        };
        if copied == 0 {
            self.leave(folio);
            return Ok(Step::Fault);
        }
        base::anchor!("S-8", inode.ino);
        self.publish(&folio, map, offset, copied, passing);
        Ok(Step::Copied(copied))
    }

    /// S-8b.
    fn lock_folio(&mut self, index: u64) -> Result<FolioGuard<'a>> {
        let mapping = &self.inode.mapping;
        if self.nowait {
            return mapping.find_or_create_now(index).ok().flatten().ok_or(Errno::EAGAIN);
        }
        match mapping.try_find_or_create(index)? {
            Some(folio) => Ok(folio),
            None => {
                self.send()?;
                mapping.find_or_create(index)
            }
        }
    }

    /// Unlocks a folio into which nothing came. One that is of no use to others goes from the cache.
    fn leave(&self, folio: FolioGuard<'_>) {
        if self.nowait && folio.state().blank() {
            return self.inode.mapping.remove(folio);
        }
        discard_unused(self.inode, folio);
    }

    fn block_size(&self) -> usize {
        self.iomap.block_size() as usize
    }

    fn whole_blocks(&self, offset: usize, len: usize) -> bool {
        offset.is_multiple_of(self.block_size()) && len.is_multiple_of(self.block_size())
    }

    /// S-8c: waits for the writeback of others (FS-5, FS-6, BUF-6). Our own for an earlier extent of this folio is not waited
    /// for: it goes on with other blocks (R75). Within a block of our own there is no going on (STB-1): the write ends short.
    fn wait_writeback(&mut self, folio: &FolioGuard<'_>, offset: usize) -> Result<()> {
        if !base::guard!("R29", folio.folio().state().writeback()) {
            return Ok(());
        }
        if base::guard!("R75-own", self.folios.last().is_some_and(|own| Arc::ptr_eq(&own.folio, folio.folio()))) {
            return if offset.is_multiple_of(self.block_size()) { Ok(()) } else { Err(Errno::EFAULT) };
        }
        if self.nowait {
            return Err(Errno::EAGAIN);
        }
        self.send()?;
        folio.wait_writeback();
        Ok(())
    }

    /// S-8f and S-8g: copies without faulting and returns how much of it counts. After a short copy only whole valid blocks do
    /// (ERR-2, FOL-5): the bytes behind them are given back to the source and copied again once they can be faulted in.
    fn copy(&mut self, folio: &FolioGuard<'_>, offset: usize, len: usize) -> usize {
        let copied = folio.change(|page| self.source.copy_to_page(page, offset, len));
        folio.set_uptodate(offset, copied);
        if copied == len {
            return len;
        }
        let block = self.block_size();
        let valid = (offset..offset + copied).take_while(|at| folio.folio().state().uptodate_in(*at, 1)).count();
        let counted = ((offset + valid) / block * block).saturating_sub(offset);
        if valid > counted {
            // A valid block was changed in part and does not go out with this write: it is dirty, and zero past the end.
            folio.mark_dirty(offset + counted, valid - counted);
            self.zero_past_end(folio, offset + counted, offset + valid);
        }
        base::mistake!("FOL-5", return copied);
        self.source.revert(copied - counted);
        counted
    }

    /// S-8h to S-8l for bytes that were copied. The size is the end of what was copied (EOF-1, APP-2), what is sent are whole blocks,
    /// whatever the alignment (ALN-1, ALN-2).
    fn publish(&mut self, folio: &FolioGuard<'_>, map: &Iomap, offset: usize, copied: usize, passing: bool) {
        let end = folio.folio().pos() + (offset + copied) as u64;
        if base::guard!("R32", end > self.inode.size()) {
            self.inode.set_size(end);
        }
        // Before the dirty bits are cleared: what a user mapping stored so far is in this I/O or leaves its block dirty (MM-2).
        folio.write_protect();
        let block = self.block_size();
        let (start, stop) = (offset / block * block, (offset + copied).next_multiple_of(block));
        // After the write protection: a store past the end could otherwise follow the zeroing (EOF-4).
        self.zero_past_end(folio, start, stop);
        let sector = map.sector_of(folio.folio().pos() + start as u64).expect("map_write leaves no hole");
        if self.bio.as_ref().is_some_and(|bio| !bio.takes(sector, (stop - start) as u64, &self.limits)) {
            // An error ends the write before its next folio; this one is marked and released as failed with the others.
            let _ = self.send();
        }
        folio.begin_writeback(start, stop - start, true);
        sched::set_unsubmitted(true);
        let (offset, len) = (start as u32, (stop - start) as u32);
        self.folios.push(WrittenFolio { folio: folio.folio().clone(), offset, len, passing });
        let ctx = &self.ctx;
        let bio = self.bio.get_or_insert_with(|| Bio::new(BioOp::Write, sector, ctx.clone()));
        bio.push(Segment { page: folio.folio().page().clone(), offset, len });
    }

    /// Bytes of the folio in `[start, stop)` behind the end of the file become zero (EOF-2).
    fn zero_past_end(&self, folio: &FolioGuard<'_>, start: usize, stop: usize) {
        let size = self.inode.size().saturating_sub(folio.folio().pos()).min(PS) as usize;
        let from = start.max(size);
        if base::guard!("R24", from < stop) {
            folio.folio().page().zero(from, stop - from);
        }
    }

    /// S-9: what is marked goes to the device. Does not sleep, unless the device's ring is full. Errors: that of an earlier bio; then
    /// nothing more is sent, and what is marked is released as failed by the finish (SUB-5, ERR-5).
    // Nearly always there is one bio, and most calls have nothing to do.
    #[inline(always)]
    fn send(&mut self) -> Result<()> {
        let bio = self.bio.take();
        sched::set_unsubmitted(false);
        if let Some(error) = self.ctx.error().filter(|_| base::guard!("SUB-5", true)) {
            return Err(error);
        }
        if let Some(bio) = bio {
            base::anchor!("S-9", self.inode.ino);
            match self.room.take() {
                Some(room) => self.ctx.submit_into(bio, room),
                None => self.ctx.submit(bio, self.device),
            }
            Plug::submitted(self.device);
        }
        Ok(())
    }
}
