//! Pipes: bytes from writers to readers through a buffer of the kernel.
use alloc::collections::VecDeque;
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, PollQueue, SpinLock};
use base::{Errno, Result};
use fs::io::{IoSink, IoSource};
use fs::kiocb::{IoFlags, Kiocb, Outcome};
use fs::vfs::{File, FileFeatures, FileOps, OpenFlags, Readiness};

/// Bytes that a pipe holds.
const CAPACITY: usize = 64 * 1024;
/// Bytes that one write puts in without another writer's between them (`PIPE_BUF`).
const ATOMIC: usize = linux_raw_sys::general::PIPE_BUF as usize;

/// What both ends share.
struct Shared {
    bytes: SpinLock<VecDeque<u8>>,
    /// Open ends; each is one open file.
    readers: AtomicUsize,
    writers: AtomicUsize,
    changed: PollQueue,
}

/// One end of a pipe.
pub struct Pipe {
    shared: Arc<Shared>,
    write_end: bool,
}

impl Pipe {
    /// A new pipe: the file to read from and the one to write to. `flags`: `NONBLOCK` or nothing.
    pub fn open(flags: OpenFlags) -> (Arc<File>, Arc<File>) {
        let shared = Arc::new(Shared {
            bytes: SpinLock::new(VecDeque::new()),
            readers: AtomicUsize::new(1),
            writers: AtomicUsize::new(1),
            changed: PollQueue::new(),
        });
        let end = |write_end| Arc::new(Pipe { shared: shared.clone(), write_end });
        (File::new(None, flags, end(false)), File::new(None, flags | OpenFlags::WRONLY, end(true)))
    }
}

fn blocks(kiocb: &Kiocb<'_>) -> bool {
    !kiocb.file.flags().contains(OpenFlags::NONBLOCK) && !kiocb.flags.contains(IoFlags::NOWAIT)
}

impl Shared {
    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }
    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }
    fn room(&self) -> usize {
        CAPACITY - self.bytes.lock().len()
    }
    /// Takes up to `dst.len()` bytes out.
    fn take(&self, dst: &mut [u8]) -> usize {
        let mut bytes = self.bytes.lock();
        let n = dst.len().min(bytes.len());
        for (to, from) in dst.iter_mut().zip(bytes.drain(..n)) {
            *to = from;
        }
        n
    }
    /// Puts `src` in, all of it or, if it is longer than is atomic, as much as there is room for.
    fn put(&self, src: &[u8]) -> usize {
        let mut bytes = self.bytes.lock();
        let room = CAPACITY - bytes.len();
        if room < src.len().min(ATOMIC) {
            return 0;
        }
        let n = room.min(src.len());
        bytes.extend(src.iter().take(n));
        n
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
        let none = Readiness { readable: false, writable: false, hung_up: false, failed: false };
        if self.write_end {
            return Readiness { writable: shared.room() >= ATOMIC, failed: !shared.has_readers(), ..none };
        }
        let readable = !shared.bytes.lock().is_empty();
        Readiness { readable, hung_up: !shared.has_writers(), ..none }
    }

    fn poll_queue(&self) -> Option<&PollQueue> {
        Some(&self.shared.changed)
    }

    fn seekable(&self) -> bool {
        false
    }

    fn release(&self, _file: &File) {
        let ends = if self.write_end { &self.shared.writers } else { &self.shared.readers };
        ends.fetch_sub(1, Ordering::AcqRel);
        self.shared.changed.wake_all();
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
            let n = shared.put(rest);
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
    fn a_reader_waits_for_a_writer() {
        let (reader, writer) = Pipe::open(OpenFlags::empty());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| read(&reader, 100_000).unwrap().len());
            assert_eq!(write(&writer, &[3; 100]), Ok(100));
            assert!(waiting.join().unwrap() > 0);
        });
    }
}
