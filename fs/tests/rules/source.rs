//! What stands for user space: sources of bytes that end at a bad address or tell when they are faulted in, callers that are killed,
//! user mappings.
use base::{Errno, Page, Result};
use fs::caller::{Caller, KernelCaller};
use fs::io::{IoSource, Pinned, SliceSource};

/// Bytes of which only what was faulted in can be copied.
pub struct Pieces<'a> {
    inner: SliceSource<'a>,
    /// Bytes that can be copied before the next fault.
    resident: usize,
    /// Bytes before the bad address.
    readable: usize,
    at: usize,
    on_fault: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Pieces<'a> {
    /// `bytes`, of which the first `readable` are mapped.
    pub fn new(bytes: &'a [u8], readable: usize) -> Pieces<'a> {
        let inner = SliceSource::new(bytes);
        Pieces { inner, resident: 0, readable, at: 0, on_fault: Box::new(|_| ()) }
    }
    /// The first `resident` can be copied before any fault.
    pub fn resident(self, resident: usize) -> Pieces<'a> {
        Pieces { resident, ..self }
    }
    /// Calls `tell` at each fault, with the position in the source.
    pub fn on_fault(self, tell: impl FnMut(usize) + 'a) -> Pieces<'a> {
        Pieces { on_fault: Box::new(tell), ..self }
    }
}

impl IoSource for Pieces<'_> {
    fn remaining(&self) -> usize {
        self.inner.remaining()
    }
    fn fault_in(&mut self, len: usize) -> usize {
        (self.on_fault)(self.at);
        self.resident = len.min(self.readable.saturating_sub(self.at));
        self.resident
    }
    fn resident(&self, len: usize) -> usize {
        len.min(self.resident)
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let copied = self.inner.copy_to_page(page, offset, len.min(self.resident));
        self.resident -= copied;
        self.at += copied;
        copied
    }
    fn copy_to_slice(&mut self, _dst: &mut [u8]) -> usize {
        0
    }
    fn revert(&mut self, len: usize) {
        self.inner.revert(len);
        self.at -= len;
        self.resident += len;
    }
    fn pin(&mut self, _len: usize, _out: &mut Pinned) -> Result<usize> {
        Err(Errno::EFAULT)
    }
    fn is_aligned(&self, _align: usize) -> bool {
        false
    }
}

/// A caller that is killed after so many looks at its signals.
pub struct Doomed(std::sync::atomic::AtomicI32);

impl Doomed {
    pub fn after(looks: i32) -> Doomed {
        Doomed(std::sync::atomic::AtomicI32::new(looks))
    }
}

impl Caller for Doomed {
    fn uid(&self) -> u32 {
        KernelCaller.uid()
    }
    fn gid(&self) -> u32 {
        KernelCaller.gid()
    }
    fn in_group(&self, gid: u32) -> bool {
        KernelCaller.in_group(gid)
    }
    fn umask(&self) -> u16 {
        KernelCaller.umask()
    }
    fn file_size_limit(&self) -> u64 {
        KernelCaller.file_size_limit()
    }
    fn file_size_exceeded(&self) {}
    fn fatal_signal_pending(&self) -> bool {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0
    }
}

/// Somebody who is not root: a write takes privileges off the file.
pub struct NotRoot;

impl Caller for NotRoot {
    fn uid(&self) -> u32 {
        1000
    }
    fn gid(&self) -> u32 {
        1000
    }
    fn in_group(&self, gid: u32) -> bool {
        gid == 1000
    }
    fn umask(&self) -> u16 {
        0
    }
    fn file_size_limit(&self) -> u64 {
        u64::MAX
    }
    fn file_size_exceeded(&self) {}
    fn fatal_signal_pending(&self) -> bool {
        false
    }
}

/// User mappings of a file that note which folios were write-protected, and say of each whether it was dirty.
#[derive(Default)]
pub struct WriteProtected {
    indices: std::sync::Mutex<Vec<u64>>,
    dirty: bool,
}

impl WriteProtected {
    /// Mappings that have stored to every page.
    pub fn dirty() -> WriteProtected {
        WriteProtected { dirty: true, ..WriteProtected::default() }
    }
    /// The folios, in the order in which they were write-protected.
    pub fn indices(&self) -> Vec<u64> {
        self.indices.lock().expect("no panic").clone()
    }
}

impl fs::page_cache::ReverseMap for WriteProtected {
    fn write_protect(&self, index: u64) -> bool {
        self.indices.lock().expect("no panic").push(index);
        self.dirty
    }
    fn unmap(&self, _indices: std::ops::Range<u64>) -> bool {
        false
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
