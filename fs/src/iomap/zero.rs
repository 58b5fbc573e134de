//! Zeroing through the cache: the gap of a write behind the end, the tail of a truncate, the edges of a hole.
use super::extents::Extents;
use super::readahead::fill;
use super::{IomapKind, IomapOps};
use crate::vfs::Inode;
use base::{PAGE_SIZE, Result};
use core::ops::Range;

const PS: u64 = PAGE_SIZE as u64;

/// Before i_size goes from where it is to `pos` or beyond: what stands behind the old end, in the cache or in its last block on the
/// device, becomes zero, and whole blocks of the gap stay holes (CHK-7, EOF-3, EOF-4). The inode lock is held exclusively. Does nothing if
/// `pos` is not behind the end. Errors: `EIO`, `ENOMEM`.
///
/// User mappings of the folio at the old end lose write access even if nothing is to be zeroed: their next store must
/// fault, so that a block is allocated for it (EOF-5).
pub fn zero_gap(inode: &Inode, ops: &dyn IomapOps, pos: u64) -> Result<()> {
    base::mistake!("EOF-3", return Ok(()));
    let size = inode.size();
    if pos < size || size.is_multiple_of(PS) {
        return Ok(());
    }
    if pos == size {
        if inode.mapping.is_mapped()
            && let Some(guard) = inode.mapping.find_locked(size / PS)
        {
            guard.write_protect();
        }
        return Ok(());
    }
    zero_range(inode, ops, size, pos.min(size.next_multiple_of(PS)))
}

/// After i_size went from `old_size` to where it is, and no lock has kept stores to the page at the old end away since [`zero_gap`]:
/// a store that came in between knew only the blocks before the old end. The next one faults, and its block is allocated (EOF-5).
pub fn protect_old_end(inode: &Inode, old_size: u64) {
    let grew = inode.size() > old_size && !old_size.is_multiple_of(PS);
    if grew
        && inode.mapping.is_mapped()
        && let Some(guard) = inode.mapping.find_locked(old_size / PS)
    {
        guard.write_protect();
    }
}

/// The tail of the block that holds `size` becomes zero, after i_size was set to `size` by a truncate (TRC-1, TRC-3); with
/// it what is cached behind, to the end of the folio. The inode lock is held exclusively. Errors: `EIO`, `ENOMEM`.
pub fn zero_tail(inode: &Inode, ops: &dyn IomapOps, size: u64) -> Result<()> {
    zero_range(inode, ops, size, size.next_multiple_of(PS))
}

/// Makes the bytes `[start, end)` zero, where they are not already: blocks with data through the cache, which are dirty then; holes
/// and unwritten blocks only where they are cached. Allocates nothing. The inode lock is held exclusively, and
/// nothing that changes extents runs. Waits for stable folios (STB-5). Errors: `EIO`, `ENOMEM`.
pub fn zero_range(inode: &Inode, ops: &dyn IomapOps, start: u64, end: u64) -> Result<()> {
    let bs = u64::from(ops.block_size());
    let mut pos = start;
    while pos < end {
        let block = pos / bs * bs;
        let stop = end.min(block + bs);
        zero_block(inode, ops, block, pos, stop)?;
        pos = stop;
    }
    Ok(())
}

/// Before the bytes of `range` go from the cache: the folios at its ends stay, and what user mappings have stored into them is dirty from
/// now on; the next store faults (MM-2). The invalidate lock is held exclusively, so that it waits.
pub fn protect_edges(inode: &Inode, range: &Range<u64>) {
    let edges = [range.start, range.end].into_iter().filter(|edge| !edge.is_multiple_of(PS));
    for edge in edges.take(if inode.mapping.is_mapped() { 2 } else { 0 }) {
        if let Some(guard) = inode.mapping.find_locked(edge / PS) {
            guard.write_protect();
        }
    }
}

/// Zeroes `[start, end)`, which lies in the block at `block`.
fn zero_block(inode: &Inode, ops: &dyn IomapOps, block: u64, start: u64, end: u64) -> Result<()> {
    let bs = ops.block_size() as usize;
    let (index, offset) = (block / PS, (block % PS) as usize);
    loop {
        let extents = Extents::load(inode, ops, block, block + bs as u64)?;
        let kind = extents.at(block).map_or(IomapKind::Hole, |map| map.kind);
        let has_data = matches!(kind, IomapKind::Mapped(_));
        let guard = if has_data && block < inode.size() {
            Some(fill(inode, ops, index, offset..offset + bs)?)
        } else {
            inode.mapping.find_locked(index).filter(|guard| guard.state().uptodate_in(offset, bs))
        };
        let on_its_way = guard.as_ref().is_some_and(|guard| {
            guard.wait_stable();
            guard.state().writeback()
        });
        // Writeback in the background takes no lock that is held here. Where it is on its way, it may have the old bytes; where it has ended
        // since the extents were asked, the block has got them and is mapped.
        if extents.stale(ops) {
            continue;
        }
        let Some(guard) = guard else { return Ok(()) };
        // A store through a user mapping could otherwise follow the zeroing (EOF-4).
        guard.write_protect();
        guard.change(|page| page.zero((start % PS) as usize, (end - start) as usize));
        // What stands behind a hole or an unwritten block reads as zeros already, and if it was dirty it still is; unless its old bytes
        // are on their way: the block is mapped when they have arrived.
        if has_data || base::guard!("edge", on_its_way) {
            guard.mark_dirty(offset, bs);
        }
        return Ok(());
    }
}
