//! The user half of an address space: page tables whose leaves own counts of frames.
use super::mem::Page;
use super::paging::{kernel_root, load_root, phys_to_virt};
use super::percpu::this_cpu;
use super::sync::{SpinGuard, SpinLock};
use super::tables::{self, ENTRIES, Entry, ROOT_LEVEL};
use super::thread::with_current;
use super::{frames, irq, shootdown};
use crate::PAGE_SIZE;
use crate::user_abi::{Prot, USER_END};
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::Ordering;
use x86_64::structures::paging::PageTableFlags as Flags;

/// What is mapped at a user address.
pub struct Mapped {
    /// The frame.
    pub page: Page,
    /// What user mode may do.
    pub prot: Prot,
    /// It was written through this mapping since it was mapped or [`PageTable::stop_stores`].
    pub dirty: bool,
    /// It was accessed through this mapping.
    pub accessed: bool,
}

/// Marks an entry that owns a frame although user mode may do nothing with it (no `PRESENT`).
const RESERVED: Flags = Flags::BIT_9;
/// Marks that reading was granted: on x86 whatever is mapped can be read, but [`PageTable::query`] tells the truth.
const READABLE: Flags = Flags::BIT_10;
const RIGHTS: Flags = Flags::PRESENT
    .union(Flags::WRITABLE)
    .union(Flags::USER_ACCESSIBLE)
    .union(Flags::NO_EXECUTE)
    .union(RESERVED)
    .union(READABLE);

/// The user half of an address space. Calls take `&self`: the tables have a lock of their own. Task context.
pub struct PageTable(Arc<Tables>);

/// The tables, shared by the handle and by the threads that have activated it.
///
/// # Invariants
///
/// * The tables below the user half of `root` belong to this value alone; the kernel half's are shared with all others
///   and never freed.
/// * A non-zero leaf owns one count of its frame.
pub(super) struct Tables {
    root: u64,
    /// Leaves that are not zero. Its lock excludes other changes.
    leaves: SpinLock<usize>,
}

impl PageTable {
    /// An empty user half; `None` when memory is short.
    pub fn new() -> Option<PageTable> {
        let root = frames::alloc_one()?;
        // SAFETY: the frame is ours; the kernel's root is a table that stays.
        unsafe {
            core::ptr::write_bytes(phys_to_virt(root), 0, PAGE_SIZE / 2);
            let (new, kernel) = (tables::table_at(root), tables::table_at(kernel_root()));
            for (new, kernel) in new[ENTRIES / 2..].iter().zip(&kernel[ENTRIES / 2..]) {
                new.copy_from(kernel);
            }
        }
        Some(PageTable(Arc::new(Tables { root, leaves: SpinLock::new(0) })))
    }

    /// Maps `page` at `va` (a page boundary below [`USER_END`]), which must be free. `Prot` without `read`, `write` and
    /// `exec` keeps the page but lets nobody at it. Errors: not free, not a page boundary in the user half, memory
    /// short; the page is dropped then.
    #[allow(clippy::result_unit_err, reason = "the caller knows which of the two it can be")]
    pub fn map(&self, va: u64, page: Page, prot: Prot) -> Result<(), ()> {
        self.batch().map(va, page, prot)
    }

    /// Takes the mapping at `va` away; no CPU can use it any more when this returns.
    pub fn unmap(&self, va: u64) -> Option<Page> {
        let mut leaves = self.0.leaves.lock();
        let entry = self.0.leaf(va)?;
        let bits = entry.take();
        if bits == 0 {
            return None;
        }
        *leaves -= 1;
        self.0.flush(va);
        // SAFETY: the entry owned a count, which is ours now that it is gone.
        Some(unsafe { Page::from_phys(bits & tables::ADDRESS) })
    }

    /// Takes the mappings at `vas`, at most [`BATCH`], away; all CPUs are told once. Calls `gone` for each that was there, with its
    /// address, its page, and whether something was stored through it: no CPU can use any of them any more then.
    ///
    /// The dirty mark is complete although CPUs are told after it was read: one that has the right to store cached without the mark
    /// goes to the entry to set it, and faults.
    pub fn unmap_many(&self, vas: &[u64], mut gone: impl FnMut(u64, Page, bool)) {
        let mut taken = [0; BATCH];
        {
            let mut batch = self.batch();
            for (bits, &va) in taken.iter_mut().zip(vas) {
                *bits = batch.leaf(va).map_or(0, Entry::take);
                *batch.leaves -= usize::from(*bits != 0);
            }
        }
        let (first, last) = (vas.iter().min(), vas.iter().max());
        if let (Some(first), Some(last)) = (first, last) {
            shootdown::flush(self.0.root, *first..last + PAGE_SIZE as u64);
        }
        for (bits, &va) in taken.into_iter().zip(vas).filter(|(bits, _)| *bits != 0) {
            // SAFETY: as in `unmap`.
            let page = unsafe { Page::from_phys(bits & tables::ADDRESS) };
            gone(va, page, bits & Flags::DIRTY.bits() != 0);
        }
    }

