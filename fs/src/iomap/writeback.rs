//! Writeback: dirty blocks to the device, in large bios.
//!
//! A window of extents is mapped with no folio locked; then its dirty folios are locked in ascending order, checked against
//! the extent sequence, put under writeback and collected. A run of blocks that is contiguous in the file and on the device
//! becomes one bio, and its end one work item ([`super::writeback_end`]).
use super::extents::{Extents, ops_of};
use super::writeback_end::{Piece, WritebackEnd};
use super::{Iomap, IomapKind, IomapOps};
use crate::page_cache::{Folio, FolioGuard, Mapping, Tag};
use crate::vfs::Inode;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use base::block::{Limits, Plug, SECTOR_SIZE, Sector};
use base::sync::Arc;
use base::workqueue::WorkQueue;
use base::{Errno, PAGE_SIZE, Result, sched};
use core::ops::Range;

const PS: u64 = PAGE_SIZE as u64;
/// Bytes mapped at once.
const WINDOW: u64 = 1 << 20;

/// Starts writeback of what is dirty in the folios of `range` (bytes). Task context; no folio locked, nothing unsubmitted; the inode lock may be
/// held, and is not needed.
///
/// With `integrity` every block that was dirty at the call is written, and folios under writeback are waited for (FS-8);
/// without, those are skipped (FS-7, BUF-5). Blocks dirtied later are not chased (SYN-2). Errors: of the extents, `ENOSPC`,
/// `ENOMEM`, `EIO` after a shutdown; device errors come to the error sequence of the inode.
pub fn write_range(inode: &Arc<Inode>, range: Range<u64>, integrity: bool) -> Result<()> {
    if inode.mapping.nr_dirty() == 0 {
        return Ok(());
    }
    let ops = ops_of(inode)?;
    ops.check_not_shut_down()?;
    let range = range.start / PS * PS..range.end.checked_next_multiple_of(PS).unwrap_or(u64::MAX);
    let tag = if integrity { Tag::ToWrite } else { Tag::Dirty };
    if integrity {
        inode.mapping.tag_for_writing(range.start / PS..range.end.div_ceil(PS));
    }
    let mut writer = Writer::new(inode, ops, ops.completion_queue()?, integrity);
    let result = writer.run(range, tag);
    writer.send();
    result
}

/// Waits until the writeback under way in `range` has ended, unless it is a write-through that started after `stamp`
/// ([`Mapping::stamp`]; SYN-2). No folio locked, nothing unsubmitted.
pub fn wait_range(mapping: &Mapping, range: Range<u64>, stamp: u64) {
    let (mut index, end) = (range.start / PS, range.end.div_ceil(PS));
    while let Some(folio) = mapping.next_tagged(index..end, Tag::Writeback) {
        index = folio.index() + 1;
        if !(folio.state().wt() && folio.started_after(stamp)) {
            folio.wait_writeback();
        }
    }
}

/// Writes what is dirty in `range` and waits, also for what was under writeback before, write-throughs included: the data part of
/// fsync (SYN-1, MM-7). When it returns the data is on the device and its extents are converted (CMP-9); no event and no
/// second stage is waited for (SYN-3). Errors: as [`write_range`]; of the device, by the error sequence.
pub fn write_and_wait(inode: &Arc<Inode>, range: Range<u64>) -> Result<()> {
    let stamp = inode.mapping.stamp();
    let written = write_range(inode, range.clone(), true);
    wait_range(&inode.mapping, range, stamp);
    base::anchor!("fsync.after_datawait", inode.ino);
    written
}

/// As [`write_and_wait`] for a caller that goes on only if the data is on the device: also `EIO` where any write of the inode's data failed
/// meanwhile. Whoever has the file open hears of that too.
pub fn write_and_check(inode: &Arc<Inode>, range: Range<u64>) -> Result<()> {
    let before = inode.errors_recorded();
    write_and_wait(inode, range)?;
    if inode.errors_recorded() == before { Ok(()) } else { Err(Errno::EIO) }
}

/// What became of a folio.
enum Step {
    /// Nothing is left to do for it.
    Done,
    /// From this position on it has to be mapped (again).
    Remap(u64),
}

/// Blocks to send: offset and length in the folio, and where they go.
struct Run {
    offset: usize,
    len: usize,
    sector: Sector,
    convert: bool,
}

struct Writer<'a> {
    inode: &'a Arc<Inode>,
    ops: &'a dyn IomapOps,
    limits: Limits,
    queue: Arc<WorkQueue>,
    integrity: bool,
    /// The bio in the making: contiguous in the file and on the device, marked and not submitted.
    pieces: Vec<Piece>,
    sector: Sector,
    pos: u64,
    len: u64,
    convert: bool,
    /// The folio last put under writeback, and the stamp of that: its other blocks may follow without a wait (R75).
    last: Option<(Arc<Folio>, u64)>,
}

