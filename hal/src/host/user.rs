//! User memory on the host: simulated address spaces, and user contexts that play a script.
//!
//! The API is that of the x86_64 backend. A [`PageTable`] is a map of pages; `activate` makes it the one that the copies of
//! this host thread see. A [`UserContext`] cannot run machine code: it plays the steps a test gave it, so that the kernel's run
//! loop is tested like everything else.
//!
//! Copies stop at the first byte that is not mapped for the access, exactly as the exception table makes them do on hardware.
use super::mem::Page;
use crate::PAGE_SIZE;
pub use crate::fpu::FpuState;
use crate::fpu::{self, Format};
pub use crate::user_abi::{Prot, Trap, USER_END, UserRegs};
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque, btree_map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

struct Entry {
    page: Page,
    prot: Prot,
    dirty: bool,
    accessed: bool,
}

type Entries = Mutex<BTreeMap<u64, Entry>>;

std::thread_local! { static ACTIVE: RefCell<Option<Arc<Entries>>> = const { RefCell::new(None) }; }

/// The user half of an address space.
pub struct PageTable(Arc<Entries>);

impl PageTable {
    /// An empty user half, or `None` when memory is short.
    pub fn new() -> Option<PageTable> {
        Some(PageTable(Arc::new(Mutex::new(BTreeMap::new()))))
    }
    /// Maps `page` at `va`, which must be free. Errors: not free, not a page boundary in the user half.
    #[allow(clippy::result_unit_err, reason = "the caller knows which of the two it can be")]
    pub fn map(&self, va: u64, page: Page, prot: Prot) -> Result<(), ()> {
        if !va.is_multiple_of(PAGE_SIZE as u64) || va >= USER_END {
            return Err(());
        }
        match lock(&self.0).entry(va) {
            btree_map::Entry::Occupied(_) => Err(()),
            btree_map::Entry::Vacant(free) => {
                free.insert(Entry { page, prot, dirty: false, accessed: false });
                Ok(())
            }
        }
    }
    /// Takes the mapping at `va` away.
    pub fn unmap(&self, va: u64) -> Option<Page> {
        lock(&self.0).remove(&va).map(|e| e.page)
    }
    /// Takes the mappings at `vas` away; calls `gone` for each that was there, with its address, its page, and whether something
    /// was stored through it.
    pub fn unmap_many(&self, vas: &[u64], mut gone: impl FnMut(u64, Page, bool)) {
        for &va in vas {
            let entry = lock(&self.0).remove(&va);
            if let Some(entry) = entry {
                gone(va, entry.page, entry.dirty);
            }
        }
    }
    /// Starts changes that are all in force when the value is dropped.
    pub fn batch(&self) -> Batch<'_> {
        Batch(self)
    }
    /// Changes what user mode may do at `va`; false if nothing is mapped there.
    pub fn protect(&self, va: u64, prot: Prot) -> bool {
        lock(&self.0).get_mut(&va).map(|entry| entry.prot = prot).is_some()
    }
    /// What is mapped at `va`.
    pub fn query(&self, va: u64) -> Option<Mapped> {
        let entries = lock(&self.0);
        let e = entries.get(&va)?;
        Some(Mapped { page: e.page.clone(), prot: e.prot, dirty: e.dirty, accessed: e.accessed })
    }
    /// Takes the right to store at `va` away, then the dirty mark; says whether that was set.
    pub fn stop_stores(&self, va: u64) -> bool {
        lock(&self.0).get_mut(&va).is_some_and(|e| {
            e.prot.write = false;
            std::mem::take(&mut e.dirty)
        })
    }
    /// Makes this the address space that user copies of this thread see.
    pub fn activate(&self) {
        ACTIVE.with(|a| *a.borrow_mut() = Some(self.0.clone()));
    }
}

/// Mappings that [`PageTable::unmap_many`] takes at a time.
pub const BATCH: usize = 32;

