//! The disk of a booted machine: a block server (NBD) that records what is asked and answered, and whose disk can be changed for
//! another while nothing is mounted.
//!
//! From one seed it delays answers, so that completions come in another order than requests; it fails the n-th write, it stops
//! answering for a while, and it cuts the power: from some request on everything ends with an error and nothing is written.
use super::record::{Event, Mark, Recording, Request};
use super::store::Store;
use base::block::BioOp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use user::rng::Rng;
use xtask::nbd::{EIO, Medium};

/// What is served.
pub struct Served {
    store: Store,
    recording: Recording,
    /// Bytes that the machine sees: those behind the store's are zeros, and cannot be written.
    size: usize,
    /// Of each request of the connection, its number in the record and whether it succeeds; `None` for one that belongs to an earlier
    /// disk.
    numbers: Vec<Option<(usize, bool)>>,
    delays: Option<(Rng, Duration)>,
    stop: Option<Stop>,
    fail_write: Option<usize>,
    cut_at: Option<usize>,
    writes: usize,
}

/// A time in which nothing is answered.
struct Stop {
    /// Requests of the record before it.
    after: usize,
    lasts: Duration,
    /// When what was held back goes out, once it has begun.
    until: Option<Instant>,
}

impl Served {
    /// A disk of `size` bytes that begins with `store`, answers at once, and fails nothing.
    pub fn new(store: Store, size: usize) -> Served {
        let recording = Recording::default();
        let (delays, stop, fail_write, cut_at) = (None, None, None, None);
        Served { store, recording, size, numbers: vec![], delays, stop, fail_write, cut_at, writes: 0 }
    }

    /// Delays each answer by up to `longest`, by this seed.
    pub fn delay(&mut self, seed: u64, longest: Duration) {
        self.delays = Some((Rng::new(seed, "delays"), longest));
    }
    /// After `n` more requests nothing is answered for as long as `lasts`.
    pub fn stop_after(&mut self, n: usize, lasts: Duration) {
        self.stop = Some(Stop { after: self.recording.requests.len() + n, lasts, until: None });
    }
    /// The `n`-th write from now, from 1, fails.
    pub fn fail_write(&mut self, n: usize) {
        self.fail_write = Some(self.writes + n);
    }
    /// The power goes off after `n` more requests.
    pub fn cut_after(&mut self, n: usize) {
        self.cut_at = Some(self.numbers.len() + n);
    }

    /// Puts another disk in the place of this one, of which nobody has anything mounted; gives the old one with its record.
    pub fn change(&mut self, store: Store) -> (Store, Recording) {
        self.numbers.iter_mut().for_each(|number| *number = None);
        (self.cut_at, self.fail_write, self.stop) = (None, None, None);
        (std::mem::replace(&mut self.store, store), std::mem::take(&mut self.recording))
    }

    /// Notes a step of the workload.
    pub fn mark(&mut self, step: usize, mark: Mark) {
        self.recording.events.push(Event::Step(step, mark));
    }

    /// Notes that the scenery stands.
    pub fn ready(&mut self) {
        self.recording.events.push(Event::Ready);
    }

    /// The request that has come last will end with an error.
    fn failed(&mut self) -> Result<(), u32> {
        if let Some(Some((_, ok))) = self.numbers.last_mut() {
            *ok = false;
        }
        Err(EIO)
    }

    /// Records a request; false once the power is off.
    fn came(&mut self, op: BioOp, at: u64, len: usize, data: &[u8]) -> bool {
        let number = self.recording.requests.len();
        let on = self.cut_at.is_none_or(|end| self.numbers.len() < end);
        self.numbers.push(on.then_some((number, true)));
        if on {
            let data = Arc::new(data.to_vec());
            self.recording.requests.push(Request { op, at: at as usize, len, data, late: None, task: 0 });
            self.recording.events.extend([Event::Submitted(number), Event::Started(number)]);
        }
        on
    }
}

impl Medium for Served {
    fn size(&self) -> u64 {
        self.size as u64
    }
    fn latency(&mut self) -> Duration {
        let now = Instant::now();
        let delay = self.delays.as_mut().map_or(Duration::ZERO, |(rng, longest)| {
            Duration::from_micros(rng.below(longest.as_micros().max(1) as usize) as u64)
        });
        let came = self.recording.requests.len();
        let held =
            self.stop.as_mut().filter(|stop| came >= stop.after).map_or(Duration::ZERO, |stop| {
                stop.until.get_or_insert(now + stop.lasts).saturating_duration_since(now)
            });
        held + delay
    }
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), u32> {
        if !self.came(BioOp::Read, at, out.len(), &[]) {
            return Err(EIO);
        }
        let inside = out.len().min(self.store.len().saturating_sub(at as usize));
        self.store.read(at as usize, &mut out[..inside]);
        Ok(())
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), u32> {
        let on = self.came(BioOp::Write, at, bytes.len(), bytes);
        self.writes += 1;
        if !on || self.fail_write == Some(self.writes) || at as usize + bytes.len() > self.store.len() {
            return self.failed();
        }
        self.store.write(at as usize, bytes);
        Ok(())
    }
    fn flush(&mut self) -> Result<(), u32> {
        if self.came(BioOp::Flush, 0, 0, &[]) { Ok(()) } else { Err(EIO) }
    }
    fn trim(&mut self, at: u64, len: u32) -> Result<(), u32> {
        // Recorded, and done as what a disk may do: nothing.
        if self.came(BioOp::Discard, at, 0, &[]) && len > 0 { Ok(()) } else { Err(EIO) }
    }
    fn answered(&mut self, n: usize) {
        if let Some((number, ok)) = self.numbers.get(n).copied().flatten() {
            self.recording.events.push(Event::Completed(number, ok));
        }
    }
}
