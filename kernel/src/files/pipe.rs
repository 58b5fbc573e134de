//! Pipes: bytes from writers to readers through a buffer of the kernel.
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, PollQueue, SpinLock};
use base::{Errno, PAGE_SIZE, Page, Result};
use fs::io::{IoSink, IoSource};
use fs::kiocb::{IoFlags, Kiocb, Outcome};
use fs::vfs::{File, FileFeatures, FileOps, OpenFlags, Readiness};

/// Bytes that a pipe holds.
const CAPACITY: usize = 64 * 1024;
/// Bytes that one write puts in without another writer's between them (`PIPE_BUF`).
const ATOMIC: usize = linux_raw_sys::general::PIPE_BUF as usize;

/// The bytes in a pipe: a ring of page frames, each there from its first byte on. They are not of the heap, so that they are free again with the
/// pipe, and for anything.
struct Ring {
    pages: [Option<Page>; CAPACITY / PAGE_SIZE],
    /// Where the first byte is.
    head: usize,
    len: usize,
}

impl Ring {
    const fn new() -> Ring {
        Ring { pages: [const { None }; CAPACITY / PAGE_SIZE], head: 0, len: 0 }
    }
    fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The pieces of `n` bytes from the ring's byte `from` on: page, offset in it, length.
    fn pieces(from: usize, n: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let mut done = 0;
        core::iter::from_fn(move || {
            let at = (from + done) % CAPACITY;
            let len = (n - done).min(PAGE_SIZE - at % PAGE_SIZE);
            done += len;
            (len > 0).then_some((at / PAGE_SIZE, at % PAGE_SIZE, len))
        })
    }
    /// The first page that `n` more bytes need and that is not there.
    fn missing(&self, n: usize) -> Option<usize> {
        let n = n.min(CAPACITY - self.len);
        Self::pieces(self.head + self.len, n).map(|(page, _, _)| page).find(|&page| self.pages[page].is_none())
    }
    fn push(&mut self, src: &[u8]) {
        let mut done = 0;
        for (page, offset, len) in Self::pieces(self.head + self.len, src.len()) {
            if let Some(page) = &self.pages[page] {
                page.write_from(offset, &src[done..done + len]);
            }
            done += len;
        }
        self.len += done;
    }
    fn pop(&mut self, dst: &mut [u8]) -> usize {
        let n = dst.len().min(self.len);
        let mut done = 0;
        for (page, offset, len) in Self::pieces(self.head, n) {
            if let Some(page) = &self.pages[page] {
                page.read_into(offset, &mut dst[done..done + len]);
            }
            done += len;
        }
        self.head = (self.head + n) % CAPACITY;
        self.len -= n;
        n
    }
}

/// What both ends share.
pub(super) struct Shared {
    bytes: SpinLock<Ring>,
    readers: Ends,
    writers: Ends,
    changed: PollQueue,
}

/// Ends of one kind; each is one open file.
#[derive(Default)]
struct Ends {
    open: AtomicUsize,
    /// Those that are closed again included.
    ever: AtomicUsize,
}

/// One end of a pipe; of one with a name it can be both.
pub struct Pipe {
    shared: Arc<Shared>,
    reads: bool,
    writes: bool,
}

impl Pipe {
    /// A new pipe: the file to read from and the one to write to. `flags`: `NONBLOCK` or nothing.
    pub fn open(flags: OpenFlags) -> (Arc<File>, Arc<File>) {
        let shared = Shared::new();
        let end = |writes: bool| Arc::new(Pipe::new(&shared, !writes, writes));
        (File::new(None, flags, end(false)), File::new(None, flags | OpenFlags::WRONLY, end(true)))
    }

    /// One more end.
    pub(super) fn new(shared: &Arc<Shared>, reads: bool, writes: bool) -> Pipe {
        for (is_one, count) in [(reads, &shared.readers), (writes, &shared.writers)] {
            if is_one {
                count.open.fetch_add(1, Ordering::AcqRel);
                count.ever.fetch_add(1, Ordering::AcqRel);
            }
        }
        shared.changed.wake_all();
        Pipe { shared: shared.clone(), reads, writes }
    }

    /// Sleeps until the other end of a pipe with a name is open, or was since there were `before` of its kind. Errors: `EINTR`.
    pub(super) fn wait_for_other_end(&self, before: usize) -> Result<()> {
        let other = self.shared.ends(!self.reads);
        let is_there = || other.open.load(Ordering::Acquire) > 0 || other.ever.load(Ordering::Acquire) != before;
        self.shared.changed.wait_interruptible(is_there)
    }

    /// This end is gone.
    pub(super) fn leave(&self) {
        for (is_one, count) in [(self.reads, &self.shared.readers), (self.writes, &self.shared.writers)] {
            if is_one {
                count.open.fetch_sub(1, Ordering::AcqRel);
            }
        }
        self.shared.changed.wake_all();
    }
}

fn blocks(kiocb: &Kiocb<'_>) -> bool {
    !kiocb.file.flags().contains(OpenFlags::NONBLOCK) && !kiocb.flags.contains(IoFlags::NOWAIT)
}

