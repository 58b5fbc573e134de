//! An aio context with its iocbs and events in memory of its own.
use crate::kit::{Outcome, call, fd, same, small};
use linux_raw_sys::general as abi;
use std::os::fd::AsRawFd;
use user::sys::{self, Memory, PAGE, raw};

pub const PREAD: u16 = 0;
pub const PWRITE: u16 = 1;
pub const FSYNC: u16 = 2;
pub const FDSYNC: u16 = 3;
pub const POLL: u16 = 5;
pub const NOOP: u16 = 6;
pub const PREADV: u16 = 7;
pub const PWRITEV: u16 = 8;
/// Bytes of an iocb, and where its fields are that checks change behind the kernel's back.
pub const IOCB: usize = 64;
pub const IOCB_KEY: usize = 8;
/// Bytes of an event.
pub const EVENT: usize = 32;

/// `struct iocb`
#[derive(Clone, Copy, Default, Debug)]
pub struct Iocb {
    pub data: u64,
    pub rw_flags: u32,
    pub opcode: u16,
    pub priority: i16,
    pub fd: u32,
    pub buffer: u64,
    pub len: u64,
    pub pos: i64,
    pub reserved2: u64,
    pub flags: u32,
    pub eventfd: u32,
}

impl Iocb {
    /// A write of `len` bytes of `memory` to `pos`.
    pub fn write(file: &impl AsRawFd, memory: Memory, len: usize, pos: u64, rw_flags: u32) -> Iocb {
        let (fd, buffer) = (fd(file) as u32, memory.addr(0));
        Iocb { opcode: PWRITE, fd, buffer, len: len as u64, pos: pos as i64, rw_flags, ..Iocb::default() }
    }
    /// A read of `len` bytes into `memory`.
    pub fn read(file: &impl AsRawFd, memory: Memory, len: usize, pos: u64) -> Iocb {
        Iocb { opcode: PREAD, ..Iocb::write(file, memory, len, pos, 0) }
    }
    /// One that does nothing.
    pub fn noop() -> Iocb {
        Iocb { opcode: NOOP, ..Iocb::default() }
    }
    pub fn with_data(self, data: u64) -> Iocb {
        Iocb { data, ..self }
    }
    /// Stores it as the kernel reads it, with a key that the kernel must overwrite.
    pub fn store(&self, memory: Memory, offset: usize) {
        let opcode = u64::from(self.opcode) | u64::from(self.priority as u16) << 16 | u64::from(self.fd) << 32;
        let tail = u64::from(self.flags) | u64::from(self.eventfd) << 32;
        let key = u64::from(u32::MAX) | u64::from(self.rw_flags) << 32;
        let pos = self.pos as u64;
        memory.set_words(offset, &[self.data, key, opcode, self.buffer, self.len, pos, self.reserved2, tail]);
    }
}

/// `struct io_event`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    pub data: u64,
    pub obj: u64,
    pub res: i64,
    pub res2: i64,
}

/// A context; it ends with its owner.
pub struct Aio {
    pub id: u64,
    /// Where the next batch of iocbs is put, and the pointers to them.
    pub iocbs: Memory,
    pub pointers: Memory,
    pub events: Memory,
}

impl Aio {
    /// For `count` requests. Batches are of at most 64.
    pub fn new(count: u64) -> Result<Aio, String> {
        Ok(Aio {
            id: setup(count).map_err(call("io_setup"))?,
            iocbs: Memory::new(64 * IOCB),
            pointers: Memory::new(PAGE),
            events: Memory::new(PAGE),
        })
    }
    /// `io_submit` of a batch.
    pub fn submit(&self, batch: &[Iocb]) -> sys::Result<u64> {
        for (i, iocb) in batch.iter().enumerate() {
            iocb.store(self.iocbs, i * IOCB);
            self.pointers.set_words(i * 8, &[self.iocbs.addr(i * IOCB)]);
        }
        submit(self.id, batch.len() as i64, self.pointers.addr(0))
    }
    /// `io_getevents`: at least `min`, at most `most`, for at most `timeout_ns`.
    pub fn events(&self, min: i64, most: i64, timeout_ns: Option<u64>) -> sys::Result<Vec<Event>> {
        let time = small();
        time.set_words(0, &[timeout_ns.unwrap_or(0) / 1_000_000_000, timeout_ns.unwrap_or(0) % 1_000_000_000]);
        let timeout = timeout_ns.map_or(0, |_| time.addr(0));
        let n = getevents(self.id, min, most, self.events.addr(0), timeout)?;
        Ok((0..n as usize).map(|i| self.event(i)).collect())
    }
    fn event(&self, i: usize) -> Event {
        let word = |at: usize| self.events.word(i * EVENT + at * 8);
        Event { data: word(0), obj: word(1), res: word(2) as i64, res2: word(3) as i64 }
    }
    /// Waits for `n` events; an event that is lost ends the wait after a while.
    pub fn reap(&self, n: usize) -> Result<Vec<Event>, String> {
        let events = self.events(n as i64, n as i64, Some(20_000_000_000)).map_err(call("io_getevents"))?;
        same("events that came", events.len(), n)?;
        Ok(events)
    }
    /// Submits one request and returns the result of its event.
    pub fn run(&self, iocb: Iocb) -> Result<i64, String> {
        same("io_submit", self.submit(&[iocb]), Ok(1))?;
        Ok(self.reap(1)?[0].res)
    }
    /// No event is there.
    pub fn expect_none(&self) -> Outcome {
        same("events", self.events(0, 64, Some(0)), Ok(vec![]))
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        let _ = destroy(self.id);
    }
}

/// `io_setup`; the id.
pub fn setup(count: u64) -> sys::Result<u64> {
    let id = small();
    id.set_words(0, &[0]);
    raw(abi::__NR_io_setup, [count, id.addr(0), 0, 0, 0, 0])?;
    Ok(id.word(0))
}

pub fn destroy(id: u64) -> sys::Result<u64> {
    raw(abi::__NR_io_destroy, [id, 0, 0, 0, 0, 0])
}

pub fn submit(id: u64, n: i64, pointers: u64) -> sys::Result<u64> {
    raw(abi::__NR_io_submit, [id, n as u64, pointers, 0, 0, 0])
}

pub fn getevents(id: u64, min: i64, most: i64, events: u64, timeout: u64) -> sys::Result<u64> {
    raw(abi::__NR_io_getevents, [id, min as u64, most as u64, events, timeout, 0])
}

pub fn cancel(id: u64, iocb: u64, result: u64) -> sys::Result<u64> {
    raw(abi::__NR_io_cancel, [id, iocb, result, 0, 0, 0])
}
