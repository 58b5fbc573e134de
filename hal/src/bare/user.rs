//! User mode: entering ring 3, copies of user memory, page tables of an address space.
//!
//! A user thread is a kernel thread that loops around [`UserContext::run`]. Its FPU registers and FS base stay in the CPU
//! while it is in the kernel, which uses neither; switching to another user thread saves and loads them (`fpu`).
use super::percpu::this_cpu;
use super::thread::with_current;
use super::trap::PAGE_FAULT;
use super::user_entry::{BAD_RIP, LEFT_BY_SYSCALL, enter};
use super::{fpu, idt, irq, uaccess};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::registers::control::Cr2;

pub use super::fpu::{FpuState, fpu_format};
pub use super::page_table::{BATCH, Batch, Mapped, PageTable};
pub use crate::user_abi::{Prot, Trap, USER_END, UserRegs};

/// Copies user memory from `src` into `dst`. Returns the bytes copied before the first one that is not mapped readable
/// in the active page table. Task context.
pub fn copy_from_user(dst: &mut [u8], src: u64) -> usize {
    // SAFETY: `dst` is an exclusive slice.
    unsafe { uaccess::copy_from(dst.as_mut_ptr(), src, dst.len()) }
}
/// Copies `src` to user memory at `dst`. Returns the bytes copied before the first one that is not mapped writable.
/// Task context.
pub fn copy_to_user(dst: u64, src: &[u8]) -> usize {
    // SAFETY: `src` is a slice.
    unsafe { uaccess::copy_to(dst, src.as_ptr(), src.len()) }
}
/// Zeroes `len` bytes of user memory. Returns the bytes zeroed before the first one that is not mapped writable. Task
/// context.
pub fn zero_user(dst: u64, len: usize) -> usize {
    uaccess::zero(dst, len)
}
/// Reads an aligned word in one access; `None` if it is not mapped or not aligned. Task context.
pub fn load_u32(addr: u64) -> Option<u32> {
    uaccess::load_u32(addr)
}
/// Atomically replaces `old` by `new` in an aligned user word and returns what was there; `None` if it isn't mapped
/// writable or not aligned. Task context.
pub fn cmpxchg_u32(addr: u64, old: u32, new: u32) -> Option<u32> {
    uaccess::cmpxchg_u32(addr, old, new)
}

/// General protection: what a jump to a non-canonical address raises.
const GENERAL_PROTECTION: u8 = 13;

/// The user half of a thread: its registers while it is not in user mode. Once it has run on a thread it stays there;
/// a thread that runs another one (`execve`) is done with the first.
#[repr(C)]
pub struct UserContext {
    /// The general registers. After a `Trap::Syscall` `rcx` equals `rip` and `r11` equals `rflags`, which makes the way
    /// back fast; any values are safe, and flags that are not the user's to set are ignored.
    pub regs: UserRegs,
    /// Vector of the last interrupt or exception.
    pub(super) vector: u64,
    /// Its error code.
    pub(super) error: u64,
    /// Tells contexts apart in `PerCpu::bound_context`; never 0.
    id: u64,
    fs_base: u64,
    /// The FPU registers to start with. Once the context runs they are in the CPU or with the thread, and so is their place.
    fpu: Option<Box<FpuState>>,
}

impl UserContext {
    /// A context that starts at `rip` with the stack pointer `rsp`, other registers zero, a fresh FPU. `None` when memory is short.
    pub fn new(rip: u64, rsp: u64) -> Option<UserContext> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let regs = UserRegs { rip, rsp, rflags: 0x202, ..UserRegs::default() };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Some(UserContext { regs, vector: 0, error: 0, id, fs_base: 0, fpu: Some(fpu::allocate()?) })
    }

    /// Runs user mode on the current thread until it traps. Returns with interrupts on. Task context; the address space
    /// must have been activated.
    #[inline]
    pub fn run(&mut self) -> Trap {
        irq::disable_now();
        let cpu = this_cpu();
        // Looked at with interrupts off: a mark set from here on comes with an interrupt, which user mode takes.
        if cpu.need_resched.load(Ordering::Relaxed) {
            irq::enable_now();
            return Trap::Interrupt;
        }
        if cpu.bound_context.get() != self.id {
            self.bind();
        }
        // SAFETY: interrupts are off, the context is ours, and every table that can be active has the kernel half.
        let why = unsafe { enter(self) };
        if why == LEFT_BY_SYSCALL {
            irq::enable_now();
            Trap::Syscall
        } else {
            self.other_trap(why)
        }
    }

    /// Handles an interrupt; reads what an exception leaves in the CPU before interrupts come back.
    #[cold]
    fn other_trap(&mut self, why: u64) -> Trap {
        let (vector, error) = (self.vector as u8, self.error);
        let trap = if why == BAD_RIP {
            Trap::Exception { vector: GENERAL_PROTECTION, error: 0 }
        } else if vector >= idt::FIRST_INTERRUPT {
            // Nothing can interrupt in between.
            this_cpu().found_user.set(true);
            irq::dispatch(vector);
            this_cpu().found_user.set(false);
            Trap::Interrupt
        } else if vector == PAGE_FAULT {
            let bit = |n: u32| error & 1 << n != 0;
            Trap::PageFault { addr: Cr2::read_raw(), present: bit(0), write: bit(1), exec: bit(4) }
        } else {
            Trap::Exception { vector, error }
        };
        irq::enable_now();
        trap
    }

    /// Puts this context's FPU registers and FS base into the CPU, in place of whatever is there.
    #[cold]
    fn bind(&mut self) {
        let fpu = self.fpu.take().unwrap_or_else(|| panic!("a context runs on one thread, and in one piece"));
        drop(with_current(|thread| thread.bind_user(self.id, self.fs_base, fpu)));
    }

    fn is_bound(&self) -> bool {
        this_cpu().bound_context.get() == self.id
    }

    /// The FS base of this thread.
    pub fn fs_base(&self) -> u64 {
        self.fs_base
    }

    /// Sets the FS base; false if it is not a user address.
    #[must_use]
    pub fn set_fs_base(&mut self, base: u64) -> bool {
        if base >= USER_END {
            return false;
        }
        self.fs_base = base;
        if self.is_bound() {
            with_current(|thread| thread.set_fs_base(base));
        }
        true
    }

    /// The FPU registers as they are now. Called by the thread that runs this context, or before it has run.
    pub fn fpu(&self) -> FpuState {
        match &self.fpu {
            Some(fpu) => (**fpu).clone(),
            None => FpuState::save(),
        }
    }

    /// Replaces the FPU registers. Called as [`UserContext::fpu`].
    pub fn set_fpu(&mut self, state: &FpuState) {
        match &mut self.fpu {
            Some(fpu) => **fpu = state.clone(),
            None => state.load(),
        }
    }
}
