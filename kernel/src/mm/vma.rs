//! The areas of an address space: sorted, never overlapping, never empty.
use super::PAGE;
use super::file_map::FileArea;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Page, Result};
use core::ops::Range;
use fs::vfs::File;
use hal::user::Prot;

/// Where the first content of a page comes from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// A file; `offset` is the file position of the area's first byte, a multiple of the page size.
    File {
        /// The open file.
        file: Arc<File>,
        /// File position of the area's first byte.
        offset: u64,
    },
    /// Pages of the kernel (an aio ring); `first` is the index of the area's first page.
    Pages {
        /// All pages of the object.
        pages: Arc<[Page]>,
        /// Index of the area's first page.
        first: usize,
    },
}

impl Backing {
    /// The backing `delta` bytes further on.
    fn advanced(&self, delta: u64) -> Backing {
        match self {
            Backing::Anonymous => Backing::Anonymous,
            Backing::File { file, offset } => {
                Backing::File { file: file.clone(), offset: offset.saturating_add(delta) }
            }
            Backing::Pages { pages, first } => {
                Backing::Pages { pages: pages.clone(), first: first + (delta / PAGE) as usize }
            }
        }
    }
}

/// One area: a run of pages with one protection and one backing.
#[derive(Clone)]
pub struct Vma {
    /// The addresses, page aligned.
    pub range: Range<u64>,
    /// What user code may do.
    pub prot: Prot,
    /// Whether stores are meant to be seen through the backing (`MAP_SHARED`).
    pub shared: bool,
    /// Where content comes from.
    pub backing: Backing,
    /// `mlock`: counted against `RLIMIT_MEMLOCK`.
    pub locked: bool,
    /// The place of this area, and of those cut from it, among the mappings of a file whose pages it shows.
    pub(super) file_area: Option<Arc<FileArea>>,
}

impl Vma {
    /// Whether a store is one to a file with a page cache.
    pub(super) fn stores_to_file(&self) -> bool {
        self.shared && self.file_area.as_ref().is_some_and(|area| !area.shows_frames())
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The part of this area inside `range`, which overlaps it.
    pub(super) fn cut(&self, range: &Range<u64>) -> Vma {
        let start = self.range.start.max(range.start);
        let end = self.range.end.min(range.end);
        Vma {
            range: start..end,
            prot: self.prot,
            shared: self.shared,
            locked: self.locked,
            backing: self.backing.advanced(start - self.range.start),
            file_area: self.file_area.clone(),
        }
    }

    /// Whether `next` continues this area so that one area can stand for both.
    fn continues_in(&self, next: &Vma) -> bool {
        self.range.end == next.range.start
            && self.prot == next.prot
            && self.shared == next.shared
            && self.locked == next.locked
            && matches!((&self.backing, &next.backing), (Backing::Anonymous, Backing::Anonymous))
    }
}

/// Where a search for room has nothing to find: `[from, below)` has no hole. So that the next mapping costs the same however many
/// there are.
#[derive(Default)]
struct Full {
    from: u64,
    below: u64,
}

impl Full {
    fn note_hole(&mut self, hole: &Range<u64>) {
        self.from = self.from.max(hole.end.min(self.below));
    }
}

/// The areas of an address space by start address.
#[derive(Default)]
pub struct VmaTree {
    areas: BTreeMap<u64, Vma>,
    full: Full,
}

impl VmaTree {
    /// The area that holds `addr`.
    pub fn find(&self, addr: u64) -> Option<&Vma> {
        self.areas.range(..=addr).next_back().map(|(_, vma)| vma).filter(|vma| vma.range.contains(&addr))
    }

    /// The areas that overlap `range`, in order of address.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = &Vma> {
        let from = self.find(range.start).map_or(range.start, |vma| vma.range.start);
        self.areas.range(from..range.end.max(from)).map(|(_, vma)| vma)
    }

