//! An address space: areas, resident pages and the page table.
use super::page_floor;
use super::vma::{Vma, VmaTree};
use alloc::collections::BTreeMap;
use base::sync::{Mutex, MutexGuard, Rank};
use base::{Errno, Page, Result};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use hal::user::{PageTable, Prot};

/// Whose page it is that a user address shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The address space's own, or a kernel object's that user code may write: mapped with the area's protection.
    Owned,
    /// The page cache's: never writable; a store copies it first.
    Borrowed,
}

/// What the mmap lock protects.
#[derive(Default)]
pub(super) struct Map {
    pub(super) vmas: VmaTree,
    /// Every page in the page table. Ranges are taken down in time proportional to what is there, not to their size.
    pub(super) resident: BTreeMap<u64, Origin>,
    /// The heap: `[brk_start, brk)`.
    pub(super) brk_start: u64,
    pub(super) brk: u64,
    /// Where the search for room for a mapping starts, downwards.
    pub(super) mmap_top: u64,
}

/// The memory of a process.
///
/// # Invariants
/// * a page is in the page table exactly if it is in `resident`;
/// * every resident page lies in an area;
/// * a borrowed page is not writable in the page table.
pub struct AddressSpace {
    map: Mutex<Map>,
    table: PageTable,
    id: u64,
}

impl AddressSpace {
    /// An empty address space. Errors: `ENOMEM`.
    pub fn new() -> Result<AddressSpace> {
        // A plain counter: the number only names the address space in futex keys.
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let table = PageTable::new().ok_or(Errno::ENOMEM)?;
        let map = Map { mmap_top: hal::user::USER_END, ..Map::default() };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(AddressSpace { map: Mutex::new(Rank::Mmap, map), table, id })
    }

    /// A number no other address space of this boot has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Makes this the address space that the current task's user code and user copies see.
    pub fn activate(&self) {
        self.table.activate();
    }

    /// Pages that are in memory now.
    pub fn resident_pages(&self) -> usize {
        self.lock().resident.len()
    }

    /// Calls `f` for each area in order of address, for `/proc/self/maps`. `f` must not touch user memory.
    pub fn for_each_area(&self, mut f: impl FnMut(&Vma)) {
        self.lock().vmas.iter().for_each(&mut f);
    }

    /// Where the search for room for mappings starts. The program loader sets it below the stack.
    pub fn set_mmap_top(&self, addr: u64) {
        self.lock().mmap_top = page_floor(addr);
    }

    /// Takes everything down. The task that runs in it must not return to user mode. Files are let go here: may sleep.
    pub fn clear(&self) {
        let removed = {
            let mut map = self.lock();
            self.drop_pages(&mut map, 0..u64::MAX);
            map.vmas.remove(0..u64::MAX)
        };
        // With the lock dropped: the last reference of a file may sleep in its release (MM-9).
        drop(removed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock()
    }

    /// Puts `page` at `va`, where nothing is resident. Errors: `ENOMEM`.
    pub(super) fn put_page(&self, map: &mut Map, va: u64, page: Page, origin: Origin, prot: Prot) -> Result<()> {
        self.table.map(va, page, visible(prot, origin)).map_err(|()| Errno::ENOMEM)?;
        map.resident.insert(va, origin);
        Ok(())
    }

    /// Sets the protection of a resident page to what `prot` allows it.
    pub(super) fn set_prot(&self, va: u64, origin: Origin, prot: Prot) {
        self.table.protect(va, visible(prot, origin));
    }

    /// The resident page at `va` (page aligned).
    pub(super) fn page_at(&self, va: u64) -> Option<Page> {
        self.table.query(va).map(|mapped| mapped.page)
    }

    /// Takes the resident pages of `range` out of the page table.
    pub(super) fn drop_pages(&self, map: &mut Map, range: Range<u64>) {
        while let Some((&va, _)) = map.resident.range(range.clone()).next() {
            map.resident.remove(&va);
            drop(self.table.unmap(va));
        }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The protection a page of `origin` gets in an area of protection `prot`.
fn visible(prot: Prot, origin: Origin) -> Prot {
    Prot { write: prot.write && origin == Origin::Owned, ..prot }
}
