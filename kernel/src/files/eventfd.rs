//! A counter to wait on.
use base::sync::{Arc, PollQueue, SpinLock};
use base::{Errno, Result};
use fs::io::{IoSink, IoSource};
use fs::kiocb::{Kiocb, Outcome};
use fs::vfs::{File, FileOps, OpenFlags, Readiness};

/// The largest value of the counter.
const MAX: u64 = u64::MAX - 1;

/// The state behind an eventfd.
pub struct EventFd {
    count: SpinLock<u64>,
    semaphore: bool,
    changed: PollQueue,
}

impl EventFd {
    /// A new eventfd as an open file.
    pub fn open(initial: u32, semaphore: bool, nonblocking: bool) -> Arc<File> {
        let mut flags = OpenFlags::RDWR;
        flags.set(OpenFlags::NONBLOCK, nonblocking);
        let ops = EventFd { count: SpinLock::new(u64::from(initial)), semaphore, changed: PollQueue::new() };
        File::new(None, flags, Arc::new(ops))
    }

    /// `file`, if it is an eventfd (AIO-11). Errors: `EINVAL`.
    pub fn check(file: Arc<File>) -> Result<Arc<File>> {
        if Self::of(&file).is_some() { Ok(file) } else { Err(Errno::EINVAL) }
    }

    /// Adds one; at the largest value it stays. Task context; does not sleep.
    pub fn signal(file: &File) {
        let Some(this) = Self::of(file) else { return };
        {
            let mut count = this.count.lock();
            *count = (*count).saturating_add(1).min(MAX);
        }
        this.changed.wake_all();
    }

    fn of(file: &File) -> Option<&EventFd> {
        file.ops().as_any().and_then(|any| any.downcast_ref())
    }

    /// Applies `change` as soon as it gives a value; without sleeping on a nonblocking file. Errors: `EAGAIN`, `EINTR`.
    fn when_possible(&self, kiocb: &Kiocb<'_>, change: impl Fn(&mut u64) -> Option<u64>) -> Result<u64> {
        let mut result = change(&mut self.count.lock());
        if result.is_none() {
            if kiocb.file.flags().contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            self.changed.wait_interruptible(|| {
                result = change(&mut self.count.lock());
                result.is_some()
            })?;
        }
        self.changed.wake_all();
        result.ok_or(Errno::EINTR)
    }
}

impl FileOps for EventFd {
    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }
    fn read(&self, kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = self.when_possible(kiocb, |count| match *count {
            0 => None,
            _ if self.semaphore => {
                *count -= 1;
                Some(1)
            }
            all => {
                *count = 0;
                Some(all)
            }
        })?;
        super::copy_out(dst, &value.to_ne_bytes()).map(Outcome::Done)
    }
    fn write(&self, kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        if src.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        super::copy_in(src, &mut bytes)?;
        let value = u64::from_ne_bytes(bytes);
        if value > MAX {
            return Err(Errno::EINVAL);
        }
        self.when_possible(kiocb, |count| {
            let sum = count.checked_add(value).filter(|&sum| sum <= MAX)?;
            *count = sum;
            Some(0)
        })?;
        Ok(Outcome::Done(8))
    }
    fn readiness(&self, _file: &File) -> Readiness {
        let count = *self.count.lock();
        Readiness { readable: count > 0, writable: count < MAX, hung_up: false, failed: false }
    }
    fn poll_queue(&self) -> Option<&PollQueue> {
        Some(&self.changed)
    }
    fn seekable(&self) -> bool {
        false
    }
}
