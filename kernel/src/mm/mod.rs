//! User memory: address spaces, demand paging, and the kernel's access to user memory.
//!
//! | file | contents |
//! |---|---|
//! | `vma` | the areas of an address space: a sorted map of non-overlapping ranges (pure, no hardware) |
//! | `address_space` | the areas under the mmap lock, and the pages that they show |
//! | `resident` | the pages that are in memory, and the page table, under a spin lock of their own |
//! | `origins` | whose each of these pages is |
//! | `map` | mmap, munmap, mprotect, madvise, brk |
//! | `fault` | demand paging and copy on write |
//! | `fork` | a copy of an address space that shares its pages until somebody stores to them |
//! | `file_map` | the mappings of a file, for truncates and evictions of its page cache |
//! | `file_page` | one page of a mapped file, fetched |
//! | `remap` | mremap |
//! | `locked` | mlock and its family, mincore |
//! | `segments` | System V shared memory |
//! | `removed` | what an unmap takes out |
//! | `msync` | a range of mappings to the disk |
//! | `access` | typed reads and writes of user memory, C strings |
//! | `iovec` | import of user iovecs; a cursor over them (pure) |
//! | `user_io` | user memory as source and sink of file I/O |
//!
//! # Rules
//!
//! * Nothing in the kernel faults on user memory: a copy stops at the first byte that is not mapped, the address space faults
//!   the page in with no lock held below the mmap lock, and the copy goes on.
//! * A fault takes the mmap lock, the invalidate lock shared and the folio lock, in this order, and no others (MM-4). The device
//!   is not waited for under the mmap lock: a folio that is missing is filled with the lock dropped, and the area looked up again.
//! * References to files are let go with the mmap lock dropped; the last one of a file with a page cache by another task (MM-9).
//! * A page is *owned* by the address space, *forked* (shared since a fork until somebody stores to it), *borrowed* from the page cache, or
//!   *shared*: a frame of a file that lives in memory. A borrowed page is the folio's own, so that every
//!   write to the file shows at once (MM-5). The first store to a private mapping copies it (MM-8). The first store to a shared one makes
//!   it writable once its folio is dirty and stable (STB-4). The page cache takes borrowed pages back at any time, or the right to store
//!   to them and the news that somebody did (MM-2), through its reverse map.
//! * Who stores for the first time prepares that with the mmap lock dropped: it waits for a frozen file system, for the log, and for the
//!   device. It enters the freeze protection before it takes the mmap lock again, and nobody enters it under the mmap lock.
//! * Files without a page cache (procfs, tmpfs) can be mapped privately: pages are copies, made at the first touch.
//! * Memory that processes share is a file in memory (tmpfs): one without a name for `MAP_SHARED | MAP_ANONYMOUS`, memfd_create and shmget.
//!   A shared mapping shows its frames, in as many address spaces as there are; a hole gets its frame at the first touch.
//! * Memory is promised freely. Who touches more than there is meets the end that `process/oom.rs` describes; the last frames are kept
//!   back for the kernel (`base::memory`).
//!
//! # What it does not do
//!
//! No swap, no huge pages, no areas that grow by themselves (a stack has its full size from the start), no shared mappings of files that are
//! in no cache and no memory (procfs: `ENODEV`). A device never stores to a page of a file on a disk: a direct read into a shared mapping goes through the cache.
mod access;
mod address_space;
mod fault;
mod file_map;
mod file_page;
mod fork;
#[cfg(test)]
mod fork_tests;
mod iovec;
mod locked;
mod map;
mod msync;
mod origins;
mod remap;
mod removed;
mod resident;
pub mod segments;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
mod user_io;
mod vma;

pub use address_space::{AddressSpace, limit_pins};
pub use fault::{Access, FaultError};
pub use file_map::{cached_inode, memory_inode};
pub use iovec::{IOV_MAX, IoVec, MAX_RW_COUNT};
pub use locked::Locked;
pub use map::{MapRequest, Placement, affordable};
pub use msync::MappedFile;
pub use remap::RemapRequest;
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
