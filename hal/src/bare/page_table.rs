//! The user half of an address space: page tables whose leaves own counts of frames.
use super::mem::Page;
use super::paging::{self, flush, kernel_root, load_root};
use super::percpu::this_cpu;
use super::sync::SpinLock;
use super::tables::{self, ENTRIES, Entry, ROOT_LEVEL};
use super::thread::with_current;
use super::{frames, irq};
use crate::PAGE_SIZE;
use crate::user_abi::{Prot, USER_END};
use alloc::sync::Arc;
use x86_64::structures::paging::PageTableFlags as Flags;

/// What is mapped at a user address.
pub struct Mapped {
    /// The frame.
    pub page: Page,
    /// What user mode may do.
    pub prot: Prot,
    /// It was written through this mapping since it was mapped or [`PageTable::clear_dirty`].
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
    /// Excludes other changes.
    lock: SpinLock<()>,
}

impl PageTable {
    /// An empty user half; `None` when memory is short.
    pub fn new() -> Option<PageTable> {
        let root = frames::alloc_one()?;
        // SAFETY: the frame is ours; the kernel's root is a table that stays.
        unsafe {
            let (new, kernel) = (tables::table_at(root), tables::table_at(kernel_root()));
            for index in 0..ENTRIES {
                let bits = if index < ENTRIES / 2 { 0 } else { kernel[index].bits() };
                new[index].set(bits & !0xfff & !(1 << 63), Flags::from_bits_retain(bits & (0xfff | 1 << 63)));
            }
        }
        Some(PageTable(Arc::new(Tables { root, lock: SpinLock::new(()) })))
    }

    /// Maps `page` at `va` (a page boundary below [`USER_END`]), which must be free. `Prot` without `read`, `write` and
    /// `exec` keeps the page but lets nobody at it. Errors: not free, not a page boundary in the user half, memory
    /// short; the page is dropped then.
    #[allow(clippy::result_unit_err, reason = "the caller knows which of the two it can be")]
    pub fn map(&self, va: u64, page: Page, prot: Prot) -> Result<(), ()> {
        let _changing = self.0.lock.lock();
        let entry = self.0.leaf_or_make(va).ok_or(())?;
        if !entry.is_unused() {
            return Err(());
        }
        entry.set(page.into_phys(), rights(prot));
        Ok(())
    }

    /// Takes the mapping at `va` away; no CPU can use it any more when this returns.
    pub fn unmap(&self, va: u64) -> Option<Page> {
        let _changing = self.0.lock.lock();
        let entry = self.0.leaf(va)?;
        let phys = entry.phys();
        if entry.take() == 0 {
            return None;
        }
        self.0.flush(va);
        // SAFETY: the entry owned a count, which is ours now that it is gone.
        Some(unsafe { Page::from_phys(phys) })
    }

    /// Changes what user mode may do at `va`; false if nothing is mapped there.
    pub fn protect(&self, va: u64, prot: Prot) -> bool {
        let _changing = self.0.lock.lock();
        let Some(entry) = self.0.leaf(va).filter(|entry| !entry.is_unused()) else { return false };
        entry.update(rights(prot), RIGHTS - rights(prot));
        self.0.flush(va);
        true
    }

    /// What is mapped at `va`.
    pub fn query(&self, va: u64) -> Option<Mapped> {
        let _changing = self.0.lock.lock();
        let entry = self.0.leaf(va).filter(|entry| !entry.is_unused())?;
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

    /// Clears the dirty mark at `va`; says whether it was set. No CPU has it cached when this returns.
    pub fn clear_dirty(&self, va: u64) -> bool {
        let _changing = self.0.lock.lock();
        let Some(entry) = self.0.leaf(va).filter(|entry| !entry.is_unused()) else { return false };
        let was_dirty = entry.update(Flags::empty(), Flags::DIRTY) & Flags::DIRTY.bits() != 0;
        if was_dirty {
            self.0.flush(va);
        }
        was_dirty
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

    fn leaf_or_make(&self, va: u64) -> Option<&Entry> {
        if va >= USER_END || !va.is_multiple_of(PAGE_SIZE as u64) {
            return None;
        }
        // SAFETY: the tables live as long as `self`; the caller holds the lock.
        unsafe { tables::find_or_make(self.root, va, 1, &mut frames::alloc_table) }
    }

    /// Forgets a cached translation. Only the boot CPU runs; others would have to be told here.
    fn flush(&self, va: u64) {
        if this_cpu().active_root.get() == self.root {
            flush(va);
        }
    }

    /// Loads the tables on this CPU, with interrupts off, unless they are loaded.
    pub(super) fn load(&self) {
        if this_cpu().active_root.get() != self.root {
            // SAFETY: the kernel half is in the tables. They stay loaded no longer than they live: `drop` sees to it.
            unsafe { load_root(self.root) };
        }
    }

    /// Frees a table of the user half and all below it.
    fn free(table: u64, level: u8, entries: usize) {
        // SAFETY: reached from the root of tables that nobody uses any more.
        for entry in &unsafe { tables::table_at(table) }[..entries] {
            if entry.is_unused() {
            } else if level == 1 {
                // SAFETY: a leaf owns a count of its frame.
                drop(unsafe { Page::from_phys(entry.phys()) });
            } else {
                Self::free(entry.phys(), level - 1, ENTRIES);
            }
        }
        // SAFETY: the table's frame came from the allocator, and nothing refers to it any more.
        unsafe { frames::free_one(table) };
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // A kernel thread may still run on these tables: switching leaves them loaded until another user thread runs.
        irq::with_disabled(|| {
            if this_cpu().active_root.get() == self.root {
                // SAFETY: the kernel's own tables stay for ever.
                unsafe { paging::load_root(kernel_root()) };
            }
        });
        Self::free(self.root, ROOT_LEVEL, ENTRIES / 2);
    }
}
