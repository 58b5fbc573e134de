//! One page of a mapped file.
use super::fault::FaultError;
use crate::files::read_page_at;
use base::memory::alloc_page_zeroed;
use base::sync::Arc;
use base::{Errno, Page};
use fs::vfs::File;

/// A page of a file, ready to be mapped.
pub enum FilePage {
    /// A copy of the bytes, the address space's own.
    Copy(Page),
    /// The page of the page cache itself.
    #[allow(dead_code)] // Constructed as soon as the page cache hands out its pages.
    Cached(Page),
}

/// The page of `file` at byte `pos`, a multiple of the page size. Bytes after the end of the file are zero; a page that lies
/// wholly after it is refused (MM-6). Task context; may sleep; the mmap lock is not held.
pub fn fetch(file: &Arc<File>, pos: u64) -> core::result::Result<FilePage, FaultError> {
    let page = alloc_page_zeroed().map_err(|_| FaultError::NoMemory)?;
    match read_page_at(file, pos, &page) {
        Ok(0) => Err(FaultError::Bus),
        Ok(_) => Ok(FilePage::Copy(page)),
        Err(Errno::ENOMEM) => Err(FaultError::NoMemory),
        Err(_) => Err(FaultError::Bus),
    }
}
