//! Open regular files: the checks before a write (SEMANTICS A2), which lock it takes (LOCK-2), and which way it goes.
//!
//! | request | way |
//! |---|---|
//! | O_DIRECT | `iomap::direct_write`, `direct_read` |
//! | write-through that must not sleep (`NOWAIT`) | [`nowait`], `iomap::writethrough_write` |
//! | write-through, or any integrity flag (FLAG-8) | `iomap::writethrough_write` |
//! | else | `iomap::buffered_write`, `buffered_read` |
use super::limited::Limited;
use super::{Ext4Inode, fallocate, fiemap, fsync, nowait, seek, truncate};
use crate::caller::Caller;
use crate::io::{IoSink, IoSource};
use crate::iomap::{self, InodeLock, IomapOps, WriteRequest};
use crate::kiocb::{IoFlags, Kiocb, Outcome};
use crate::vfs::{
    FallocMode, File, FileExtent, FileFeatures, FileOps, FreezeGuard, FreezeLevel, Inode, InodeOps, SyncKind, Timespec,
    needs_privilege_removal, remove_privileges,
};
use base::sync::Arc;
use base::{Errno, Result};
use core::ops::Range;

/// The operations of a regular file's inode.
pub struct FileInode(pub Ext4Inode);

impl InodeOps for FileInode {
    fn as_any(&self) -> &dyn core::any::Any {
        &self.0
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        self.0.fs.check_not_shut_down()?;
        Ok(Arc::new(Ext4File))
    }
    fn truncate(&self, inode: &Arc<Inode>, size: u64, caller: &dyn Caller) -> Result<()> {
        truncate::truncate(inode, size, caller)
    }
    fn dirty_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        self.0.mark_attr_dirty(inode)
    }
    fn evict(&self, inode: &Arc<Inode>) -> Result<()> {
        truncate::evict(inode)
    }
    fn fsync(&self, inode: &Arc<Inode>, kind: SyncKind) -> Result<()> {
        self.0.fs.check_not_shut_down()?;
        iomap::write_and_wait(inode, 0..u64::MAX)?;
        fsync::sync_inode(&self.0, inode, kind)
    }
    fn has_extents(&self) -> bool {
        true
    }
    fn report_extents(
        &self,
        inode: &Arc<Inode>,
        range: Range<u64>,
        emit: &mut dyn FnMut(&FileExtent) -> Result<bool>,
    ) -> Result<()> {
        fiemap::report(inode, range, emit)
    }
    fn iomap(&self) -> Option<&dyn IomapOps> {
        Some(&self.0)
    }
}

/// An open regular file. Everything it needs hangs on its inode.
struct Ext4File;

impl FileOps for Ext4File {
    fn features(&self) -> FileFeatures {
        FileFeatures::WRITETHROUGH | FileFeatures::DIRECT | FileFeatures::NOWAIT_THROUGH | FileFeatures::NOWAIT_READ
    }

    fn read(&self, kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        let inode = inode_of(kiocb.file)?;
        Ext4Inode::of(inode).fs.check_not_shut_down()?;
        if kiocb.flags.contains(IoFlags::DIRECT) {
            return iomap::direct_read(inode, kiocb, dst);
        }
        iomap::buffered_read(inode, kiocb, dst).map(Outcome::Done)
    }

    fn write(&self, kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        let inode = inode_of(kiocb.file)?;
        let own = Ext4Inode::of(inode);
        base::anchor!("S-1", inode.ino);
        if kiocb.flags.contains(IoFlags::NOWAIT) {
            return nowait::write(own, inode, kiocb, src);
        }
        let freeze = FreezeGuard::enter(&inode.sb, FreezeLevel::Write);
        base::anchor!("S-2", inode.ino);
        let lock = lock_for_write(own, inode, kiocb, src);
        base::anchor!("S-3", inode.ino);
        let len = check_write(own, inode, kiocb, src.remaining())?;
        touch(own, inode, kiocb.caller)?;
        base::anchor!("S-4", inode.ino);
        let through = IoFlags::WRITETHROUGH | IoFlags::DSYNC | IoFlags::SYNC;
        let request = WriteRequest { inode, freeze, lock, pos: kiocb.pos, len };
        if kiocb.flags.contains(IoFlags::DIRECT) {
            return iomap::direct_write(request, kiocb, src);
        }
        if kiocb.flags.intersects(through) {
            return iomap::writethrough_write(request, kiocb, src);
        }
        buffered(request, kiocb, src)
    }

    fn fsync(&self, file: &File, kind: SyncKind) -> Result<()> {
        let inode = inode_of(file)?;
        inode.ops().fsync(inode, kind)
    }

    fn fallocate(&self, file: &File, mode: FallocMode, pos: u64, len: u64, caller: &dyn Caller) -> Result<()> {
        fallocate::fallocate(inode_of(file)?, mode, pos, len, caller)
    }

