//! read and write, in all their spellings, and sendfile.
//!
//! | call | position | buffers | flags |
//! |---|---|---|---|
//! | `read`, `write` | the file's | one | none |
//! | `pread64`, `pwrite64` | given | one | none |
//! | `readv`, `writev` | the file's | iovecs | none |
//! | `preadv`, `pwritev` | given | iovecs | none |
//! | `preadv2`, `pwritev2` | given, or the file's with -1 (FLAG-6) | iovecs | `RWF_*` |
use super::{SyscallContext, UserAddr};
use crate::mm::{UserSink, UserSource};
use crate::process::Signal;
use alloc::vec;
use base::sync::Arc;
use base::{Errno, Result};
use fs::io::{SliceSink, SliceSource};
use fs::vfs::{self, File};

/// `RWF_NOSIGNAL`: a closed pipe gives the error alone.
const RWF_NOSIGNAL: u32 = fs::kiocb::IoFlags::NOSIGNAL.bits();

/// Where a call reads or writes.
#[derive(Clone, Copy)]
enum Position {
    Current,
    At(u64),
}

/// An explicit position. Errors: `EINVAL` below 0.
fn at(offset: i64) -> Result<Position> {
    u64::try_from(offset).map(Position::At).map_err(|_| Errno::EINVAL)
}

/// The position of preadv2 and pwritev2. Errors: `EINVAL` for a negative one other than -1.
fn at_or_current(offset: i64) -> Result<Position> {
    if offset == -1 { Ok(Position::Current) } else { at(offset) }
}

fn read_from(
    context: &SyscallContext<'_>,
    fd: u32,
    position: Position,
    mut sink: UserSink<'_>,
    rwf: u32,
) -> Result<u64> {
    let file = context.file(fd)?;
    let count = match position {
        Position::Current => vfs::read_current(&file, rwf, &mut sink, context.caller())?,
        Position::At(pos) => vfs::read_at(&file, pos, rwf, &mut sink, context.caller())?,
    };
    Ok(count as u64)
}

fn write_to(
    context: &SyscallContext<'_>,
    fd: u32,
    position: Position,
    mut source: UserSource<'_>,
    rwf: u32,
) -> Result<u64> {
    let file = context.file(fd)?;
    let written = match position {
        Position::Current => vfs::write_current(&file, rwf, &mut source, context.caller()),
        Position::At(pos) => vfs::write_at(&file, pos, rwf, &mut source, context.caller()),
    };
    if written == Err(Errno::EPIPE) && rwf & RWF_NOSIGNAL == 0 {
        context.thread.send_signal(Signal::SIGPIPE);
    }
    written.map(|count| count as u64)
}

/// `read`. Errors: as read(2).
pub fn read(context: &mut SyscallContext<'_>, fd: u32, buffer: UserAddr, len: u64) -> Result<u64> {
    read_from(context, fd, Position::Current, UserSink::single(context.mm(), buffer, len)?, 0)
}

/// `write`. Errors: as write(2).
pub fn write(context: &mut SyscallContext<'_>, fd: u32, buffer: UserAddr, len: u64) -> Result<u64> {
    write_to(context, fd, Position::Current, UserSource::single(context.mm(), buffer, len)?, 0)
}

/// `pread64`. Errors: as pread(2).
pub fn pread64(context: &mut SyscallContext<'_>, fd: u32, buffer: UserAddr, len: u64, offset: i64) -> Result<u64> {
    read_from(context, fd, at(offset)?, UserSink::single(context.mm(), buffer, len)?, 0)
}

/// `pwrite64`. Errors: as pwrite(2).
pub fn pwrite64(context: &mut SyscallContext<'_>, fd: u32, buffer: UserAddr, len: u64, offset: i64) -> Result<u64> {
    write_to(context, fd, at(offset)?, UserSource::single(context.mm(), buffer, len)?, 0)
}