impl<'a> Writer<'a> {
    fn new(inode: &'a Arc<Inode>, ops: &'a dyn IomapOps, queue: Arc<WorkQueue>, integrity: bool) -> Self {
        let limits = ops.device().limits();
        let pieces = Vec::new();
        let (sector, pos, len, convert, last) = (Sector(0), 0, 0, false, None);
        Writer { inode, ops, limits, queue, integrity, pieces, sector, pos, len, convert, last }
    }

    fn run(&mut self, range: Range<u64>, tag: Tag) -> Result<()> {
        let mapping = &self.inode.mapping;
        let mut pos = range.start;
        loop {
            let Some(folio) = mapping.next_tagged(pos / PS..range.end.div_ceil(PS), tag) else {
                return Ok(());
            };
            let from = pos.max(folio.pos());
            let Some((offset, len)) = folio.state().dirty_run((from - folio.pos()) as usize) else {
                // Clean by now, at least from here on.
                pos = match self.folio(&folio, from, None)? {
                    Step::Done => folio.pos() + PS,
                    Step::Remap(pos) => pos,
                };
                continue;
            };
            let start = folio.pos() + offset as u64;
            // Mapping may sleep (LOCK-6).
            self.send();
            let extents = self.map(start, start + len as u64, range.end)?;
            pos = self.window(&folio, start, &extents, tag)?;
        }
    }

    /// The extents from `start`. A hole under the dirty blocks `[start, end)` is allocated: a store through a user mapping beside a block
    /// that was faulted in. What lies behind is mapped as it is, up to a window.
    fn map(&self, start: u64, end: u64, limit: u64) -> Result<Extents> {
        let mut pos = start;
        while pos < end.min(self.inode.size()) {
            let mut map = self.ops.map_read(self.inode, pos, end - pos)?;
            if map.kind == IomapKind::Hole {
                map = self.ops.map_write(self.inode, pos, map.end().min(end) - pos)?;
            }
            if map.end() <= pos {
                return Err(Errno::EUCLEAN);
            }
            pos = map.end();
        }
        let window = (start / PS * PS).saturating_add(WINDOW);
        let stop = if limit < window { limit.next_multiple_of(PS) } else { window };
        Extents::load(self.inode, self.ops, start, stop.max(end))
    }

    /// Handles the tagged folios from `folio`, whose dirty blocks begin at `start`, to the end of `extents`. Returns where to go on.
    fn window(&mut self, folio: &Arc<Folio>, start: u64, extents: &Extents, tag: Tag) -> Result<u64> {
        let mut next = Some(folio.clone()).filter(|f| f.pos() < extents.end);
        let mut from = start;
        while let Some(folio) = next {
            if let Step::Remap(pos) = self.folio(&folio, from, Some(extents))? {
                return Ok(pos);
            }
            from = folio.pos() + PS;
            next = self.inode.mapping.next_tagged(from / PS..extents.end.div_ceil(PS), tag);
        }
        Ok(from.max(extents.end))
    }

    /// Puts the dirty blocks of `folio` from `from` on under writeback.
    fn folio(&mut self, folio: &Arc<Folio>, from: u64, extents: Option<&Extents>) -> Result<Step> {
        let mapping = &*self.inode.mapping;
        let Some(guard) = self.lock(folio) else { return Ok(Step::Done) };
        // Before the dirty bits are read: a store so far is in this I/O or leaves its block dirty (MM-2).
        guard.write_protect();
        if folio.pos() >= self.inode.size() {
            // EOF-6: the rest of a failed extension.
            if !guard.state().writeback() {
                mapping.remove(guard);
            }
            return Ok(Step::Done);
        }
        let offset = from.saturating_sub(folio.pos()) as usize;
        self.zero_past_end(&guard);
        match extents {
            Some(extents) if extents.stale(self.ops) => Ok(Step::Remap(from)),
            _ => Ok(self.start(&guard, offset, extents)),
        }
    }

    /// Whether the folio is under the writeback that this very call started.
    fn own(&self, folio: &Arc<Folio>) -> bool {
        self.last.as_ref().is_some_and(|(last, stamp)| Arc::ptr_eq(last, folio) && !folio.started_after(*stamp))
    }

