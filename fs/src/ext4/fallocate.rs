//! fallocate of regular files: the checks, the locks, and plain allocation.
//!
//! | mode | what becomes of whole blocks in the range | code |
//! |---|---|---|
//! | allocate | holes become UNWRITTEN, the rest stays (TRC-9) | here |
//! | punch hole | they are freed (TRC-6) | `punch` |
//! | zero range | they become UNWRITTEN, those that were holes too (TRC-7) | `punch` |
//! | collapse range | they are freed, and what stands behind moves forward (TRC-8) | `shift` |
//! | insert range | they are a hole, and what stood there moves back (TRC-8) | `shift` |
//!
//! All but the first change what exists, and do it in the order of a truncate (TRC-1): freeze protection, inode lock, the checks, then
//! [`Quiet`]: nothing in flight, nobody inserts folios. Then privileges and times (CHK-6), then the cache, then extents.
use super::file::touch;
use super::{Ext4Inode, punch, shift};
use crate::caller::Caller;
use crate::iomap;
use crate::vfs::{FallocMode, FreezeGuard, FreezeLevel, Inode, check_limit};
use base::sync::{Arc, WriteGuard};
use base::{Errno, Result};
use core::ops::Range;

/// Changes the range of `len` bytes at `pos`, which are not none. Task context; sleeps; takes freeze protection and the inode lock.
///
/// Errors: `EFBIG` past what a file can have, or past the caller's limit; `EPERM`, `EROFS`, `EIO`; of collapse and insert `EINVAL` where
/// the range is not of whole blocks, or reaches the end of the file; `ENOSPC`, `EINTR`, `EUCLEAN`, `ENOMEM`.
pub(super) fn fallocate(inode: &Arc<Inode>, mode: FallocMode, pos: u64, len: u64, caller: &dyn Caller) -> Result<()> {
    let _freeze = FreezeGuard::enter(&inode.sb, FreezeLevel::Write);
    let _lock = inode.lock.write();
    base::anchor!("falloc.after_lock", inode.ino);
    let range = check(inode, mode, pos, len, caller)?;
    match mode {
        FallocMode::Allocate { keep_size } => allocate(inode, range, keep_size, caller),
        FallocMode::PunchHole => punch::punch_hole(inode, range, caller),
        FallocMode::ZeroRange { keep_size } => punch::zero_range(inode, range, keep_size, caller),
        FallocMode::CollapseRange => shift::collapse(inode, range, caller),
        FallocMode::InsertRange => shift::insert(inode, range, caller),
    }
}

/// The checks that need the inode lock; gives the range.
fn check(inode: &Arc<Inode>, mode: FallocMode, pos: u64, len: u64, caller: &dyn Caller) -> Result<Range<u64>> {
    let own = Ext4Inode::of(inode);
    let most = own.fs.max_file_size();
    let end = pos.checked_add(len).filter(|&end| end <= most).ok_or(Errno::EFBIG)?;
    own.fs.check_writable()?;
    let (size, block) = (inode.size(), u64::from(own.fs.geo.block_size));
    let allocates = matches!(mode, FallocMode::Allocate { .. });
    if inode.with_attr(|attr| attr.immutable || attr.append_only && !(allocates && pos >= size)) {
        return Err(Errno::EPERM);
    }
    let shifts = matches!(mode, FallocMode::CollapseRange | FallocMode::InsertRange);
    if shifts && !(pos.is_multiple_of(block) && len.is_multiple_of(block)) {
        return Err(Errno::EINVAL);
    }
    if mode == FallocMode::InsertRange && len > most.saturating_sub(size) {
        return Err(Errno::EFBIG);
    }
    // What would collapse the end is a truncate; what is inserted there is one that makes the file longer.
    let reaches = if mode == FallocMode::CollapseRange { end } else { pos };
    if shifts && reaches >= size {
        return Err(Errno::EINVAL);
    }
    check_limit(mode, size, pos, len, caller)?;
    Ok(pos..end)
}

/// An inode with nothing in flight whose cache nobody fills: every I/O that was submitted before has finished, metadata step included, and
/// none can start, because the caller holds the inode lock exclusively (LOCK-8, TRC-10).
#[must_use = "the inode is quiet as long as this lives"]
pub(super) struct Quiet<'a> {
    _cache: WriteGuard<'a, ()>,
}

impl<'a> Quiet<'a> {
    /// Waits for what is in flight, then takes the invalidate lock exclusively (LOCK-3). `drains` is always true, but for a test that shows
    /// what happens otherwise.
    pub fn wait(inode: &'a Inode, drains: bool) -> Quiet<'a> {
        if drains {
            inode.drain.drain();
        }
        base::anchor!("falloc.after_drain", inode.ino);
        Quiet { _cache: inode.mapping.invalidate.write() }
    }
}

/// Allocates the holes of a range as unwritten blocks (TRC-9). The inode lock is held exclusively. No drain: nothing that exists
/// changes, and i_size only grows (R09). Errors: `ENOSPC` (what was allocated stays), `EINTR`, `EIO`.
fn allocate(inode: &Arc<Inode>, range: Range<u64>, keep_size: bool, caller: &dyn Caller) -> Result<()> {
    let own = Ext4Inode::of(inode);
    own.allocate_range(inode, range.start, range.end - range.start, caller)?;
    let grows = !keep_size && range.end > inode.size();
    if grows {
        let old_size = inode.size();
        iomap::zero_gap(inode, own, range.end)?;
        inode.set_size(range.end);
        iomap::protect_old_end(inode, old_size);
    }
    touch(own, inode, caller)?;
    if grows { own.raise_disk_size(inode, range.end) } else { Ok(()) }
}
