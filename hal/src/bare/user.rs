//! User mode: entering ring 3, copies of user memory, page tables of an address space.
use super::mem::Page;

/// The first address past user memory. The last page below 2^47 stays unmapped, so that no return address of a system
/// call is non-canonical.
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Copies user memory from `src` into `dst`. Returns the bytes copied before the first one that is not mapped readable
/// in the active page table. Task context.
pub fn copy_from_user(dst: &mut [u8], src: u64) -> usize {
    let _ = (dst, src);
    0
}
/// Copies `src` to user memory at `dst`. Returns the bytes copied before the first one that is not mapped writable.
pub fn copy_to_user(dst: u64, src: &[u8]) -> usize {
    let _ = (dst, src);
    0
}
/// Zeroes `len` bytes of user memory. Returns the bytes zeroed before the first one that is not mapped writable.
pub fn zero_user(dst: u64, len: usize) -> usize {
    let _ = (dst, len);
    0
}
/// Reads an aligned word in one access; `None` if it is not mapped or not aligned.
pub fn load_u32(addr: u64) -> Option<u32> {
    let _ = addr;
    None
}
/// Atomically replaces `old` by `new` in an aligned user word and returns what was there; `None` if it isn't mapped
/// writable or not aligned.
pub fn cmpxchg_u32(addr: u64, old: u32, new: u32) -> Option<u32> {
    let _ = (addr, old, new);
    None
}

/// The general registers of user mode.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the registers' own")]
pub struct UserRegs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// The 512 bytes of FXSAVE.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct FpuState(pub [u8; 512]);

/// The user half of a thread: its registers while it is not in user mode.
pub struct UserContext {
    /// General registers. After a `Trap::Syscall` `rcx` equals `rip` and `r11` equals `rflags`.
    pub regs: UserRegs,
}

/// Why user mode was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A system call: number in `rax`, arguments in `rdi, rsi, rdx, r10, r8, r9`; `rip` is past the instruction.
    Syscall,
    /// A page fault.
    PageFault {
        /// The address that was accessed.
        addr: u64,
        /// It was a write.
        write: bool,
        /// It was an instruction fetch.
        exec: bool,
        /// The page was mapped, but not so.
        present: bool,
    },
    /// Another exception.
    Exception {
        /// The CPU's number of it.
        vector: u8,
        /// The error code, or 0 if the exception has none.
        error: u64,
    },
    /// The timer or a device, already handled; or the mark `thread::set_need_resched` is set.
    Interrupt,
}

impl UserContext {
    /// A context that starts at `rip` with the stack pointer `rsp`, other registers zero, a fresh FPU.
    pub fn new(rip: u64, rsp: u64) -> UserContext {
        UserContext { regs: UserRegs { rip, rsp, rflags: 0x202, ..UserRegs::default() } }
    }
    /// Runs user mode on the current thread until it traps. Returns with interrupts on. Task context; the address space
    /// must have been activated.
    pub fn run(&mut self) -> Trap {
        Trap::Interrupt
    }
    /// The FS base of this thread.
    pub fn fs_base(&self) -> u64 {
        0
    }
    /// Sets the FS base; false if it is not a canonical user address.
    #[must_use]
    pub fn set_fs_base(&mut self, base: u64) -> bool {
        base < USER_END
    }
    /// The FPU registers as they are now. Called by the thread that runs this context.
    pub fn fpu(&self) -> FpuState {
        FpuState([0; 512])
    }
    /// Replaces the FPU registers; reserved bits of MXCSR are cleared.
    pub fn set_fpu(&mut self, state: &FpuState) {
        let _ = state;
    }
}

/// What user mode may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Prot {
    pub read: bool,
    pub write: bool,
    pub exec: bool,
}

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

/// The user half of an address space. Calls take `&self`: the tables have a lock of their own.
pub struct PageTable(());

impl PageTable {
    /// An empty user half; `None` when memory is short.
    pub fn new() -> Option<PageTable> {
        None
    }
    /// Maps `page` at `va` (a page boundary below [`USER_END`]), which must be free. `Prot` without `read`, `write` and
    /// `exec` keeps the page but lets nobody at it. Errors: not free, not a page boundary in the user half, memory short.
    #[allow(clippy::result_unit_err, reason = "the caller knows which of the two it can be")]
    pub fn map(&self, va: u64, page: Page, prot: Prot) -> Result<(), ()> {
        let _ = (va, page, prot);
        Err(())
    }
    /// Takes the mapping at `va` away; no CPU can use it any more when this returns.
    pub fn unmap(&self, va: u64) -> Option<Page> {
        let _ = va;
        None
    }
    /// Changes what user mode may do at `va`; false if nothing is mapped there.
    pub fn protect(&self, va: u64, prot: Prot) -> bool {
        let _ = (va, prot);
        false
    }
    /// What is mapped at `va`.
    pub fn query(&self, va: u64) -> Option<Mapped> {
        let _ = va;
        None
    }
    /// Clears the dirty mark at `va`; says whether it was set. No CPU has it cached when this returns.
    pub fn clear_dirty(&self, va: u64) -> bool {
        let _ = va;
        false
    }
    /// Makes this the address space of the current thread, now and whenever the thread runs again.
    pub fn activate(&self) {}
}
