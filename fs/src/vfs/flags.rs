//! The flags of a request: validated and sampled, once, before anything else happens (SEMANTICS A1).
use super::{File, FileFeatures, OpenFlags};
use crate::kiocb::IoFlags;
use base::{Errno, Result};

/// What kind of request the flags belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// `read` and its family.
    Read,
    /// `write` and its family.
    Write,
    /// A read iocb.
    AioRead,
    /// A write iocb.
    AioWrite,
}

impl Request {
    fn is_write(self) -> bool {
        matches!(self, Request::Write | Request::AioWrite)
    }
}

/// The bits that a caller may give (FLAG-1).
const PER_CALL: u32 = 0x3ff;

/// Validates the per-call flags `rwf` of a request on `file` and samples them together with the open flags (FLAG-4). No side
/// effect (FLAG-2). The rows are those of FLAG-5, first match first.
#[inline]
pub fn request_flags(file: &File, rwf: u32, request: Request) -> Result<IoFlags> {
    let open = file.flags();
    if rwf != 0 {
        check_per_call(file, rwf, request)?;
    }
    let allowed = if request.is_write() { file.writable() } else { file.readable() };
    if !allowed {
        return Err(Errno::EBADF);
    }
    let per_call = IoFlags::from_bits_retain(rwf);
    if rwf != 0 {
        check_combinations(file, open, per_call, request)?;
    }
    Ok(sample(file, open, per_call, request))
}

/// The rows that stand before "not open for writing".
fn check_per_call(file: &File, rwf: u32, request: Request) -> Result<()> {
    if rwf & !PER_CALL != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let flags = IoFlags::from_bits_retain(rwf);
    if flags.contains(IoFlags::APPEND | IoFlags::NOAPPEND) {
        return Err(Errno::EINVAL);
    }
    let append_only = || file.inode.as_ref().is_some_and(|i| i.with_attr(|a| a.append_only));
    if flags.contains(IoFlags::NOAPPEND) && append_only() {
        return Err(Errno::EPERM);
    }
    if flags.contains(IoFlags::WRITETHROUGH) {
        let supported = file.ops().features().contains(FileFeatures::WRITETHROUGH);
        if !request.is_write() || !supported {
            return Err(Errno::EOPNOTSUPP);
        }
    }
    Ok(())
}

/// The rows after it: what `WRITETHROUGH` does not go with, and optional features that are not built (A24).
fn check_combinations(file: &File, open: OpenFlags, flags: IoFlags, request: Request) -> Result<()> {
    let through = flags.contains(IoFlags::WRITETHROUGH);
    if flags.contains(IoFlags::ATOMIC) || (flags.contains(IoFlags::DONTCACHE) && !through) {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.contains(IoFlags::NOWAIT) {
        let needed = match request.is_write() {
            true if through => FileFeatures::NOWAIT_THROUGH,
            true => FileFeatures::NOWAIT_WRITE,
            false => FileFeatures::NOWAIT_READ,
        };
        // Direct I/O pins memory and empties the cache: nothing of it is built without sleeps.
        if !file.ops().features().contains(needed) || open.contains(OpenFlags::DIRECT) {
            return Err(Errno::EOPNOTSUPP);
        }
    }
    Ok(())
}

/// The flag set of the request (FLAG-4), with the routing of FLAG-8.
#[inline]
fn sample(file: &File, open: OpenFlags, per_call: IoFlags, request: Request) -> IoFlags {
    // HIPRI has no effect anywhere (HIP-1); NOAPPEND has done its work here.
    let mut flags = per_call - IoFlags::HIPRI - IoFlags::NOAPPEND;
    if open.intersects(OpenFlags::APPEND | OpenFlags::DSYNC | OpenFlags::SYNC_BIT | OpenFlags::DIRECT) {
        let append = open.contains(OpenFlags::APPEND) && !per_call.contains(IoFlags::NOAPPEND);
        flags.set(IoFlags::APPEND, append || flags.contains(IoFlags::APPEND));
        flags.set(IoFlags::DIRECT, open.contains(OpenFlags::DIRECT));
        if request.is_write() {
            flags.set(IoFlags::DSYNC, open.contains(OpenFlags::DSYNC) || flags.contains(IoFlags::DSYNC));
            flags.set(IoFlags::SYNC, open.contains(OpenFlags::SYNC_BIT) || flags.contains(IoFlags::SYNC));
        }
    }
    if flags.contains(IoFlags::SYNC) {
        flags |= IoFlags::DSYNC;
    }
    let plain = !flags.intersects(IoFlags::DIRECT | IoFlags::NOWAIT | IoFlags::WRITETHROUGH);
    if request == Request::AioWrite && flags.contains(IoFlags::DSYNC) && plain {
        // FLAG-8: asynchronous including its durability.
        flags.set(IoFlags::WRITETHROUGH, file.ops().features().contains(FileFeatures::WRITETHROUGH));
    }
    flags
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