impl Shared {
    /// An empty pipe without ends.
    pub(super) fn new() -> Arc<Shared> {
        let (readers, writers) = (Ends::default(), Ends::default());
        Arc::new(Shared { bytes: SpinLock::new(Ring::new()), readers, writers, changed: PollQueue::new() })
    }
    fn ends(&self, readers: bool) -> &Ends {
        if readers { &self.readers } else { &self.writers }
    }
    /// How many ends of a kind there ever were.
    pub(super) fn ever(&self, readers: bool) -> usize {
        self.ends(readers).ever.load(Ordering::Acquire)
    }
    pub(super) fn has_writers(&self) -> bool {
        self.writers.open.load(Ordering::Acquire) > 0
    }
    pub(super) fn has_readers(&self) -> bool {
        self.readers.open.load(Ordering::Acquire) > 0
    }
    fn room(&self) -> usize {
        CAPACITY - self.bytes.lock().len
    }
    /// Takes up to `dst.len()` bytes out.
    fn take(&self, dst: &mut [u8]) -> usize {
        self.bytes.lock().pop(dst)
    }
    /// Puts `src` in, all of it or, if it is longer than is atomic, as much as there is room for. Errors: `ENOMEM`: nothing is in.
    fn put(&self, src: &[u8]) -> Result<usize> {
        loop {
            let mut bytes = self.bytes.lock();
            let room = CAPACITY - bytes.len;
            if room < src.len().min(ATOMIC) {
                return Ok(0);
            }
            let n = room.min(src.len());
            let Some(missing) = bytes.missing(n) else {
                bytes.push(&src[..n]);
                return Ok(n);
            };
            drop(bytes);
            let page = base::memory::alloc_user_page()?;
            // Another writer may have been faster.
            self.bytes.lock().pages[missing].get_or_insert(page);
        }
    }
}