    /// Starts changes of which all CPUs are told at once, when the value is dropped. Until then it has the lock of the tables.
    pub fn batch(&self) -> Batch<'_> {
        Batch { tables: &self.0, leaves: self.0.leaves.lock(), last: None, changed: None }
    }

    /// Changes what user mode may do at `va`; false if nothing is mapped there.
    pub fn protect(&self, va: u64, prot: Prot) -> bool {
        self.batch().protect(va, prot)
    }

    /// What is mapped at `va`.
    pub fn query(&self, va: u64) -> Option<Mapped> {
        self.batch().query(va)
    }

    /// Takes the right to store at `va` away, then the dirty mark; says whether that was set. No CPU stores there any more when this
    /// returns: only then is the mark looked at, so that no store falls between.
    pub fn stop_stores(&self, va: u64) -> bool {
        let _changing = self.0.leaves.lock();
        let Some(entry) = self.0.leaf(va).filter(|entry| !entry.is_unused()) else { return false };
        if entry.update(Flags::empty(), Flags::WRITABLE) & Flags::WRITABLE.bits() != 0 {
            self.0.flush(va);
        }
        // Whoever gives the right back changes the entry again, and what is cached of it goes then.
        entry.update(Flags::empty(), Flags::DIRTY) & Flags::DIRTY.bits() != 0
    }

    /// Makes this the address space of the current thread, now and whenever the thread runs again.
    pub fn activate(&self) {
        let before = irq::with_disabled(|| {
            let before = with_current(|thread| thread.set_space(Some(self.0.clone())));
            self.0.load();
            before
        });
        // What was active may be freed by this, which takes time: interrupts are on again.
        drop(before);
    }

    /// Leaves the current thread without an address space; the kernel's own tables are active.
    pub fn deactivate() {
        let before = irq::with_disabled(|| with_current(|thread| thread.set_space(None)));
        drop(before);
    }
}

/// Mappings that [`PageTable::unmap_many`] takes at a time.
pub const BATCH: usize = 32;

/// See [`PageTable::batch`]. Until it is dropped, CPUs may go on with the rights of before.
#[must_use = "the CPUs are told when it is dropped"]
pub struct Batch<'a> {
    tables: &'a Tables,
    leaves: SpinGuard<'a, usize>,
    /// The lowest table that was used last, and which one: what follows mostly lies in it too.
    last: Option<(u64, &'a [Entry; ENTRIES])>,
    /// Holds all pages that lost a right.
    changed: Option<Range<u64>>,
}

impl<'a> Batch<'a> {
    /// As [`PageTable::map`].
    #[allow(clippy::result_unit_err, reason = "as there")]
    pub fn map(&mut self, va: u64, page: Page, prot: Prot) -> Result<(), ()> {
        if !va.is_multiple_of(PAGE_SIZE as u64) {
            return Err(());
        }
        let entry = match self.leaf(va) {
            Some(entry) => entry,
            None => self.tables.leaf_or_make(va).ok_or(())?,
        };
        if !entry.is_unused() {
            return Err(());
        }
        entry.set(page.into_phys(), rights(prot));
        *self.leaves += 1;
        Ok(())
    }

    /// As [`PageTable::query`].
    pub fn query(&mut self, va: u64) -> Option<Mapped> {
        let entry = self.leaf(va).filter(|entry| !entry.is_unused())?;
        let flags = entry.flags();
        // SAFETY: the entry owns a count of the frame and keeps it: what is made from it here is forgotten after its
        // clone has counted up.
        let owned = core::mem::ManuallyDrop::new(unsafe { Page::from_phys(entry.phys()) });
        Some(Mapped {
            page: Page::clone(&owned),
            prot: Prot {
                read: flags.contains(READABLE),
                write: flags.contains(Flags::WRITABLE),
                exec: !flags.contains(Flags::NO_EXECUTE),
            },
            dirty: flags.contains(Flags::DIRTY),
            accessed: flags.contains(Flags::ACCESSED),
        })
    }

