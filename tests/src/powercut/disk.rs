//! A disk in memory with a volatile write cache, which records all that happens on it.
//!
//! Requests are carried out and completed by a thread that plays the interrupt, in an order that a seed decides. A flush covers the
//! writes whose completion came before its submission, and nothing else (DUR-3).
use super::record::{Event, Mark, Recording, Request};
use super::store::Store;
use base::Errno;
use base::block::{BioOp, BlockDevice, Durability, Limits, SECTOR_SIZE, SubmittedBio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use user::rng::Rng;

/// How a disk behaves.
#[derive(Clone)]
pub struct Manner {
    /// Decides which request is completed next; `None`: the oldest.
    pub order: Option<Rng>,
    /// Most segments of a request: fewer make more requests.
    pub max_segments: u32,
    /// This write, counted from 1 over the life of the disk, fails.
    pub fail_write: Option<usize>,
}

impl Manner {
    /// In order, without errors.
    pub fn plain() -> Manner {
        Manner { order: None, max_segments: 64, fail_write: None }
    }
}

/// How long a disk that reorders waits for company before it completes the only request it has.
const LINGER: Duration = Duration::from_micros(40);

/// The disk. Dropping it ends its thread.
pub struct CutDisk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    limits: Limits,
}

struct State {
    store: Store,
    recording: Recording,
    manner: Manner,
    writes: usize,
    submitted: Vec<(usize, SubmittedBio)>,
    started: Vec<(usize, SubmittedBio)>,
    closed: bool,
}

impl CutDisk {
    /// A disk with these bytes.
    pub fn new(store: Store, manner: Manner) -> Arc<CutDisk> {
        let limits = Limits {
            capacity_sectors: store.len() as u64 / SECTOR_SIZE,
            logical_block_size: 512,
            max_segments: manner.max_segments,
            max_bytes: 1 << 20,
            read_only: false,
            discard: true,
            write_zeroes: true,
        };
        let state = State {
            store,
            recording: Recording::default(),
            manner,
            writes: 0,
            submitted: Vec::new(),
            started: Vec::new(),
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), limits });
        let server = shared.clone();
        std::thread::spawn(move || server.serve());
        Arc::new(CutDisk(shared))
    }

    /// Notes a step of the workload.
    pub fn mark(&self, step: usize, mark: Mark) {
        self.0.lock().recording.events.push(Event::Step(step, mark));
    }

    /// Notes that the scenery stands.
    pub fn ready(&self) {
        self.0.lock().recording.events.push(Event::Ready);
    }

    /// What was recorded so far; the record goes on from nothing.
    pub fn take_recording(&self) -> Recording {
        std::mem::take(&mut self.0.lock().recording)
    }

    /// What a read would find.
    pub fn store(&self) -> Store {
        self.0.lock().store.clone()
    }
}

impl Drop for CutDisk {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl BlockDevice for CutDisk {
    fn name(&self) -> &str {
        "cut"
    }
    fn limits(&self) -> Limits {
        self.0.limits
    }
    fn durability(&self) -> Durability {
        Durability::OnFlush
    }
    fn submit(&self, bio: SubmittedBio) {
        let mut state = self.0.lock();
        let number = state.recording.requests.len();
        state.recording.requests.push(Request {
            op: bio.op(),
            at: (bio.sector().0 * SECTOR_SIZE) as usize,
            len: bio.len_bytes() as usize,
            data: Arc::default(),
            late: None,
            task: base::sched::current_id(),
        });
        state.recording.events.push(Event::Submitted(number));
        state.submitted.push((number, bio));
    }
    fn kick(&self) {
        let mut state = self.0.lock();
        for (number, bio) in std::mem::take(&mut state.submitted) {
            state.recording.requests[number].data = Arc::new(bytes_of(&bio));
            state.recording.events.push(Event::Started(number));
            state.started.push((number, bio));
        }
        drop(state);
        self.0.work.notify_all();
    }
}

/// What a write brings.
fn bytes_of(bio: &SubmittedBio) -> Vec<u8> {
    match bio.op() {
        BioOp::Read | BioOp::Flush => Vec::new(),
        BioOp::Discard | BioOp::WriteZeroes => vec![0; bio.len_bytes() as usize],
        BioOp::Write => {
            let mut bytes = vec![0; bio.len_bytes() as usize];
            let mut at = 0;
            for segment in bio.segments() {
                let len = segment.len as usize;
                segment.page.read_into(segment.offset as usize, &mut bytes[at..at + len]);
                at += len;
            }
            bytes
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk's thread.
    fn serve(&self) {
        while let Some((number, bio)) = self.next() {
            let status = self.lock().carry_out(number, &bio);
            self.lock().recording.events.push(Event::Completed(number, status.is_ok()));
            hal::irq::as_interrupt(|| bio.complete(status));
        }
    }

    fn next(&self) -> Option<(usize, SubmittedBio)> {
        let mut state = self.lock();
        let mut lingered = false;
        loop {
            let waiting = state.started.len();
            if waiting == 0 {
                if state.closed && state.submitted.is_empty() {
                    return None;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if waiting < 4 && !lingered && state.manner.order.is_some() {
                state = self.work.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner).0;
                lingered = true;
            } else {
                let at = state.manner.order.as_mut().map_or(0, |order| order.below(waiting));
                return Some(state.started.remove(at));
            }
        }
    }
}

impl State {
    fn carry_out(&mut self, number: usize, bio: &SubmittedBio) -> base::Result<()> {
        let (at, len) = (self.recording.requests[number].at, self.recording.requests[number].len);
        if at + len > self.store.len() {
            return Err(Errno::EIO);
        }
        if bio.op() == BioOp::Read {
            let mut from = at;
            for segment in bio.segments() {
                let mut bytes = vec![0; segment.len as usize];
                self.store.read(from, &mut bytes);
                segment.page.write_from(segment.offset as usize, &bytes);
                from += bytes.len();
            }
            return Ok(());
        }
        if !self.recording.requests[number].writes() {
            return Ok(());
        }
        self.writes += 1;
        if self.manner.fail_write == Some(self.writes) {
            return Err(Errno::EIO);
        }
        let now = bytes_of(bio);
        let request = &mut self.recording.requests[number];
        if now != *request.data {
            request.late = Some(Arc::new(now.clone()));
        }
        self.store.write(at, &now);
        Ok(())
    }
}
