//! Write-throughs that must not sleep (NOW-1): the checks before a write, where each lock is taken only if it is free.
//!
//! Only what shares the inode lock is done (LOCK-9): bytes of the file that have their blocks. To make the file longer, to allocate or to take
//! privileges off needs the lock exclusively and a handle, and a handle may wait for a commit: that is `EAGAIN` at once. Debug builds
//! stop at whatever might sleep on the way ([`sched::NoSleep`]).
use super::Ext4Inode;
use super::file::check_write;
use crate::io::IoSource;
use crate::iomap::{self, InodeLock, WriteRequest};
use crate::kiocb::{IoFlags, Kiocb, Outcome};
use crate::vfs::{FreezeGuard, FreezeLevel, Inode, needs_privilege_removal};
use base::sync::Arc;
use base::{Errno, Result, sched};

/// As a write of [`super::file`], asynchronous and through the cache. Bytes behind the end of the file make the count short. Errors: `EAGAIN`, with
/// no side effect; those of the checks; the device's.
pub(super) fn write(
    own: &Ext4Inode,
    inode: &Arc<Inode>,
    kiocb: &mut Kiocb<'_>,
    src: &mut dyn IoSource,
) -> Result<Outcome> {
    let _no_sleep = sched::NoSleep::begin();
    let freeze = FreezeGuard::try_enter(&inode.sb, FreezeLevel::Write).ok_or(Errno::EAGAIN)?;
    base::anchor!("S-2", inode.ino);
    if own.sync {
        kiocb.flags.insert(IoFlags::SYNC);
    }
    base::mistake!("NOW-1", super::file::touch(own, inode, kiocb.caller)?);
    let lock = inode.lock.try_read().ok_or(Errno::EAGAIN)?;
    base::anchor!("S-3", inode.ino);
    let inside = inode.size().saturating_sub(kiocb.pos);
    let len = usize::try_from(inside).unwrap_or(usize::MAX).min(src.remaining());
    let exclusive = kiocb.flags.contains(IoFlags::APPEND) || len == 0 || needs_privilege_removal(inode, kiocb.caller);
    if exclusive {
        return Err(Errno::EAGAIN);
    }
    // Inside the file, so that free blocks, whose lock sleeps, are not asked for.
    let len = check_write(own, inode, kiocb, len)?;
    base::anchor!("S-4", inode.ino);
    let request = WriteRequest { inode, freeze, lock: InodeLock::Shared(lock), pos: kiocb.pos, len };
    iomap::writethrough_write(request, kiocb, src)
}