    /// The folio, locked and with no writeback of others under way. `None` where there is nothing to do for it: it is gone, or it has not to
    /// be waited for (BUF-5).
    ///
    /// Writeback is not waited for with the folio locked. A write-through that has some blocks of the folio on their way may be about to
    /// lock it for others, in another extent or behind a page fault, and its writeback cannot end before that (R75).
    fn lock(&mut self, folio: &Arc<Folio>) -> Option<FolioGuard<'a>> {
        let mapping = &*self.inode.mapping;
        loop {
            let guard = match mapping.try_lock(folio.clone()) {
                Some(guard) => guard,
                None if !self.integrity => return None,
                None => {
                    self.send();
                    mapping.lock(folio.clone())?
                }
            };
            if self.own(folio) || !base::guard!("R19", guard.state().writeback()) {
                return Some(guard);
            }
            if !self.integrity {
                return None;
            }
            self.send();
            base::mistake!("R75", folio.wait_writeback());
            drop(guard);
            folio.wait_writeback();
        }
    }

    /// Blocks past the end are not written, and the bytes past it in the last block are zeros on the device (EOF-2, EOF-4).
    fn zero_past_end(&self, guard: &FolioGuard<'_>) {
        let size = self.inode.size() - guard.folio().pos();
        if size >= PS || guard.must_wait_stable() {
            return;
        }
        let (size, bs) = (size as usize, guard.mapping().block_size());
        guard.folio().page().zero(size, PAGE_SIZE - size);
        let first = size.next_multiple_of(bs);
        if first < PAGE_SIZE && guard.state().dirty_in(first, PAGE_SIZE - first) {
            guard.clear_dirty(first, PAGE_SIZE - first);
        }
    }

    /// Starts writeback of the dirty runs from `offset` on that `extents` tell where to put. All of them are marked before the first is
    /// collected, so that the writeback of the folio ends once (FOL-2).
    fn start(&mut self, guard: &FolioGuard<'_>, offset: usize, extents: Option<&Extents>) -> Step {
        let base = guard.folio().pos();
        let mut runs: ArrayVec<Run, 16> = ArrayVec::new();
        let mut at = offset;
        let mut step = Step::Done;
        while let Some((dirty, len)) = guard.state().dirty_run(at) {
            let start = dirty.max(at);
            let map = extents.and_then(|e| e.at(base + start as u64)).and_then(|map| place(map, base, start));
            let Some((sector, room, convert)) = map else {
                step = Step::Remap(base + start as u64);
                break;
            };
            let len = (dirty + len - start).min(room);
            runs.push(Run { offset: start, len, sector, convert });
            at = start + len;
        }
        for run in &runs {
            guard.begin_writeback(run.offset, run.len, false);
        }
        if !runs.is_empty() {
            self.last = Some((guard.folio().clone(), guard.folio().stamp()));
        }
        for run in runs {
            self.collect(guard.folio(), run);
        }
        if self.integrity && matches!(step, Step::Done) {
            guard.mapping().clear_to_write(guard.folio().index());
        }
        step
    }

    fn collect(&mut self, folio: &Arc<Folio>, run: Run) {
        let pos = folio.pos() + run.offset as u64;
        let room = self.limits.has_room(self.pieces.len(), self.len, run.len as u64);
        let follows = pos == self.pos + self.len
            && run.sector.0 == self.sector.0 + self.len / SECTOR_SIZE
            && run.convert == self.convert;
        if !room || !follows {
            self.send();
        }
        if self.pieces.is_empty() {
            (self.pos, self.sector, self.convert, self.len) = (pos, run.sector, run.convert, 0);
        }
        self.len += run.len as u64;
        sched::set_unsubmitted(true);
        self.pieces.push(Piece { folio: folio.clone(), offset: run.offset as u32, len: run.len as u32 });
    }

    /// What is marked goes to the device (LOCK-6).
    fn send(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        sched::set_unsubmitted(false);
        let pieces = core::mem::take(&mut self.pieces);
        // SIZE-7: the end of what is written now, not of what the file may grow to meanwhile.
        let end = (self.pos + self.len).min(self.inode.size());
        WritebackEnd::submit(
            self.inode,
            self.queue.clone(),
            self.ops.device(),
            self.sector,
            pieces,
            self.pos..end,
            self.convert,
        );
        Plug::submitted(self.ops.device());
    }
}

/// The sector for the byte `offset` of the folio at `base`, how many bytes of the folio the extent covers from there, and
/// whether they need conversion. `None` for a hole.
fn place(map: &Iomap, base: u64, offset: usize) -> Option<(Sector, usize, bool)> {
    let pos = base + offset as u64;
    let room = (map.end() - pos).min(PS - offset as u64) as usize;
    Some((map.sector_of(pos)?, room, matches!(map.kind, IomapKind::Unwritten(_))))
}
