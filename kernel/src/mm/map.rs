//! mmap, munmap, mprotect, madvise and brk on an address space.
use super::address_space::{AddressSpace, Map};
use super::file_map::FileArea;
use super::removed::Removed;
use super::segments::Attachment;
use super::vma::{Backing, Vma};
use super::{Access, MMAP_MIN, page_ceil, page_floor};
use base::memory::room_for_programs;
use base::{Errno, Result};
use core::ops::Range;
use hal::user::{Prot, USER_END};

/// Where a new mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// At the address if it is free, else wherever there is room.
    Hint(u64),
    /// Exactly there, replacing what was there.
    Fixed(u64),
    /// Exactly there, or `EEXIST`.
    FixedNoReplace(u64),
}

/// Areas that an address space may have. Each costs the kernel some of its own memory: all of them at most about an eighth of all.
pub(super) fn max_areas() -> usize {
    /// As other kernels have it by default.
    const MOST: usize = 65_530;
    const PER_FRAME: usize = 2;
    match hal::mem::stats().total_frames as usize * PER_FRAME {
        // The host counts no frames.
        0 => MOST,
        areas => areas.min(MOST),
    }
}

/// A mapping to be made.
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Bytes; rounded up to pages.
    pub len: u64,
    /// What user code may do.
    pub prot: Prot,
    /// `MAP_SHARED`.
    pub shared: bool,
    /// Where content comes from.
    pub backing: Backing,
}

impl AddressSpace {
    /// Makes a mapping and returns its address. Task context; may sleep. Errors: `EINVAL` (length 0, address not aligned),
    /// `ENOMEM` (no room, or more than could ever be there, or too many areas), `EEXIST`.
    pub fn map(&self, request: MapRequest) -> Result<u64> {
        self.map_attached(request, None)
    }

    /// As [`Self::map`], of a segment of shared memory.
    pub(super) fn map_attached(&self, request: MapRequest, attachment: Option<Attachment>) -> Result<u64> {
        let len = page_ceil(request.len).filter(|&len| len > 0).ok_or(Errno::EINVAL)?;
        if len > USER_END {
            return Err(Errno::ENOMEM);
        }
        room_for_programs()?;
        let mut map = self.lock();
        if map.vmas.len() >= max_areas() {
            return Err(Errno::ENOMEM);
        }
        let (start, replaced) = self.place(&mut map, request.placement, len)?;
        let (prot, shared, backing) = (request.prot, request.shared, request.backing);
        let range = start..start + len;
        // Before the first fault: whatever a fault maps is found by truncates and evictions from then on.
        let file_area = match &backing {
            Backing::File { file, offset } => {
                FileArea::register(self.resident(), range.clone(), (file, *offset), shared, attachment)
            }
            Backing::Anonymous | Backing::Pages { .. } => None,
        };
        let locked = map.lock_all;
        map.vmas.insert(Vma { range, prot, shared, backing, locked, file_area });
        drop(map);
        drop(replaced);
        if locked {
            self.fault_in(start, len as usize, Access::Read);
        }
        Ok(start)
    }

    /// Unmaps `[addr, addr + len)`. Holes in it are no error. Task context; may sleep. Errors: `EINVAL`, `ENOMEM`: nothing has changed.
    pub fn unmap(&self, addr: u64, len: u64) -> Result<()> {
        let range = checked_range(addr, len).ok_or(Errno::EINVAL)?;
        let removed = self.take_out(&mut self.lock(), range)?;
        drop(removed);
        Ok(())
    }

    /// Changes the protection of `[addr, addr + len)`. Errors: `EINVAL`, `ENOMEM` (part of it is not mapped), `EACCES` (stores
    /// to a shared mapping of a file that was not opened for writing).
    pub fn protect(&self, addr: u64, len: u64, prot: Prot) -> Result<()> {
        if addr != page_floor(addr) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let range = checked_range(addr, len).ok_or(Errno::ENOMEM)?;
        let mut map = self.lock();
        if !map.vmas.covers(range.clone()) || map.vmas.len() >= max_areas() {
            return Err(Errno::ENOMEM);
        }
        let denied = |vma: &Vma| match &vma.backing {
            Backing::File { file, .. } => prot.write && vma.shared && !file.writable(),
            _ => false,
        };
        if map.vmas.overlapping(range.clone()).any(denied) {
            return Err(Errno::EACCES);
        }
        for mut vma in map.vmas.remove(range.clone())? {
            vma.prot = prot;
            map.vmas.insert(vma);
        }
        self.resident().protect(range, prot);
        Ok(())
    }

