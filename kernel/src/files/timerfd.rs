//! A timer to wait on.
use crate::timers::{Timer, Timers};
use alloc::boxed::Box;
use base::sync::{Arc, PollQueue};
use base::{Errno, Result};
use fs::io::IoSink;
use fs::kiocb::{Kiocb, Outcome};
use fs::vfs::{File, FileOps, OpenFlags, Readiness};

/// The state behind a timerfd.
pub struct TimerFd {
    /// The timer.
    pub timer: Arc<Timer>,
    /// Its times are those of the wall clock.
    pub realtime: bool,
    changed: Arc<PollQueue>,
}

impl TimerFd {
    /// A new timerfd, not armed, as an open file. Errors: `ENOMEM`. Task context.
    pub fn open(timers: &Timers, realtime: bool, nonblocking: bool) -> Result<Arc<File>> {
        let changed = Arc::new(PollQueue::new());
        let told = changed.clone();
        let timer = timers.add(true, Box::new(move || told.wake_all()))?;
        let mut flags = OpenFlags::RDWR;
        flags.set(OpenFlags::NONBLOCK, nonblocking);
        Ok(File::new(None, flags, Arc::new(TimerFd { timer, realtime, changed })))
    }

    /// That behind `file`. Errors: `EINVAL`: it is another kind of file.
    pub fn of(file: &File) -> Result<&TimerFd> {
        file.ops().as_any().and_then(|any| any.downcast_ref()).ok_or(Errno::EINVAL)
    }
}

impl FileOps for TimerFd {
    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }
    fn read(&self, kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut expired = self.timer.take();
        if expired == 0 {
            if kiocb.file.flags().contains(OpenFlags::NONBLOCK) {
                return Err(Errno::EAGAIN);
            }
            self.changed.wait_interruptible(|| {
                expired = self.timer.take();
                expired > 0
            })?;
        }
        super::copy_out(dst, &expired.to_ne_bytes()).map(Outcome::Done)
    }
    fn readiness(&self, _file: &File) -> Readiness {
        Readiness { readable: self.timer.has_expired(), writable: false, hung_up: false, failed: false }
    }
    fn poll_queue(&self) -> Option<&PollQueue> {
        Some(&self.changed)
    }
    fn seekable(&self) -> bool {
        false
    }
    fn release(&self, _file: &File) {
        self.timer.disarm();
    }
}
