//! The disk of a booted machine: a block server (NBD) that records what is asked and answered, and whose disk can be changed for
//! another while nothing is mounted.
//!
//! From one seed it delays answers, so that completions come in another order than requests; it fails the n-th write, and it cuts
//! the power: from some request on everything ends with an error and nothing is written.
use super::record::{Event, Recording, Request};
use super::rng::Rng;
use super::store::Store;
use base::block::BioOp;
use std::sync::Arc;
use std::time::Duration;
use xtask::nbd::{EIO, Medium};

/// The longest delay of an answer.
const LONGEST_US: usize = 2000;

/// What is served.
pub struct Served {
    store: Store,
    recording: Recording,
    /// Bytes that the machine sees: those behind the store's are zeros, and cannot be written.
    size: usize,
    /// Of each request of the connection, its number in the record; `None` for one that belongs to an earlier disk.
    numbers: Vec<Option<usize>>,
    delays: Option<Rng>,
    fail_write: Option<usize>,
    cut_at: Option<usize>,
    writes: usize,
}

impl Served {
    /// A disk of `size` bytes that begins with `store`, answers at once, and fails nothing.
    pub fn new(store: Store, size: usize) -> Served {
        let recording = Recording::default();
        Served { store, recording, size, numbers: vec![], delays: None, fail_write: None, cut_at: None, writes: 0 }
    }

    /// Delays each answer by up to 2 ms, by this seed.
    pub fn delay(&mut self, seed: u64) {
        self.delays = Some(Rng::new(seed, "delays"));
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
        self.cut_at = None;
        (std::mem::replace(&mut self.store, store), std::mem::take(&mut self.recording))
    }

    /// Records a request; false once the power is off.
    fn came(&mut self, op: BioOp, at: u64, len: usize, data: &[u8]) -> bool {
        let number = self.recording.requests.len();
        let on = self.cut_at.is_none_or(|end| self.numbers.len() < end);
        self.numbers.push(on.then_some(number));
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
        self.delays.as_mut().map_or(Duration::ZERO, |rng| Duration::from_micros(rng.below(LONGEST_US) as u64))
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
            return Err(EIO);
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
        if let Some(number) = self.numbers.get(n).copied().flatten() {
            self.recording.events.push(Event::Completed(number, true));
        }
    }
}