    /// Whether every byte of `range` lies in some area.
    pub fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for vma in self.overlapping(range.clone()) {
            if vma.range.start > at {
                return false;
            }
            at = vma.range.end;
        }
        at >= range.end
    }

    /// Adds `vma`, which overlaps nothing, merging it with anonymous neighbours of the same protection.
    pub fn insert(&mut self, mut vma: Vma) {
        debug_assert!(vma.range.start < vma.range.end && self.overlapping(vma.range.clone()).next().is_none());
        if let Some(next) = self.areas.get(&vma.range.end)
            && vma.continues_in(next)
        {
            let end = next.range.end;
            self.areas.remove(&vma.range.end);
            vma.range.end = end;
        }
        if let Some((_, previous)) = self.areas.range_mut(..vma.range.start).next_back()
            && previous.continues_in(&vma)
        {
            previous.range.end = vma.range.end;
            return;
        }
        self.areas.insert(vma.range.start, vma);
    }

    /// Takes everything inside `range` out, splitting areas at its ends. The result is in order of address. Errors: `ENOMEM`: nothing has
    /// changed.
    pub fn remove(&mut self, range: Range<u64>) -> Result<Vec<Vma>> {
        let mut removed = Vec::new();
        removed.try_reserve_exact(self.overlapping(range.clone()).count()).map_err(|_| Errno::ENOMEM)?;
        loop {
            let next = self.overlapping(range.clone()).next().map(|vma| vma.range.start);
            let Some(start) = next else { return Ok(removed) };
            let Some(vma) = self.areas.remove(&start) else { return Ok(removed) };
            if range.start <= start && vma.range.end <= range.end {
                self.full.note_hole(&vma.range);
                removed.push(vma);
                continue;
            }
            let cut = vma.cut(&range);
            self.full.note_hole(&cut.range);
            removed.push(cut);
            if vma.range.start < range.start {
                let left = vma.cut(&(vma.range.start..range.start));
                self.areas.insert(left.range.start, left);
            }
            if vma.range.end > range.end {
                let right = vma.cut(&(range.end..vma.range.end));
                self.areas.insert(right.range.start, right);
            }
        }
    }

    /// The highest free range of `len` bytes that ends at or below `below` and starts at or above `floor`.
    pub fn find_gap(&mut self, len: u64, below: u64, floor: u64) -> Option<u64> {
        if self.full.below != below {
            self.full = Full { from: below, below };
        }
        let mut top = self.full.from;
        for vma in self.areas.range(..top).rev().map(|(_, vma)| vma) {
            if let Some(start) = top.checked_sub(len)
                && start >= vma.range.end.max(floor)
            {
                return Some(start);
            }
            if vma.range.end >= self.full.from {
                self.full.from = vma.range.start;
            }
            top = top.min(vma.range.start);
        }
        top.checked_sub(len).filter(|&start| start >= floor)
    }

    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// All areas in order of address.
    pub fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.areas.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const RW: Prot = Prot { read: true, write: true, exec: false };
    const RO: Prot = Prot { read: true, write: false, exec: false };

    fn anon(range: Range<u64>, prot: Prot) -> Vma {
        Vma { range, prot, shared: false, locked: false, backing: Backing::Anonymous, file_area: None }
    }
    fn ranges(tree: &VmaTree) -> Vec<Range<u64>> {
        tree.iter().map(|v| v.range.clone()).collect()
    }

    #[test]
    fn anonymous_neighbours_merge_and_others_do_not() {
        let mut tree = VmaTree::default();
        tree.insert(anon(0x2000..0x3000, RW));
        tree.insert(anon(0x4000..0x5000, RW));
        tree.insert(anon(0x3000..0x4000, RW));
        tree.insert(anon(0x5000..0x6000, RO));
        assert_eq!(ranges(&tree), vec![0x2000..0x5000, 0x5000..0x6000]);
    }

    #[test]
    fn removing_the_middle_splits() {
        let mut tree = VmaTree::default();
        tree.insert(anon(0x1000..0x9000, RW));
        let removed = tree.remove(0x3000..0x5000).unwrap();
        assert_eq!(removed.len(), 1);
        assert_eq!(removed[0].range, 0x3000..0x5000);
        assert_eq!(ranges(&tree), vec![0x1000..0x3000, 0x5000..0x9000]);
        assert!(tree.find(0x3000).is_none());
        assert!(tree.find(0x2fff).is_some());
        assert!(!tree.covers(0x2000..0x6000));
        assert!(tree.covers(0x5000..0x9000));
    }

    #[test]
    fn a_split_keeps_the_page_of_the_object() {
        let pages: Arc<[Page]> = (0..4).map(|_| Page::alloc_zeroed().unwrap()).collect();
        let mut tree = VmaTree::default();
        let backing = Backing::Pages { pages, first: 0 };
        tree.insert(Vma { range: 0x1000..0x5000, prot: RW, shared: true, locked: false, backing, file_area: None });
        tree.remove(0x2000..0x3000).unwrap();
        let Backing::Pages { first, .. } = tree.find(0x3000).unwrap().backing else { panic!("backing changed") };
        assert_eq!(first, 2);
    }

    #[test]
    fn the_highest_gap_wins() {
        let mut tree = VmaTree::default();
        tree.insert(anon(0x5000..0x6000, RW));
        tree.insert(anon(0x8000..0x9000, RO));
        assert_eq!(tree.find_gap(0x1000, 0x9000, 0x1000), Some(0x7000));
        assert_eq!(tree.find_gap(0x3000, 0x9000, 0x1000), Some(0x2000));
        assert_eq!(tree.find_gap(0x5000, 0x9000, 0x1000), None);
        assert_eq!(tree.find_gap(0x1000, 0x5800, 0x1000), Some(0x4000));
    }

    #[test]
    fn what_a_search_remembers_is_forgotten_with_a_hole() {
        let mut tree = VmaTree::default();
        for at in (0x10..0x20).rev().map(|page| page * 0x1000) {
            assert_eq!(tree.find_gap(0x1000, 0x20_000, 0x1000), Some(at));
            tree.insert(anon(at..at + 0x1000, if at % 0x2000 == 0 { RW } else { RO }));
        }
        for hole in [0x18_000, 0x11_000, 0x1f_000] {
            tree.remove(hole..hole + 0x1000).unwrap();
            assert_eq!(tree.find_gap(0x1000, 0x20_000, 0x1000), Some(hole));
            assert_eq!(tree.find_gap(0x2000, 0x20_000, 0x1000), Some(0xe000));
            tree.insert(anon(hole..hole + 0x1000, RW));
        }
        tree.remove(0x14_000..0x17_000).unwrap();
        assert_eq!(tree.find_gap(0x3000, 0x20_000, 0x1000), Some(0x14_000));
    }
}
