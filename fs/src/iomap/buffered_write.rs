//! Buffered writes: into the cache, and dirty.
use super::extents::ops_of;
use super::read_batch::Reader;
use super::zero::{protect_old_end, zero_gap};
use super::{Iomap, IomapKind, IomapOps, balance_dirty};
use crate::io::IoSource;
use crate::kiocb::Kiocb;
use crate::page_cache::FolioGuard;
use crate::vfs::Inode;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Result};
use core::ops::Range;

const PS: u64 = PAGE_SIZE as u64;
/// Most bytes allocated ahead of their copy: so much at most stays behind, UNWRITTEN, when the source ends early (ERR-9). And as
/// much is dirtied at most before a writer is throttled.
pub(super) const ALLOCATE_AT_ONCE: usize = 1 << 20;

/// Writes `source` to the cache at `kiocb.pos` and leaves it dirty; returns the bytes written. The caller holds the inode
/// lock exclusively, has done the checks of A2 and waited for direct I/O in flight (DIO-3). Task context; sleeps.
///
/// It throttles itself only after each MiB, because whoever is throttled here keeps the inode lock from others; the caller calls
/// [`balance_dirty`] when it has let go of that (LOCK-7).
///
/// Blocks are allocated here, UNWRITTEN (EXT-1): a write that was accepted finds its space later. Errors, when nothing was
/// written: `ENOSPC`, `EFAULT`, `EIO`, `ENOMEM`, `EINTR` (a fatal signal).
pub fn buffered_write(inode: &Arc<Inode>, kiocb: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<usize> {
    let old_size = inode.size();
    let written = copy_all(inode, kiocb, source);
    protect_old_end(inode, old_size);
    written
}

/// Chunk after chunk, until the source or the room ends.
fn copy_all(inode: &Arc<Inode>, kiocb: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<usize> {
    let ops = ops_of(inode)?;
    let start = kiocb.pos;
    let mut writer = Writer { inode, ops, map: None, mapped: 0 };
    let (mut done, mut balanced) = (0, 0);
    let stopped = loop {
        if source.remaining() == 0 {
            return Ok(done);
        }
        if kiocb.caller.fatal_signal_pending() {
            break Errno::EINTR;
        }
        if done == 0
            && let Err(error) = zero_gap(inode, ops, start)
        {
            break error;
        }
        match writer.chunk(start + done as u64, source) {
            Ok(n) => done += n,
            Err(error) => break error,
        }
        if done - balanced >= ALLOCATE_AT_ONCE {
            balance_dirty(inode);
            balanced = done;
        }
    };
    give_up(inode, ops, start + done as u64..writer.mapped);
    if done > 0 { Ok(done) } else { Err(stopped) }
}

struct Writer<'a> {
    inode: &'a Arc<Inode>,
    ops: &'a dyn IomapOps,
    /// The extent of the last chunk, as long as it is true.
    map: Option<Iomap>,
    /// The position up to which blocks were mapped for this write.
    mapped: u64,
}

impl Writer<'_> {
    /// The steps of A4 for what fits in one folio and one extent. `Ok(0)`: nothing copied this time, try again.
    fn chunk(&mut self, pos: u64, source: &mut dyn IoSource) -> Result<usize> {
        let offset = (pos % PS) as usize;
        let len = source.remaining().min(PAGE_SIZE - offset);
        // 8a: with nothing locked.
        let len = len.min(source.fault_in(len));
        if len == 0 {
            return Err(Errno::EFAULT);
        }
        let map = self.map(pos, source.remaining().min(ALLOCATE_AT_ONCE))?;
        base::anchor!("bw.after_map", self.inode.ino);
        let len = len.min((map.end() - pos) as usize);
        let guard = self.inode.mapping.find_or_create(pos / PS)?;
        // BUF-4: what is dirtied from here on is in a later I/O.
        guard.wait_stable();
        if base::guard!("R16", self.ops.extent_seq() != map.seq) {
            self.map = None;
            discard_unused(self.inode, guard);
            return Ok(0);
        }
        let result =
            prepare_folio(self.inode, self.ops, &guard, &map, offset, len).map(|()| copy(&guard, offset, len, source));
        match result {
            Ok(copied) if copied > 0 => self.publish(&guard, offset, copied),
            _ => discard_unused(self.inode, guard),
        }
        result
    }

    /// The extent at `pos`, from the last chunk if it is still true.
    fn map(&mut self, pos: u64, len: usize) -> Result<Iomap> {
        if let Some(map) = self.map.filter(|m| m.pos <= pos && pos < m.end() && m.seq == self.ops.extent_seq()) {
            return Ok(map);
        }
        let bs = u64::from(self.ops.block_size());
        let start = pos / bs * bs;
        let end = (pos + len as u64).next_multiple_of(bs);
        let map = self.ops.map_write(self.inode, start, end - start)?;
        if map.pos > pos || map.end() <= pos || map.kind == IomapKind::Hole {
            return Err(Errno::EUCLEAN);
        }
        self.map = Some(map);
        self.mapped = map.end();
        Ok(map)
    }

    /// 8g and 8h: the size goes up last, with release order, so that whoever sees it sees the bytes (R15).
    fn publish(&self, guard: &FolioGuard<'_>, offset: usize, copied: usize) {
        guard.mark_dirty(offset, copied);
        let end = guard.folio().pos() + (offset + copied) as u64;
        if end > self.inode.size() {
            self.inode.set_size(end);
        }
    }
}

