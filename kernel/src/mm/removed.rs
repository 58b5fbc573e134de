//! What an unmap takes out of an address space, let go after the mmap lock.
use super::address_space::{AddressSpace, Map};
use super::file_map::FileArea;
use super::vma::{Vma, VmaTree};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Page, Result};
use core::ops::Range;

/// Areas and pages that were taken out. Dropping it sleeps: for folio locks, and in the release of files. No lock is held (MM-9).
#[must_use = "it is dropped with the mmap lock dropped"]
#[derive(Default)]
pub(super) struct Removed {
    stored: Vec<Stored>,
    /// Dropped after the folios are marked.
    areas: Vec<Vma>,
    /// The same, of a whole address space.
    all: VmaTree,
}

/// A page of a file that something was stored to, and whose folio does not say so. The handle keeps eviction off.
struct Stored {
    area: Arc<FileArea>,
    index: u64,
    page: Page,
}

impl Removed {
    /// Areas whose pages are gone already, or stay.
    pub(super) fn of(areas: Vec<Vma>) -> Removed {
        Removed::new(Vec::new(), areas)
    }

    fn new(stored: Vec<Stored>, areas: Vec<Vma>) -> Removed {
        Removed { stored, areas, all: VmaTree::default() }
    }
}

impl AddressSpace {
    /// Takes the areas of `range` out, with their pages. The mmap lock is held: `map` is what it protects.
    /// Errors: `ENOMEM`: nothing has changed.
    pub(super) fn take_out(&self, map: &mut Map, range: Range<u64>) -> Result<Removed> {
        // The areas first: they may fail, and nothing has changed then. Their pages are found by what is left of them.
        let areas = map.vmas.remove(range.clone())?;
        let mut stored = Vec::new();
        self.resident().drop_pages(range, |va, page| {
            let at = areas.partition_point(|vma| vma.range.end <= va);
            note_stored(areas.get(at).filter(|vma| vma.range.contains(&va)), va, page, &mut stored);
        });
        Ok(Removed::new(stored, areas))
    }

    /// Takes all areas out, with their pages. The mmap lock is held: `map` is what it protects.
    pub(super) fn take_out_all(&self, map: &mut Map) -> Removed {
        let (all, mut stored) = (core::mem::take(&mut map.vmas), Vec::new());
        self.resident().drop_pages(0..u64::MAX, |va, page| note_stored(all.find(va), va, page, &mut stored));
        Removed { stored, areas: Vec::new(), all }
    }

    /// Takes the pages of `range` out and leaves the areas.
    pub(super) fn take_out_pages(&self, map: &Map, range: Range<u64>) -> Removed {
        Removed::new(self.take_pages(map, range), Vec::new())
    }

    /// Takes those pages of `range` out that are a file's, and leaves the areas and their other pages.
    pub(super) fn take_out_file_pages(&self, map: &Map, range: Range<u64>) -> Removed {
        let mut stored = Vec::new();
        self.resident().drop_file_pages(range, |va, page| note_stored(map.vmas.find(va), va, page, &mut stored));
        Removed::new(stored, Vec::new())
    }

    /// What was stored through the pages is noted in the page table, which forgets it: their folios must know (MM-2). They nearly always do,
    /// from the fault that made the page writable.
    fn take_pages(&self, map: &Map, range: Range<u64>) -> Vec<Stored> {
        let mut stored = Vec::new();
        self.resident().drop_pages(range, |va, page| note_stored(map.vmas.find(va), va, page, &mut stored));
        stored
    }
}

fn note_stored(vma: Option<&Vma>, va: u64, page: Page, stored: &mut Vec<Stored>) {
    let Some(area) = vma.and_then(|vma| vma.file_area.clone()) else { return };
    let index = area.index(va);
    if area.inode().is_some_and(|inode| !inode.mapping.is_marked(index)) {
        stored.push(Stored { area, index, page });
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        for Stored { area, index, page } in self.stored.drain(..) {
            if let Some(inode) = area.inode() {
                inode.mapping.mark_stored(index, &page);
            }
        }
        self.areas.clear();
        self.all = VmaTree::default();
    }
}
