//! Signals that wait for a thread, or for some thread of a process.
//!
//! A signal below `SIGRTMIN` waits once, however often it is sent, with what came first. A real-time signal waits as often as it is sent,
//! in that order. The set can be read without the lock; it changes under it.
use super::SigInfo;
use super::signal::{SigSet, Signal};
use alloc::collections::VecDeque;
use base::sync::SpinLock;
use base::sync::atomic::{AtomicU64, Ordering};
use base::{Errno, Result};

/// What waits for one thread or process at most.
const MOST: usize = 1024;

/// Signals that wait.
pub(super) struct Pending {
    set: AtomicU64,
    /// In the order they came. One of the set may be missing here: then there was no memory or room for it.
    infos: SpinLock<VecDeque<(Signal, SigInfo)>>,
}

impl Pending {
    /// None.
    pub(super) fn new() -> Pending {
        Pending { set: AtomicU64::new(0), infos: SpinLock::new(VecDeque::new()) }
    }

    /// The signals.
    #[inline]
    pub(super) fn set(&self) -> SigSet {
        SigSet(self.set.load(Ordering::Acquire))
    }

    /// Adds a signal. Without room it waits all the same, but nobody will know where it came from. Errors: `EAGAIN`: so it was.
    pub(super) fn add(&self, signal: Signal, info: SigInfo) -> Result<()> {
        let mut infos = self.infos.lock();
        if self.set().contains(signal) && !signal.is_real_time() {
            return Ok(());
        }
        let has_room = infos.len() < MOST && infos.try_reserve(1).is_ok();
        if has_room {
            infos.push_back((signal, info));
        }
        self.set.fetch_or(SigSet::of(signal).0, Ordering::AcqRel);
        if has_room { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Whether a signal of the timer `id` waits.
    pub(super) fn has_timer(&self, id: u32) -> bool {
        self.infos.lock().iter().any(|(_, info)| info.timer_id() == Some(id))
    }

    /// Takes the lowest signal that is not in `blocked`.
    pub(super) fn take(&self, blocked: SigSet) -> Option<(Signal, SigInfo)> {
        if self.set().without(blocked).0 == 0 {
            return None;
        }
        let mut infos = self.infos.lock();
        let signal = self.set().without(blocked).first()?;
        let of = |(other, _): &(Signal, SigInfo)| *other == signal;
        let info = infos.iter().position(of).and_then(|at| infos.remove(at));
        if !infos.iter().any(of) {
            self.set.fetch_and(!SigSet::of(signal).0, Ordering::AcqRel);
        }
        Some((signal, info.map_or_else(|| SigInfo::sent(0, 0, 0), |(_, info)| info).of(signal)))
    }

    /// Takes `signals` away.
    pub(super) fn forget(&self, signals: SigSet) {
        if self.set().0 & signals.0 == 0 {
            return;
        }
        let mut infos = self.infos.lock();
        infos.retain(|(signal, _)| !signals.contains(*signal));
        self.set.fetch_and(!signals.0, Ordering::AcqRel);
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pid: u32) -> SigInfo {
        SigInfo::sent(0, pid, 0)
    }
    fn taken(pending: &Pending) -> Option<(u32, u32)> {
        pending.take(SigSet::default()).map(|(signal, info)| (signal.number(), info.words()[4]))
    }

    #[test]
    fn an_old_signal_waits_once_and_a_real_time_one_as_often_as_it_is_sent() {
        let pending = Pending::new();
        let real_time = Signal::from_number(40).unwrap();
        for pid in 1..=2 {
            pending.add(real_time, from(pid)).unwrap();
            pending.add(Signal::SIGUSR1, from(pid)).unwrap();
        }
        assert!(pending.take(SigSet(u64::MAX)).is_none());
        assert_eq!(taken(&pending), Some((10, 1)));
        assert_eq!((taken(&pending), taken(&pending), taken(&pending)), (Some((40, 1)), Some((40, 2)), None));
        assert_eq!(pending.set(), SigSet::default());
    }

    #[test]
    fn a_full_queue_loses_the_sender_but_no_signal() {
        let pending = Pending::new();
        let real_time = Signal::from_number(40).unwrap();
        (0..MOST).for_each(|_| pending.add(real_time, from(1)).unwrap());
        assert_eq!(pending.add(real_time, from(2)), Err(Errno::EAGAIN));
        assert_eq!(pending.add(Signal::SIGUSR1, from(2)), Err(Errno::EAGAIN));
        assert_eq!(taken(&pending), Some((10, 0)));
        pending.forget(SigSet::of(real_time));
        assert_eq!(taken(&pending), None);
    }
}
