//! Into ring 3 and back.
//!
//! ```text
//! UserContext::run --call--> enter_user --sysretq / iretq--> user mode
//!        ^                                                       |
//!        +---- ret ---- save registers in the context <---- syscall / interrupt / exception
//! ```
//!
//! `enter_user` pushes the context's address and leaves the stack pointer in RSP0 of this CPU's TSS; both ways back
//! find the context there. So a user thread costs one kernel stack, and a system call returns into the loop that made
//! the entry, like any function.
//!
//! SYSRET is used if `rcx` and `r11` are what SYSCALL left in them; after an interrupt, `sigreturn` or a change of `rip`
//! they are not, and IRETQ restores all registers. SYSRET with a non-canonical `rcx` would fault in ring 0 on the user's
//! stack: an address at or above 2^47 never gets that far.
use super::gdt::{KERNEL_CODE, USER_CODE, USER_DATA};
use super::percpu::{RSP0, USER_RSP};
use super::smap;
use super::user::{UserContext, UserRegs};
use core::arch::naked_asm;
use core::mem::offset_of;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{LStar, SFMask};
use x86_64::registers::rflags::RFlags;

/// Why `enter_user` returned: the value in `rax`.
pub(super) const LEFT_BY_SYSCALL: u64 = 0;
pub(super) const LEFT_BY_TRAP: u64 = 1;
/// User mode was not entered: `rip` is no user address.
pub(super) const BAD_RIP: u64 = 2;

/// Flags that user mode may choose: the arithmetic ones, TF, DF, AC and ID.
const USER_FLAGS: u64 = 0x0024_0dd5;
/// Always set: IF and the reserved bit 1.
const FIXED_FLAGS: u64 = 0x202;

/// Makes SYSCALL come here, on this CPU.
pub(super) fn init() {
    LStar::write(VirtAddr::from_ptr(syscall_entry as *const ()));
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::TRAP_FLAG
            | RFlags::NESTED_TASK,
    );
    const { assert!(KERNEL_CODE.0 == 8, "SYSCALL's order of segments") };
}

