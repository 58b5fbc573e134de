//! One page of a mapped file, fetched with no lock held.
use super::PAGE;
use super::fault::FaultError;
use super::file_map::{cached_inode, memory_inode};
use crate::files::read_page_at;
use base::memory::alloc_user_page;
use base::sync::Arc;
use base::{Errno, Page};
use fs::iomap::StorePermit;
use fs::vfs::{File, Inode, fput_deferred};

/// What a fault got for the page of `file` at `pos`, to be used by its next look at the maps.
pub struct Fetched {
    /// The file.
    pub file: HeldFile,
    /// Byte position, a multiple of the page size.
    pub pos: u64,
    /// The page.
    pub page: FilePage,
}

/// A file whose page is fetched. It may become its last reference, when the area is unmapped meanwhile; and whoever faults may hold an
/// inode lock, as a write does. So it is let go by the release queue (MM-9).
pub struct HeldFile(Option<Arc<File>>);

impl HeldFile {
    /// One more reference of `file`.
    pub fn new(file: &Arc<File>) -> HeldFile {
        HeldFile(Some(file.clone()))
    }
    /// Its inode.
    pub fn inode(&self) -> Option<&Arc<Inode>> {
        self.0.as_ref()?.inode.as_ref()
    }
    /// Whether it is `file`.
    pub fn is(&self, file: &Arc<File>) -> bool {
        self.0.as_ref().is_some_and(|held| Arc::ptr_eq(held, file))
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        match self.0.take() {
            // Its frames are free at once; nothing of it waits for anything.
            Some(file) if memory_inode(&file).is_some() => drop(file),
            Some(file) => fput_deferred(file),
            None => {}
        }
    }
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
    /// The folio is in the page cache and may be stored to, as soon as it is mapped for that.
    Writable(StorePermit),
}

impl Fetched {
    /// The permit, if it is for page `pos` of `file`.
    pub fn permit(&self, file: &Arc<File>, pos: u64) -> Option<&StorePermit> {
        match &self.page {
            FilePage::Writable(permit) if self.file.is(file) && self.pos == pos => Some(permit),
            _ => None,
        }
    }

    /// The fault has ended: who stores waits where there is too much to be written, with nothing held (LOCK-7).
    pub fn end(self) {
        let Fetched { file, page, .. } = self;
        if let FilePage::Writable(permit) = page {
            drop(permit);
            file.inode().into_iter().for_each(fs::iomap::balance_dirty);
        }
    }
}

/// The page of `file` at byte `pos`, a multiple of the page size. Bytes after the end of the file are zero; a page that lies
/// wholly after it is refused (MM-6). With `store` it is made ready to be stored to, which is refused where there is no room for it. Task
/// context; may sleep; the mmap lock is not held.
pub fn fetch(file: HeldFile, pos: u64, store: bool) -> Result<Fetched, FaultError> {
    let page = page_of(file.0.as_ref().ok_or(FaultError::Bus)?, pos, store)?;
    Ok(Fetched { file, pos, page })
}

fn page_of(file: &Arc<File>, pos: u64, store: bool) -> Result<FilePage, FaultError> {
    if let Some(inode) = cached_inode(file) {
        if store {
            let permit = fs::iomap::prepare_store(inode, pos / PAGE).map_err(failed)?.ok_or(FaultError::Bus)?;
            return Ok(FilePage::Writable(permit));
        }
        let folio = fs::iomap::fault_folio(inode, pos / PAGE).map_err(failed)?.ok_or(FaultError::Bus)?;
        return Ok(FilePage::Cached { _keep: folio.page().clone() });
    }
    let page = alloc_user_page().map_err(failed)?;
    match read_page_at(file, pos, &page).map_err(failed)? {
        0 => Err(FaultError::Bus),
        _ => Ok(FilePage::Copy(page)),
    }
}

fn failed(error: Errno) -> FaultError {
    if error == Errno::ENOMEM { FaultError::NoMemory } else { FaultError::Bus }
}
