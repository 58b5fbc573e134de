//! Changing the size of a regular file, and the end of an inode's life.
//!
//! Order of a truncate (TRC-1): inode lock, drain, invalidate lock, i_size, then for a shrink: the tail of the last block becomes zero and goes to
//! the device, the inode enters the orphan list together with its new d_size, cached folios behind go, blocks are freed in as many
//! handles as it takes, and it leaves the list. If the device does not take the zeros, the truncate fails and the file is as before. A power cut in between leaves an orphan that the next mount cuts.
use super::balloc::Purpose;
use super::extents::{self, END_OF_FILE_SPACE, TreeMut};
use super::features::InodeFlags;
use super::inode::Ext4Inode;
use super::txn::Credits;
use super::{Ext4Fs, orphan, xattr};
use crate::caller::Caller;
use crate::iomap;
use crate::vfs::{FileType, Inode, SyncKind, Timespec};
use base::sync::Arc;
use base::sync::atomic::Ordering;
use base::{Errno, PAGE_SIZE, Result, trace};
use core::ops::Range;

/// Steps of at most 16 extents each that one handle takes at most.
const STEPS: u32 = 16;
/// Runs of blocks that one step frees, and bitmaps that one run touches, at most.
const STEP_BITMAPS: u32 = 16 * 2;

/// Sets the size of a regular file. Permission, limits of the caller and privileges were dealt with. Errors: `EFBIG`, `EIO`, `EROFS`,
/// `EUCLEAN`, `ENOMEM`.
pub fn truncate(inode: &Arc<Inode>, size: u64, _caller: &dyn Caller) -> Result<()> {
    let own = Ext4Inode::of(inode);
    own.fs.check_writable()?;
    if size > own.fs.max_file_size() {
        return Err(Errno::EFBIG);
    }
    trace::record(trace::Kind::TruncateBegin, inode.ino, size);
    let result = truncate_quiet(inode, own, size);
    trace::record(trace::Kind::TruncateEnd, inode.ino, size);
    result
}

/// With every I/O that was in flight out of the way, also where the file grows (TRC-2, TRC-4). The wait ends with that I/O and not with a
/// signal (TRC-11).
fn truncate_quiet(inode: &Arc<Inode>, own: &Ext4Inode, size: u64) -> Result<()> {
    let _lock = inode.lock.write();
    base::anchor!("trunc.after_lock", inode.ino);
    if base::guard!("R03", true) {
        inode.drain.drain();
    }
    base::anchor!("trunc.after_drain", inode.ino);
    let _cache = inode.mapping.invalidate.write();
    let old = inode.size();
    let now = Timespec::now();
    inode.update_attr(|attr| (attr.mtime, attr.ctime) = (now, now));
    if size > old {
        iomap::zero_gap(inode, own, size)?;
        inode.set_size(size);
        base::anchor!("trunc.after_isize", inode.ino);
        return set_disk_size(inode, size);
    }
    let folio = folio_across(size);
    if size < old && !folio.is_empty() {
        // So that a failure further on can let go of the folio: what was in it is on the device.
        iomap::write_and_check(inode, folio.clone())?;
    }
    inode.set_size(size);
    base::anchor!("trunc.after_isize", inode.ino);
    // At the same size, what was allocated behind it goes (fallocate with KEEP_SIZE, or one that has met a full disk).
    let tail = if size < old { zero_tail(inode, size) } else { Ok(()) };
    tail.and_then(|()| shrink(inode, size)).inspect_err(|_| {
        // Where the smaller size did not come to the disk's inode, nothing was freed: the file keeps its size (SIZE-5), and of the
        // folio across it what the device has.
        if own.disk_size() > size {
            inode.set_size(old);
            inode.mapping.truncate_range(folio);
        }
    })
}

/// The bytes of the folio that `size` lies in; none where it lies between two.
fn folio_across(size: u64) -> Range<u64> {
    let page = PAGE_SIZE as u64;
    size / page * page..size.next_multiple_of(page)
}

fn set_disk_size(inode: &Arc<Inode>, size: u64) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let mut handle = own.fs.begin(Credits(1))?;
    let mut core = own.core.write();
    core.disk_size = size;
    own.store(&mut handle, inode, &core, SyncKind::Data)
}

/// The part of the last block behind `size` becomes zero: on the device before the size is, or a later growth could show the old
/// bytes after a cut (TRC-3).
fn zero_tail(inode: &Arc<Inode>, size: u64) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let block = u64::from(own.fs.geo.block_size);
    if size.is_multiple_of(block) {
        return Ok(());
    }
    iomap::zero_tail(inode, own, size)?;
    let tail = size / block * block..size;
    base::mistake!("TRC-3", return iomap::write_and_wait(inode, tail));
    iomap::write_and_check(inode, tail)
}

