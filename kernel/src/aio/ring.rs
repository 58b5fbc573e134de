//! Slots and events of a context: the accounting, under whatever lock the owner has.
use alloc::collections::VecDeque;
use base::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A finished request: `struct io_event` of the ABI (AIO-5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Event {
    /// From the iocb.
    pub data: u64,
    /// User address of the iocb.
    pub obj: u64,
    /// Bytes, or a negative error number.
    pub res: i64,
    /// Always 0.
    pub res2: i64,
}

/// # Invariants
/// `in_flight + ready + reaping <= capacity`; the queue never grows beyond what it was made with.
pub struct Ring {
    capacity: usize,
    in_flight: usize,
    reaping: usize,
    ready: VecDeque<Event>,
    dead: bool,
}

impl Ring {
    /// A ring with room for `capacity` requests and events. Errors: `ENOMEM`.
    pub fn new(capacity: usize) -> Result<Ring> {
        let mut ready = VecDeque::new();
        ready.try_reserve_exact(capacity).map_err(|_| Errno::ENOMEM)?;
        Ok(Ring { capacity, in_flight: 0, reaping: 0, ready, dead: false })
    }

    /// Takes a slot for a request. Errors: `EAGAIN` (none is free), `EINVAL` (the context is gone).
    pub fn reserve(&mut self) -> Result<()> {
        if self.dead {
            return Err(Errno::EINVAL);
        }
        // What was not reaped yet holds its slot: a completion finds room whatever the program does (AIO-4).
        let unreaped = if base::guard!("R68", true) { self.reaping + self.ready.len() } else { 0 };
        if self.in_flight + unreaped >= self.capacity {
            return Err(Errno::EAGAIN);
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Gives back a slot whose request failed its validation.
    pub fn unreserve(&mut self) {
        debug_assert!(self.in_flight > 0);
        self.in_flight -= 1;
    }

    /// Turns a request in flight into an event. There is always room: the slot was reserved (AIO-4).
    pub fn post(&mut self, event: Event) {
        self.unreserve();
        debug_assert!(self.ready.len() + self.reaping < self.capacity);
        self.ready.push_back(event);
    }

    /// Moves up to `out.len()` events to `out` and says how many. Each must be [`confirm`](Self::confirm)ed or put back.
    pub fn take(&mut self, out: &mut [Event]) -> usize {
        let n = out.len().min(self.ready.len());
        out.iter_mut().zip(self.ready.drain(..n)).for_each(|(to, event)| *to = event);
        self.reaping += n;
        n
    }

    /// `n` events that were taken have reached the caller: their slots are free.
    pub fn confirm(&mut self, n: usize) {
        debug_assert!(n <= self.reaping);
        self.reaping -= n;
    }

    /// Events that were taken could not be delivered: they come first again (AIO-7).
    pub fn put_back(&mut self, events: &[Event]) {
        self.confirm(events.len());
        base::mistake!("AIO-7", return);
        events.iter().rev().for_each(|&event| self.ready.push_front(event));
    }

    /// The first `n` events were taken by the program itself: their slots are free.
    pub fn forget(&mut self, n: usize) {
        self.ready.drain(..n.min(self.ready.len()));
    }
    /// Events that are being copied out.
    pub fn reaping(&self) -> usize {
        self.reaping
    }

    /// Events that can be taken.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }
    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
    /// Ends the context: no slot is given any more. False if it had ended already (AIO-12).
    pub fn kill(&mut self) -> bool {
        let dead = core::mem::replace(&mut self.dead, true);
        !base::guard!("R66", dead)
    }
    /// Whether the context has ended.
    pub fn is_dead(&self) -> bool {
        self.dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: u64) -> Event {
        Event { data, ..Event::default() }
    }

    #[test]
    fn r68_slots_come_back_when_events_are_reaped() {
        let mut ring = Ring::new(2).unwrap();
        ring.reserve().unwrap();
        ring.reserve().unwrap();
        assert_eq!(ring.reserve(), Err(Errno::EAGAIN));
        ring.post(event(1));
        assert_eq!(ring.reserve(), Err(Errno::EAGAIN), "an event holds its slot until it is reaped");
        let mut out = [Event::default(); 4];
        assert_eq!(ring.take(&mut out), 1);
        assert_eq!(ring.reserve(), Err(Errno::EAGAIN), "an event that is being copied still holds its slot");
        ring.confirm(1);
        ring.reserve().unwrap();
        assert_eq!(ring.reserve(), Err(Errno::EAGAIN));
    }

    #[test]
    fn events_whose_copy_failed_come_first_again() {
        let mut ring = Ring::new(4).unwrap();
        for n in 0..4 {
            ring.reserve().unwrap();
            ring.post(event(n));
        }
        let mut out = [Event::default(); 2];
        assert_eq!(ring.take(&mut out), 2);
        ring.put_back(&out);
        let mut all = [Event::default(); 8];
        assert_eq!(ring.take(&mut all), 4);
        assert_eq!(all.map(|e| e.data)[..4], [0, 1, 2, 3]);
    }

    #[test]
    fn r66_only_the_first_destroyer_succeeds() {
        let mut ring = Ring::new(1).unwrap();
        assert!(ring.kill());
        assert!(!ring.kill());
        assert_eq!(ring.reserve(), Err(Errno::EINVAL));
    }
}
