//! Punch hole and zero range: a range reads as zeros from now on (TRC-6, TRC-7).
//!
//! ```text
//!              block   block   block   block            edges          whole blocks
//! before      |dddddd|dddddd|......|dddddd|
//! range           <------------------->
//! punch       |dd0000|......|......|00000d|             zeroed through  freed, with what is cached of them
//! zero range  |dd0000|uuuuuu|uuuuuu|00000d|             the cache       unwritten, with what is cached of them gone
//! ```
//!
//! What can fail comes first. The ends of the whole blocks become ends of extents, so that afterwards the tree need not grow and a full disk
//! is met before anything has changed. What is dirty of them is written before it is dropped, although nobody will read it: if a later
//! step fails, what is there again is not an older state (ERR-12). And d_size has come to what was written.
//!
//! # What a power cut leaves
//!
//! Each handle is one change, and after each the file system is sound. The edges are dirty data like that of a write. So a cut before an
//! fsync leaves each block of the range as it was or as zeros, in any mixture, and the size as it was or, for a zero range that makes the
//! file longer, the new one. Blocks that were freed stay held until that is durable (CRA-3), as those of a truncate.
use super::balloc::Purpose;
use super::extents::{self, MAX_UNWRITTEN, Run, TreeMut};
use super::fallocate::Quiet;
use super::file::touch;
use super::txn::Credits;
use super::{Ext4Inode, truncate};
use crate::caller::Caller;
use crate::iomap;
use crate::vfs::{Inode, SyncKind};
use base::Result;
use base::sync::Arc;
use core::ops::Range;

/// A split at one block: the nodes on the way, new ones, bitmaps, and the inode.
const SPLIT_CREDITS: Credits = Credits(24);
/// A handle that makes blocks unwritten: as many leaves as that reaches for.
const UNWRITE_CREDITS: u32 = 96;

/// Makes `range` (bytes) a hole, with the blocks partly in it zeroed there (TRC-6). Blocks behind the end of the file go too. The inode lock
/// is held exclusively. Errors: `ENOSPC` where an extent has to be split and the disk is full, `EIO` where dirty data could not be written:
/// nothing has changed; `EIO`, `EROFS`, `EUCLEAN`, `ENOMEM` later: part of the range may read as zeros.
pub(super) fn punch_hole(inode: &Arc<Inode>, range: Range<u64>, caller: &dyn Caller) -> Result<()> {
    let own = Ext4Inode::of(inode);
    // Or a write that is on its way is converted, or its blocks given away under it.
    let _quiet = Quiet::wait(inode, base::guard!("R05", true));
    touch(own, inode, caller)?;
    let blocks = own.whole_blocks(&range);
    own.split_ends(inode, &blocks)?;
    write_whole_blocks(inode, &blocks)?;
    zero_edges(inode, &range)?;
    drop_cached(inode, &blocks);
    truncate::free_range(inode, blocks)
}

/// Makes `range` (bytes) read as zeros without giving blocks back: those that are wholly in it become unwritten, holes as well (TRC-7). Unless
/// `keep_size`, a file that ends before the range's end grows to it. The inode lock is held exclusively. Errors: `ENOSPC`, `EINTR`: what was
/// allocated stays, and else nothing has changed; others as [`punch_hole`].
pub(super) fn zero_range(inode: &Arc<Inode>, range: Range<u64>, keep_size: bool, caller: &dyn Caller) -> Result<()> {
    let own = Ext4Inode::of(inode);
    // Or a write that is on its way converts what was zeroed before it has ended.
    let _quiet = Quiet::wait(inode, base::guard!("R06", true));
    touch(own, inode, caller)?;
    own.allocate_range(inode, range.start, range.end - range.start, caller)?;
    let blocks = own.whole_blocks(&range);
    own.split_ends(inode, &blocks)?;
    own.split_long(inode, &blocks)?;
    write_whole_blocks(inode, &blocks)?;
    let grows = !keep_size && range.end > inode.size();
    if grows {
        iomap::zero_gap(inode, own, range.end)?;
    }
    zero_edges(inode, &range)?;
    drop_cached(inode, &blocks);
    own.unwrite(inode, blocks)?;
    if grows {
        inode.set_size(range.end);
        own.raise_disk_size(inode, range.end)?;
    }
    Ok(())
}

/// Zeroes the parts of blocks at either end of the range, through the cache and with stable folios (STB-5).
fn zero_edges(inode: &Arc<Inode>, range: &Range<u64>) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let block = u64::from(own.fs.geo.block_size);
    let head_end = range.start.next_multiple_of(block).min(range.end);
    let tail_start = (range.end / block * block).max(head_end);
    iomap::zero_range(inode, own, range.start, head_end)?;
    iomap::zero_range(inode, own, tail_start, range.end)
}

