//! What happened on a disk, in order: every request, and what the workload was told meanwhile.
use base::block::BioOp;
use std::sync::Arc;

/// A request to the disk.
#[derive(Clone)]
pub struct Request {
    /// What was asked.
    pub op: BioOp,
    /// First byte on the device.
    pub at: usize,
    /// Bytes on the device.
    pub len: usize,
    /// What a write brought, as the memory was when the device was told of it.
    pub data: Arc<Vec<u8>>,
    /// What the memory held when the write completed, if that was something else: a device may have taken either.
    pub late: Option<Arc<Vec<u8>>>,
    /// The task that submitted it.
    pub task: u64,
}

impl Request {
    /// Whether it changes bytes.
    pub fn writes(&self) -> bool {
        matches!(self.op, BioOp::Write | BioOp::Discard | BioOp::WriteZeroes)
    }
}

/// One step in the order of all things.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A request came; a flush covers what has completed before this.
    Submitted(usize),
    /// The device was told of it: from here on a write may be on the disk.
    Started(usize),
    /// It ended, with success or not.
    Completed(usize, bool),
    /// A step of the workload: its number in the history.
    Step(usize, Mark),
    /// What came before is the scenery: cuts come after this.
    Ready,
}

/// How far a step of the workload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// It began.
    Began,
    /// An asynchronous request was accepted: the call has returned and the outcome is open.
    Accepted,
    /// It returned: bytes, or an error number.
    Returned(Result<usize, base::Errno>),
}

/// A finished recording.
#[derive(Clone, Default)]
pub struct Recording {
    /// By number.
    pub requests: Vec<Request>,
    /// In order.
    pub events: Vec<Event>,
}

impl Recording {
    /// Whether a write has failed before `at`.
    pub fn has_failed(&self, at: usize) -> bool {
        let failed = |event: &Event| matches!(*event, Event::Completed(n, false) if self.requests[n].writes());
        self.events[..at].iter().any(failed)
    }

    /// Makes of the disk one that lies: flushes end with success, and nothing was made durable by those after the scenery.
    pub fn deny_flushes(&mut self) {
        let ready = self.ready();
        for event in &mut self.events[ready..] {
            if let Event::Completed(number, ok) = event
                && self.requests[*number].op == BioOp::Flush
            {
                *ok = false;
            }
        }
    }

    /// The first place for a cut.
    pub fn ready(&self) -> usize {
        self.events.iter().position(|e| matches!(e, Event::Ready)).map_or(0, |at| at + 1)
    }
}
