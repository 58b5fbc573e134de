//! mremap: areas that grow, shrink and move.
//!
//! Pieces of a file's area never move (`file_map`). So an area of a file that grows or moves is entered anew, and pages that it shows
//! of the file are left behind: the next touch finds them again. The pages that are the address space's own move.
use super::address_space::{AddressSpace, Map};
use super::file_map::FileArea;
use super::map::{Placement, affordable, checked_range, max_areas};
use super::removed::Removed;
use super::vma::{Backing, Vma};
use super::{Access, MMAP_MIN, page_ceil};
use base::memory::room_for_programs;
use base::{Errno, Result};
use core::ops::Range;
use hal::user::USER_END;

/// What mremap asks for.
#[derive(Clone, Copy, Debug)]
pub struct RemapRequest {
    /// Where the memory is; a page boundary.
    pub addr: u64,
    /// Bytes now; rounded up to pages.
    pub old_len: u64,
    /// Bytes wanted; rounded up to pages.
    pub new_len: u64,
    /// Whether it may be moved.
    pub may_move: bool,
    /// Where it has to be moved, replacing what is there.
    pub fixed: Option<u64>,
}

impl AddressSpace {
    /// Changes the size of a mapping and perhaps its place (mremap); returns where it is then. Task context; may sleep. Errors: `EINVAL`,
    /// `EFAULT` (not one mapping), `ENOMEM` (no room).
    pub fn remap(&self, request: RemapRequest) -> Result<u64> {
        let old_len = page_ceil(request.old_len).filter(|&len| len > 0).ok_or(Errno::EINVAL)?;
        let new_len = page_ceil(request.new_len).filter(|&len| len > 0 && len <= USER_END).ok_or(Errno::EINVAL)?;
        let old = checked_range(request.addr, old_len).ok_or(Errno::EINVAL)?;
        room_for_programs()?;
        let mut map = self.lock();
        let vma = map.vmas.find(old.start).filter(|vma| vma.range.end >= old.end).ok_or(Errno::EFAULT)?.clone();
        // Everything that is let go goes with the lock dropped (MM-9): this is dropped last.
        let mut gone = Gone::default();
        let result = self.remap_locked(&mut map, &vma, &old, new_len, request, &mut gone);
        let locked = vma.locked && new_len > old_len;
        drop(map);
        drop((gone, vma));
        if let (Ok(at), true) = (result, locked) {
            self.fault_in(at, new_len as usize, Access::Read);
        }
        result
    }

    fn remap_locked(
        &self,
        map: &mut Map,
        vma: &Vma,
        old: &Range<u64>,
        new_len: u64,
        request: RemapRequest,
        gone: &mut Gone,
    ) -> Result<u64> {
        let old_len = old.end - old.start;
        if matches!(vma.backing, Backing::Pages { .. }) && (new_len > old_len || request.fixed.is_some()) {
            return Err(Errno::EINVAL);
        }
        if new_len > old_len && !affordable(new_len) {
            return Err(Errno::ENOMEM);
        }
        if let Some(at) = request.fixed {
            let new = checked_range(at, new_len).filter(|new| new.start >= MMAP_MIN).ok_or(Errno::EINVAL)?;
            if !request.may_move || (new.start < old.end && old.start < new.end) {
                return Err(Errno::EINVAL);
            }
        } else if new_len <= old_len {
            if new_len < old_len {
                gone.0[0] = self.take_out(map, old.start + new_len..old.end)?;
            }
            return Ok(old.start);
        } else if old.end == vma.range.end && is_free(map, old.end..old.start.saturating_add(new_len)) {
            self.grow(map, vma, old.start + new_len, gone)?;
            return Ok(old.start);
        } else if !request.may_move {
            return Err(Errno::ENOMEM);
        }
        self.move_area(map, vma, old, new_len, request.fixed, gone)
    }

    /// The area `vma` ends at `end`, further up, where nothing is.
    fn grow(&self, map: &mut Map, vma: &Vma, end: u64, gone: &mut Gone) -> Result<()> {
        let range = vma.range.start..end;
        let file_area = match &vma.backing {
            Backing::File { offset, .. } => FileArea::register_again(self.resident(), vma, range.clone(), *offset),
            Backing::Anonymous | Backing::Pages { .. } => None,
        };
        gone.0[0] = self.take_out_file_pages(map, vma.range.clone());
        gone.0[1] = Removed::of(map.vmas.remove(vma.range.clone())?);
        map.vmas.insert(Vma { range, file_area, ..vma.clone() });
        Ok(())
    }

    /// Moves the part `old` of `vma` to another place, where it has `new_len` bytes: `fixed`, or wherever there is room.
    fn move_area(
        &self,
        map: &mut Map,
        vma: &Vma,
        old: &Range<u64>,
        new_len: u64,
        fixed: Option<u64>,
        gone: &mut Gone,
    ) -> Result<u64> {
        if map.vmas.len() + 2 >= max_areas() {
            return Err(Errno::ENOMEM);
        }
        let placement = fixed.map_or(Placement::Hint(0), Placement::Fixed);
        let (start, replaced) = self.place(map, placement, new_len)?;
        gone.0[0] = replaced;
        // What does not fit goes first, as if it had been unmapped.
        let kept = old.start..old.end.min(old.start.saturating_add(new_len));
        if kept.end < old.end {
            gone.0[1] = self.take_out(map, kept.end..old.end)?;
        }
        gone.0[2] = self.take_out_file_pages(map, kept.clone());
        let moved = vma.cut(&kept);
        let area = map.vmas.remove(kept.clone())?;
        if let Err(error) = self.resident().move_pages(kept, start.wrapping_sub(old.start) as i64, vma.prot) {
            area.into_iter().for_each(|vma| map.vmas.insert(vma));
            return Err(error);
        }
        let range = start..start + new_len;
        let file_area = match &moved.backing {
            Backing::File { offset, .. } => FileArea::register_again(self.resident(), vma, range.clone(), *offset),
            Backing::Anonymous | Backing::Pages { .. } => None,
        };
        gone.0[3] = Removed::of(area);
        map.vmas.insert(Vma { range, file_area, ..moved });
        Ok(start)
    }
}

/// What was taken out, in steps.
#[derive(Default)]
struct Gone([Removed; 4]);

fn is_free(map: &Map, range: Range<u64>) -> bool {
    range.end <= map.mmap_top.max(range.start) && map.vmas.overlapping(range).next().is_none()
}
