//! Collapse and insert range: whole blocks are taken out of a file or put into it, and what stands behind moves (TRC-8).
//!
//! The data stays where it is on the device; the extents get other file blocks. What is cached from the change to the end has the old
//! positions, so all of it is written back and dropped before, and the invalidate lock keeps it out until the extents are moved. If a
//! write of it fails, nothing has changed.
//!
//! # What a power cut leaves
//!
//! Nearly always all of the change or nothing: freeing the range, moving the extents and the new size are one handle, and so one
//! transaction, if the nodes of the tree from the range on fit into one together with what the freeing touches (a tree of a hundred
//! nodes at least with the log that `mke2fs` makes: tens of thousands of extents). Else it takes several, each of which leaves a
//! sound file system, and a cut between two of them leaves a file in between:
//!
//! | operation | where | the file after the cut |
//! |---|---|---|
//! | collapse | while the range is freed, 32 extents of two leaves a handle, or 48 of one | the old size; a part of the range at its end reads as zeros |
//! | collapse | while a tree that is too large is shifted | the old size; the zeros stand further behind, what was between has moved |
//! | insert | while a tree that is too large is shifted | the new size; the zeros stand further behind than they will, what is behind has moved |
//!
//! In the last two rows all bytes of the file that were not to go are there, in their order, with the zeros among them. The size changes with
//! the first shift of an insert and with the last one of a collapse: no mapped block ever stands behind d_size (SIZE-4).
use super::balloc::Purpose;
use super::extents::{self, END_OF_FILE_SPACE, Tree, TreeMut};
use super::fallocate::Quiet;
use super::file::touch;
use super::inode::InodeCore;
use super::meta::MetaBlock;
use super::txn::{Credits, Handle};
use super::{Ext4Inode, truncate};
use crate::caller::Caller;
use crate::iomap;
use crate::vfs::{Inode, SyncKind};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Result};
use core::ops::Range;

/// What a handle has beyond the nodes it shifts: the inode, and what is asked for the change of one more leaf.
const SLACK: u32 = 32;
/// Steps of 16 extents, each of one leaf, that are freed in one handle with a shift: 32 extents that lie in two leaves take three.
const FREE_STEPS: u32 = 3;

/// Takes the whole blocks of `range` (bytes), which ends before the end of the file, out of it. The inode lock is held exclusively.
/// Errors: `EIO`: what was cached could not be written, nothing has changed; `ENOSPC`: an extent has to be split and the disk is
/// full, nothing has changed; `EIO`, `EROFS`, `EUCLEAN`, `ENOMEM` later: as after a power cut.
pub(super) fn collapse(inode: &Arc<Inode>, range: Range<u64>, caller: &dyn Caller) -> Result<()> {
    let own = Ext4Inode::of(inode);
    // Or the finish of a write that is on its way converts the blocks that have come to its old position.
    let _quiet = Quiet::wait(inode, base::guard!("R07", true));
    touch(own, inode, caller)?;
    let blocks = own.whole_blocks(&range);
    own.split_ends(inode, &blocks)?;
    write_and_drop(inode, range.start)?;
    let size = inode.size() - (range.end - range.start);
    let mut work = Collapse { free: Some(blocks.clone()), from: Some(blocks.end), by: blocks.end - blocks.start, size };
    while work.from.is_some() {
        own.collapse_some(inode, &mut work)?;
        // Where each handle is a transaction, a cut may come between the freeing of the range and the move of what stands behind.
        base::mistake!("collapse", own.fs.commit_all()?);
    }
    inode.set_size(size);
    own.join_at(inode, blocks.start);
    Ok(())
}

/// Puts a hole of whole blocks at `range` (bytes), which begins before the end of the file. The inode lock is held exclusively.
/// Errors: as [`collapse`]; `EFBIG` where blocks behind the end of the file would leave what a file can have.
pub(super) fn insert(inode: &Arc<Inode>, range: Range<u64>, caller: &dyn Caller) -> Result<()> {
    let own = Ext4Inode::of(inode);
    // Or the finish of a write that is on its way converts the blocks that have come to its old position.
    let _quiet = Quiet::wait(inode, base::guard!("R07", true));
    let blocks = own.whole_blocks(&range);
    let by = blocks.end - blocks.start;
    let last = extents::end_of(&Tree::new(own, &own.core.read()))?;
    if last.checked_add(by).is_none() {
        return Err(Errno::EFBIG);
    }
    touch(own, inode, caller)?;
    own.split_at(inode, blocks.start)?;
    write_and_drop(inode, range.start)?;
    let old = inode.size();
    let size = old + (range.end - range.start);
    // Before d_size (SIZE-5). Nobody reads there before the extents are moved.
    inode.set_size(size);
    let mut left = Some(blocks.start..END_OF_FILE_SPACE);
    while let Some(rest) = left {
        left = own.insert_some(inode, rest, by, size).inspect_err(|_| {
            if own.disk_size() < size {
                inode.set_size(old);
            }
        })?;
    }
    Ok(())
}

