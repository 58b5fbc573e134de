//! Sources and sinks over memory of the kernel or of a host program: for tests, the `cat` example and in-kernel files.
use super::{IoSink, IoSource, Pinned};
use alloc::vec::Vec;
use base::block::Segment;
use base::{Errno, PAGE_SIZE, Page, Result};

/// Bytes of a slice, to be written.
pub struct SliceSource<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        SliceSource { bytes, at: 0 }
    }
    fn take(&mut self, len: usize) -> &'a [u8] {
        let end = self.bytes.len().min(self.at.saturating_add(len));
        let run = self.bytes.get(self.at..end).unwrap_or_default();
        self.at = end;
        run
    }
}

impl IoSource for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }
    fn fault_in(&mut self, len: usize) -> usize {
        len.min(self.remaining())
    }
    fn resident(&self, len: usize) -> usize {
        len.min(self.remaining())
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let run = self.take(len.min(PAGE_SIZE.saturating_sub(offset)));
        page.write_from(offset, run);
        run.len()
    }
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize {
        let run = self.take(dst.len());
        dst[..run.len()].copy_from_slice(run);
        run.len()
    }
    fn revert(&mut self, len: usize) {
        self.at = self.at.saturating_sub(len);
    }
    /// Copies to fresh frames: a slice has none of its own.
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        let mut done = 0;
        while done < len.min(self.bytes.len()) && self.remaining() > 0 {
            let page = Page::alloc_zeroed().ok_or(Errno::ENOMEM)?;
            let n = self.copy_to_page(&page, 0, (len - done).min(PAGE_SIZE));
            out.push(Segment { page, offset: 0, len: n as u32 });
            done += n;
        }
        Ok(done)
    }
    /// The frames of [`Self::pin`] are aligned; only the length counts.
    fn is_aligned(&self, align: usize) -> bool {
        self.remaining().is_multiple_of(align)
    }
}

/// Room in a slice, to be read into.
pub struct SliceSink<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> SliceSink<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        SliceSink { bytes, at: 0 }
    }
    /// Bytes that were filled.
    pub fn filled(&self) -> usize {
        self.at
    }
    fn take(&mut self, len: usize) -> &mut [u8] {
        let end = self.bytes.len().min(self.at.saturating_add(len));
        let start = core::mem::replace(&mut self.at, end);
        &mut self.bytes[start..end]
    }
}

impl IoSink for SliceSink<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }
    fn fault_in(&mut self, len: usize) -> usize {
        len.min(self.remaining())
    }
    fn copy_from_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let run = self.take(len.min(PAGE_SIZE.saturating_sub(offset)));
        page.read_into(offset, run);
        run.len()
    }
    fn copy_from_slice(&mut self, src: &[u8]) -> usize {
        let run = self.take(src.len());
        run.copy_from_slice(&src[..run.len()]);
        run.len()
    }
    fn zero(&mut self, len: usize) -> usize {
        let run = self.take(len);
        run.fill(0);
        run.len()
    }
    /// A device cannot fill a slice: direct reads go to a [`PageBuffer`]. Errors: `EFAULT` always.
    fn pin(&mut self, _len: usize, _out: &mut Pinned) -> Result<usize> {
        Err(Errno::EFAULT)
    }
    fn is_aligned(&self, _align: usize) -> bool {
        false
    }
    fn revert(&mut self, len: usize) {
        self.at = self.at.saturating_sub(len);
    }
}

/// Page frames as source or sink: what direct I/O of a test reads into and writes from.
#[derive(Clone)]
pub struct PageBuffer {
    pages: Vec<Page>,
    /// Bytes before the first one, for unaligned buffers.
    offset: usize,
    len: usize,
    at: usize,
}

