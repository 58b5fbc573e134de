//! The timers that a program makes (`timer_create`), by their ids.
//!
//! An expiry sends a signal, unless one of the timer still waits to be taken. Who takes it is told how often the timer has expired since, besides the
//! once (`si_overrun`).
use super::Timer;
use alloc::collections::BTreeMap;
use base::sync::atomic::{AtomicU32, Ordering};
use base::sync::{Arc, SpinLock};
use base::{Errno, Result};

/// Timers that a process may have.
const MOST: usize = 1024;
/// The most expiries that are told: `DELAYTIMER_MAX`.
const OVERRUNS_MAX: u64 = i32::MAX as u64;

/// A timer of a program.
pub struct PosixTimer {
    /// What counts.
    pub timer: Arc<Timer>,
    /// Its times are those of the wall clock.
    pub realtime: bool,
    /// Expiries that had no signal of their own, when the last signal was taken.
    overruns: AtomicU32,
}

impl PosixTimer {
    /// Around `timer`.
    pub fn new(timer: Arc<Timer>, realtime: bool) -> PosixTimer {
        PosixTimer { timer, realtime, overruns: AtomicU32::new(0) }
    }
    /// Its signal is taken: how many expiries had none of their own.
    pub fn taken(&self) -> u32 {
        let overruns = self.timer.take().saturating_sub(1).min(OVERRUNS_MAX) as u32;
        self.overruns.store(overruns, Ordering::Relaxed);
        overruns
    }
    /// What [`Self::taken`] said last.
    pub fn overruns(&self) -> u32 {
        self.overruns.load(Ordering::Relaxed)
    }
}

/// The timers of a process.
pub struct PosixTimers {
    timers: SpinLock<BTreeMap<u32, Arc<PosixTimer>>>,
    next_id: AtomicU32,
}

impl PosixTimers {
    /// None.
    pub fn new() -> PosixTimers {
        PosixTimers { timers: SpinLock::new(BTreeMap::new()), next_id: AtomicU32::new(0) }
    }
    /// An id for a new timer; none comes twice before they run out.
    pub fn new_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed) & i32::MAX as u32
    }
    /// Adds a timer. Errors: `EAGAIN`: there are too many, or the id is taken.
    pub fn add(&self, id: u32, timer: PosixTimer) -> Result<()> {
        let mut timers = self.timers.lock();
        if timers.len() >= MOST || timers.contains_key(&id) {
            return Err(Errno::EAGAIN);
        }
        timers.insert(id, Arc::new(timer));
        Ok(())
    }
    /// The timer `id`. Errors: `EINVAL`.
    pub fn get(&self, id: u32) -> Result<Arc<PosixTimer>> {
        self.timers.lock().get(&id).cloned().ok_or(Errno::EINVAL)
    }
    /// Takes the timer `id` away. A signal that waits is still taken. Errors: `EINVAL`.
    pub fn remove(&self, id: u32) -> Result<()> {
        let gone = self.timers.lock().remove(&id).ok_or(Errno::EINVAL)?;
        gone.timer.disarm();
        Ok(())
    }
    /// Takes all away: the program ends, or another takes its place.
    pub fn clear(&self) {
        let gone = core::mem::take(&mut *self.timers.lock());
        gone.values().for_each(|timer| timer.timer.disarm());
    }
}

impl Default for PosixTimers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::{Setting, Timers};
    use alloc::boxed::Box;
    use base::time;

    #[test]
    fn who_takes_a_signal_is_told_what_was_missed() {
        let (timers, own) = (Timers::new(), PosixTimers::new());
        let timer = timers.add(false, Box::new(|| ())).unwrap();
        let id = own.new_id();
        own.add(id, PosixTimer::new(timer, false)).unwrap();
        assert_eq!(
            own.add(id, PosixTimer::new(timers.add(false, Box::new(|| ())).unwrap(), false)),
            Err(Errno::EAGAIN)
        );
        let this = own.get(id).unwrap();
        // Since the clock began it has expired each nanosecond.
        let now_ns = time::now_ns();
        this.timer.set(Setting { next_ns: 1, interval_ns: 1 });
        let told = this.taken();
        assert!(u64::from(told) + 1 >= now_ns.min(OVERRUNS_MAX), "{told} of {now_ns}");
        assert_eq!(this.overruns(), told);
        this.timer.set(Setting { next_ns: 1, interval_ns: 0 });
        assert_eq!((this.taken(), this.overruns()), (0, 0), "one expiry with its signal");
        own.remove(id).unwrap();
        assert_eq!((own.remove(id), this.timer.setting()), (Err(Errno::EINVAL), Setting::default()));
    }
}
