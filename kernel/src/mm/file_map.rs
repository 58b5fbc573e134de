//! The user mappings of a file, as its page cache sees them.
//!
//! Every mmap of a file with a page cache, and every shared one of a file whose pages are frames of memory (tmpfs), makes one
//! [`FileArea`], shared by the pieces into which munmap and mprotect cut it: pieces never move, so one line "address for index" serves all;
//! what mremap moves is entered anew. It is entered in the [`FileMappings`] of the file and leaves when
//! the last piece is gone. Pages that it borrowed carry its number: what else has been mapped at its addresses since is left alone.
//!
//! # Who unmaps, and why nothing is missed
//!
//! A truncate calls `unmap` with the invalidate lock held exclusively; an eviction with the folio locked. A fault maps with both
//! (the invalidate lock shared). So it maps before, and the page is found here; or after, and finds the folio gone or the
//! file shorter (MM-6). Writeback, write-throughs and zeroing call `write_protect` with the folio locked, under which alone a page becomes
//! writable: so no store gets by them. Frames of memory are mapped and taken away under the lock of the frames instead ([`MemoryFrames`]). The order of locks is: folio, list of the file, resident pages.
use super::PAGE;
use super::file_page::HeldFile;
use super::resident::Resident;
use super::segments::Attachment;
use super::vma::{Backing, Vma};
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock};
use core::any::Any;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use fs::page_cache::{Mapping, ReverseMap};
use fs::vfs::{File, Inode, MemoryFrames};

/// One mmap of a file.
pub struct FileArea {
    record: Arc<Record>,
    /// Keeps the inode, and with it the mapping that the record is entered in. Of a file that was closed it is the last reference, which
    /// another task lets go (MM-9).
    file: HeldFile,
    /// Of a segment of System V shared memory: one of its attachments.
    attachment: Option<Attachment>,
}

/// What the page cache needs to know of an area.
struct Record {
    number: u64,
    resident: Arc<Resident>,
    /// First address.
    start: u64,
    /// The folios, by index.
    indices: Range<u64>,
}

impl FileArea {
    /// Enters the mapping of `file` from byte `offset` on at `range`. `None` where pages are copies: in private mappings of files without
    /// a page cache.
    pub(super) fn register(
        resident: &Arc<Resident>,
        range: Range<u64>,
        (file, offset): (&Arc<File>, u64),
        shared: bool,
        attachment: Option<Attachment>,
    ) -> Option<Arc<FileArea>> {
        // A plain counter: the number only has to be another one each time.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let inode = cached_inode(file).or_else(|| memory_inode(file).filter(|_| shared))?;
        let first = offset / PAGE;
        let record = Arc::new(Record {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            resident: resident.clone(),
            start: range.start,
            indices: first..first.saturating_add((range.end - range.start) / PAGE),
        });
        enter(&inode.mapping, record.clone());
        Some(Arc::new(FileArea { record, file: HeldFile::new(file), attachment }))
    }

    /// As [`Self::register`], for the area `vma` or what was made of it, at `range`, which shows the file from byte `offset` on.
    pub(super) fn register_again(
        resident: &Arc<Resident>,
        vma: &Vma,
        range: Range<u64>,
        offset: u64,
    ) -> Option<Arc<FileArea>> {
        let Backing::File { file, .. } = &vma.backing else { return None };
        let attachment = vma.file_area.as_ref().and_then(|area| area.attachment.clone());
        FileArea::register(resident, range, (file, offset), vma.shared, attachment)
    }

    /// The attachment it is.
    pub(super) fn attachment(&self) -> Option<&Attachment> {
        self.attachment.as_ref()
    }

    /// The file's frames, if it has no page cache.
    pub(super) fn frames(&self) -> Option<&dyn MemoryFrames> {
        self.inode().filter(|_| self.shows_frames())?.ops().frames()
    }
    /// Whether its pages are frames of memory, not of a page cache.
    pub(super) fn shows_frames(&self) -> bool {
        self.inode().is_some_and(|inode| inode.ops().iomap().is_none())
    }

    /// The mark of the pages it borrows.
    pub(super) fn number(&self) -> u64 {
        self.record.number
    }

    /// The file's inode.
    pub(super) fn inode(&self) -> Option<&Arc<Inode>> {
        self.file.inode()
    }

    /// The index of the folio that address `va` shows.
    pub(super) fn index(&self, va: u64) -> u64 {
        self.record.indices.start + (va - self.record.start) / PAGE
    }
}

impl Drop for FileArea {
    /// Its pages are gone already. The last reference of the file may go with it: no lock is held.
    fn drop(&mut self) {
        if let Some(inode) = self.inode() {
            leave(&inode.mapping, &self.record);
        }
    }
}

/// The inode of `file` if its pages come from a page cache.
pub fn cached_inode(file: &File) -> Option<&Arc<Inode>> {
    file.inode.as_ref().filter(|inode| inode.ops().iomap().is_some())
}

/// The inode of `file` if its pages are frames of memory and nothing else.
pub fn memory_inode(file: &File) -> Option<&Arc<Inode>> {
    file.inode.as_ref().filter(|inode| inode.ops().frames().is_some())
}

fn enter(mapping: &Mapping, record: Arc<Record>) {
    mapping.update_reverse_map(|slot| {
        if !slot.as_deref().and_then(FileMappings::of).is_some_and(|all| all.add(&record)) {
            *slot = Some(Arc::new(FileMappings(SpinLock::new(alloc::vec![record]))));
        }
    });
}

fn leave(mapping: &Mapping, record: &Arc<Record>) {
    mapping.update_reverse_map(|slot| {
        if slot.as_deref().and_then(FileMappings::of).is_some_and(|all| all.remove(record)) {
            *slot = None;
        }
    });
}

/// All mappings of one file.
struct FileMappings(SpinLock<Vec<Arc<Record>>>);

impl FileMappings {
    fn of(rmap: &dyn ReverseMap) -> Option<&FileMappings> {
        rmap.as_any().downcast_ref()
    }
    fn add(&self, record: &Arc<Record>) -> bool {
        self.0.lock().push(record.clone());
        true
    }
    /// Returns whether it was the last.
    fn remove(&self, record: &Arc<Record>) -> bool {
        let mut all = self.0.lock();
        if let Some(at) = all.iter().position(|other| Arc::ptr_eq(other, record)) {
            all.swap_remove(at);
        }
        all.is_empty()
    }
}

impl ReverseMap for FileMappings {
    fn write_protect(&self, index: u64) -> bool {
        // All of them, also after one that was stored to.
        self.0.lock().iter().fold(false, |stored, record| record.write_protect(index) | stored)
    }
    fn unmap(&self, indices: Range<u64>) -> bool {
        self.0.lock().iter().fold(false, |stored, record| record.unmap(&indices) | stored)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Record {
    fn address(&self, index: u64) -> u64 {
        self.start + (index - self.indices.start) * PAGE
    }
    fn unmap(&self, indices: &Range<u64>) -> bool {
        let first = indices.start.max(self.indices.start);
        let end = indices.end.min(self.indices.end);
        first < end && self.resident.drop_borrowed(self.address(first)..self.address(end), self.number)
    }
    fn write_protect(&self, index: u64) -> bool {
        self.indices.contains(&index) && self.resident.write_protect(self.address(index), self.number)
    }
}
