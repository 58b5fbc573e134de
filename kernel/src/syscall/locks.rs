//! Locks of files: the record locks of fcntl, and flock.
use super::{SyscallContext, UserAddr};
use crate::locks::{Kind, Lock, Owner, Request, Space, Span};
use base::sync::Arc;
use base::{Errno, Result};
use core::mem::size_of;
use fs::vfs::{File, OpenFlags};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct flock`
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Flock {
    kind: u16,
    whence: u16,
    padding: u32,
    start: i64,
    len: i64,
    pid: i32,
    padding2: u32,
}
const _: () = assert!(size_of::<Flock>() == size_of::<abi::flock>());

/// The record locks of fcntl: those of a process, and with `F_OFD_*` those of an open file description. Errors: as fcntl(2).
pub fn record_lock(context: &SyscallContext<'_>, fd: u32, command: u32, arg: UserAddr) -> Result<u64> {
    let file = lockable(context, fd)?;
    let of_description = matches!(command, abi::F_OFD_GETLK | abi::F_OFD_SETLK | abi::F_OFD_SETLKW);
    let flock = context.mm().read::<Flock>(arg)?;
    if of_description && flock.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let owner = if of_description { description(&file) } else { Owner::Process(context.process().pid) };
    let kind = match u32::from(flock.kind) {
        abi::F_RDLCK => Some(Kind::Read),
        abi::F_WRLCK => Some(Kind::Write),
        abi::F_UNLCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let span = span_of(&file, &flock)?;
    if matches!(command, abi::F_GETLK | abi::F_OFD_GETLK) {
        let found = context.process().system.locks.conflict(&file, owner, kind.ok_or(Errno::EINVAL)?, span);
        return context.mm().write(arg, &told(flock, found)).map(|()| 0);
    }
    let allowed = match kind {
        Some(Kind::Read) => file.readable(),
        Some(Kind::Write) => file.writable(),
        None => true,
    };
    if !allowed {
        return Err(Errno::EBADF);
    }
    let wait = matches!(command, abi::F_SETLKW | abi::F_OFD_SETLKW);
    set(context, fd, &file, Request { space: Space::Records, owner, kind, span }, wait)
}

/// `flock`. Errors: as flock(2).
pub fn flock(context: &mut SyscallContext<'_>, fd: u32, operation: u32) -> Result<u64> {
    let file = lockable(context, fd)?;
    let kind = match operation & !abi::LOCK_NB {
        abi::LOCK_SH => Some(Kind::Read),
        abi::LOCK_EX => Some(Kind::Write),
        abi::LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let request = Request { space: Space::Whole, owner: description(&file), kind, span: Span::ALL };
    if kind.is_some() {
        // A lock of the other kind goes first, so that two who want to write after they have read do not wait for each other.
        context.process().system.locks.give_up_others(&file, request);
    }
    set(context, fd, &file, request, operation & abi::LOCK_NB == 0)
}

fn set(context: &SyscallContext<'_>, fd: u32, file: &Arc<File>, request: Request, wait: bool) -> Result<u64> {
    let process = context.process();
    let locks = &process.system.locks;
    if request.kind.is_some() {
        base::memory::room_for_programs().map_err(|_| Errno::ENOLCK)?;
        match request.owner {
            Owner::Process(_) => process.has_record_locks(),
            Owner::File(_) => locks.keep_with(file),
        }
    }
    if wait && request.kind.is_some() { locks.set(file, request) } else { locks.try_set(file, request) }?;
    // Another thread may have closed the descriptor meanwhile, and with it all locks of the process that there were.
    let process_lock = matches!(request.owner, Owner::Process(_)) && request.kind.is_some();
    if process_lock && !process.files.get(fd).is_ok_and(|now| Arc::ptr_eq(&now, file)) {
        locks.release(file, request.owner);
        return Err(Errno::EBADF);
    }
    Ok(0)
}

fn lockable(context: &SyscallContext<'_>, fd: u32) -> Result<Arc<File>> {
    let file = context.file(fd)?;
    if file.flags().contains(OpenFlags::PATH) { Err(Errno::EBADF) } else { Ok(file) }
}

fn description(file: &Arc<File>) -> Owner {
    Owner::File(Arc::as_ptr(file).addr())
}

/// The bytes that a `struct flock` means. Errors: `EINVAL` (they begin before the file), `EOVERFLOW` (they end after all positions).
fn span_of(file: &File, flock: &Flock) -> Result<Span> {
    let base = match u32::from(flock.whence) {
        abi::SEEK_SET => 0,
        abi::SEEK_CUR => *file.pos.lock(),
        abi::SEEK_END => file.inode.as_ref().map_or(0, |inode| inode.size()),
        _ => return Err(Errno::EINVAL),
    };
    span_from(base, flock.start, flock.len)
}

fn span_from(base: u64, start: i64, len: i64) -> Result<Span> {
    let base = i64::try_from(base).map_err(|_| Errno::EOVERFLOW)?;
    let start = base.checked_add(start).ok_or(Errno::EOVERFLOW)?;
    let (first, last) = match len {
        0 => (start, i64::MAX),
        1.. => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        _ => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
    };
    let first = u64::try_from(first).map_err(|_| Errno::EINVAL)?;
    Ok(Span { first, last: u64::try_from(last).map_err(|_| Errno::EINVAL)? })
}

/// What F_GETLK stores: the lock that is in the way, or the question with `F_UNLCK`.
fn told(asked: Flock, found: Option<Lock>) -> Flock {
    let Some(Lock { owner, kind, span }) = found else { return Flock { kind: abi::F_UNLCK as u16, ..asked } };
    let kind = match kind {
        Kind::Read => abi::F_RDLCK,
        Kind::Write => abi::F_WRLCK,
    };
    Flock {
        kind: kind as u16,
        whence: abi::SEEK_SET as u16,
        start: span.first as i64,
        len: if span.last == Span::ALL.last { 0 } else { (span.last - span.first + 1) as i64 },
        pid: match owner {
            Owner::Process(pid) => pid as i32,
            Owner::File(_) => -1,
        },
        ..Flock::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_from_where_to_where_a_program_says() {
        let span = |first, last| Ok(Span { first, last });
        assert_eq!(span_from(0, 10, 5), span(10, 14));
        assert_eq!(span_from(100, -10, 0), span(90, i64::MAX as u64));
        assert_eq!(span_from(100, 0, -10), span(90, 99));
        assert_eq!(span_from(0, i64::MAX, 1), span(i64::MAX as u64, i64::MAX as u64));
        assert_eq!(span_from(0, i64::MAX, 2), Err(Errno::EOVERFLOW));
        assert_eq!(span_from(1, i64::MAX, 1), Err(Errno::EOVERFLOW));
        assert_eq!(span_from(0, -1, 1), Err(Errno::EINVAL));
        assert_eq!(span_from(0, 5, -6), Err(Errno::EINVAL));
        assert_eq!(span_from(0, 0, i64::MIN), Err(Errno::EINVAL));
        assert_eq!(span_from(0, i64::MIN, i64::MIN), Err(Errno::EINVAL));
    }
}