    /// `madvise(MADV_DONTNEED)`: the pages of private mappings go, and the next touch gives their first content again. Shared mappings of
    /// files only lose sight of theirs.
    /// Errors: `EINVAL`, `ENOMEM` (part of it is not mapped).
    pub fn discard(&self, addr: u64, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let range = advised_range(addr, len)?;
        let map = self.lock();
        let removed = self.take_out_pages(&map, range.clone());
        let covered = map.vmas.covers(range);
        drop(map);
        drop(removed);
        if covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Fails unless all of `[addr, addr + len)` is mapped, by areas that `allowed` lets pass. Errors: `EINVAL` (not aligned, or not
    /// allowed), `ENOMEM` (part of it is not mapped).
    pub fn check_areas(&self, addr: u64, len: u64, allowed: impl Fn(&Vma) -> bool) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let range = advised_range(addr, len)?;
        let map = self.lock();
        if !map.vmas.overlapping(range.clone()).all(allowed) {
            return Err(Errno::EINVAL);
        }
        if map.vmas.covers(range) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Sets where the heap begins. The program loader calls it once.
    pub fn set_brk_start(&self, addr: u64) {
        let mut map = self.lock();
        map.brk_start = addr;
        map.brk = addr;
    }

    /// Moves the end of the heap to `addr` if that can be done; returns where it is then.
    pub fn brk(&self, addr: u64) -> u64 {
        // Before the lock, so that it is dropped after it: a program may have mapped files into its heap (MM-9).
        let _removed;
        let mut map = self.lock();
        let (Some(old_end), Some(new_end)) = (page_ceil(map.brk), page_ceil(addr)) else { return map.brk };
        if addr < map.brk_start || new_end > map.mmap_top {
            return map.brk;
        }
        if new_end > old_end {
            let grown = old_end..new_end;
            if map.vmas.overlapping(grown.clone()).next().is_some() || !affordable(new_end - old_end) {
                return map.brk;
            }
            let prot = Prot { read: true, write: true, exec: false };
            let (backing, locked) = (Backing::Anonymous, map.lock_all);
            map.vmas.insert(Vma { range: grown, prot, shared: false, backing, locked, file_area: None });
        } else if new_end < old_end {
            match self.take_out(&mut map, new_end..old_end) {
                Ok(removed) => _removed = removed,
                Err(_) => return map.brk,
            }
        }
        map.brk = addr;
        addr
    }

    /// Finds the place for `len` bytes and clears it; returns it with the areas that were there.
    pub(super) fn place(&self, map: &mut Map, placement: Placement, len: u64) -> Result<(u64, Removed)> {
        let none = Removed::default();
        match placement {
            Placement::Hint(hint) => {
                let free = checked_range(page_floor(hint), len)
                    .filter(|range| range.start >= MMAP_MIN && map.vmas.overlapping(range.clone()).next().is_none());
                let found = free.map(|range| range.start).or_else(|| map.vmas.find_gap(len, map.mmap_top, MMAP_MIN));
                found.map(|start| (start, none)).ok_or(Errno::ENOMEM)
            }
            Placement::Fixed(addr) => {
                let range = fixed_range(addr, len)?;
                Ok((addr, self.take_out(map, range)?))
            }
            Placement::FixedNoReplace(addr) => {
                let range = fixed_range(addr, len)?;
                let taken = map.vmas.overlapping(range).next().is_some();
                if taken { Err(Errno::EEXIST) } else { Ok((addr, none)) }
            }
        }
    }
}

/// Whether a private writable mapping of `len` bytes is not obviously more than the machine has. Below that, memory is promised
/// freely: who touches more than there is gets killed with a line on the log.
pub fn affordable(len: u64) -> bool {
    len <= USER_END / 4
}

/// The page-aligned range of `len` bytes at `addr`; `None` if it is empty, not aligned or not in user memory.
pub(super) fn checked_range(addr: u64, len: u64) -> Option<Range<u64>> {
    let end = addr.checked_add(page_ceil(len)?)?;
    (addr == page_floor(addr) && end > addr && end <= USER_END).then_some(addr..end)
}

/// Errors: `EINVAL` (not aligned, or it wraps), `ENOMEM` (not in user memory).
fn advised_range(addr: u64, len: u64) -> Result<Range<u64>> {
    let wraps = page_ceil(len).and_then(|len| addr.checked_add(len)).is_none();
    if addr != page_floor(addr) || wraps { Err(Errno::EINVAL) } else { checked_range(addr, len).ok_or(Errno::ENOMEM) }
}

fn fixed_range(addr: u64, len: u64) -> Result<Range<u64>> {
    if addr != page_floor(addr) {
        return Err(Errno::EINVAL);
    }
    let range = checked_range(addr, len).ok_or(Errno::ENOMEM)?;
    if range.start < MMAP_MIN { Err(Errno::EPERM) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::{Access, FaultError, PAGE};
    use base::Page;

    const NONE: Prot = Prot { read: false, write: false, exec: false };
    const RO: Prot = Prot { read: true, write: false, exec: false };
    const RW: Prot = Prot { read: true, write: true, exec: false };

    fn anon(placement: Placement, len: u64, prot: Prot) -> MapRequest {
        MapRequest { placement, len, prot, shared: false, backing: Backing::Anonymous }
    }
    fn space() -> AddressSpace {
        let mm = AddressSpace::new().unwrap();
        mm.activate();
        mm
    }

    #[test]
    fn anonymous_memory_is_zero_and_keeps_what_is_stored() {
        let mm = space();
        let at = mm.map(anon(Placement::Hint(0), 3 * PAGE, RW)).unwrap();
        assert_eq!(mm.read::<u64>(at + PAGE).unwrap(), 0);
        mm.write(at + 2 * PAGE - 4, &0x1122_3344_5566_7788u64).unwrap();
        assert_eq!(mm.read::<u64>(at + 2 * PAGE - 4).unwrap(), 0x1122_3344_5566_7788);
        assert_eq!(mm.resident_pages(), 2);
        mm.unmap(at, 3 * PAGE).unwrap();
        assert_eq!(mm.resident_pages(), 0);
        assert_eq!(mm.read::<u8>(at), Err(Errno::EFAULT));
    }

    #[test]
    fn protection_is_checked_by_faults_and_changed_by_mprotect() {
        let mm = space();
        let at = mm.map(anon(Placement::Hint(0), 4 * PAGE, NONE)).unwrap();
        assert_eq!(mm.fault(at, Access::Read), Err(FaultError::Denied));
        mm.protect(at + PAGE, PAGE, RW).unwrap();
        mm.write(at + PAGE, &7u32).unwrap();
        mm.protect(at + PAGE, PAGE, RO).unwrap();
        assert_eq!(mm.write(at + PAGE, &8u32), Err(Errno::EFAULT));
        assert_eq!(mm.read::<u32>(at + PAGE), Ok(7));
        mm.protect(at + PAGE, PAGE, RW).unwrap();
        mm.write(at + PAGE, &9u32).unwrap();
        assert_eq!(mm.read::<u32>(at + PAGE), Ok(9));
        assert_eq!(mm.protect(at, 5 * PAGE, RO), Err(Errno::ENOMEM));
    }

    #[test]
    fn fixed_mappings_replace_and_bad_places_are_refused() {
        let mm = space();
        let at = mm.map(anon(Placement::Fixed(0x10_0000), 2 * PAGE, RW)).unwrap();
        mm.write(at, &1u8).unwrap();
        assert_eq!(mm.map(anon(Placement::FixedNoReplace(at + PAGE), PAGE, RW)), Err(Errno::EEXIST));
        mm.map(anon(Placement::Fixed(at), PAGE, RW)).unwrap();
        assert_eq!(mm.read::<u8>(at), Ok(0));
        assert_eq!(mm.map(anon(Placement::Fixed(at + 1), PAGE, RW)), Err(Errno::EINVAL));
        assert_eq!(mm.map(anon(Placement::Fixed(0), PAGE, RW)), Err(Errno::EPERM));
        assert_eq!(mm.map(anon(Placement::Fixed(USER_END), PAGE, RW)), Err(Errno::ENOMEM));
        assert_eq!(mm.map(anon(Placement::Hint(0), 0, RW)), Err(Errno::EINVAL));
        assert_eq!(mm.map(anon(Placement::Hint(0), u64::MAX, RW)), Err(Errno::EINVAL));
        assert_eq!(mm.map(anon(Placement::Hint(0), USER_END, RW)), Err(Errno::ENOMEM));
    }

    #[test]
    fn dontneed_gives_zeros_again() {
        let mm = space();
        let at = mm.map(anon(Placement::Hint(0), PAGE, RW)).unwrap();
        mm.write(at, &5u64).unwrap();
        mm.discard(at, PAGE).unwrap();
        assert_eq!(mm.read::<u64>(at), Ok(0));
    }

    #[test]
    fn the_heap_grows_shrinks_and_refuses_to_run_into_a_mapping() {
        let mm = space();
        mm.set_brk_start(0x20_0000);
        assert_eq!(mm.brk(0), 0x20_0000);
        assert_eq!(mm.brk(0x20_1800), 0x20_1800);
        mm.write(0x20_17f8, &3u64).unwrap();
        assert_eq!(mm.brk(0x20_0800), 0x20_0800);
        assert_eq!(mm.read::<u8>(0x20_1000), Err(Errno::EFAULT));
        mm.map(anon(Placement::Fixed(0x20_4000), PAGE, RW)).unwrap();
        assert_eq!(mm.brk(0x20_5000), 0x20_0800, "the heap must not grow over a mapping");
    }

    #[test]
    fn a_pinned_page_survives_the_unmap() {
        let mm = space();
        let at = mm.map(anon(Placement::Hint(0), PAGE, RW)).unwrap();
        mm.write(at, &11u8).unwrap();
        let page = mm.pin_page(at + 5, Access::Write).unwrap();
        mm.unmap(at, PAGE).unwrap();
        let mut byte = [0];
        page.read_into(0, &mut byte);
        assert_eq!(byte, [11]);
    }

    #[test]
    fn kernel_pages_are_shared_with_user_code() {
        let mm = space();
        let page = Page::alloc_zeroed().unwrap();
        let pages = [page.clone()].into();
        let request = MapRequest {
            placement: Placement::Hint(0),
            len: PAGE,
            prot: RW,
            shared: true,
            backing: Backing::Pages { pages, first: 0 },
        };
        let at = mm.map(request).unwrap();
        mm.write(at + 8, &77u32).unwrap();
        let mut word = [0; 4];
        page.read_into(8, &mut word);
        assert_eq!(u32::from_ne_bytes(word), 77);
    }
}