/// Runs user mode until it is left, and says why.
///
/// # Safety
///
/// Interrupts are off, `context` is valid and exclusive, and the active page tables have a kernel half.
#[inline(always)]
pub(super) unsafe fn enter(context: *mut UserContext) -> u64 {
    let why;
    // SAFETY: the caller's promise. `enter_user` comes back with all registers but the stack pointer changed; the two
    // that can't be declared as clobbered are saved here.
    unsafe {
        core::arch::asm!(
            "push rbx",
            "push rbp",
            "call {enter_user}",
            "pop rbp",
            "pop rbx",
            enter_user = sym enter_user,
            inout("rdi") context => _,
            out("rax") why,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    why
}

macro_rules! reg {
    ($name:ident) => {
        offset_of!(UserContext, regs) + offset_of!(UserRegs, $name)
    };
}

#[unsafe(naked)]
unsafe extern "sysv64" fn enter_user() {
    naked_asm!(
        "push rdi",
        "mov gs:[{rsp0}], rsp",
        "mov rcx, [rdi + {rip}]",
        "mov r11, [rdi + {rflags}]",
        "cmp rcx, [rdi + {rcx}]",
        "jne 2f",
        "cmp r11, [rdi + {r11}]",
        "jne 2f",
        "mov rax, rcx",
        "shr rax, 47",
        "jnz 2f",
        "and r11d, {user_flags}",
        "or r11d, {fixed_flags}",
        "mov rax, [rdi + {rax}]",
        "mov rbx, [rdi + {rbx}]",
        "mov rdx, [rdi + {rdx}]",
        "mov rsi, [rdi + {rsi}]",
        "mov rbp, [rdi + {rbp}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "mov rsp, [rdi + {rsp}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "sysretq",
        // All registers, by IRETQ.
        "2:",
        "mov rax, rcx",
        "shr rax, 47",
        "jnz 3f",
        "and r11d, {user_flags}",
        "or r11d, {fixed_flags}",
        "push {user_data}",
        "push [rdi + {rsp}]",
        "push r11",
        "push {user_code}",
        "push rcx",
        "mov rax, [rdi + {rax}]",
        "mov rbx, [rdi + {rbx}]",
        "mov rcx, [rdi + {rcx}]",
        "mov rdx, [rdi + {rdx}]",
        "mov rsi, [rdi + {rsi}]",
        "mov rbp, [rdi + {rbp}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r11, [rdi + {r11}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "iretq",
        "3:",
        "pop rdi",
        "mov eax, {bad_rip}",
        "ret",
        rsp0 = const RSP0,
        rax = const reg!(rax), rbx = const reg!(rbx), rcx = const reg!(rcx), rdx = const reg!(rdx),
        rsi = const reg!(rsi), rdi = const reg!(rdi), rbp = const reg!(rbp), rsp = const reg!(rsp),
        r8 = const reg!(r8), r9 = const reg!(r9), r10 = const reg!(r10), r11 = const reg!(r11),
        r12 = const reg!(r12), r13 = const reg!(r13), r14 = const reg!(r14), r15 = const reg!(r15),
        rip = const reg!(rip), rflags = const reg!(rflags),
        user_flags = const USER_FLAGS, fixed_flags = const FIXED_FLAGS,
        user_data = const USER_DATA.0, user_code = const USER_CODE.0,
        bad_rip = const BAD_RIP,
    )
}

/// SYSCALL arrives here in ring 0, interrupts off, still on the user's stack and GS.
#[unsafe(naked)]
unsafe extern "sysv64" fn syscall_entry() {
    naked_asm!(
        "swapgs",
        "mov gs:[{user_rsp}], rsp",
        "mov rsp, gs:[{rsp0}]",
        "push rcx",
        "mov rcx, [rsp + 8]",
        "mov [rcx + {r11}], r11",
        "mov [rcx + {rflags}], r11",
        "pop r11",
        "mov [rcx + {rip}], r11",
        "mov [rcx + {rcx}], r11",
        "mov r11, gs:[{user_rsp}]",
        "mov [rcx + {rsp}], r11",
        "mov [rcx + {rax}], rax",
        "mov [rcx + {rbx}], rbx",
        "mov [rcx + {rdx}], rdx",
        "mov [rcx + {rsi}], rsi",
        "mov [rcx + {rdi}], rdi",
        "mov [rcx + {rbp}], rbp",
        "mov [rcx + {r8}], r8",
        "mov [rcx + {r9}], r9",
        "mov [rcx + {r10}], r10",
        "mov [rcx + {r12}], r12",
        "mov [rcx + {r13}], r13",
        "mov [rcx + {r14}], r14",
        "mov [rcx + {r15}], r15",
        "pop rcx",
        "mov eax, {by_syscall}",
        "ret",
        user_rsp = const USER_RSP, rsp0 = const RSP0,
        rax = const reg!(rax), rbx = const reg!(rbx), rcx = const reg!(rcx), rdx = const reg!(rdx),
        rsi = const reg!(rsi), rdi = const reg!(rdi), rbp = const reg!(rbp), rsp = const reg!(rsp),
        r8 = const reg!(r8), r9 = const reg!(r9), r10 = const reg!(r10), r11 = const reg!(r11),
        r12 = const reg!(r12), r13 = const reg!(r13), r14 = const reg!(r14), r15 = const reg!(r15),
        rip = const reg!(rip), rflags = const reg!(rflags),
        by_syscall = const LEFT_BY_SYSCALL,
    )
}

/// An interrupt or exception in ring 3: the CPU switched to RSP0 and pushed its frame, the stub error code and vector.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn trap_from_user() {
    naked_asm!(
        "swapgs",
        "cld",
        smap::clac!(),
        "push rdi",
        "mov rdi, gs:[{rsp0}]",
        "mov rdi, [rdi]",
        "mov [rdi + {rax}], rax",
        "mov [rdi + {rbx}], rbx",
        "mov [rdi + {rcx}], rcx",
        "mov [rdi + {rdx}], rdx",
        "mov [rdi + {rsi}], rsi",
        "mov [rdi + {rbp}], rbp",
        "mov [rdi + {r8}], r8",
        "mov [rdi + {r9}], r9",
        "mov [rdi + {r10}], r10",
        "mov [rdi + {r11}], r11",
        "mov [rdi + {r12}], r12",
        "mov [rdi + {r13}], r13",
        "mov [rdi + {r14}], r14",
        "mov [rdi + {r15}], r15",
        "pop [rdi + {rdi}]",
        "pop [rdi + {vector}]",
        "pop [rdi + {error}]",
        "pop [rdi + {rip}]",
        "pop rax", // CS: there is only one for user code.
        "pop [rdi + {rflags}]",
        "pop [rdi + {rsp}]",
        "mov rsp, gs:[{rsp0}]",
        "pop rdi",
        "mov eax, {by_trap}",
        "ret",
        rsp0 = const RSP0,
        rax = const reg!(rax), rbx = const reg!(rbx), rcx = const reg!(rcx), rdx = const reg!(rdx),
        rsi = const reg!(rsi), rdi = const reg!(rdi), rbp = const reg!(rbp), rsp = const reg!(rsp),
        r8 = const reg!(r8), r9 = const reg!(r9), r10 = const reg!(r10), r11 = const reg!(r11),
        r12 = const reg!(r12), r13 = const reg!(r13), r14 = const reg!(r14), r15 = const reg!(r15),
        rip = const reg!(rip), rflags = const reg!(rflags),
        vector = const offset_of!(UserContext, vector), error = const offset_of!(UserContext, error),
        by_trap = const LEFT_BY_TRAP,
    )
}
