//! mlock and its family, and mincore.
//!
//! Nothing is ever swapped out here, so a page that is the address space's own stays from its first touch on. What locking adds is that
//! first touch: the pages are made present at once. Pages of files that are clean may still be given up when memory is short, and come back
//! from the disk.
use super::address_space::{AddressSpace, Map};
use super::file_map::cached_inode;
use super::map::{checked_range, max_areas};
use super::vma::{Backing, Vma};
use super::{Access, PAGE, page_ceil, page_floor};
use alloc::vec::Vec;
use base::{Errno, Result};
use core::ops::Range;

/// What to lock.
#[derive(Clone, Debug)]
pub enum Locked {
    /// A range: its first address and its length.
    Range(u64, u64),
    /// All that is mapped now, if `now`, and all that will be, if `future`.
    All {
        /// What is mapped now.
        now: bool,
        /// What is mapped from now on.
        future: bool,
    },
}

impl AddressSpace {
    /// Locks memory, at most up to `limit` bytes in all, and makes it present unless `on_fault`. Errors: `ENOMEM` (not mapped, more than
    /// the limit, or more than there is), `EINVAL`, `EAGAIN` (it could not be made present).
    pub fn lock_memory(&self, what: &Locked, limit: u64, on_fault: bool) -> Result<()> {
        let mut map = self.lock();
        let ranges = match what {
            Locked::Range(addr, len) => {
                let Some(range) = widened(*addr, *len)? else { return Ok(()) };
                if !map.vmas.covers(range.clone()) || map.vmas.len() >= max_areas() {
                    return Err(Errno::ENOMEM);
                }
                alloc::vec![range]
            }
            Locked::All { now, .. } => map.vmas.iter().filter(|_| *now).map(|vma| vma.range.clone()).collect(),
        };
        let wanted: u64 =
            ranges.iter().flat_map(|range| parts(&map, range)).filter(|(_, locked)| !locked).map(|(len, _)| len).sum();
        let before: u64 = map.vmas.iter().filter(|vma| vma.locked).map(Vma::bytes).sum();
        if before.saturating_add(wanted) > limit {
            return Err(Errno::ENOMEM);
        }
        if let Locked::All { future, .. } = what {
            map.lock_all = *future;
        }
        ranges.iter().try_for_each(|range| mark(&mut map, range, true))?;
        drop(map);
        if on_fault {
            return Ok(());
        }
        let whole = matches!(what, Locked::Range(..));
        for range in ranges {
            // Guards and what else cannot be touched have nothing to be made present.
            let present = self.fault_in(range.start, (range.end - range.start) as usize, Access::Read) as u64;
            if whole && present < range.end - range.start && self.is_readable(range.start + present) {
                return Err(Errno::EAGAIN);
            }
        }
        Ok(())
    }

    /// The opposite of [`Self::lock_memory`]. Errors: `ENOMEM` (not mapped), `EINVAL`.
    pub fn unlock_memory(&self, what: &Locked) -> Result<()> {
        let mut map = self.lock();
        let range = match what {
            Locked::Range(addr, len) => {
                let Some(range) = widened(*addr, *len)? else { return Ok(()) };
                range
            }
            Locked::All { .. } => {
                map.lock_all = false;
                0..u64::MAX
            }
        };
        if matches!(what, Locked::Range(..)) && !map.vmas.covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        mark(&mut map, &range, false)
    }

    /// Which pages of `[addr, addr + len)` are in memory, one byte a page (mincore). Errors: `EINVAL` (not aligned), `ENOMEM` (part of it
    /// is not mapped).
    pub fn resident_map(&self, addr: u64, len: u64) -> Result<Vec<u8>> {
        if addr != page_floor(addr) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(Vec::new());
        }
        let range = checked_range(addr, len).ok_or(Errno::ENOMEM)?;
        let map = self.lock();
        if !map.vmas.covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        let mut pages = Vec::new();
        pages.try_reserve_exact(((range.end - range.start) / PAGE) as usize).map_err(|_| Errno::ENOMEM)?;
        let is_there =
            |va: u64| self.resident().origin(va).is_some() || map.vmas.find(va).is_some_and(|vma| cached(vma, va));
        pages.extend(range.step_by(PAGE as usize).map(|va| u8::from(is_there(va))));
        Ok(pages)
    }

    fn is_readable(&self, addr: u64) -> bool {
        self.lock().vmas.find(addr).is_some_and(|vma| vma.prot.read)
    }
}

/// Whether the page cache has what `va` shows.
fn cached(vma: &Vma, va: u64) -> bool {
    let Backing::File { file, offset } = &vma.backing else { return false };
    cached_inode(file).is_some_and(|inode| inode.mapping.get((offset + (va - vma.range.start)) / PAGE).is_some())
}

/// The whole pages that hold `[addr, addr + len)`; `None` for none. Errors: `EINVAL` (it wraps), `ENOMEM` (no user memory).
fn widened(addr: u64, len: u64) -> Result<Option<Range<u64>>> {
    let start = page_floor(addr);
    let end = addr.checked_add(len).and_then(page_ceil).ok_or(Errno::EINVAL)?;
    if len == 0 {
        return Ok(None);
    }
    checked_range(start, end - start).map(Some).ok_or(Errno::ENOMEM)
}

/// The pieces of areas in `range`: their length, and whether they are locked.
fn parts<'a>(map: &'a Map, range: &Range<u64>) -> impl Iterator<Item = (u64, bool)> + use<'a> {
    let range = range.clone();
    map.vmas
        .overlapping(range.clone())
        .map(move |vma| (vma.range.end.min(range.end) - vma.range.start.max(range.start), vma.locked))
}

fn mark(map: &mut Map, range: &Range<u64>, locked: bool) -> Result<()> {
    for vma in map.vmas.remove(range.clone())? {
        map.vmas.insert(Vma { locked, ..vma });
    }
    Ok(())
}
