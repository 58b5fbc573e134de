//! Device flushes shared by all that wait for one (DUR-8, DUR-11).
//!
//! Flushes are numbered in the order in which they are issued, one at a time. Whoever has data that completed takes a
//! [`Ticket`]: the number of the last flush issued so far. Any flush with a higher number was issued after that data had
//! completed, so its success makes the data durable; one with the ticket's number or a lower one may have been too early
//! (R52). Tasks that wait at the same time therefore share a flush, and a task whose data a later flush has covered already
//! issues none.
use base::Result;
use base::block::{BlockDevice, Durability, flush_and_wait};
use base::sync::atomic::{AtomicU64, Ordering};
use base::sync::{Arc, SpinLock, WaitQueue};

/// The point in time of a completion, in flushes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

#[derive(Default)]
struct State {
    /// Number of the last flush issued.
    issued: u64,
    /// Number of the last flush that ended, in whatever way; `issued` or `issued - 1`.
    ended: u64,
    /// Number of the last flush that succeeded.
    succeeded: u64,
    /// Bytes of file data written since the last flush was issued, and those that the flush under way covers.
    volatile_bytes: u64,
    flushing_bytes: u64,
    /// Flushes that succeeded.
    count: u64,
}

/// The flushes of one device.
pub struct SharedFlush {
    device: Arc<dyn BlockDevice>,
    state: SpinLock<State>,
    ended: WaitQueue,
}

impl SharedFlush {
    /// No flush yet.
    pub fn new(device: Arc<dyn BlockDevice>) -> Self {
        SharedFlush { device, state: SpinLock::new(State::default()), ended: WaitQueue::new() }
    }

    /// Now. Taken after the data completed; any task.
    pub fn ticket(&self) -> Ticket {
        base::mistake!("R52", return Ticket(self.state.lock().ended));
        Ticket(self.state.lock().issued)
    }

    /// Bytes of file data have completed on the device: volatile until a flush. Any task.
    pub fn wrote(&self, bytes: u64) {
        if self.device.durability() == Durability::OnFlush {
            self.state.lock().volatile_bytes += bytes;
        }
    }

    /// Bytes of file data that the device has acknowledged and may lose, and how many flushes have succeeded.
    pub fn figures(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.volatile_bytes + state.flushing_bytes, state.count)
    }

    /// Whether data that completed before `ticket` is known to be durable without a further flush.
    pub fn covers(&self, ticket: Ticket) -> bool {
        self.device.durability() != Durability::OnFlush || self.state.lock().succeeded > ticket.0
    }

    /// Returns when a flush issued after `ticket` has succeeded, issuing one only if nobody else's will do. Sleeps; no folio
    /// locked. Errors: `EIO`, that of a flush that would have covered the ticket. A device whose completions are durable, or
    /// that offers no flush, needs none (DUR-3).
    pub fn flush(&self, ticket: Ticket) -> Result<()> {
        loop {
            if self.covers(ticket) {
                return Ok(());
            }
            match self.start() {
                Some(number) => return self.run(number),
                None => self.wait_for_running(),
            }
        }
    }

    /// Takes the number of a flush to issue, unless one is running.
    fn start(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state.issued != state.ended {
            return None;
        }
        state.issued += 1;
        state.flushing_bytes = core::mem::take(&mut state.volatile_bytes);
        Some(state.issued)
    }

    fn run(&self, number: u64) -> Result<()> {
        base::anchor!("fsync.before_flush", number);
        let result = flush_and_wait(&self.device);
        let mut state = self.state.lock();
        state.ended = number;
        let covered = core::mem::take(&mut state.flushing_bytes);
        if result.is_ok() {
            state.succeeded = number;
            state.count += 1;
        } else {
            state.volatile_bytes += covered;
        }
        drop(state);
        self.ended.wake_all();
        result
    }

    fn wait_for_running(&self) {
        let running = self.state.lock().issued;
        self.ended.wait_until(|| self.state.lock().ended >= running);
    }
}

/// When the data of an inode was last written to the device, in flushes: what its next fsync must cover even if nothing is
/// dirty any more (DUR-11, R51).
pub struct WrittenMark(AtomicU64);

impl WrittenMark {
    /// Nothing written yet.
    pub fn new() -> Self {
        WrittenMark(AtomicU64::new(0))
    }
    /// A write of the inode's data completed before `ticket` was taken. Any task.
    pub fn note(&self, ticket: Ticket) {
        self.0.fetch_max(ticket.0 + 1, Ordering::AcqRel);
    }
    /// The latest completion that was noted; `None` where nothing was written since the inode was loaded.
    pub fn ticket(&self) -> Option<Ticket> {
        self.0.load(Ordering::Acquire).checked_sub(1).map(Ticket)
    }
}

impl Default for WrittenMark {
    fn default() -> Self {
        Self::new()
    }
}
