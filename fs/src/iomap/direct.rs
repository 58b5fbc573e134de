//! Direct I/O: between the device and user memory, around the page cache.
//!
//! Coherence with the cache (SEMANTICS A15): a direct read writes back the cached range first and so waits for write-throughs in
//! it, conversion included (DIO-1, R13); a direct write does the same, drops the clean folios, writes, and drops again what a
//! reader may have cached meanwhile (DIO-2, DIO-4). A range that cannot be dropped is written through the cache (DIO-5).
//!
//! Frames are pinned before the inode is locked for long, and let go in task context by the finish.
use super::ioctx::IoCtx;
use super::ioend::{IoKind, Owed, sync_kind};
use super::read::buffered_read;
use super::request::{InodeLock, WriteRequest};
use super::writeback::write_and_check;
use super::writethrough::{context, writethrough_write};
use super::zero::{protect_old_end, zero_gap};
use super::{DrainGuard, DrainKind, Iomap, IomapKind, IomapOps, RangeGuard};
use crate::io::{IoSink, IoSource, Pinned};
use crate::kiocb::{Kiocb, Outcome};
use crate::vfs::Inode;
use alloc::boxed::Box;
use base::block::{Bio, BioOp, BlockDevice, Limits, Plug, Sector, Segment};
use base::sync::Arc;
use base::{Errno, Result};
use core::ops::Range;

/// Reads at `kiocb.pos` past the cache. Position, length and memory are multiples of the device's block size, or `EINVAL`.
/// Takes the inode lock shared for the submission. Memory that a device must not write to by itself, a page of a file in a shared
/// mapping, is read to through the cache. Errors: `EINVAL`, `EFAULT`, `EIO`, `ENOMEM`.
pub fn direct_read(inode: &Arc<Inode>, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
    match read_around(inode, kiocb, sink) {
        Err(Errno::EOPNOTSUPP) => buffered_read(inode, kiocb, sink).map(Outcome::Done),
        outcome => outcome,
    }
}

/// The direct read itself. Errors: as there; `EOPNOTSUPP`, with nothing consumed, if the memory cannot be pinned.
fn read_around(inode: &Arc<Inode>, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
    let iomap = inode.ops().iomap().ok_or(Errno::EINVAL)?;
    let unit = u64::from(iomap.device().limits().logical_block_size);
    check_alignment(kiocb.pos, sink.remaining() as u64, unit, sink.is_aligned(unit as usize))?;
    let lock = inode.lock.read();
    let pos = kiocb.pos;
    let size = inode.size();
    if pos >= size {
        return Ok(Outcome::Done(0));
    }
    let len = (sink.remaining() as u64).min(size.next_multiple_of(unit) - pos);
    if base::guard!("R13", true) {
        write_and_check(inode, pos..pos + len)?;
    }
    let ctx = context(kiocb, iomap)?;
    let drain = DrainGuard::new(inode, DrainKind::Direct);
    let mut frames = Pinned::new();
    let pinned = sink.pin(len as usize, &mut frames)? / unit as usize * unit as usize;
    let plug = Plug::start();
    let mut transfer = Transfer::new(inode, iomap, &ctx, BioOp::Read, &frames);
    let stopped = transfer.run(pos, pinned as u64, |at, left| iomap.map_read(inode, at, left)).err();
    let sent = transfer.sent;
    drop(plug);
    let owed = Owed {
        // The device reads whole blocks; what lies behind the end of the file is not the caller's.
        len: (sent.min(size - pos)) as usize,
        stopped,
        drain: Some(drain),
        ..Owed::by(kiocb, inode, pos, IoKind::DirectRead(frames))
    };
    ctx.hand_over(owed, || drop(lock))
}

/// Writes past the cache what is whole blocks and can be kept out of it; anything else goes by write-through (FLAG-5, DIO-5).
///
/// A write that extends the file finishes before this returns, with the inode lock held, because only its submitter may raise
/// i_size (SIZE-1). Errors as [`writethrough_write`], and `EINVAL` for what is not a multiple of the device's block size.
pub fn direct_write(request: WriteRequest<'_>, kiocb: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<Outcome> {
    let inode = request.inode;
    let iomap = inode.ops().iomap().ok_or(Errno::EINVAL)?;
    let unit = u64::from(iomap.device().limits().logical_block_size);
    let (pos, len) = (request.pos, request.len as u64);
    check_alignment(pos, len, unit, source.is_aligned(unit as usize))?;
    let block = u64::from(iomap.block_size());
    let exclusive = matches!(request.lock, InodeLock::Exclusive(_));
    if exclusive {
        // Partial blocks and sizes need the others to be done (DIO-7).
        inode.drain.drain_direct();
        zero_gap(inode, iomap, pos)?;
    }
    let range = pos..pos + len;
    let whole_blocks = pos.is_multiple_of(block) && len.is_multiple_of(block);
    let locked = RangeGuard::new(inode, range.clone(), iomap.block_size());
    if !whole_blocks || !evict(inode, &range)? {
        drop(locked);
        return through_the_cache(request, kiocb, source);
    }
    let extends = range.end > inode.size();
    debug_assert!(exclusive || !extends, "an extending write holds the inode lock exclusively (LOCK-2)");
    if extends {
        extend(request, kiocb, source, iomap, locked)
    } else {
        overwrite(request, kiocb, source, iomap, locked)
    }
}