    fn seek_extent(&self, file: &File, from: u64, data: bool) -> Result<u64> {
        seek::seek_extent(inode_of(file)?, from, data)
    }
}

fn inode_of(file: &File) -> Result<&Arc<Inode>> {
    file.inode.as_ref().ok_or(Errno::EBADF)
}

/// Takes the inode lock in the mode the request needs (LOCK-2, LOCK-9). Shared is chosen by what is true now; it stays true: neither the
/// size nor an allocated block can go while the lock is held, and what made the mode exclusive is looked at again by nobody.
fn lock_for_write<'a>(
    own: &Ext4Inode,
    inode: &'a Arc<Inode>,
    kiocb: &mut Kiocb<'_>,
    src: &dyn IoSource,
) -> InodeLock<'a> {
    if own.sync {
        kiocb.flags.insert(IoFlags::SYNC);
    }
    let may_share = |kiocb: &Kiocb<'_>| {
        let (pos, len) = (kiocb.pos, src.remaining() as u64);
        let inside = pos.checked_add(len).is_some_and(|end| end <= inode.size());
        let fits = |len| {
            if kiocb.flags.contains(IoFlags::DIRECT) {
                whole_blocks(own, pos, len)
            } else {
                own.is_in_place(inode, pos, len)
            }
        };
        inside && fits(len) && !needs_privilege_removal(inode, kiocb.caller)
    };
    let ways = IoFlags::DIRECT | IoFlags::WRITETHROUGH | IoFlags::DSYNC | IoFlags::SYNC;
    if kiocb.flags.intersects(ways) && !kiocb.flags.contains(IoFlags::APPEND) {
        let shared = inode.lock.read();
        if may_share(kiocb) {
            return InodeLock::Shared(shared);
        }
        drop(shared);
    }
    InodeLock::Exclusive(inode.lock.write())
}

fn whole_blocks(own: &Ext4Inode, pos: u64, len: u64) -> bool {
    let block = u64::from(own.fs.geo.block_size);
    pos.is_multiple_of(block) && len.is_multiple_of(block)
}

/// The checks of A2 in their order (CHK-2 to CHK-5); gives the length that is left. An append's position is chosen here (APP-1).
/// Errors: `EPERM`, `EFBIG`, `EROFS`, `EIO`.
#[inline(always)]
pub(super) fn check_write(own: &Ext4Inode, inode: &Inode, kiocb: &mut Kiocb<'_>, len: usize) -> Result<usize> {
    if kiocb.flags.contains(IoFlags::APPEND) {
        kiocb.pos = inode.size();
    }
    let limit = kiocb.caller.file_size_limit();
    if kiocb.pos >= limit {
        kiocb.caller.file_size_exceeded();
        return Err(Errno::EFBIG);
    }
    let most = own.fs.max_file_size();
    if kiocb.pos >= most {
        return Err(Errno::EFBIG);
    }
    if inode.with_attr(|attr| attr.immutable) {
        return Err(Errno::EPERM);
    }
    own.fs.check_writable()?;
    let room = limit.min(most) - kiocb.pos;
    let len = usize::try_from(room).unwrap_or(usize::MAX).min(len);
    // The share of root: others may not extend a file into it.
    let new_blocks = (kiocb.pos + len as u64).saturating_sub(inode.size()) >> own.fs.geo.block_bits;
    if new_blocks > 0 && kiocb.caller.uid() != 0 && own.fs.blocks_for_users() < new_blocks {
        return Err(Errno::ENOSPC);
    }
    Ok(len)
}

/// Takes privileges off and sets the times (CHK-6): once for a call, before the first byte is copied.
pub(super) fn touch(own: &Ext4Inode, inode: &Arc<Inode>, caller: &dyn Caller) -> Result<()> {
    if needs_privilege_removal(inode, caller) {
        remove_privileges(inode)?;
    }
    let now = Timespec::now();
    inode.update_attr(|attr| (attr.mtime, attr.ctime) = (now, now));
    own.mark_attr_dirty(inode)
}

/// An ordinary buffered write. It is throttled without the inode lock, so that others go on; with the freeze guard, which the flusher
/// does not need.
#[inline(always)] // It takes the request over: out of line it is copied for it.
fn buffered(request: WriteRequest<'_>, kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
    let WriteRequest { inode, freeze, lock, pos: _, len } = request;
    inode.drain.drain_direct();
    let written = if len < src.remaining() {
        iomap::buffered_write(inode, kiocb, &mut Limited::new(src, len))
    } else {
        iomap::buffered_write(inode, kiocb, src)
    };
    drop(lock);
    if written.is_ok() {
        iomap::balance_dirty(inode);
    }
    drop(freeze);
    written.map(Outcome::Done)
}
