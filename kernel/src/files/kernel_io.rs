//! Memory of the kernel as room for a read.
use base::block::Segment;
use base::memory::alloc_page_zeroed;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Page, Result};
use fs::caller::KernelCaller;
use fs::io::{IoSink, Pinned};
use fs::kiocb::{IoFlags, Kiocb, Outcome};
use fs::vfs::File;

/// Fills `page` from byte `pos` of `file` on; returns the bytes read, less than a page only at the end of the file. Task context;
/// may sleep. Errors: those of the file.
pub fn read_page_at(file: &Arc<File>, pos: u64, page: &Page) -> Result<usize> {
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

/// Fills `dst` from byte `pos` of `file` on; returns the bytes read, fewer only at the end of the file. Task context; may sleep.
/// Errors: `ENOMEM`, those of the file.
pub fn read_at(file: &Arc<File>, pos: u64, dst: &mut [u8]) -> Result<usize> {
    let page = alloc_page_zeroed()?;
    let mut done = 0;
    for chunk in dst.chunks_mut(PAGE_SIZE) {
        let n = read_page_at(file, pos + done as u64, &page)?.min(chunk.len());
        page.read_into(0, chunk.get_mut(..n).unwrap_or_default());
        done += n;
        if n < chunk.len() {
            break;
        }
    }
    Ok(done)
}

/// A frame of the kernel as room for a read.
struct PageSink<'a> {
    page: &'a Page,
    at: usize,
}

impl PageSink<'_> {
    /// Consumes up to `len` bytes of room: where they begin, and how many.
    fn take(&mut self, len: usize) -> (usize, usize) {
        let at = self.at;
        let n = len.min(self.remaining());
        self.at += n;
        (at, n)
    }
}

impl IoSink for PageSink<'_> {
    fn remaining(&self) -> usize {
        PAGE_SIZE - self.at
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