impl FileOps for Pipe {
    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }

    fn features(&self) -> FileFeatures {
        FileFeatures::NOWAIT_READ | FileFeatures::NOWAIT_WRITE
    }

    /// Waits for the first byte, then takes what is there. 0: no writer is left.
    fn read(&self, kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        let shared = &*self.shared;
        let mut chunk = [0; 512];
        let mut done = 0;
        while dst.remaining() > 0 {
            let room = dst.remaining().min(chunk.len());
            // Room is made first: bytes that were taken out and cannot be stored would be lost.
            if dst.fault_in(room) < room {
                return if done == 0 { Err(Errno::EFAULT) } else { Ok(Outcome::Done(done)) };
            }
            let mut n = shared.take(&mut chunk[..room]);
            if n == 0 && done == 0 && shared.has_writers() {
                if !blocks(kiocb) {
                    return Err(Errno::EAGAIN);
                }
                shared.changed.wait_interruptible(|| !shared.bytes.lock().is_empty() || !shared.has_writers())?;
                n = shared.take(&mut chunk[..room]);
                if n == 0 && shared.has_writers() {
                    continue; // Another reader was faster.
                }
            }
            if n == 0 {
                break;
            }
            super::copy_out(dst, &chunk[..n])?;
            done += n;
            shared.changed.wake_all();
        }
        Ok(Outcome::Done(done))
    }

    /// Waits for room until everything is in. Errors: `EPIPE` when nobody can read it.
    fn write(&self, kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        let mut chunk = [0; ATOMIC];
        let mut done = 0;
        while src.remaining() > 0 {
            let len = src.remaining().min(chunk.len());
            let step = super::copy_in(src, &mut chunk[..len]).and_then(|()| self.put_all(kiocb, &chunk[..len]));
            match step {
                Ok(n) => {
                    done += n;
                    if n < len {
                        src.revert(len - n);
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(Outcome::Done(done))
    }

    fn readiness(&self, _file: &File) -> Readiness {
        let shared = &*self.shared;
        let mut is = Readiness { readable: false, writable: false, hung_up: false, failed: false };
        if self.reads {
            is.readable = !shared.bytes.lock().is_empty();
            is.hung_up = !shared.has_writers();
        }
        if self.writes {
            is.writable = shared.room() >= ATOMIC;
            is.failed = !shared.has_readers();
        }
        is
    }

    fn poll_queue(&self) -> Option<&PollQueue> {
        Some(&self.shared.changed)
    }

    fn seekable(&self) -> bool {
        false
    }

    fn release(&self, _file: &File) {
        self.leave();
    }
}

impl Pipe {
    /// Puts `bytes` in, waiting for room; fewer only when it must not wait or is interrupted after some. Errors: `EPIPE`, `EAGAIN`,
    /// `EINTR`.
    fn put_all(&self, kiocb: &Kiocb<'_>, bytes: &[u8]) -> Result<usize> {
        let shared = &*self.shared;
        let mut done = 0;
        while done < bytes.len() {
            if !shared.has_readers() {
                return Err(Errno::EPIPE);
            }
            let rest = &bytes[done..];
            let n = match shared.put(rest) {
                Ok(n) => n,
                Err(error) => return if done == 0 { Err(error) } else { Ok(done) },
            };
            done += n;
            if n > 0 {
                shared.changed.wake_all();
                continue;
            }
            if !blocks(kiocb) {
                return if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) };
            }
            let need = rest.len().min(ATOMIC);
            let waited = shared.changed.wait_interruptible(|| shared.room() >= need || !shared.has_readers());
            if let Err(error) = waited {
                return if done == 0 { Err(error) } else { Ok(done) };
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs::caller::KernelCaller;
    use fs::io::{SliceSink, SliceSource};
    use fs::vfs::{read_at, read_current, write_current};

    fn read(file: &Arc<File>, len: usize) -> Result<alloc::vec::Vec<u8>> {
        let mut bytes = alloc::vec![0; len];
        let n = read_current(file, 0, &mut SliceSink::new(&mut bytes), &KernelCaller)?;
        bytes.truncate(n);
        Ok(bytes)
    }
    fn write(file: &Arc<File>, bytes: &[u8]) -> Result<usize> {
        write_current(file, 0, &mut SliceSource::new(bytes), &KernelCaller)
    }

    #[test]
    fn bytes_come_out_in_order_until_the_writer_is_gone() {
        let (reader, writer) = Pipe::open(OpenFlags::NONBLOCK);
        assert_eq!(read(&reader, 4), Err(Errno::EAGAIN));
        assert_eq!(write(&writer, b"hello"), Ok(5));
        assert_eq!(read(&reader, 3).unwrap(), b"hel");
        drop(writer);
        assert_eq!(read(&reader, 9).unwrap(), b"lo");
        assert_eq!(read(&reader, 9).unwrap(), b"");
        assert!(reader.ops().readiness(&reader).hung_up);
        assert_eq!(write(&reader, b"x"), Err(Errno::EBADF));
        let mut byte = [0];
        assert_eq!(read_at(&reader, 0, 0, &mut SliceSink::new(&mut byte), &KernelCaller), Err(Errno::ESPIPE));
    }

    #[test]
    fn a_full_pipe_takes_no_part_of_an_atomic_write() {
        let (reader, writer) = Pipe::open(OpenFlags::NONBLOCK);
        assert_eq!(write(&writer, &[1; CAPACITY + 5]), Ok(CAPACITY));
        assert_eq!(write(&writer, &[2; 10]), Err(Errno::EAGAIN));
        assert_eq!(read(&reader, 9).unwrap().len(), 9);
        assert_eq!(write(&writer, &[2; 10]), Err(Errno::EAGAIN), "nine bytes of room are not enough for ten");
        drop(reader);
        assert_eq!(write(&writer, &[2; 10]), Err(Errno::EPIPE));
    }

    /// FLAG-5: as with O_NONBLOCK, for one call.
    #[test]
    fn nowait_for_one_call() {
        const NOWAIT: u32 = 0x8;
        let (reader, writer) = Pipe::open(OpenFlags::empty());
        let put = |bytes: &[u8]| write_current(&writer, NOWAIT, &mut SliceSource::new(bytes), &KernelCaller);
        let take = |bytes: &mut [u8]| read_current(&reader, NOWAIT, &mut SliceSink::new(bytes), &KernelCaller);
        let mut bytes = [0; 9];
        assert_eq!(take(&mut bytes), Err(Errno::EAGAIN));
        assert_eq!(put(&[1; CAPACITY]), Ok(CAPACITY));
        assert_eq!(put(&[2; 10]), Err(Errno::EAGAIN));
        assert_eq!(take(&mut bytes), Ok(9));
        assert_eq!(bytes, [1; 9]);
    }

    #[test]
    fn the_ring_wraps_and_keeps_order() {
        let (reader, writer) = Pipe::open(OpenFlags::NONBLOCK);
        let (mut sent, mut seen) = (0u32, 0u32);
        for round in 0..200usize {
            let bytes: alloc::vec::Vec<u8> = (0..1000 + round * 7).map(|_| (sent, sent += 1).0 as u8).collect();
            assert_eq!(write(&writer, &bytes), Ok(bytes.len()));
            for byte in read(&reader, bytes.len() - round % 3).unwrap() {
                assert_eq!((byte, seen += 1).0, (seen - 1) as u8);
            }
        }
        assert_eq!(sent - seen, (0..200).map(|round| round % 3).sum::<u32>());
    }

    #[test]
    fn no_memory_is_an_error_and_loses_nothing() {
        let (reader, writer) = Pipe::open(OpenFlags::NONBLOCK);
        assert_eq!(write(&writer, &[1; 10]), Ok(10));
        let plan = base::memory::fail_allocation(1, 1);
        assert_eq!(write(&writer, &[2; PAGE_SIZE]), Err(Errno::ENOMEM));
        drop(plan);
        assert_eq!(write(&writer, &[2; PAGE_SIZE]), Ok(PAGE_SIZE));
        assert_eq!(read(&reader, 11).unwrap(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn a_reader_waits_for_a_writer() {
        let (reader, writer) = Pipe::open(OpenFlags::empty());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| read(&reader, 100_000).unwrap().len());
            assert_eq!(write(&writer, &[3; 100]), Ok(100));
            assert!(waiting.join().unwrap() > 0);
        });
    }
}