/// See [`PageTable::batch`].
pub struct Batch<'a>(&'a PageTable);

impl Batch<'_> {
    /// As [`PageTable::map`].
    #[allow(clippy::result_unit_err, reason = "as there")]
    pub fn map(&mut self, va: u64, page: Page, prot: Prot) -> Result<(), ()> {
        self.0.map(va, page, prot)
    }
    /// As [`PageTable::query`].
    pub fn query(&mut self, va: u64) -> Option<Mapped> {
        self.0.query(va)
    }
    /// As [`PageTable::protect`].
    pub fn protect(&mut self, va: u64, prot: Prot) -> bool {
        self.0.protect(va, prot)
    }
}

fn lock(entries: &Entries) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `f` with each piece of `[addr, addr + len)` that lies in one page, until one is not mapped for the access; returns the
/// bytes before it. The lock is held throughout, so that atomic operations are atomic.
fn walk(addr: u64, len: usize, write: bool, mut f: impl FnMut(&Page, usize, usize, usize)) -> usize {
    let Some(active) = ACTIVE.with(|a| a.borrow().clone()) else { return 0 };
    let mut entries = lock(&active);
    let mut done = 0;
    while done < len {
        let Some(at) = addr.checked_add(done as u64).filter(|&a| a < USER_END) else { break };
        let offset = (at % PAGE_SIZE as u64) as usize;
        let n = (PAGE_SIZE - offset).min(len - done);
        let Some(entry) = entries.get_mut(&(at - offset as u64)) else { break };
        if !(if write { entry.prot.write } else { entry.prot.read }) {
            break;
        }
        entry.accessed = true;
        entry.dirty |= write;
        f(&entry.page, offset, done, n);
        done += n;
    }
    done
}

/// Copies from user memory; returns the bytes copied before the first that is not readable.
pub fn copy_from_user(dst: &mut [u8], src: u64) -> usize {
    walk(src, dst.len(), false, |page, offset, at, n| page.read_into(offset, &mut dst[at..at + n]))
}

/// Copies to user memory; returns the bytes copied before the first that is not writable.
pub fn copy_to_user(dst: u64, src: &[u8]) -> usize {
    walk(dst, src.len(), true, |page, offset, at, n| page.write_from(offset, &src[at..at + n]))
}

/// Zeroes user memory; returns the bytes zeroed before the first that is not writable.
pub fn zero_user(dst: u64, len: usize) -> usize {
    walk(dst, len, true, |page, offset, _, n| page.zero(offset, n))
}

/// Reads an aligned word atomically; `None` if it is not readable or not aligned.
pub fn load_u32(addr: u64) -> Option<u32> {
    let mut word = [0; 4];
    let aligned = addr.is_multiple_of(4);
    (aligned && copy_from_user(&mut word, addr) == 4).then(|| u32::from_ne_bytes(word))
}

/// Stores `new` to an aligned word that holds `old`, atomically; returns what was seen, `None` if it is not writable.
pub fn cmpxchg_u32(addr: u64, old: u32, new: u32) -> Option<u32> {
    if !addr.is_multiple_of(4) {
        return None;
    }
    let mut seen = [0; 4];
    let done = walk(addr, 4, true, |page, offset, _, _| {
        page.read_into(offset, &mut seen);
        if u32::from_ne_bytes(seen) == old {
            page.write_from(offset, &new.to_ne_bytes());
        }
    });
    (done == 4).then(|| u32::from_ne_bytes(seen))
}

impl Page {
    /// Copies from user memory into the frame; returns the bytes copied before the first that is not readable.
    pub fn copy_from_user(&self, offset: usize, user_addr: u64, len: usize) -> usize {
        let mut bounce = std::vec![0; len];
        let done = copy_from_user(&mut bounce, user_addr);
        self.write_from(offset, &bounce[..done]);
        done
    }
    /// Copies from the frame to user memory; returns the bytes copied before the first that is not writable.
    pub fn copy_to_user(&self, offset: usize, user_addr: u64, len: usize) -> usize {
        let mut bounce = std::vec![0; len];
        self.read_into(offset, &mut bounce);
        copy_to_user(user_addr, &bounce)
    }
}