    /// As [`PageTable::protect`].
    pub fn protect(&mut self, va: u64, prot: Prot) -> bool {
        let Some(entry) = self.leaf(va).filter(|entry| !entry.is_unused()) else { return false };
        let new = rights(prot);
        let old = Flags::from_bits_retain(entry.update(new, RIGHTS - new));
        let lost = (old - new) & (Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE);
        if old.contains(Flags::PRESENT) && (!lost.is_empty() || (new - old).contains(Flags::NO_EXECUTE)) {
            let end = va + PAGE_SIZE as u64;
            let before = self.changed.take().unwrap_or(va..end);
            self.changed = Some(before.start.min(va)..before.end.max(end));
        }
        true
    }

    /// The entry of `va`, if there is a table for it.
    fn leaf(&mut self, va: u64) -> Option<&'a Entry> {
        let number = va / (ENTRIES * PAGE_SIZE) as u64;
        let table = match self.last {
            Some((last, table)) if last == number => table,
            _ => self.tables.leaf_table(va)?,
        };
        self.last = Some((number, table));
        Some(&table[tables::index(va, 1)])
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(changed) = self.changed.take() {
            shootdown::flush(self.tables.root, changed);
        }
    }
}

/// The entry's flags for `prot`.
fn rights(prot: Prot) -> Flags {
    let mut flags = RESERVED;
    flags.set(Flags::PRESENT | Flags::USER_ACCESSIBLE, prot.read || prot.write || prot.exec);
    flags.set(READABLE, prot.read);
    flags.set(Flags::WRITABLE, prot.write);
    flags.set(Flags::NO_EXECUTE, !prot.exec);
    flags
}

impl Tables {
    fn leaf(&self, va: u64) -> Option<&Entry> {
        if va >= USER_END {
            return None;
        }
        // SAFETY: the tables live as long as `self`.
        unsafe { tables::find(self.root, va, 1) }.map(|(entry, _)| entry)
    }

    /// The lowest table for `va`, if it is there.
    fn leaf_table(&self, va: u64) -> Option<&[Entry; ENTRIES]> {
        if va >= USER_END {
            return None;
        }
        // SAFETY: the tables live as long as `self`; a user half has no large pages, so that a present entry of level 2 leads to one.
        unsafe {
            let (entry, _) = tables::find(self.root, va, 2)?;
            entry.is_present().then(|| tables::table_at(entry.phys()))
        }
    }

    fn leaf_or_make(&self, va: u64) -> Option<&Entry> {
        if va >= USER_END || !va.is_multiple_of(PAGE_SIZE as u64) {
            return None;
        }
        // SAFETY: the tables live as long as `self`; the caller holds the lock.
        unsafe { tables::find_or_make(self.root, va, 1, &mut frames::alloc_table) }
    }

    /// All CPUs forget a cached translation.
    fn flush(&self, va: u64) {
        shootdown::flush(self.root, va..va + PAGE_SIZE as u64);
    }

    /// Loads the tables on this CPU, with interrupts off, unless they are loaded.
    pub(super) fn load(&self) {
        if this_cpu().active_root.load(Ordering::Relaxed) != self.root {
            // SAFETY: the kernel half is in the tables. They stay loaded no longer than they live: `drop` sees to it.
            unsafe { load_root(self.root) };
        }
    }

    /// Frees a table of the user half and all below it. Without `leaves` the lowest ones are known to be empty.
    fn free(table: u64, level: u8, entries: usize, leaves: bool) {
        let entries = if level == 1 && !leaves { 0 } else { entries };
        // SAFETY: reached from the root of tables that nobody uses any more.
        let used = tables::used_entries(unsafe { &tables::table_at(table)[..entries] });
        for entry in used {
            if level == 1 {
                // SAFETY: a leaf owns a count of its frame.
                drop(unsafe { Page::from_phys(entry.phys()) });
            } else {
                Self::free(entry.phys(), level - 1, ENTRIES, leaves);
            }
        }
        // SAFETY: the table's frame came from the allocator, and nothing refers to it any more.
        unsafe { frames::free_one(table) };
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // Kernel threads may still run on these tables: switching leaves them loaded until another user thread runs.
        shootdown::unload(self.root);
        let leaves = *self.leaves.get_mut() > 0;
        Self::free(self.root, ROOT_LEVEL, ENTRIES / 2, leaves);
    }
}
