//! An address space: areas, and the resident pages that they show.
use super::page_floor;
use super::resident::Resident;
use super::vma::{Backing, Vma, VmaTree};
use base::Result;
use base::sync::{Arc, Mutex, MutexGuard, Rank};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use fs::io::PinAccount;

/// What the mmap lock protects.
#[derive(Default)]
pub(super) struct Map {
    pub(super) vmas: VmaTree,
    /// The heap: `[brk_start, brk)`.
    pub(super) brk_start: u64,
    pub(super) brk: u64,
    /// Where the search for room for a mapping starts, downwards.
    pub(super) mmap_top: u64,
    /// `mlockall(MCL_FUTURE)`: what is mapped from now on is locked.
    pub(super) lock_all: bool,
}

/// Frames that are pinned for direct I/O in all address spaces.
static PINS: PinAccount = PinAccount::new(usize::MAX);

/// Sets how many frames may be pinned for direct I/O at a time, in all programs together. Beyond, a request fails with `ENOMEM`.
pub fn limit_pins(pages: usize) {
    PINS.set_limit(pages);
}

/// The memory of a process.
///
/// # Invariants
/// * every resident page lies in an area;
/// * a page is borrowed from the page cache only under the number of its area's `file_area`.
pub struct AddressSpace {
    map: Mutex<Map>,
    /// Shared with the records of file mappings: it holds no reference of a file and can be let go anywhere.
    resident: Arc<Resident>,
    pub(super) pins: &'static PinAccount,
    id: u64,
}

impl AddressSpace {
    /// An empty address space. Errors: `ENOMEM`.
    pub fn new() -> Result<AddressSpace> {
        // A plain counter: the number only names the address space in futex keys.
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let map = Map { mmap_top: hal::user::USER_END, ..Map::default() };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let resident = Arc::new(Resident::new()?);
        Ok(AddressSpace { map: Mutex::new(Rank::Mmap, map), resident, pins: &PINS, id })
    }

    /// A number no other address space of this boot has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Makes this the address space that the current task's user code and user copies see.
    pub fn activate(&self) {
        self.resident.activate();
    }

    /// Pages that are in memory now.
    pub fn resident_pages(&self) -> usize {
        self.resident.len()
    }

    /// Of these, those that only the end of this address space, or of others that share them, makes free.
    pub fn own_pages(&self) -> usize {
        self.resident.own_len()
    }

    /// Calls `f` for each area in order of address, for `/proc/self/maps`. `f` must not touch user memory.
    pub fn for_each_area(&self, mut f: impl FnMut(&Vma)) {
        self.lock().vmas.iter().for_each(&mut f);
    }

    /// The file and the byte in it that `addr` shows in a shared mapping; the file by the serial number of its inode. `None` for memory that
    /// is this address space's own.
    pub fn shared_word(&self, addr: u64) -> Option<(u64, u64)> {
        let map = self.lock();
        let vma = map.vmas.find(addr).filter(|vma| vma.shared)?;
        let Backing::File { file, offset } = &vma.backing else { return None };
        file.inode.as_ref().map(|inode| (inode.serial, offset + (addr - vma.range.start)))
    }

    /// The heap: what `brk` has made.
    pub fn heap(&self) -> Range<u64> {
        let map = self.lock();
        map.brk_start..map.brk
    }

    /// Where the search for room for mappings starts. The program loader sets it below the stack.
    pub fn set_mmap_top(&self, addr: u64) {
        self.lock().mmap_top = page_floor(addr);
    }

    /// Takes everything down, which needs no memory: there may be none. The task that runs in it must not return to user mode. Files are
    /// let go here: may sleep.
    pub fn clear(&self) {
        let removed = self.take_out_all(&mut self.lock());
        // With the lock dropped (MM-9).
        drop(removed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock()
    }

    /// Of an address space that nobody else knows yet.
    pub(super) fn set_map(&mut self, map: Map) {
        *self.map.get_mut() = map;
    }

    pub(super) fn resident(&self) -> &Arc<Resident> {
        &self.resident
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.clear();
    }
}