/// What is cached of the file from the folio with byte `from` on goes to the device, and then out of the cache. Errors: `EIO`, also of the
/// device, `ENOSPC`, `ENOMEM`; it is all cached then.
fn write_and_drop(inode: &Arc<Inode>, from: u64) -> Result<()> {
    let page = PAGE_SIZE as u64;
    let range = from / page * page..u64::MAX;
    iomap::write_and_check(inode, range.clone())?;
    // Or a folio stays at the position that its bytes had.
    if base::guard!("TRC-8", true) {
        inode.mapping.truncate_range(range);
    }
    base::anchor!("falloc.after_drop", inode.ino);
    Ok(())
}

/// What is left of a collapse.
struct Collapse {
    /// To be freed.
    free: Option<Range<u32>>,
    /// The first block of what is to be moved when that is done, and how far.
    from: Option<u32>,
    by: u32,
    /// The size of the file in the end.
    size: u64,
}

impl Ext4Inode {
    /// One handle's part of a collapse.
    fn collapse_some(&self, inode: &Inode, work: &mut Collapse) -> Result<()> {
        let Some(from) = work.from else { return Ok(()) };
        let besides = truncate::credits_of_steps(&self.fs, FREE_STEPS);
        let (credits, _pinned) = self.pin_nodes(from, besides)?;
        let mut handle = self.fs.begin(credits)?;
        let mut core = self.core.write();
        let done = self.free_and_shift(&mut handle, &mut core, work, from);
        // Also after a failure: part of the tree may have changed.
        let stored = self.store(&mut handle, inode, &core, SyncKind::Data);
        done.and(stored)
    }

    fn free_and_shift(
        &self,
        handle: &mut Handle<'_>,
        core: &mut InodeCore,
        work: &mut Collapse,
        from: u32,
    ) -> Result<()> {
        // Written and dropped: nothing from the folio of the change on waits for a conversion.
        core.unconverted.remove(work.free.as_ref().map_or(from, |free| free.start)..END_OF_FILE_SPACE);
        self.settle_reserve(core, 0);
        if let Some(free) = work.free.clone() {
            let mut tree = TreeMut::new(handle, self, core, Purpose::Meta);
            work.free = extents::remove(&mut tree, free, FREE_STEPS)?;
            // The shift is in the same handle.
            if work.free.is_some() || !base::guard!("collapse", true) {
                return Ok(());
            }
        }
        work.from = extents::shift_down(&mut TreeMut::new(handle, self, core, Purpose::Meta), from, work.by)?;
        if work.from.is_none() {
            core.disk_size = work.size;
        }
        Ok(())
    }

    /// One handle's part of an insertion: gives what of the extents in `left` is still to be moved.
    fn insert_some(&self, inode: &Inode, left: Range<u32>, by: u32, size: u64) -> Result<Option<Range<u32>>> {
        let (credits, _pinned) = self.pin_nodes(left.start, 0)?;
        let mut handle = self.fs.begin(credits)?;
        let mut core = self.core.write();
        core.unconverted.remove(left.start..END_OF_FILE_SPACE);
        self.settle_reserve(&mut core, 0);
        let mut tree = TreeMut::new(&mut handle, self, &mut core, Purpose::Meta);
        // Once more, in the hold of the lock that moves: writeback of the block before may have converted it meanwhile, and joined it
        // with the first one that is to move.
        let split = if base::guard!("split", true) { extents::split(&mut tree, left.start) } else { Ok(()) };
        let shifted = split.and_then(|()| extents::shift_up(&mut tree, left, by));
        if shifted.is_ok() {
            core.disk_size = size;
        }
        let stored = self.store(&mut handle, inode, &core, SyncKind::Data);
        shifted.and_then(|left| stored.map(|()| left))
    }

    /// Credits for a shift of everything from block `from` on in one handle, with `besides` for other changes, and the nodes, which stay in
    /// memory as long as they are held: to read them again cannot fail half way. Where they are too many, credits for a part, and none.
    /// Errors: `EIO`, `EUCLEAN`, `ENOMEM`.
    fn pin_nodes(&self, from: u32, besides: u32) -> Result<(Credits, Vec<Arc<MetaBlock>>)> {
        let most = self.fs.txn.most_credits().0;
        let room = most.saturating_sub(besides.saturating_add(SLACK));
        let Some(nodes) = extents::nodes_from(&Tree::new(self, &self.core.read()), from, room as usize)? else {
            return Ok((Credits(most), Vec::new()));
        };
        let mut pinned = Vec::new();
        pinned.try_reserve_exact(nodes.len()).map_err(|_| Errno::ENOMEM)?;
        for node in nodes {
            pinned.push(self.fs.meta.read(node)?);
        }
        Ok((Credits(pinned.len() as u32 + besides + SLACK), pinned))
    }

    /// Makes one extent of two where a collapse has brought together what belongs together. The collapse is done: two extents that remain
    /// cost nothing but room.
    fn join_at(&self, inode: &Inode, block: u32) {
        let join = || -> Result<()> {
            let mut handle = self.fs.begin(Credits(SLACK))?;
            let mut core = self.core.write();
            let joined = extents::join(&mut TreeMut::new(&mut handle, self, &mut core, Purpose::Meta), block);
            let stored = self.store(&mut handle, inode, &core, SyncKind::Data);
            joined.and(stored)
        };
        if let Err(error) = join() {
            log::warn!("ext4: inode {}: extents not joined: {error}", self.ino);
        }
    }
}