/// Copies without faulting; returns how much of it counts. After a short copy that is what lies in valid blocks before the first that
/// is not: the rest of the bytes goes back to the source (ERR-2, FOL-5).
fn copy(guard: &FolioGuard<'_>, offset: usize, len: usize, source: &mut dyn IoSource) -> usize {
    let copied = guard.change(|page| source.copy_to_page(page, offset, len));
    guard.set_uptodate(offset, copied);
    let mut valid = copied;
    while valid > 0 && !guard.state().uptodate_in(offset, valid) {
        let bs = guard.mapping().block_size();
        valid = ((offset + valid - 1) / bs * bs).saturating_sub(offset);
    }
    source.revert(copied - valid);
    valid
}

/// Makes the blocks valid that `len` bytes from `offset` cover in part (8e): reads those with data in the file, makes the others
/// zeros (ALN-3). Blocks covered wholly, and blocks outside, are not touched (ALN-4).
///
/// The folio is locked, stable, and `map`, which covers the range, was found true under the lock. Sleeps if it reads, so
/// nothing is unsubmitted (LOCK-6). Errors: `EIO`.
pub fn prepare_folio(
    inode: &Inode,
    ops: &dyn IomapOps,
    guard: &FolioGuard<'_>,
    map: &Iomap,
    offset: usize,
    len: usize,
) -> Result<()> {
    let bs = guard.mapping().block_size();
    let (head, tail) = (offset / bs * bs, (offset + len - 1) / bs * bs);
    let covered = |block: usize| offset <= block && block + bs <= offset + len;
    if !covered(head) {
        make_valid(inode, ops, guard, map, head)?;
    }
    if tail != head && !covered(tail) {
        make_valid(inode, ops, guard, map, tail)?;
    }
    Ok(())
}

fn make_valid(inode: &Inode, ops: &dyn IomapOps, guard: &FolioGuard<'_>, map: &Iomap, block: usize) -> Result<()> {
    let bs = guard.mapping().block_size();
    if guard.state().uptodate_in(block, bs) {
        return Ok(());
    }
    let pos = guard.folio().pos() + block as u64;
    match map.kind {
        IomapKind::Mapped(_) if pos < inode.size() => {
            let sector = map.sector_of(pos).ok_or(Errno::EUCLEAN)?;
            let mut reader = Reader::waiting(ops);
            reader.add(sector, guard.folio().page(), block, bs);
            reader.wait()?;
        }
        _ => guard.folio().page().zero(block, bs),
    }
    guard.set_uptodate(block, bs);
    Ok(())
}

/// The blocks of `range` that were mapped for a write which ended before it: what was set aside for their conversion is given back
/// (ERR-9). A block that is dirty or on its way to the device is another write's and keeps it. No folio is locked by the caller.
///
/// It happens with the folio locked, and the extents count as changed: who has mapped the block and makes it dirty later, a store
/// through a mapping for instance, has done so before and is seen here, or maps it again.
pub(super) fn give_up(inode: &Inode, ops: &dyn IomapOps, range: Range<u64>) {
    let bs = u64::from(ops.block_size());
    for pos in (range.start / bs * bs..range.end).step_by(bs as usize) {
        let folio = inode.mapping.find_locked(pos / PS);
        let state = folio.as_ref().map(|folio| folio.state());
        if !state.is_some_and(|s| s.writeback() || s.dirty_in((pos % PS) as usize, bs as usize)) {
            ops.give_up(pos, bs);
        }
    }
}

/// A folio past the end into which nothing came is not left behind (ERR-10, EOF-6).
pub(super) fn discard_unused(inode: &Inode, guard: FolioGuard<'_>) {
    let state = guard.state();
    if guard.folio().pos() >= inode.size() && !state.dirty() && !state.writeback() {
        inode.mapping.remove(guard);
    }
}
