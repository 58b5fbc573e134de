//! What a play is made of: events and calls.
#![allow(dead_code, reason = "several test programs share the calls, and none uses all of them")]
use base::lab::{Stop, stop_at};
use base::sched;
use base::sync::WaitQueue;
use base::{Errno, Result};
use fs::caller::{Caller, KernelCaller};
use fs::io::{IoSource, PageBuffer, SliceSink, SliceSource};
use fs::iomap::IomapKind;
use fs::kiocb::{Completion, Kiocb, KiocbComplete, Outcome};
use fs::vfs::{self, FallocMode, File, FileExtent, Inode, Request, SyncKind};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub const WT: u32 = 0x200;
pub const BLOCK: usize = 4096;

pub fn inode(file: &Arc<File>) -> Arc<Inode> {
    file.inode.clone().expect("a file of a file system")
}

/// The event of an asynchronous request.
pub struct Event {
    result: Mutex<Vec<Result<usize>>>,
    posted: WaitQueue,
    /// The task that posted it.
    poster: AtomicU64,
}

impl Event {
    pub fn new() -> Arc<Event> {
        Arc::new(Event { result: Mutex::new(Vec::new()), posted: WaitQueue::new(), poster: AtomicU64::new(0) })
    }
    /// Sleeps until the event is there.
    pub fn wait(&self) -> Result<usize> {
        self.posted.wait_until(|| self.is_posted());
        let results = self.result.lock().expect("no test panics with it");
        assert_eq!(results.len(), 1, "one event for one request (WT-5)");
        results[0]
    }
    /// The number of the task that posted the event.
    pub fn poster(&self) -> u64 {
        self.poster.load(Ordering::Relaxed)
    }
    pub fn is_posted(&self) -> bool {
        !self.result.lock().expect("no test panics with it").is_empty()
    }
}

impl KiocbComplete for Event {
    fn complete(&self, result: Result<usize>) {
        self.poster.store(sched::current_id(), Ordering::Relaxed);
        self.result.lock().expect("no test panics with it").push(result);
        self.posted.wake_all();
    }
}

/// An asynchronous write; its outcome comes to the event, also where it was known at once.
pub fn aio_write(file: &Arc<File>, pos: u64, bytes: &[u8], rwf: u32) -> Arc<Event> {
    aio_from(file, pos, &mut SliceSource::new(bytes), rwf)
}

/// As [`aio_write`], from any source.
pub fn aio_from(file: &Arc<File>, pos: u64, source: &mut dyn IoSource, rwf: u32) -> Arc<Event> {
    let event = Event::new();
    let flags = vfs::request_flags(file, rwf, Request::Write).expect("the flags are allowed");
    let completion = Completion::new(event.clone());
    let mut kiocb = Kiocb::aio(file, pos, flags, &KernelCaller, completion);
    let result = vfs::write(&mut kiocb, source);
    match kiocb.into_result(result) {
        Ok(Outcome::Queued) => {}
        Ok(Outcome::Done(n)) => event.complete(Ok(n)),
        Err(error) => event.complete(Err(error)),
    }
    event
}

/// An asynchronous write-through.
pub fn aio_wt(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Arc<Event> {
    aio_write(file, pos, bytes, WT)
}

/// A synchronous write-through.
pub fn sync_wt(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    vfs::write_at(file, pos, WT, &mut SliceSource::new(bytes), &KernelCaller)
}

/// A buffered write.
pub fn write(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    vfs::write_at(file, pos, 0, &mut SliceSource::new(bytes), &KernelCaller)
}

/// A read at a position, through the cache or around it by the file's flags.
pub fn read(file: &Arc<File>, pos: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let n = vfs::read_at(file, pos, 0, &mut SliceSink::new(&mut bytes), &KernelCaller).expect("the read succeeds");
    bytes.truncate(n);
    bytes
}

/// A direct read of whole blocks, into page-aligned memory.
pub fn direct_read(file: &Arc<File>, pos: u64, len: usize) -> Vec<u8> {
    let mut buffer = PageBuffer::new(0, len).expect("memory");
    let flags = vfs::request_flags(file, 0, Request::Read).expect("no flags");
    let caller: &dyn Caller = &KernelCaller;
    match vfs::read(&mut Kiocb::sync(file, pos, flags, caller), &mut buffer) {
        Ok(Outcome::Done(n)) => buffer.to_vec()[..n].to_vec(),
        other => panic!("direct read: {other:?}"),
    }
}

/// A direct write of whole blocks, from page-aligned memory.
pub fn direct_write(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    let mut buffer = PageBuffer::from_bytes(bytes).expect("memory");
    vfs::write_at(file, pos, 0, &mut buffer, &KernelCaller)
}

/// An asynchronous one.
pub fn aio_direct_write(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Arc<Event> {
    aio_from(file, pos, &mut PageBuffer::from_bytes(bytes).expect("memory"), 0)
}

/// What the extents say of the block that holds byte `pos`.
pub fn mapped(file: &Arc<File>, pos: u64) -> IomapKind {
    let node = inode(file);
    let bs = node.mapping.block_size() as u64;
    let ops = node.ops().iomap().expect("a regular file");
    ops.map_read(&node, pos / bs * bs, bs).expect("the extents can be read").kind
}

/// d_size.
pub fn disk_size(file: &Arc<File>) -> u64 {
    inode(file).ops().iomap().expect("a regular file").disk_size()
}

pub fn truncate(file: &Arc<File>, size: u64) -> Result<()> {
    vfs::ftruncate(file, size, &KernelCaller)
}

pub fn fallocate(file: &Arc<File>, mode: FallocMode, range: Range<u64>) -> Result<()> {
    vfs::fallocate(file, mode, range.start, range.end - range.start, &KernelCaller)
}

/// What FIEMAP tells.
pub fn extents(file: &Arc<File>, sync: bool) -> Vec<FileExtent> {
    let mut all = Vec::new();
    let mut emit = |extent: &FileExtent| {
        all.push(*extent);
        Ok(true)
    };
    vfs::report_extents(file, 0, u64::MAX, sync, &mut emit).expect("the extents can be read");
    all
}

pub fn fsync(file: &Arc<File>) -> Result<()> {
    vfs::fsync(file, SyncKind::All)
}

/// A stop at an anchor of the file.
pub fn stop(name: &'static str, file: &Arc<File>) -> Stop {
    stop_at(name).id(inode(file).ino).arm()
}

pub const EIO: Errno = Errno::EIO;
