//! The first instructions of a further CPU: from real mode to the kernel's half of the address space.
//!
//! A CPU starts in real mode in the first megabyte, which the kernel leaves alone otherwise. Four pages there serve all
//! CPUs, one after the other:
//!
//! ```text
//!   0x8000  the code below, copied, with what it needs to know at its end
//!   0x9000  root table: the kernel's half, and in the other the two tables below
//!   0xa000  level 3
//!   0xb000  level 2: the first 2 MiB at their own addresses, where the code stands while paging goes on
//! ```
//!
//! Only this root maps memory writable and executable, and each CPU leaves it with its first instructions of Rust.
use super::paging::{self, map_mmio};
use super::tables::{self, ENTRIES};
use core::arch::global_asm;
use core::ops::Range;
use core::ptr::NonNull;
use x86_64::structures::paging::PageTableFlags as Flags;

/// Where the four pages are.
pub(super) const LOW_PAGES: Range<u64> = 0x8000..0xc000;
const BASE: u64 = LOW_PAGES.start;
const PAGE: usize = crate::PAGE_SIZE;

// AT&T syntax: the assembler takes differences of labels in it.
global_asm!(
    ".pushsection .rodata.trampoline, \"a\"",
    ".balign 16",
    ".globl hal_trampoline, hal_trampoline_words, hal_trampoline_end",
    "hal_trampoline:",
    ".code16",
    "cli",
    "cld",
    "xorw %ax, %ax",
    "movw %ax, %ds",
    "lgdtl {base} + 3f - hal_trampoline",
    "movl $0x20, %eax", // physical address extension
    "movl %eax, %cr4",
    "movl ${root}, %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx", // EFER: long mode, no-execute
    "rdmsr",
    "orl $0x900, %eax",
    "wrmsr",
    "movl $0x80010011, %eax", // paging, write protection, protection; caches on
    "movl %eax, %cr0",
    "ljmpl $8, ${base} + 2f - hal_trampoline",
    ".code64",
    "2:",
    "xorl %eax, %eax",
    "movl %eax, %ss",
    "movq {base} + hal_trampoline_words - hal_trampoline, %rsp",
    "movq {base} + hal_trampoline_words - hal_trampoline + 8, %rdi",
    "movq {base} + hal_trampoline_words - hal_trampoline + 16, %rax",
    "xorl %ebp, %ebp",
    "callq *%rax",
    "ud2",
    ".balign 8",
    "3:",
    ".word 15", // limit of the segment table
    ".long {base} + 4f - hal_trampoline",
    ".balign 8",
    "4:",
    ".quad 0",
    ".quad 0x00209a0000000000", // 64-bit code, ring 0
    ".balign 8",
    "hal_trampoline_words:", // stack, argument, entry
    ".quad 0, 0, 0",
    "hal_trampoline_end:",
    ".popsection",
    base = const BASE,
    root = const BASE + PAGE as u64,
    options(att_syntax),
);

/// The pages, made ready.
pub(super) struct Trampoline {
    pages: NonNull<u8>,
}

impl Trampoline {
    /// The number of the page a CPU starts at.
    pub(super) const PAGE_NUMBER: u8 = (BASE / PAGE as u64) as u8;

    /// Fills the pages. `None` if they could not be mapped. Once, when nothing of the loader is needed any more.
    pub(super) fn install() -> Option<Trampoline> {
        let pages = map_mmio(BASE, (LOW_PAGES.end - BASE) as usize)?;
        let (start, words) = symbols();
        // SAFETY: the code is shorter than a page; the pages are mapped, and nobody else's (`init` has looked).
        unsafe { core::ptr::copy_nonoverlapping(start, pages.as_ptr(), words + 3 * 8) };
        let trampoline = Trampoline { pages };
        // SAFETY: the kernel's root stays.
        let kernel = unsafe { tables::table_at(paging::kernel_root()) };
        for (index, entry) in kernel.iter().enumerate() {
            trampoline.write(PAGE + 8 * index, if index < ENTRIES / 2 { 0 } else { entry.bits() });
        }
        let table = Flags::PRESENT | Flags::WRITABLE;
        for (at, points_to) in [(1, 2), (2, 3)] {
            trampoline.write(at * PAGE, (BASE + points_to * PAGE as u64) | table.bits());
        }
        trampoline.write(3 * PAGE, (table | Flags::HUGE_PAGE).bits());
        for at in (2 * PAGE + 8..3 * PAGE).chain(3 * PAGE + 8..4 * PAGE).step_by(8) {
            trampoline.write(at, 0);
        }
        Some(trampoline)
    }

    /// The next CPU calls `entry` with `argument` on the stack that ends at `stack_top`.
    pub(super) fn aim(&self, stack_top: u64, argument: u64, entry: extern "sysv64" fn(u64) -> !) {
        let (_, words) = symbols();
        for (index, word) in [stack_top, argument, entry as usize as u64].into_iter().enumerate() {
            self.write(words + 8 * index, word);
        }
    }

    fn write(&self, offset: usize, value: u64) {
        // SAFETY: aligned and inside the four mapped pages, at all calls above. Uncached, so that a CPU without caches sees it.
        unsafe { self.pages.add(offset).cast::<u64>().write_volatile(value) }
    }
}

/// The code, and the offset of its words.
fn symbols() -> (*const u8, usize) {
    unsafe extern "C" {
        static hal_trampoline: u8;
        static hal_trampoline_words: u8;
        static hal_trampoline_end: u8;
    }
    let start = &raw const hal_trampoline;
    debug_assert!((&raw const hal_trampoline_end as usize) - (start as usize) < PAGE);
    (start, (&raw const hal_trampoline_words) as usize - start as usize)
}
