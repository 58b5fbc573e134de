//! One page of a mapped file, fetched with no lock held.
use super::PAGE;
use super::fault::FaultError;
use super::file_map::cached_inode;
use crate::files::read_page_at;
use base::memory::alloc_page_zeroed;
use base::sync::Arc;
use base::{Errno, Page};
use fs::vfs::File;

/// What a fault got for the page of `file` at `pos`, to be used by its next look at the maps.
pub struct Fetched {
    /// The file.
    pub file: Arc<File>,
    /// Byte position, a multiple of the page size.
    pub pos: u64,
    /// The page.
    pub page: FilePage,
}

/// A page of a file.
pub enum FilePage {
    /// A copy of the bytes, the address space's own: the file has no page cache.
    Copy(Page),
    /// The folio is in the page cache now. The handle keeps it there until it is mapped: eviction leaves folios alone whose page
    /// somebody holds.
    Cached {
        /// The folio's page; what is mapped is looked up again.
        _keep: Page,
    },
}

/// The page of `file` at byte `pos`, a multiple of the page size. Bytes after the end of the file are zero; a page that lies
/// wholly after it is refused (MM-6). Task context; may sleep; the mmap lock is not held.
pub fn fetch(file: Arc<File>, pos: u64) -> Result<Fetched, FaultError> {
    let page = match cached_inode(&file) {
        Some(inode) => {
            let folio = fs::iomap::fault_folio(inode, pos / PAGE).map_err(failed)?.ok_or(FaultError::Bus)?;
            FilePage::Cached { _keep: folio.page().clone() }
        }
        None => {
            let page = alloc_page_zeroed().map_err(failed)?;
            match read_page_at(&file, pos, &page).map_err(failed)? {
                0 => return Err(FaultError::Bus),
                _ => FilePage::Copy(page),
            }
        }
    };
    Ok(Fetched { file, pos, page })
}

fn failed(error: Errno) -> FaultError {
    if error == Errno::ENOMEM { FaultError::NoMemory } else { FaultError::Bus }
}