/// The part of a direct write that goes through the cache. Its submitter needs the lock exclusively: it is retaken if need be.
fn through_the_cache(
    mut request: WriteRequest<'_>,
    kiocb: &mut Kiocb<'_>,
    source: &mut dyn IoSource,
) -> Result<Outcome> {
    if matches!(request.lock, InodeLock::Shared(_)) {
        let inode = request.inode;
        drop(request.lock);
        request.lock = InodeLock::Exclusive(inode.lock.write());
    }
    writethrough_write(request, kiocb, source)
}

/// A direct write inside the file.
fn overwrite(
    request: WriteRequest<'_>,
    kiocb: &mut Kiocb<'_>,
    source: &mut dyn IoSource,
    iomap: &dyn IomapOps,
    range: RangeGuard,
) -> Result<Outcome> {
    let WriteRequest { inode, freeze, lock, pos, len } = request;
    let ctx = context(kiocb, iomap)?;
    let drain = DrainGuard::new(inode, DrainKind::Direct);
    let mut frames = Pinned::new();
    let pinned = pin_blocks(source, len, iomap, &mut frames)?;
    let plug = Plug::start();
    let mut transfer = Transfer::new(inode, iomap, &ctx, BioOp::Write, &frames);
    let stopped = transfer.run(pos, pinned, |at, left| iomap.map_write(inode, at, left)).err();
    let Transfer { sent, unwritten, metadata_pending, .. } = transfer;
    drop(plug);
    let owed = Owed {
        len: sent as usize,
        stopped,
        convert: unwritten,
        metadata_pending,
        range: Some(range),
        drain: Some(drain),
        freeze: Some(freeze),
        ..Owed::by(kiocb, inode, pos, IoKind::DirectWrite(frames))
    };
    ctx.hand_over(owed, || drop(lock))
}

/// A direct write that makes the file longer. Nobody sees the new size before the data is readable: the size, the conversion
/// and the last look at the cache are one step for readers, who insert folios under the invalidate lock.
fn extend(
    request: WriteRequest<'_>,
    kiocb: &mut Kiocb<'_>,
    source: &mut dyn IoSource,
    iomap: &dyn IomapOps,
    range: RangeGuard,
) -> Result<Outcome> {
    let WriteRequest { inode, freeze, lock, pos, len } = request;
    let ctx = IoCtx::new_sync();
    let drain = DrainGuard::new(inode, DrainKind::Direct);
    let mut frames = Pinned::new();
    let pinned = pin_blocks(source, len, iomap, &mut frames)?;
    let mut transfer = Transfer::new(inode, iomap, &ctx, BioOp::Write, &frames);
    let stopped = transfer.run(pos, pinned, |at, left| iomap.map_write(inode, at, left)).err();
    let owed = Owed { len: transfer.sent as usize, stopped, ..Owed::bare(inode, pos, IoKind::DirectWrite(frames)) };
    let Outcome::Done(written) = ctx.hand_over(owed, || ())? else {
        unreachable!("a synchronous context is waited for")
    };
    let end = pos + written as u64;
    {
        let _readers_out = inode.mapping.invalidate.write();
        let old_size = inode.size();
        inode.set_size(old_size.max(end));
        if let Err(error) = iomap.finish_write(inode, pos, written as u64) {
            inode.set_size(old_size);
            return Err(error);
        }
        inode.mapping.invalidate_range_clean(pos..end);
        protect_old_end(inode, old_size);
    }
    drop(range);
    drop(drain);
    drop(lock);
    if let Some(kind) = sync_kind(kiocb.flags) {
        iomap.commit(inode, kind)?;
    }
    drop(freeze);
    Ok(Outcome::Done(written))
}