/// What is dirty of whole blocks goes to the device. Errors: `EIO`, also of the device, `ENOMEM`.
fn write_whole_blocks(inode: &Arc<Inode>, blocks: &Range<u32>) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    iomap::write_and_check(inode, Ext4Inode::of(inode).bytes_of(blocks))
}

/// Takes whole blocks out of the cache, after their writeback (FS-11). What user mappings of the folios at the ends have stored into other
/// blocks becomes dirty before (MM-2).
fn drop_cached(inode: &Inode, blocks: &Range<u32>) {
    if blocks.is_empty() {
        return;
    }
    let range = Ext4Inode::of(inode).bytes_of(blocks);
    iomap::protect_edges(inode, &range);
    inode.mapping.truncate_range(range);
}

impl Ext4Inode {
    /// The blocks that lie wholly in a range of bytes, which ends where a file can.
    pub(super) fn whole_blocks(&self, range: &Range<u64>) -> Range<u32> {
        let start = range.start.div_ceil(u64::from(self.fs.geo.block_size));
        let end = range.end >> self.fs.geo.block_bits;
        start.min(end) as u32..end as u32
    }

    /// The bytes of a range of blocks.
    pub(super) fn bytes_of(&self, blocks: &Range<u32>) -> Range<u64> {
        let bits = self.fs.geo.block_bits;
        u64::from(blocks.start) << bits..u64::from(blocks.end) << bits
    }

    /// Makes both ends of `blocks` ends of extents. Errors: as [`Self::split_at`].
    pub(super) fn split_ends(&self, inode: &Inode, blocks: &Range<u32>) -> Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        self.split_at(inode, blocks.start)?;
        self.split_at(inode, blocks.end)
    }

    /// Makes the beginning of `block` a boundary between extents, in a handle of its own, if it is none. The map stays what it was.
    /// Errors: `ENOSPC`, `EIO`, `EROFS`, `EUCLEAN`.
    pub(super) fn split_at(&self, inode: &Inode, block: u32) -> Result<()> {
        let within = |run: &Run| matches!(run, Run::Extent(extent) if extent.lblk < block);
        if !within(&self.lookup(&self.core.read(), &(block..block.saturating_add(1)))?) {
            return Ok(());
        }
        self.fs.with_space(|| {
            let mut handle = self.fs.begin(SPLIT_CREDITS)?;
            let mut core = self.core.write();
            let split = extents::split(&mut TreeMut::new(&mut handle, self, &mut core, Purpose::Meta), block);
            self.settle_reserve(&mut core, 0);
            // Also after a failure: the tree may have got a level for it.
            self.store(&mut handle, inode, &core, SyncKind::Data)?;
            split
        })
    }

    /// Splits mapped extents of `blocks` that are longer than an unwritten one can be.
    fn split_long(&self, inode: &Inode, blocks: &Range<u32>) -> Result<()> {
        let mut at = blocks.start;
        while at < blocks.end {
            let run = self.lookup(&self.core.read(), &(at..blocks.end))?;
            at = match run {
                Run::Hole { len } => at.saturating_add(len),
                Run::Extent(e) if !e.unwritten && e.len > MAX_UNWRITTEN => {
                    self.split_at(inode, e.lblk.saturating_add(MAX_UNWRITTEN))?;
                    e.end()
                }
                Run::Extent(e) => e.end(),
            };
        }
        Ok(())
    }

    /// Makes mapped blocks unwritten, in as many handles as it takes. Nothing cached of them is waiting to be written, so nothing of them is
    /// waiting to be converted (EXT-2). Errors: `EIO`, `EROFS`, `EUCLEAN`; those before stay unwritten.
    fn unwrite(&self, inode: &Inode, blocks: Range<u32>) -> Result<()> {
        let credits = Credits(UNWRITE_CREDITS.min(self.fs.txn.most_credits().0));
        let mut left = Some(blocks).filter(|blocks| !blocks.is_empty());
        while let Some(range) = left {
            left = self.fs.with_space(|| {
                let mut handle = self.fs.begin(credits)?;
                let mut core = self.core.write();
                core.unconverted.remove(range.clone());
                let mut tree = TreeMut::new(&mut handle, self, &mut core, Purpose::Meta);
                let rest = extents::unwrite(&mut tree, range.clone());
                self.settle_reserve(&mut core, 0);
                self.store(&mut handle, inode, &core, SyncKind::Data)?;
                rest
            })?;
        }
        Ok(())
    }
}
