//! Filling folios: windows of new ones, and single ones of which a part is missing.
//!
//! The window follows from the cache itself instead of a state for each open file: how many folios before the missing one are cached
//! tells how long somebody has been reading here, so any number of sequential readers get their windows. A mark in the
//! middle of a window has the next one read before it is needed.
use super::IomapOps;
use super::extents::Extents;
use super::read_batch::Reader;
use crate::page_cache::{Folio, FolioGuard, Mapping};
use crate::vfs::Inode;
use base::sync::Arc;
use base::{PAGE_SIZE, Result};
use core::ops::Range;

const PS: u64 = PAGE_SIZE as u64;
/// Most folios of a window.
const MAX_WINDOW: u64 = 128;
/// Folios read for somebody who starts at the beginning of a file.
const FIRST_WINDOW: u64 = 8;

/// How many folios to read at `index` for a request that wants `want`.
fn window(mapping: &Mapping, index: u64, want: u64) -> u64 {
    let history = mapping.cached_before(index, MAX_WINDOW);
    let guess = match (index, history) {
        (0, _) => FIRST_WINDOW,
        (_, 0) => want,
        _ => (2 * history).max(FIRST_WINDOW),
    };
    guess.max(want).min(MAX_WINDOW)
}

/// Reads the window at the missing folio `index` and waits for it. Folios that could not be filled are left to [`fill`].
/// Nothing is locked by the caller. Errors: of the extents or the device; `ENOMEM`.
pub(super) fn read_window(inode: &Inode, ops: &dyn IomapOps, index: u64, want: u64) -> Result<()> {
    let count = window(&inode.mapping, index, want);
    let sequential = count > want;
    let _inserting = inode.mapping.invalidate.read();
    let mut reader = Reader::waiting(ops);
    let added = add_window(inode, ops, &mut reader, index, count, sequential.then_some(index + count / 2));
    let read = reader.wait();
    added.and(read)
}

/// A reader has come to the mark: reads the window behind the cached run, without waiting. Failures show when the folios are needed.
pub(super) fn read_ahead(inode: &Inode, ops: &dyn IomapOps, index: u64) {
    let mapping = &inode.mapping;
    let Some(start) = mapping.first_absent(index, MAX_WINDOW) else { return };
    if start * PS >= inode.size() {
        return;
    }
    let (Ok(queue), Some(_inserting)) = (ops.completion_queue(), mapping.invalidate.try_read()) else { return };
    let count = window(mapping, start, 1);
    let mut reader = Reader::ahead(ops, queue);
    let _ = add_window(inode, ops, &mut reader, start, count, Some(start));
    reader.leave();
}

/// Adds the missing folios of `count` at `first`, up to the end of the file; marks the folio `mark`.
fn add_window(
    inode: &Inode,
    ops: &dyn IomapOps,
    reader: &mut Reader<'_>,
    first: u64,
    count: u64,
    mark: Option<u64>,
) -> Result<()> {
    let size = inode.size();
    let end = size.next_multiple_of(PS).min((first + count) * PS);
    // One look at the extents, with nothing locked (LOCK-1): a window ends where too many begin.
    let extents = Extents::load(inode, ops, first * PS, end)?;
    for index in first..extents.end / PS {
        let Some(guard) = inode.mapping.create(index)? else { continue };
        if extents.stale(ops) {
            // R17: the mapping was overtaken. The folio stays empty for whoever needs it.
            break;
        }
        if mark == Some(index) {
            guard.folio().mark_readahead();
        }
        add_missing(&guard, &extents, reader, 0..PAGE_SIZE, size);
        reader.keep(guard.into_locked());
    }
    Ok(())
}

/// Zeroes or adds the blocks of `range` that are not uptodate (BUF-2). Blocks at or past the end of the file are zeros,
/// whatever the device holds there (ALN-3).
fn add_missing(guard: &FolioGuard<'_>, extents: &Extents, reader: &mut Reader<'_>, range: Range<usize>, size: u64) {
    let (bs, page, base) = (guard.mapping().block_size(), guard.folio().page(), guard.folio().pos());
    for offset in range.step_by(bs) {
        if guard.state().uptodate_in(offset, bs) {
            continue;
        }
        let pos = base + offset as u64;
        match extents.data_at(pos) {
            Some(sector) if pos < size => reader.add(sector, page, offset, bs),
            _ => page.zero(offset, bs),
        }
    }
}

/// The folio at `index`, locked, its blocks in `range` (bytes, whole blocks) valid: reads what is missing, waiting. For reads that
/// insert, the caller holds the invalidate lock shared. Errors: of the extents or the device; `ENOMEM`.
pub(super) fn fill<'a>(
    inode: &'a Inode,
    ops: &dyn IomapOps,
    index: u64,
    range: Range<usize>,
) -> Result<FolioGuard<'a>> {
    let (start, end) = (index * PS + range.start as u64, index * PS + range.end as u64);
    loop {
        let guard = inode.mapping.find_or_create(index)?;
        if guard.state().uptodate_in(range.start, range.len()) {
            return Ok(guard);
        }
        drop(guard);
        // LOCK-1: the extents are asked with the folio unlocked, so both are looked at again.
        let extents = Extents::load(inode, ops, start, end)?;
        let guard = inode.mapping.find_or_create(index)?;
        if !extents.stale(ops) {
            let mut reader = Reader::waiting(ops);
            add_missing(&guard, &extents, &mut reader, range.clone(), inode.size());
            reader.wait()?;
            guard.set_uptodate(range.start, range.len());
            return Ok(guard);
        }
    }
}

/// As [`fill`] for a read of the whole folio, unlocked again; `None` if it lies past the end of the file by now.
pub(super) fn fill_for_read(inode: &Inode, ops: &dyn IomapOps, index: u64) -> Result<Option<Arc<Folio>>> {
    let _inserting = inode.mapping.invalidate.read();
    // A truncate changes the size with the invalidate lock held exclusively: no folio is made behind its back.
    if index * PS >= inode.size() {
        return Ok(None);
    }
    Ok(Some(fill(inode, ops, index, 0..PAGE_SIZE)?.folio().clone()))
}
