//! A source cut to a length: a write that a limit made shorter (CHK-3, CHK-4).
use crate::io::{IoSource, Pinned};
use base::{Page, Result};

/// The first bytes of another source.
pub struct Limited<'a> {
    inner: &'a mut dyn IoSource,
    left: usize,
}

impl<'a> Limited<'a> {
    /// At most `len` bytes of `inner`.
    pub fn new(inner: &'a mut dyn IoSource, len: usize) -> Self {
        Limited { inner, left: len }
    }
    fn took(&mut self, len: usize) -> usize {
        self.left -= len;
        len
    }
}

impl IoSource for Limited<'_> {
    fn remaining(&self) -> usize {
        self.left.min(self.inner.remaining())
    }
    fn fault_in(&mut self, len: usize) -> usize {
        self.inner.fault_in(len.min(self.left))
    }
    fn resident(&self, len: usize) -> usize {
        self.inner.resident(len.min(self.left))
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let copied = self.inner.copy_to_page(page, offset, len.min(self.left));
        self.took(copied)
    }
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize {
        let len = dst.len().min(self.left);
        let copied = self.inner.copy_to_slice(&mut dst[..len]);
        self.took(copied)
    }
    fn revert(&mut self, len: usize) {
        self.inner.revert(len);
        self.left += len;
    }
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        let pinned = self.inner.pin(len.min(self.left), out)?;
        Ok(self.took(pinned))
    }
    fn is_aligned(&self, align: usize) -> bool {
        self.inner.is_aligned(align) && self.left.is_multiple_of(align)
    }
}