/// One step of a scripted program: changes the registers and says how it traps.
pub type Step = Box<dyn FnMut(&mut UserRegs) -> Trap + Send>;

/// How the FPU registers are kept: as on a CPU with AVX.
pub fn fpu_format() -> Format {
    Format::new(fpu::X87 | fpu::SSE | fpu::AVX, 0xffff)
}

/// The state of a user thread. On the host it plays a script.
pub struct UserContext {
    /// General registers.
    pub regs: UserRegs,
    fs_base: u64,
    fpu: FpuState,
    script: VecDeque<Step>,
}

impl UserContext {
    /// A context that starts at `rip` with the stack at `rsp`, other registers zero. Memory is never short for it.
    pub fn new(rip: u64, rsp: u64) -> Option<UserContext> {
        let regs = UserRegs { rip, rsp, rflags: 0x202, ..UserRegs::default() };
        Some(UserContext { regs, fs_base: 0, fpu: FpuState::new(), script: VecDeque::new() })
    }
    /// The FS base of this thread.
    pub fn fs_base(&self) -> u64 {
        self.fs_base
    }
    /// Sets the FS base; false if it is not a canonical user address.
    #[must_use]
    pub fn set_fs_base(&mut self, base: u64) -> bool {
        let good = base < USER_END;
        if good {
            self.fs_base = base;
        }
        good
    }
    /// The FPU registers as they are now.
    pub fn fpu(&self) -> FpuState {
        self.fpu.clone()
    }
    /// Replaces the FPU registers.
    pub fn set_fpu(&mut self, state: &FpuState) {
        self.fpu = state.clone();
    }
    /// Appends a step to the script.
    pub fn step(&mut self, step: impl FnMut(&mut UserRegs) -> Trap + Send + 'static) {
        self.script.push_back(Box::new(step));
    }
    /// Runs user code until it traps: plays the next step. At the script's end it executes `ud2`.
    pub fn run(&mut self) -> Trap {
        match self.script.pop_front() {
            Some(mut step) => step(&mut self.regs),
            None => Trap::Exception { vector: 6, error: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: Prot = Prot { read: true, write: true, exec: false };
    const RO: Prot = Prot { read: true, write: false, exec: false };

    #[test]
    fn a_copy_stops_at_the_first_unmapped_byte() {
        let table = PageTable::new().unwrap();
        table.map(0x1000, Page::alloc_zeroed().unwrap(), RW).unwrap();
        table.map(0x2000, Page::alloc_zeroed().unwrap(), RO).unwrap();
        table.activate();
        assert_eq!(copy_to_user(0x1ffc, b"abcdefgh"), 4);
        let mut seen = [0; 12];
        assert_eq!(copy_from_user(&mut seen, 0x1ffc), 12);
        assert_eq!(&seen[..4], b"abcd");
        assert_eq!(copy_from_user(&mut seen, 0x2ffc), 4);
        assert_eq!(copy_from_user(&mut seen, USER_END), 0);
        assert_eq!(copy_from_user(&mut seen, u64::MAX - 4), 0);
    }

    #[test]
    fn cmpxchg_stores_only_over_the_expected_word() {
        let table = PageTable::new().unwrap();
        table.map(0x1000, Page::alloc_zeroed().unwrap(), RW).unwrap();
        table.activate();
        assert_eq!(cmpxchg_u32(0x1004, 0, 7), Some(0));
        assert_eq!(cmpxchg_u32(0x1004, 0, 9), Some(7));
        assert_eq!(load_u32(0x1004), Some(7));
        assert_eq!(load_u32(0x1002), None);
        assert!(table.query(0x1000).unwrap().dirty, "the store made the page dirty");
    }
}
