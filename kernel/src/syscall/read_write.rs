//! read and write, in all their spellings, and sendfile.
//!
//! | call | position | buffers | flags |
//! |---|---|---|---|
//! | `read`, `write` | the file's | one | none |
//! | `pread64`, `pwrite64` | given | one | none |
//! | `readv`, `writev` | the file's | iovecs | none |
//! | `preadv`, `pwritev` | given | iovecs | none |
//! | `preadv2`, `pwritev2` | given, or the file's with -1 (FLAG-6) | iovecs | `RWF_*` |
//!
//! Which spelling has which position and flags stands in the table. Errors are found in this order: position, descriptor, vector,
//! flags.
use super::{SyscallContext, UserAddr};
use crate::mm::{UserSink, UserSource};
use crate::process::Signal;
use alloc::vec;
use base::sync::Arc;
use base::{Errno, Result};
use fs::io::{SliceSink, SliceSource};
use fs::vfs::{self, File, FileType, Inode, OpenFlags};

/// `RWF_NOSIGNAL`: a closed pipe gives the error alone.
const RWF_NOSIGNAL: u32 = fs::kiocb::IoFlags::NOSIGNAL.bits();

/// Where a call reads or writes.
#[derive(Clone, Copy)]
pub enum Position {
    /// At the file position, which moves.
    Current,
    /// At this offset. Below 0: `EINVAL`.
    At(i64),
    /// The same, but -1 stands for the file position.
    AtOrCurrent(i64),
}

impl Position {
    /// The offset; `None` for the file position. Errors: `EINVAL`.
    fn offset(self) -> Result<Option<u64>> {
        match self {
            Position::Current | Position::AtOrCurrent(-1) => Ok(None),
            Position::At(offset) | Position::AtOrCurrent(offset) => {
                u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
            }
        }
    }
}

/// What a call moves its bytes from or to.
#[derive(Clone, Copy)]
pub enum Buffers {
    /// One buffer: its address and length.
    One(UserAddr, u64),
    /// A vector: the address of its iovecs, and how many there are.
    Vector(UserAddr, u64),
}

/// The reading calls. Errors: as read(2), pread(2), preadv2(2).
pub fn read(context: &mut SyscallContext<'_>, fd: u32, buffers: Buffers, position: Position, rwf: u32) -> Result<u64> {
    let (offset, file) = (position.offset()?, context.file(fd)?);
    let mut sink = match buffers {
        Buffers::One(addr, len) => UserSink::single(context.mm(), addr, len)?,
        Buffers::Vector(iov, count) => UserSink::import(context.mm(), iov, count)?,
    };
    let count = match offset {
        None => vfs::read_current(&file, rwf, &mut sink, context.caller())?,
        Some(pos) => vfs::read_at(&file, pos, rwf, &mut sink, context.caller())?,
    };
    Ok(count as u64)
}

/// The writing calls; `RWF_WRITETHROUGH` comes in here (FLAG-1). Errors: as write(2), pwrite(2), pwritev2(2), and those of FLAG-5.
pub fn write(context: &mut SyscallContext<'_>, fd: u32, buffers: Buffers, position: Position, rwf: u32) -> Result<u64> {
    let (offset, file) = (position.offset()?, context.file(fd)?);
    let mut source = match buffers {
        Buffers::One(addr, len) => UserSource::single(context.mm(), addr, len)?,
        Buffers::Vector(iov, count) => UserSource::import(context.mm(), iov, count)?,
    };
    let written = match offset {
        None => vfs::write_current(&file, rwf, &mut source, context.caller()),
        Some(pos) => vfs::write_at(&file, pos, rwf, &mut source, context.caller()),
    };
    if written == Err(Errno::EPIPE) && rwf & RWF_NOSIGNAL == 0 {
        context.thread.send_own(Signal::SIGPIPE);
    }
    written.map(|count| count as u64)
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
    if result == Err(Errno::EPIPE) {
        context.thread.send_own(Signal::SIGPIPE);
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

/// `copy_file_range`: by a copy through a buffer of the kernel. Errors: as copy_file_range(2).
pub fn copy_file_range(
    context: &mut SyscallContext<'_>,
    input: u32,
    input_offset: UserAddr,
    output: u32,
    output_offset: UserAddr,
    count: u64,
    flags: u32,
) -> Result<u64> {
    super::paths::only(flags, 0)?;
    let (input, output) = (context.file(input)?, context.file(output)?);
    if !input.readable() || !output.writable() || output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let (from_inode, to_inode) = (regular(&input)?, regular(&output)?);
    let position = |file: &Arc<File>, addr: UserAddr| match addr {
        0 => Ok(*file.pos.lock()),
        _ => u64::try_from(context.mm().read::<i64>(addr)?).map_err(|_| Errno::EINVAL),
    };
    let (from, to) = (position(&input, input_offset)?, position(&output, output_offset)?);
    let count = count.min(vfs::MAX_RW_COUNT as u64);
    let (from_end, to_end) = (from.checked_add(count), to.checked_add(count));
    let (from_end, to_end) = (from_end.ok_or(Errno::EOVERFLOW)?, to_end.ok_or(Errno::EOVERFLOW)?);
    if Arc::ptr_eq(from_inode, to_inode) && from < to_end && to < from_end {
        return Err(Errno::EINVAL);
    }
    let mut buffer = vec![0; CHUNK.min(count as usize)];
    let mut done = 0;
    let mut result = Ok(());
    while done < count && result.is_ok() {
        let room = buffer.len().min((count - done) as usize);
        match copy_chunk(&input, from + done, &output, to + done, &mut buffer[..room], context.caller()) {
            Ok(0) => break,
            Ok(n) => done += n as u64,
            Err(error) => result = Err(error),
        }
    }
    if done == 0 {
        result?;
    }
    for (file, addr, before) in [(&input, input_offset, from), (&output, output_offset, to)] {
        match addr {
            0 => *file.pos.lock() = before + done,
            _ => context.mm().write(addr, &(before + done))?,
        }
    }
    Ok(done)
}

/// Errors: `EISDIR`, `EINVAL`: it is another kind of file.
fn regular(file: &File) -> Result<&Arc<Inode>> {
    let inode = file.inode.as_ref().ok_or(Errno::EINVAL)?;
    match inode.kind {
        FileType::Regular => Ok(inode),
        FileType::Directory => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

/// Copies what fits into `buffer`; returns how much was written.
fn copy_chunk(
    input: &Arc<File>,
    from: u64,
    output: &Arc<File>,
    to: u64,
    buffer: &mut [u8],
    caller: &dyn fs::caller::Caller,
) -> Result<usize> {
    let read = vfs::read_at(input, from, 0, &mut SliceSink::new(buffer), caller)?;
    if read == 0 {
        return Ok(0);
    }
    vfs::write_at(output, to, 0, &mut SliceSource::new(&buffer[..read]), caller)
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
