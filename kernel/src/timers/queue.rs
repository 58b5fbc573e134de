//! Armed timers in the order of their expiry, and the task that tells of it.
use super::Setting;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use base::sched;
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, SpinLock, WaitQueue};
use base::{Result, time};

/// Nobody is told of two expiries of one timer in less than this: with a shorter interval, all that fell into it are told of at once. So
/// timers cannot take the CPU.
const SHORTEST_NS: u64 = 100_000;

/// When, and a number of its own.
type Key = (u64, u64);

/// The timers of a system.
pub struct Timers {
    shared: Arc<Shared>,
    /// The task is there. It starts with the first timer that is armed.
    started: SpinLock<bool>,
}

struct Shared {
    queue: SpinLock<Queue>,
    /// There is a new first one, or the end.
    changed: WaitQueue,
    closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    armed: BTreeMap<Key, Arc<Timer>>,
    last: u64,
}

impl Timers {
    /// No timers.
    pub fn new() -> Timers {
        let shared = Shared {
            queue: SpinLock::new(Queue::default()),
            changed: WaitQueue::new(),
            closed: AtomicBool::new(false),
        };
        Timers { shared: Arc::new(shared), started: SpinLock::new(false) }
    }

    /// A timer that is not armed. Whenever it expires, `told` is called by a task of the kernel; it must not sleep. With `once`, after an
    /// expiry it is called again only if that was taken ([`Timer::take`]). Errors: `ENOMEM`. Task context.
    pub fn add(&self, once: bool, told: Box<dyn Fn() + Send + Sync>) -> Result<Arc<Timer>> {
        base::memory::room_for_programs()?;
        let mut started = self.started.lock();
        if !*started {
            let shared = self.shared.clone();
            sched::spawn("timers", Box::new(move || shared.run()))?;
            *started = true;
        }
        Ok(Arc::new(Timer { shared: self.shared.clone(), once, told, state: SpinLock::new(State::default()) }))
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.changed.wake_all();
    }
}

impl Shared {
    /// The task: tells of each timer that is due, then sleeps until the next one is.
    fn run(&self) {
        while !self.closed.load(Ordering::Acquire) {
            let now_ns = time::now_ns();
            let mut queue = self.queue.lock();
            let first = queue.armed.first_entry().filter(|first| first.key().0 <= now_ns);
            if let Some((key, timer)) = first.map(|first| first.remove_entry()) {
                drop(queue);
                timer.expire(key, now_ns);
                continue;
            }
            let next_ns = queue.armed.first_key_value().map_or(u64::MAX, |(key, _)| key.0);
            drop(queue);
            let is_new = || {
                let first_ns = self.queue.lock().armed.first_key_value().map_or(u64::MAX, |(key, _)| key.0);
                first_ns < next_ns || self.closed.load(Ordering::Acquire)
            };
            self.changed.wait_until_deadline(next_ns, is_new);
        }
        // What is still armed refers back to this.
        let left = core::mem::take(&mut self.queue.lock().armed);
        drop(left);
    }
}

/// A timer. While it is armed the queue refers to it: whoever lets go of it disarms it first.
pub struct Timer {
    shared: Arc<Shared>,
    once: bool,
    told: Box<dyn Fn() + Send + Sync>,
    state: SpinLock<State>,
}

#[derive(Default)]
struct State {
    setting: Setting,
    /// How often it has expired since that was taken.
    expired: u64,
    /// Where it stands in the queue.
    key: Option<Key>,
}

impl Timer {
    /// Sets it anew; says how it was set. Expiries that nobody took are forgotten.
    pub fn set(self: &Arc<Self>, setting: Setting) -> Setting {
        let mut state = self.state.lock();
        let mut before = core::mem::replace(&mut state.setting, setting);
        before.advance(time::now_ns());
        state.expired = 0;
        self.enqueue(&mut state, 0);
        before
    }
    /// Disarms it. Nobody is told afterwards, but for a call that has begun.
    pub fn disarm(self: &Arc<Self>) {
        self.set(Setting::default());
    }
    /// How it is set, brought up to now.
    pub fn setting(&self) -> Setting {
        let mut setting = self.state.lock().setting;
        setting.advance(time::now_ns());
        setting
    }
    /// Whether it has expired since that was taken.
    pub fn has_expired(&self) -> bool {
        let state = self.state.lock();
        state.expired > 0 || (state.setting.next_ns != 0 && state.setting.next_ns <= time::now_ns())
    }
    /// Takes how often it has expired.
    pub fn take(self: &Arc<Self>) -> u64 {
        let mut state = self.state.lock();
        state.count(time::now_ns());
        let expired = core::mem::take(&mut state.expired);
        if self.once && expired > 0 {
            self.enqueue(&mut state, 0);
        }
        expired
    }

