//! The way into the kernel from exceptions and interrupts.
//!
//! Every vector has a stub of 16 bytes that makes the stack look the same (error code, vector) and jumps on:
//!
//! | where it came from | what happens |
//! |---|---|
//! | kernel mode | the caller-saved registers are saved, `trap::kernel_trap` runs, everything goes back |
//! | user mode | the registers go to the running `UserContext`, and its `run` returns (`user_entry`) |
//! | NMI, #DF, #MC | a stack of their own; GS is looked at, not assumed: they come between `swapgs` and `sysret` too |
//!
//! The kernel is soft-float, so there is no FPU state to save here.
use super::{smap, user_entry};
use core::arch::{global_asm, naked_asm};

/// What the entry leaves on the stack, lowest address first.
#[repr(C)]
pub(super) struct TrapFrame {
    /// Caller-saved registers: r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax.
    pub saved: [u64; 9],
    /// The exception's or interrupt's number.
    pub vector: u64,
    /// The CPU's error code, or 0.
    pub error: u64,
    /// Where it happened.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

/// Bytes from one stub to the next.
const STUB_SIZE: usize = 16;

// One stub a vector. The CPU pushes an error code for 8, 10-14, 17, 21, 29 and 30.
global_asm!(
    ".balign 16",
    // Global: the table that refers to it may be compiled into another object than this.
    ".globl hal_vector_stubs",
    "hal_vector_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if vector == 2 || vector == 18",
    "push 0",
    "push vector",
    "jmp {paranoid}",
    ".elseif vector == 8",
    "push vector",
    "jmp {paranoid}",
    ".elseif (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30",
    "push vector",
    "jmp {common}",
    ".else",
    "push 0",
    "push vector",
    "jmp {common}",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    paranoid = sym paranoid_entry,
    common = sym common_entry,
);

/// The address of the stub of `vector`.
pub(super) fn stub_address(vector: u8) -> u64 {
    unsafe extern "C" {
        static hal_vector_stubs: u8;
    }
    (&raw const hal_vector_stubs) as u64 + u64::from(vector) * STUB_SIZE as u64
}

/// Offset of the saved CS while only the CPU's frame, the error code and the vector are on the stack.
const CS_OFFSET: usize = 24;

#[unsafe(naked)]
unsafe extern "C" fn common_entry() {
    naked_asm!(
        "test byte ptr [rsp + {cs}], 3",
        "jnz {from_user}",
        "cld",
        smap::clac!(),
        "push rax",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "mov rdi, rsp",
        // The CPU aligned its frame to 16 bytes; 5 + 2 + 9 words keep that for the call.
        "call {handler}",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 16",
        "iretq",
        cs = const CS_OFFSET,
        from_user = sym user_entry::trap_from_user,
        handler = sym super::trap::kernel_trap,
    )
}

/// Entry on an interrupt stack, from anywhere. A user GS base is below the middle of the address space, a kernel one
/// above it: the sign of the base tells whether `swapgs` is due, on the way in and on the way out.
#[unsafe(naked)]
unsafe extern "C" fn paranoid_entry() {
    naked_asm!(
        "cld",
        smap::clac!(),
        "push rax",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "mov rdi, rsp",
        "push rbx",
        "push rbx",
        "xor ebx, ebx",
        "mov ecx, 0xc0000101",
        "rdmsr",
        "test edx, edx",
        "js 2f",
        "swapgs",
        "inc ebx",
        "2:",
        "call {handler}",
        "test ebx, ebx",
        "jz 3f",
        "swapgs",
        "3:",
        "pop rbx",
        "pop rbx",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 16",
        "iretq",
        handler = sym super::trap::paranoid_trap,
    )
}