fn check_alignment(pos: u64, len: u64, unit: u64, memory: bool) -> Result<()> {
    let aligned = pos.is_multiple_of(unit) && len.is_multiple_of(unit) && memory;
    if aligned { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Pins what the source has, in whole blocks; what is over is given back.
fn pin_blocks(source: &mut dyn IoSource, len: usize, iomap: &dyn IomapOps, frames: &mut Pinned) -> Result<u64> {
    let pinned = source.pin(len, frames)?;
    let whole = pinned - pinned % iomap.block_size() as usize;
    source.revert(pinned - whole);
    if whole == 0 { Err(Errno::EFAULT) } else { Ok(whole as u64) }
}

/// Empties the cache of the range before a direct write. False: some folio stays, the write goes through the cache (DIO-5).
fn evict(inode: &Arc<Inode>, range: &Range<u64>) -> Result<bool> {
    write_and_check(inode, range.clone())?;
    Ok(inode.mapping.invalidate_range_clean(range.clone()))
}

/// The sending phase of one direct I/O: frames go to the sectors that the extents name.
struct Transfer<'a> {
    inode: &'a Inode,
    device: &'a Arc<dyn BlockDevice>,
    limits: Limits,
    block: u64,
    ctx: &'a Arc<IoCtx>,
    op: BioOp,
    frames: &'a [Segment],
    /// Bytes of `frames[0]` that are used up.
    used: u32,
    bio: Option<Box<Bio>>,
    /// Bytes of the range that are sent, or zeroed where a read found nothing.
    sent: u64,
    unwritten: bool,
    metadata_pending: bool,
}

impl<'a> Transfer<'a> {
    fn new(inode: &'a Inode, iomap: &'a dyn IomapOps, ctx: &'a Arc<IoCtx>, op: BioOp, frames: &'a [Segment]) -> Self {
        let device = iomap.device();
        Transfer {
            inode,
            device,
            limits: device.limits(),
            block: u64::from(iomap.block_size()),
            ctx,
            op,
            frames,
            used: 0,
            bio: None,
            sent: 0,
            unwritten: false,
            metadata_pending: false,
        }
    }

    /// Extent after extent; an error says why the range was not sent to its end.
    fn run(&mut self, pos: u64, len: u64, map: impl Fn(u64, u64) -> Result<Iomap>) -> Result<()> {
        let end = pos + len;
        let mut result = Ok(());
        while self.sent < len && self.ctx.error().is_none() {
            let at = pos + self.sent;
            let start = at / self.block * self.block;
            match map(start, end.next_multiple_of(self.block) - start) {
                Ok(map) => self.extent(&map, at, map.end().min(end)),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.send();
        result
    }

    fn extent(&mut self, map: &Iomap, at: u64, end: u64) {
        base::anchor!("S-7", self.inode.ino);
        self.unwritten |= matches!(map.kind, IomapKind::Unwritten(_));
        self.metadata_pending |= map.metadata_pending;
        let mut left = end - at;
        let mut sector = match (self.op, map.kind) {
            (BioOp::Read, IomapKind::Hole | IomapKind::Unwritten(_)) => None,
            _ => map.sector_of(at),
        };
        while left > 0 {
            let piece = self.next_piece(left);
            match &mut sector {
                None => piece.page.zero(piece.offset as usize, piece.len as usize),
                Some(sector) => {
                    self.add(*sector, piece.clone());
                    sector.0 += u64::from(piece.len) / base::block::SECTOR_SIZE;
                }
            }
            left -= u64::from(piece.len);
            self.sent += u64::from(piece.len);
        }
    }

    /// The next run of memory, at most `most` bytes.
    fn next_piece(&mut self, most: u64) -> Segment {
        let frame = &self.frames[0];
        let len = u64::from(frame.len - self.used).min(most) as u32;
        let piece = Segment { page: frame.page.clone(), offset: frame.offset + self.used, len };
        self.used += len;
        if self.used == frame.len {
            self.frames = &self.frames[1..];
            self.used = 0;
        }
        piece
    }

    fn add(&mut self, sector: Sector, piece: Segment) {
        if self.bio.as_ref().is_some_and(|bio| !bio.takes(sector, u64::from(piece.len), &self.limits)) {
            self.send();
        }
        let (op, ctx) = (self.op, self.ctx);
        self.bio.get_or_insert_with(|| Bio::new(op, sector, ctx.clone())).push(piece);
    }

    fn send(&mut self) {
        if let Some(bio) = self.bio.take() {
            self.ctx.submit(bio, self.device);
            Plug::submitted(self.device);
        }
    }
}