    /// Puts it into the queue as it is set now, not to be told before `earliest_ns`.
    fn enqueue(self: &Arc<Self>, state: &mut State, earliest_ns: u64) {
        let wanted = state.setting.next_ns != 0 && !(self.once && state.expired > 0);
        let mut queue = self.shared.queue.lock();
        let before = state.key.take().and_then(|key| queue.armed.remove(&key));
        if wanted {
            queue.last += 1;
            let key = (state.setting.next_ns.max(earliest_ns), queue.last);
            queue.armed.insert(key, self.clone());
            state.key = Some(key);
        }
        drop(queue);
        drop(before);
        if wanted {
            self.shared.changed.wake_all();
        }
    }

    /// The task has taken it out of the queue, where it stood at `key`.
    fn expire(self: &Arc<Self>, key: Key, now_ns: u64) {
        {
            let mut state = self.state.lock();
            if state.key != Some(key) {
                return; // Set anew meanwhile.
            }
            state.key = None;
            state.count(now_ns);
            self.enqueue(&mut state, now_ns.saturating_add(SHORTEST_NS));
            if state.expired == 0 {
                return; // Taken meanwhile.
            }
        }
        (self.told)();
    }
}

impl State {
    fn count(&mut self, now_ns: u64) {
        let count = self.setting.advance(now_ns);
        self.expired = self.expired.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sync::atomic::AtomicU64;

    const MS: u64 = 1_000_000;

    fn counted(timers: &Timers, once: bool) -> (Arc<Timer>, Arc<AtomicU64>) {
        let calls = Arc::new(AtomicU64::new(0));
        let told = calls.clone();
        let told = Box::new(move || {
            told.fetch_add(1, Ordering::SeqCst);
        });
        (timers.add(once, told).unwrap(), calls)
    }
    fn until(cond: impl Fn() -> bool) {
        let end = time::now_ns() + 20_000 * MS;
        while !cond() {
            assert!(time::now_ns() < end, "it never came true");
            sched::yield_now();
        }
    }
    fn after(ns: u64, interval_ns: u64) -> Setting {
        Setting { next_ns: time::now_ns() + ns, interval_ns }
    }

    #[test]
    fn a_timer_tells_when_its_time_has_come_and_not_before() {
        let timers = Timers::new();
        let (late, late_calls) = counted(&timers, false);
        let (soon, soon_calls) = counted(&timers, false);
        late.set(after(3_600_000 * MS, 0));
        let end_ns = time::now_ns() + MS;
        soon.set(Setting { next_ns: end_ns, interval_ns: 0 });
        until(|| soon_calls.load(Ordering::SeqCst) == 1);
        assert!(time::now_ns() >= end_ns);
        assert_eq!((soon.take(), soon.take(), late.take(), late_calls.load(Ordering::SeqCst)), (1, 0, 0, 0));
        assert_eq!(soon.setting(), Setting::default());
        assert!(late.set(Setting::default()).next_ns > 0);
        assert!(timers.shared.queue.lock().armed.is_empty());
    }

    #[test]
    fn a_short_interval_is_counted_in_full_and_told_of_seldom() {
        let timers = Timers::new();
        let (often, calls) = counted(&timers, false);
        let start = time::now_ns();
        often.set(after(1, 1));
        until(|| calls.load(Ordering::SeqCst) >= 3);
        let (told, counted, passed) = (calls.load(Ordering::SeqCst), often.take(), time::now_ns() - start);
        often.disarm();
        assert!(counted > 2 * SHORTEST_NS && counted <= passed, "{counted} expiries in {passed} ns");
        assert!(told <= passed / SHORTEST_NS + 2, "{told} calls in {passed} ns");
    }

    #[test]
    fn one_that_nobody_reads_is_told_of_once() {
        let timers = Timers::new();
        let (once, calls) = counted(&timers, true);
        once.set(after(MS, MS));
        until(|| calls.load(Ordering::SeqCst) == 1);
        assert!(timers.shared.queue.lock().armed.is_empty());
        until(|| once.setting().next_ns > 0 && once.take() > 0);
        until(|| calls.load(Ordering::SeqCst) == 2);
        once.disarm();
        assert!(!once.has_expired());
    }

    #[test]
    fn the_task_ends_with_the_timers_even_if_one_is_armed() {
        let timers = Timers::new();
        let (timer, _) = counted(&timers, false);
        timer.set(after(3_600_000 * MS, 0));
        let shared = Arc::downgrade(&timers.shared);
        drop(timers);
        until(|| Arc::strong_count(&timer) == 1);
        drop(timer);
        until(|| shared.strong_count() == 0);
    }
}
