//! msync: a range of mappings to the disk.
use super::AddressSpace;
use super::map::checked_range;
use super::vma::{Backing, Vma};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};
use core::ops::Range;
use fs::vfs::File;

/// A part of a file that a shared mapping shows, in bytes.
pub struct MappedFile {
    /// The open file that was mapped.
    pub file: Arc<File>,
    /// The part.
    pub bytes: Range<u64>,
}

impl AddressSpace {
    /// The files that shared mappings in `[addr, addr + len)` show, and whether all of it is mapped (msync). Errors: `EINVAL` (address not
    /// aligned), `ENOMEM` (no such range).
    pub fn shared_files(&self, addr: u64, len: u64) -> Result<(Vec<MappedFile>, bool)> {
        if addr != super::page_floor(addr) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok((Vec::new(), true));
        }
        let range = checked_range(addr, len).ok_or(Errno::ENOMEM)?;
        let map = self.lock();
        let files = map.vmas.overlapping(range.clone()).filter_map(|vma| part_of(vma, &range)).collect();
        Ok((files, map.vmas.covers(range)))
    }
}

fn part_of(vma: &Vma, range: &Range<u64>) -> Option<MappedFile> {
    let Backing::File { file, offset } = &vma.backing else { return None };
    // What lives in memory has nothing to sync.
    if !vma.stores_to_file() {
        return None;
    }
    let (start, end) = (vma.range.start.max(range.start), vma.range.end.min(range.end));
    let pos = |addr: u64| offset.saturating_add(addr - vma.range.start);
    Some(MappedFile { file: file.clone(), bytes: pos(start)..pos(end) })
}
