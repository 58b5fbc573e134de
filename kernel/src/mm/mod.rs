//! User memory: address spaces, demand paging, and the kernel's access to user memory.
//!
//! | file | contents |
//! |---|---|
//! | `vma` | the areas of an address space: a sorted map of non-overlapping ranges (pure, no hardware) |
//! | `address_space` | the areas, their resident pages and the page table, under the mmap lock |
//! | `map` | mmap, munmap, mprotect, madvise, brk |
//! | `fault` | demand paging and copy on write |
//! | `file_page` | one page of a mapped file |
//! | `access` | typed reads and writes of user memory, C strings |
//! | `iovec` | import of user iovecs; a cursor over them (pure) |
//! | `user_io` | user memory as source and sink of file I/O |
//!
//! # Rules
//!
//! * Nothing in the kernel faults on user memory: a copy stops at the first byte that is not mapped, the address space faults
//!   the page in with no lock held below the mmap lock, and the copy goes on.
//! * The mmap lock (rank `Mmap`) is a leaf towards files: a page of a file is fetched with the lock dropped, and the area is
//!   looked up again afterwards. References to files are let go with the lock dropped, because the last one may sleep (MM-9).
//! * A page is *owned* by the address space or *borrowed* from the page cache. A borrowed page is never mapped writable; the
//!   first store copies it (MM-8).
//!
//! # What it does not do
//!
//! No swap, no huge pages, no shared writable file mappings (`ENODEV`), no shared memory between processes.
mod access;
mod address_space;
mod fault;
mod file_page;
mod iovec;
mod map;
mod user_io;
mod vma;

pub use address_space::AddressSpace;
pub use fault::{Access, FaultError};
pub use iovec::{IOV_MAX, IoVec, MAX_RW_COUNT};
pub use map::{MapRequest, Placement, affordable};
pub use user_io::{UserSink, UserSource};
pub use vma::{Backing, Vma};

use hal::PAGE_SIZE;

/// The lowest address a mapping may have: null pointers stay invalid.
pub const MMAP_MIN: u64 = 0x1_0000;
/// Bytes in a page, as the type of addresses.
pub const PAGE: u64 = PAGE_SIZE as u64;

/// The address of the page that holds `addr`.
pub fn page_floor(addr: u64) -> u64 {
    addr & !(PAGE - 1)
}

/// `len` rounded up to whole pages; `None` on overflow.
pub fn page_ceil(len: u64) -> Option<u64> {
    len.checked_add(PAGE - 1).map(page_floor)
}