impl PageBuffer {
    /// `len` zero bytes that begin `offset` bytes into a frame. Errors: `ENOMEM`.
    pub fn new(offset: usize, len: usize) -> Result<Self> {
        let count = (offset + len).div_ceil(PAGE_SIZE);
        let pages = (0..count).map(|_| Page::alloc_zeroed().ok_or(Errno::ENOMEM)).collect::<Result<_>>()?;
        Ok(PageBuffer { pages, offset, len, at: 0 })
    }
    /// A buffer that holds `bytes` and begins at a frame. Errors: `ENOMEM`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut buffer = PageBuffer::new(0, bytes.len())?;
        IoSink::copy_from_slice(&mut buffer, bytes);
        buffer.rewind();
        Ok(buffer)
    }
    /// Starts again at the first byte.
    pub fn rewind(&mut self) {
        self.at = 0;
    }
    /// The bytes, all of them.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = self.clone();
        all.rewind();
        let mut bytes = alloc::vec![0; self.len];
        IoSource::copy_to_slice(&mut all, &mut bytes);
        bytes
    }
    /// Consumes up to `len` bytes, run by run within one frame: `f(frame, offset, bytes already done, run)`.
    fn walk(&mut self, len: usize, mut f: impl FnMut(&Page, usize, usize, usize)) -> usize {
        let len = len.min(self.len - self.at);
        let mut done = 0;
        while done < len {
            let start = self.offset + self.at;
            let (index, within) = (start / PAGE_SIZE, start % PAGE_SIZE);
            let run = (len - done).min(PAGE_SIZE - within);
            f(&self.pages[index], within, done, run);
            self.at += run;
            done += run;
        }
        done
    }
    fn pin_run(&mut self, len: usize, out: &mut Pinned) -> usize {
        self.walk(len, |page, within, _, run| {
            out.push(Segment { page: page.clone(), offset: within as u32, len: run as u32 });
        })
    }
    fn aligned(&self, align: usize) -> bool {
        (self.offset + self.at).is_multiple_of(align) && (self.len - self.at).is_multiple_of(align)
    }
}

impl IoSource for PageBuffer {
    fn remaining(&self) -> usize {
        self.len - self.at
    }
    fn fault_in(&mut self, len: usize) -> usize {
        len.min(self.len - self.at)
    }
    fn resident(&self, len: usize) -> usize {
        len.min(self.len - self.at)
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        self.walk(len, |from, within, done, run| page.copy_from(offset + done, from, within, run))
    }
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize {
        self.walk(dst.len(), |from, within, done, run| from.read_into(within, &mut dst[done..done + run]))
    }
    fn revert(&mut self, len: usize) {
        self.at = self.at.saturating_sub(len);
    }
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        Ok(self.pin_run(len, out))
    }
    fn is_aligned(&self, align: usize) -> bool {
        self.aligned(align)
    }
}

impl IoSink for PageBuffer {
    fn remaining(&self) -> usize {
        self.len - self.at
    }
    fn fault_in(&mut self, len: usize) -> usize {
        len.min(self.len - self.at)
    }
    fn copy_from_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        self.walk(len, |to, within, done, run| to.copy_from(within, page, offset + done, run))
    }
    fn copy_from_slice(&mut self, src: &[u8]) -> usize {
        self.walk(src.len(), |to, within, done, run| to.write_from(within, &src[done..done + run]))
    }
    fn zero(&mut self, len: usize) -> usize {
        self.walk(len, |to, within, _, run| to.zero(within, run))
    }
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        Ok(self.pin_run(len, out))
    }
    fn is_aligned(&self, align: usize) -> bool {
        self.aligned(align)
    }
    fn revert(&mut self, len: usize) {
        self.at = self.at.saturating_sub(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_buffer_round_trips_at_any_offset() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        let mut buffer = PageBuffer::new(100, bytes.len()).unwrap();
        assert_eq!(IoSink::copy_from_slice(&mut buffer, &bytes), bytes.len());
        assert_eq!(buffer.to_vec(), bytes);
        buffer.rewind();
        let mut pinned = Pinned::new();
        assert_eq!(IoSource::pin(&mut buffer, 9000, &mut pinned), Ok(9000));
        assert_eq!(pinned.iter().map(|s| s.len).sum::<u32>(), 9000);
        assert_eq!(IoSource::remaining(&buffer), 1000);
    }

    #[test]
    fn a_slice_source_gives_back_what_was_reverted() {
        let mut source = SliceSource::new(b"abcdef");
        let mut out = [0; 4];
        assert_eq!(source.copy_to_slice(&mut out), 4);
        source.revert(2);
        assert_eq!(source.copy_to_slice(&mut out), 4);
        assert_eq!(&out, b"cdef");
    }
}