/// The smaller size goes to the disk's inode, cached folios behind it and then blocks go. Where the first fails, the others stay.
fn shrink(inode: &Arc<Inode>, size: u64) -> Result<()> {
    let own = Ext4Inode::of(inode);
    if own.core.read().blocks == 0 {
        set_disk_size(inode, size)?;
        inode.mapping.truncate_range(size..u64::MAX);
        return Ok(());
    }
    {
        let mut handle = own.fs.begin(Credits(4))?;
        orphan::add(&mut handle, inode)?;
        let mut core = own.core.write();
        core.disk_size = size;
        own.store(&mut handle, inode, &core, SyncKind::Data)?;
    }
    inode.mapping.truncate_range(size..u64::MAX);
    free_behind(inode, size)
}

/// Frees the blocks behind `size` and takes the inode off the orphan list. No I/O to them is in flight (TRC-5).
/// Errors: `EIO`, `EUCLEAN`, `EROFS`; the inode stays on the list then.
pub(super) fn free_behind(inode: &Inode, size: u64) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let first = size.div_ceil(u64::from(own.fs.geo.block_size)).min(u64::from(END_OF_FILE_SPACE)) as u32;
    free_range(inode, first..END_OF_FILE_SPACE)?;
    orphan::remove_and_store(inode)
}

/// Frees the blocks of a range, from its end to its start, in as many handles as it takes: truncate and punch. No I/O to them is in flight
/// (TRC-5), and of the cache they are gone. Errors: `EIO`, `EUCLEAN`, `EROFS`; `ENOSPC` where an end of the range lies within
/// an extent and the tree has to grow.
pub(super) fn free_range(inode: &Inode, range: Range<u32>) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let (steps, credits) = steps_of_a_handle(&own.fs);
    let from_start = range.start == 0;
    let mut left = Some(range);
    while let Some(range) = left {
        let mut handle = own.fs.begin(credits)?;
        let mut core = own.core.write();
        core.unconverted.remove(range.clone());
        let removed = extents::remove(&mut TreeMut::new(&mut handle, own, &mut core, Purpose::Meta), range, steps);
        own.settle_reserve(&mut core, 0);
        if from_start {
            core.goal = own.fs.first_goal(own.ino);
        }
        own.store(&mut handle, inode, &core, SyncKind::Data)?;
        left = removed?;
    }
    Ok(())
}

/// How many steps a handle takes, and what they may touch: the nodes on the way to each leaf, bitmaps, inode and superblock.
fn steps_of_a_handle(fs: &Ext4Fs) -> (u32, Credits) {
    let most = fs.txn.most_credits().0;
    let steps = (1..=STEPS).rev().find(|&steps| credits_of_steps(fs, steps) <= most).unwrap_or(1);
    (steps, Credits(credits_of_steps(fs, steps)))
}

/// What so many steps of freeing may touch.
pub(super) fn credits_of_steps(fs: &Ext4Fs, steps: u32) -> u32 {
    6 * steps + fs.geo.group_count.min(steps * STEP_BITMAPS) + 8
}

/// Ends an inode without names: frees its blocks and its number. For every type. Nothing is in flight and nobody else has the
/// inode (TRC-13, PRC-4). Errors: `EIO`, `EUCLEAN`, `EROFS`; what is left is on the orphan list.
pub fn evict(inode: &Arc<Inode>) -> Result<()> {
    let own = Ext4Inode::of(inode);
    own.fs.check_writable()?;
    inode.drain.drain();
    {
        let _cache = inode.mapping.invalidate.write();
        inode.mapping.truncate_all();
    }
    // Device nodes and short symbolic links have no tree.
    let has_tree = own.core.read().flags.contains(InodeFlags::EXTENTS);
    if has_tree {
        free_behind(inode, 0)?;
    }
    let mut handle = own.fs.begin(Credits(8))?;
    orphan::remove(&mut handle, inode)?;
    let mut core = own.core.write();
    xattr::release(&mut handle, own, &mut core)?;
    core.disk_size = 0;
    own.dtime.store(Timespec::now().sec as u32, Ordering::Release);
    own.store(&mut handle, inode, &core, SyncKind::Data)?;
    drop(core);
    own.fs.free_inode(&mut handle, own.ino, inode.kind == FileType::Directory)?;
    inode.sb.inodes().clear_dirty(inode);
    Ok(())
}
