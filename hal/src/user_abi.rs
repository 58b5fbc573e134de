//! What user mode is on both backends: its memory, its registers, and why it is left.

/// The first address past user memory. The last page below 2^47 stays unmapped, so that no return address of a system
/// call is non-canonical.
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// What user mode may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Prot {
    pub read: bool,
    pub write: bool,
    pub exec: bool,
}

/// The general registers of user mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