/// `readv`. Errors: as readv(2).
pub fn readv(context: &mut SyscallContext<'_>, fd: u32, iov: UserAddr, count: u64) -> Result<u64> {
    read_from(context, fd, Position::Current, UserSink::import(context.mm(), iov, count)?, 0)
}

/// `writev`. Errors: as writev(2).
pub fn writev(context: &mut SyscallContext<'_>, fd: u32, iov: UserAddr, count: u64) -> Result<u64> {
    write_to(context, fd, Position::Current, UserSource::import(context.mm(), iov, count)?, 0)
}

/// `preadv`. Errors: as preadv(2).
pub fn preadv(context: &mut SyscallContext<'_>, fd: u32, iov: UserAddr, count: u64, offset: i64) -> Result<u64> {
    read_from(context, fd, at(offset)?, UserSink::import(context.mm(), iov, count)?, 0)
}

/// `pwritev`. Errors: as pwritev(2).
pub fn pwritev(context: &mut SyscallContext<'_>, fd: u32, iov: UserAddr, count: u64, offset: i64) -> Result<u64> {
    write_to(context, fd, at(offset)?, UserSource::import(context.mm(), iov, count)?, 0)
}

/// `preadv2`. The upper half of the offset is not used on 64 bits. Errors: as preadv2(2).
pub fn preadv2(
    context: &mut SyscallContext<'_>,
    fd: u32,
    iov: UserAddr,
    count: u64,
    offset: i64,
    _high: u64,
    flags: u32,
) -> Result<u64> {
    read_from(context, fd, at_or_current(offset)?, UserSink::import(context.mm(), iov, count)?, flags)
}

/// `pwritev2`: where `RWF_WRITETHROUGH` comes in (FLAG-1). Errors: as pwritev2(2), and those of FLAG-5.
pub fn pwritev2(
    context: &mut SyscallContext<'_>,
    fd: u32,
    iov: UserAddr,
    count: u64,
    offset: i64,
    _high: u64,
    flags: u32,
) -> Result<u64> {
    write_to(context, fd, at_or_current(offset)?, UserSource::import(context.mm(), iov, count)?, flags)
}

/// Bytes that sendfile moves at a time.
const CHUNK: usize = 64 * 1024;

/// `sendfile`: by a copy through a buffer of the kernel. Errors: as sendfile(2).
pub fn sendfile(context: &mut SyscallContext<'_>, out: u32, input: u32, offset: UserAddr, count: u64) -> Result<u64> {
    let (output, input) = (context.file(out)?, context.file(input)?);
    let caller = context.caller();
    let mut pos = match offset {
        0 => vfs::seek(&input, 0, vfs::Whence::Current)?,
        addr => u64::try_from(context.mm().read::<i64>(addr)?).map_err(|_| Errno::EINVAL)?,
    };
    let count = count.min(vfs::MAX_RW_COUNT as u64);
    let mut buffer = vec![0; CHUNK.min(count as usize)];
    let mut done = 0;
    let mut result = Ok(());
    while done < count {
        let room = buffer.len().min((count - done) as usize);
        match move_chunk(&output, &input, pos, &mut buffer[..room], caller) {
            Ok(0) => break,
            Ok(n) => {
                done += n as u64;
                pos += n as u64;
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if done == 0 {
        result?;
    }
    match offset {
        0 => vfs::seek(&input, pos as i64, vfs::Whence::Set).map(drop)?,
        addr => context.mm().write(addr, &pos)?,
    }
    Ok(done)
}

/// Moves what fits into `buffer`; returns how much was written.
fn move_chunk(
    output: &Arc<File>,
    input: &Arc<File>,
    pos: u64,
    buffer: &mut [u8],
    caller: &dyn fs::caller::Caller,
) -> Result<usize> {
    let read = vfs::read_at(input, pos, 0, &mut SliceSink::new(buffer), caller)?;
    vfs::write_current(output, 0, &mut SliceSource::new(&buffer[..read]), caller)
}
