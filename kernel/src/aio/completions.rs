//! The ring of a context under its lock, and who waits on it.
//!
//! # Why no wake-up is lost (AIO-8)
//!
//! A waiter enters itself with the number of events it needs under the lock under which it has just found too few. Whoever adds
//! events takes the same lock afterwards and unparks every waiter whose number is reached. An unpark before the park leaves a
//! token. Events are taken under the lock, so each goes to one waiter; one that finds too few left sleeps again.
use super::mapped::MappedRing;
use super::ring::{Event, Ring};
use crate::process::{Deadline, Thread, sleep_interruptible};
use base::sched::{self, Task};
use base::sync::{SpinLock, WaitQueue};
use base::{Errno, Result};
use smallvec::SmallVec;

struct State {
    ring: Ring,
    /// What the program sees of the ring.
    mapped: Option<MappedRing>,
    waiters: SmallVec<[(usize, Task); 2]>,
}

/// The shared part of a context: requests in flight refer to it, so that it outlives the context's id.
pub struct Completions {
    state: SpinLock<State>,
    /// Woken when the last request in flight of a dead context is finished.
    quiet: WaitQueue,
}

/// How a wait for events ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// Enough events were there.
    Enough,
    /// The deadline passed.
    TimedOut,
    /// A signal came.
    Interrupted,
    /// The context was destroyed.
    Destroyed,
}

/// Whether a wait is over, and how; otherwise the task was entered among those that are unparked.
pub type Ready<'a> = dyn FnMut() -> Option<Waited> + 'a;

impl Completions {
    /// Room for `capacity` requests and events. `mapped` is what the program sees of it, if anything. Errors: `ENOMEM`.
    pub fn new(capacity: usize, mapped: Option<MappedRing>) -> Result<Completions> {
        let state = State { ring: Ring::new(capacity)?, mapped, waiters: SmallVec::new() };
        Ok(Completions { state: SpinLock::new(state), quiet: WaitQueue::new() })
    }

    /// Takes a slot. Errors: `EAGAIN`, `EINVAL`.
    pub fn reserve(&self) -> Result<()> {
        let mut state = self.state.lock();
        match state.ring.reserve() {
            // Perhaps the program has taken events itself.
            Err(Errno::EAGAIN) if state.look_at_head() > 0 => state.ring.reserve(),
            reserved => reserved,
        }
    }
    /// Gives back a slot whose request failed its validation.
    pub fn unreserve(&self) {
        self.state.lock().ring.unreserve();
        self.tell_destroyer();
    }
    /// Makes an event visible and wakes whom it completes the number for (AIO-6). The request still counts as in flight for a
    /// destroyer until [`Self::tell_destroyer`]. Task context.
    pub fn post(&self, event: Event) {
        let mut state = self.state.lock();
        state.ring.post(event);
        if let Some(mapped) = &mut state.mapped {
            mapped.push(&event);
        }
        state.wake();
    }
    /// Tells a destroyer that a request has let go of everything.
    pub fn tell_destroyer(&self) {
        self.quiet.wake_all();
    }

    /// Sleeps until `need` events are there. Task context.
    pub fn wait(&self, thread: &Thread, need: usize, deadline: Deadline) -> Waited {
        self.wait_by(need, |ready| sleep_interruptible(thread, deadline, ready))
    }

    /// As [`Self::wait`], with `sleep` parking the task until `ready` gives a result.
    pub fn wait_by(&self, need: usize, sleep: impl FnOnce(&mut Ready<'_>) -> Result<Option<Waited>>) -> Waited {
        let me = sched::current();
        let waited = sleep(&mut || self.enough_or_enter(need, &me));
        self.state.lock().waiters.retain(|(_, task)| !task.is(&me));
        match waited {
            Ok(Some(waited)) => waited,
            Ok(None) => Waited::TimedOut,
            Err(_) => Waited::Interrupted,
        }
    }

    fn enough_or_enter(&self, need: usize, me: &Task) -> Option<Waited> {
        let mut state = self.state.lock();
        state.look_at_head();
        if state.ring.ready() >= need {
            return Some(Waited::Enough);
        }
        if state.ring.is_dead() {
            return Some(Waited::Destroyed);
        }
        if !state.waiters.iter().any(|(_, task)| task.is(me)) {
            state.waiters.push((need, me.clone()));
        }
        None
    }

    /// Takes events and hands them to `deliver`; if that fails they stay in the ring (AIO-7). Returns how many were delivered.
    pub fn reap(&self, most: usize, deliver: impl FnOnce(&[Event]) -> Result<()>) -> Result<usize> {
        let mut events = [Event::default(); 16];
        let room = events.get_mut(..most.min(16)).ok_or(Errno::EINVAL)?;
        let n = {
            let mut state = self.state.lock();
            state.look_at_head();
            state.ring.take(room)
        };
        let taken = events.get(..n).unwrap_or_default();
        if n == 0 {
            return Ok(0);
        }
        // Nothing is locked here: the copy may sleep in a page fault.
        let delivered = deliver(taken);
        let mut state = self.state.lock();
        match delivered {
            Ok(()) => {
                state.ring.confirm(n);
                state.mapped.iter_mut().for_each(|mapped| mapped.advance(n));
            }
            Err(_) => {
                state.ring.put_back(taken);
                state.wake();
            }
        }
        delivered.map(|()| n)
    }

    /// Ends the context and sleeps until no request is in flight (AIO-12, PRC-2). Errors: `EINVAL`: it has ended already.
    pub fn destroy(&self) -> Result<()> {
        {
            let mut state = self.state.lock();
            if !state.ring.kill() {
                return Err(Errno::EINVAL);
            }
            state.wake();
        }
        if base::guard!("AIO-12", true) {
            self.quiet.wait_until(|| self.state.lock().ring.in_flight() == 0);
        }
        Ok(())
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> usize {
        self.state.lock().ring.in_flight()
    }
}

impl State {
    /// Lets go of events that the program has taken itself, and says how many they were. While a call copies events out it waits: which
    /// of them are taken twice is the program's own affair.
    fn look_at_head(&mut self) -> usize {
        let (ring, Some(mapped)) = (&mut self.ring, &mut self.mapped) else { return 0 };
        if ring.reaping() > 0 {
            return 0;
        }
        let taken = mapped.taken(ring.ready());
        ring.forget(taken);
        taken
    }

    /// Unparks the waiters whose number is reached, all of them if the context is dead.
    fn wake(&mut self) {
        // Wherever they stand in the list: the first may need more than there is.
        base::mistake!("R69", return self.waiters.first().into_iter().for_each(|(_, task)| task.unpark()));
        let (ready, dead) = (self.ring.ready(), self.ring.is_dead());
        self.waiters.retain(|(need, task)| {
            let wake = dead || *need <= ready;
            if wake {
                task.unpark();
            }
            !wake
        });
    }
}
