//! Stopping a process and continuing it: what signals do to it as a whole, for job control.
//!
//! ```text
//!            a thread takes a stop signal            its last thread is still
//!   running ──────────────────────────▶ stopping ──────────────────────────▶ stopped
//!      ▲                                    │                                   │
//!      └──────────────── SIGCONT is sent, whatever its action is ───────────────┘
//! ```
//!
//! A thread becomes still on its way back to user code, and nowhere else: it may hold locks before. An interruptible sleep of it ends for
//! that, and its call is made again afterwards. The end of the process, and execve of another thread, find still threads too.
//!
//! A SIGCONT takes stop signals away that still wait, and the other way round. It also counts: a stop whose signal was taken before a
//! SIGCONT came, and that begins after it, is none.
use super::signal::{SigSet, Signal};
use super::{Process, Thread};
use base::sync::atomic::Ordering;

impl Process {
    /// What sending `signal` does at once, whoever blocks or ignores it. Any task.
    pub(super) fn prepare(&self, signal: Signal) {
        let goes = match signal {
            Signal::SIGCONT => SigSet::STOPS,
            _ if signal.stops_by_default() => SigSet::of(Signal::SIGCONT),
            _ => return,
        };
        let mut state = self.state.lock();
        self.forget_signals(goes);
        state.threads.iter().for_each(|thread| thread.forget_signals(goes));
        if signal != Signal::SIGCONT {
            return;
        }
        state.continued += 1;
        let stopped = state.stop.take().is_some();
        drop(state);
        if stopped {
            self.changed.wake_all();
            self.system.family.stop_changed(self);
        }
    }

    /// How many times it was continued: to be looked at before a signal is taken that may stop it.
    pub(super) fn continued(&self) -> u64 {
        self.state.lock().continued
    }

    /// Stops because of `signal`, which a thread has taken after it was continued `continued` times. Nobody could continue the first
    /// process, and nobody looks after an orphaned group: the one is never stopped, the other only by SIGSTOP.
    pub(super) fn stop(&self, signal: Signal, continued: u64) {
        let orphaned = || self.system.family.is_orphaned(self.pid);
        if self.parent_pid() == 0 || (signal != Signal::SIGSTOP && orphaned()) {
            return;
        }
        let mut state = self.state.lock();
        if state.continued == continued && state.stop.is_none() && state.dying.is_none() {
            state.stop = Some(signal);
            state.threads.iter().for_each(|thread| thread.kick());
        }
    }

    /// Whether its threads are to be still.
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stop.is_some()
    }

    /// The signal that has stopped it, once all threads are still.
    pub(super) fn stopped_by(&self) -> Option<Signal> {
        let state = self.state.lock();
        let still = |thread: &Thread| thread.still.load(Ordering::Relaxed) == state.continued + 1;
        state.stop.filter(|_| state.threads.iter().all(|thread| still(thread)))
    }

    /// Keeps the calling `thread` still while the process is stopped and the thread has not to end. Task context; sleeps.
    pub(super) fn stay_stopped(&self, thread: &Thread) {
        loop {
            let before = {
                let state = self.state.lock();
                if state.stop.is_none() || state.dying.is_some() {
                    return;
                }
                thread.still.store(state.continued + 1, Ordering::Relaxed);
                state.continued
            };
            self.system.family.stop_changed(self);
            self.changed.wait_until(|| self.continued() != before || self.ends(thread.tid));
            thread.still.store(0, Ordering::Relaxed);
            if self.ends(thread.tid) {
                return;
            }
        }
    }
}
