//! One page of a mapped file.
use super::PAGE;
use super::fault::FaultError;
use base::block::Segment;
use base::sync::Arc;
use base::{Errno, Page, Result};
use fs::caller::KernelCaller;
use fs::io::{IoSink, Pinned};
use fs::kiocb::{IoFlags, Kiocb, Outcome};
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
    let page = Page::alloc_zeroed().ok_or(FaultError::NoMemory)?;
    match read_page(file, pos, &page) {
        Ok(0) => Err(FaultError::Bus),
        Ok(_) => Ok(FilePage::Copy(page)),
        Err(Errno::ENOMEM) => Err(FaultError::NoMemory),
        Err(_) => Err(FaultError::Bus),
    }
}

/// Fills `page` from `pos` on; returns the bytes read, less than a page only at the end of the file.
fn read_page(file: &Arc<File>, pos: u64, page: &Page) -> Result<usize> {
    let mut sink = PageSink { page, at: 0 };
    while sink.remaining() > 0 {
        let mut kiocb = Kiocb::sync(file, pos + sink.at as u64, IoFlags::empty(), &KernelCaller);
        match file.ops().read(&mut kiocb, &mut sink)? {
            Outcome::Done(0) => break,
            Outcome::Done(_) => {}
            Outcome::Queued => return Err(Errno::EIO),
        }
    }
    Ok(sink.at)
}

/// A frame of the kernel as room for a read.
struct PageSink<'a> {
    page: &'a Page,
    at: usize,
}

impl PageSink<'_> {
    fn take(&mut self, len: usize) -> (usize, usize) {
        let at = self.at;
        let n = len.min(self.remaining());
        self.at += n;
        (at, n)
    }
}

impl IoSink for PageSink<'_> {
    fn remaining(&self) -> usize {
        PAGE as usize - self.at
    }
    fn fault_in(&mut self, len: usize) -> usize {
        len.min(self.remaining())
    }
    fn copy_from_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let (at, n) = self.take(len);
        self.page.copy_from(at, page, offset, n);
        n
    }
    fn copy_from_slice(&mut self, src: &[u8]) -> usize {
        let (at, n) = self.take(src.len());
        self.page.write_from(at, src.get(..n).unwrap_or_default());
        n
    }
    fn zero(&mut self, len: usize) -> usize {
        let (at, n) = self.take(len);
        self.page.zero(at, n);
        n
    }
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        let (at, n) = self.take(len);
        out.push(Segment { page: self.page.clone(), offset: at as u32, len: n as u32 });
        Ok(n)
    }
    fn is_aligned(&self, align: usize) -> bool {
        self.at.is_multiple_of(align)
    }
    fn revert(&mut self, len: usize) {
        self.at = self.at.saturating_sub(len);
    }
}
