//! Walking and building four-level page tables, in terms of raw entries. Who may map what is up to `paging` (kernel
//! half) and `page_table` (user half).
use super::paging::phys_to_virt;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::structures::paging::PageTableFlags as Flags;

/// The bits of an entry that hold a physical address.
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Entries of a table.
pub(super) const ENTRIES: usize = 512;
/// The level of the root table. Level 1 holds 4 KiB pages, level 2 also 2 MiB, level 3 also 1 GiB pages.
pub(super) const ROOT_LEVEL: u8 = 4;

/// A page-table entry as the CPU sees it. The CPU sets accessed and dirty bits behind our back, hence the atomic.
#[repr(transparent)]
pub(super) struct Entry(AtomicU64);

impl Entry {
    pub(super) fn bits(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    pub(super) fn phys(&self) -> u64 {
        self.bits() & ADDRESS
    }
    pub(super) fn flags(&self) -> Flags {
        Flags::from_bits_retain(self.bits() & !ADDRESS)
    }
    pub(super) fn is_unused(&self) -> bool {
        self.bits() == 0
    }
    pub(super) fn is_present(&self) -> bool {
        self.flags().contains(Flags::PRESENT)
    }
    pub(super) fn is_large(&self) -> bool {
        self.flags().contains(Flags::HUGE_PAGE)
    }
    pub(super) fn set(&self, phys: u64, flags: Flags) {
        debug_assert_eq!(phys & !ADDRESS, 0);
        self.0.store(phys | flags.bits(), Ordering::Release);
    }
    pub(super) fn copy_from(&self, other: &Entry) {
        self.0.store(other.bits(), Ordering::Release);
    }
    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::AcqRel)
    }
    /// Changes the flags without losing a dirty or accessed bit that the CPU sets meanwhile. Returns the old bits.
    pub(super) fn update(&self, set: Flags, clear: Flags) -> u64 {
        let change = |bits| Some((bits & !clear.bits()) | set.bits());
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change).unwrap_or_else(|bits| bits)
    }
}

/// Flags of an entry that points at a table: the pages below decide what is allowed.
pub(super) const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::USER_ACCESSIBLE);

/// The table at physical address `phys`.
///
/// # Safety
///
/// A page table must be there, and stay there as long as the reference is used.
pub(super) unsafe fn table_at(phys: u64) -> &'static [Entry; ENTRIES] {
    // SAFETY: the caller's promise; all RAM is in the physical map, and `Entry` is an atomic that may be shared.
    unsafe { &*phys_to_virt(phys).cast::<[Entry; ENTRIES]>() }
}

/// The entries that are in use. Most tables are nearly empty: eight entries are passed over at a time.
pub(super) fn used_entries(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    const RUN: usize = 8;
    const { assert!((ENTRIES / 2).is_multiple_of(RUN)) };
    let (runs, _) = entries.as_chunks::<RUN>();
    let used = runs.iter().filter(|run| run.iter().fold(0, |all, entry| all | entry.bits()) != 0);
    used.flatten().filter(|entry| !entry.is_unused())
}

/// The index of `virt` in a table of `level`.
pub(super) fn index(virt: u64, level: u8) -> usize {
    (virt >> (12 + 9 * (u32::from(level) - 1))) as usize & (ENTRIES - 1)
}

/// The entry of `virt` at `level` (1 for a 4 KiB page), or the large page's entry met on the way, with its level.
///
/// # Safety
///
/// `root` must be a root table whose tables live as long as the reference is used.
pub(super) unsafe fn find(root: u64, virt: u64, level: u8) -> Option<(&'static Entry, u8)> {
    let (mut table, mut at) = (root, ROOT_LEVEL);
    loop {
        // SAFETY: a present entry above level 1 that is not large points at a table.
        let entry = unsafe { &table_at(table)[index(virt, at)] };
        if at == level || (entry.is_present() && entry.is_large()) {
            return Some((entry, at));
        }
        if !entry.is_present() {
            return None;
        }
        (table, at) = (entry.phys(), at - 1);
    }
}

/// As [`find`], but makes missing tables out of frames from `alloc` (zeroed by this function). `None` when it has no
/// more, or when a large page is in the way.
///
/// # Safety
///
/// As [`find`]; `alloc` gives frames that nobody else uses; the caller excludes other changes.
pub(super) unsafe fn find_or_make(
    root: u64,
    virt: u64,
    level: u8,
    alloc: &mut dyn FnMut() -> Option<u64>,
) -> Option<&'static Entry> {
    let (mut table, mut at) = (root, ROOT_LEVEL);
    loop {
        // SAFETY: as in `find`.
        let entry = unsafe { &table_at(table)[index(virt, at)] };
        if at == level {
            return Some(entry);
        }
        if entry.is_large() {
            return None;
        }
        if !entry.is_present() {
            let frame = alloc()?;
            // SAFETY: the frame is ours by the caller's promise.
            unsafe { core::ptr::write_bytes(phys_to_virt(frame), 0, crate::PAGE_SIZE) };
            entry.set(frame, TABLE);
        }
        (table, at) = (entry.phys(), at - 1);
    }
}
