//! read, write, seek and their relatives on an open file.
//!
//! A request enters in one of two ways. With an explicit position the caller builds a [`Kiocb`] from [`super::request_flags`] and
//! calls [`read`] or [`write`]. At the file position [`read_current`] and [`write_current`] do that under the position lock, so that
//! two calls on one description follow each other (FLAG-6).
use super::{File, FileType, Request, request_flags};
use crate::caller::Caller;
use crate::io::{IoSink, IoSource};
use crate::kiocb::{IoFlags, Kiocb, Outcome};
use base::sync::Arc;
use base::{Errno, Result};

/// Bytes that one call moves at most (FLAG-7).
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

/// Reads at `kiocb.pos`. The flags were validated. Task context; may sleep. Errors: those of the file.
#[inline]
pub fn read(kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
    if sink.remaining() == 0 {
        return Ok(Outcome::Done(0));
    }
    check_range(kiocb, sink.remaining())?;
    kiocb.file.ops().read(kiocb, sink)
}

/// Writes at `kiocb.pos`. The flags were validated. Length 0 does nothing at all (CHK-1). Task context; may sleep. Errors: those of the
/// file.
#[inline]
pub fn write(kiocb: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<Outcome> {
    if source.remaining() == 0 {
        return Ok(Outcome::Done(0));
    }
    check_range(kiocb, source.remaining())?;
    if kiocb.file.inode.as_ref().is_some_and(|i| i.sb.is_shut_down()) {
        return Err(Errno::EIO); // CHK-5
    }
    kiocb.file.ops().write(kiocb, source)
}

/// A position that a signed 64-bit offset can name, also at the end. Errors: `EINVAL`.
fn check_range(kiocb: &Kiocb<'_>, len: usize) -> Result<()> {
    match kiocb.pos.checked_add(len as u64) {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ if kiocb.file.ops().seekable() => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// Reads at an explicit position, synchronously. Errors: `ESPIPE` for a file without positions; of the flags; of the read.
pub fn read_at(file: &Arc<File>, pos: u64, rwf: u32, sink: &mut dyn IoSink, caller: &dyn Caller) -> Result<usize> {
    let flags = request_flags(file, rwf, Request::Read)?;
    if !file.ops().seekable() {
        return Err(Errno::ESPIPE);
    }
    done(read(&mut Kiocb::sync(file, pos, flags, caller), sink))
}

/// Writes at an explicit position, synchronously. Errors: as [`read_at`].
#[inline]
pub fn write_at(file: &Arc<File>, pos: u64, rwf: u32, source: &mut dyn IoSource, caller: &dyn Caller) -> Result<usize> {
    let flags = sync_write_flags(file, rwf, source)?;
    if !file.ops().seekable() {
        return Err(Errno::ESPIPE);
    }
    done(write(&mut Kiocb::sync(file, pos, flags, caller), source))
}

/// Reads at the file position and moves it, holding its lock (FLAG-6). Errors: of the flags and of the read.
pub fn read_current(file: &Arc<File>, rwf: u32, sink: &mut dyn IoSink, caller: &dyn Caller) -> Result<usize> {
    let flags = request_flags(file, rwf, Request::Read)?;
    at_position(file, flags, caller, |kiocb| read(kiocb, sink))
}

/// Writes at the file position (or the end, for an append) and moves it, holding its lock (FLAG-6). Errors: of the flags and
/// of the write.
pub fn write_current(file: &Arc<File>, rwf: u32, source: &mut dyn IoSource, caller: &dyn Caller) -> Result<usize> {
    let flags = sync_write_flags(file, rwf, source)?;
    at_position(file, flags, caller, |kiocb| write(kiocb, source))
}

/// The flags of a synchronous write. Its write-through has to wait for its own I/O (WT-1): if it must not, that is known before the position
/// is even locked (NOW-2). Errors: of the flags; `EAGAIN`.
#[inline]
fn sync_write_flags(file: &File, rwf: u32, source: &dyn IoSource) -> Result<IoFlags> {
    let flags = request_flags(file, rwf, Request::Write)?;
    let waits = flags.contains(IoFlags::NOWAIT | IoFlags::WRITETHROUGH) && source.remaining() > 0;
    if base::guard!("NOW-2", waits) { Err(Errno::EAGAIN) } else { Ok(flags) }
}

fn at_position(
    file: &Arc<File>,
    flags: IoFlags,
    caller: &dyn Caller,
    run: impl FnOnce(&mut Kiocb<'_>) -> Result<Outcome>,
) -> Result<usize> {
    if !file.ops().seekable() {
        // No position, no lock: a reader asleep on a terminal must not stop a writer on the same description.
        return done(run(&mut Kiocb::sync(file, 0, flags, caller)));
    }
    let mut pos = file.pos.lock();
    let mut kiocb = Kiocb::sync(file, *pos, flags, caller);
    let count = done(run(&mut kiocb))?;
    // Of an append the path has stored the position it chose (APP-1).
    *pos = kiocb.pos + count as u64;
    Ok(count)
}

/// A synchronous request cannot be left in flight.
fn done(outcome: Result<Outcome>) -> Result<usize> {
    match outcome? {
        Outcome::Done(count) => Ok(count),
        Outcome::Queued => {
            debug_assert!(false, "a synchronous request was queued");
            Err(Errno::EIO)
        }
    }
}

/// From where `lseek` counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whence {
    /// The start.
    Set,
    /// The position now.
    Current,
    /// The end of the file.
    End,
    /// The next data at or after the offset.
    Data,
    /// The next hole at or after the offset; the end of the file is one.
    Hole,
}

/// Moves the file position. Errors: `ESPIPE`; `EINVAL` for a position below 0; `ENXIO` for data or a hole past the end.
pub fn seek(file: &File, offset: i64, whence: Whence) -> Result<u64> {
    if !file.ops().seekable() {
        return Err(Errno::ESPIPE);
    }
    let size = file.inode.as_ref().map_or(0, |i| if i.kind == FileType::Directory { 0 } else { i.size() });
    let mut pos = file.pos.lock();
    let base = match whence {
        Whence::Set => 0,
        Whence::Current => *pos,
        Whence::End => size,
        Whence::Data | Whence::Hole => {
            let from = u64::try_from(offset).ok().filter(|&o| o < size).ok_or(Errno::ENXIO)?;
            *pos = file.ops().seek_extent(file, from, whence == Whence::Data)?;
            return Ok(*pos);
        }
    };
    let target = i64::try_from(base).ok().and_then(|b| b.checked_add(offset)).ok_or(Errno::EOVERFLOW)?;
    *pos = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
    Ok(*pos)
}
