//! Model M6, the events of a context, on the real types, all orders under the weak memory of C11.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p kernel --test loom_aio`
#![cfg(loom)]
use base::sched;
use kernel::aio::{Completions, Event, Ready, Waited};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn event(data: u64) -> Event {
    Event { data, ..Event::default() }
}

/// Sleeps as a thread does that no signal comes to.
fn sleep(ready: &mut Ready<'_>) -> base::Result<Option<Waited>> {
    loop {
        if let Some(waited) = ready() {
            return Ok(Some(waited));
        }
        sched::park();
    }
}

/// Waits for one event and takes it; `None` where the context was destroyed, or another was faster.
fn get_one(events: &Completions) -> Option<u64> {
    let waited = events.wait_by(1, sleep);
    let mut got = None;
    let deliver = |batch: &[Event]| {
        got = Some(batch[0].data);
        Ok(())
    };
    let n = events.reap(1, deliver).unwrap();
    assert!(n == 1 || waited == Waited::Destroyed, "woken for nothing: {waited:?}");
    got
}

/// M6, R69, AIO-6, AIO-8: two requests complete on two CPUs, and a reaper that sleeps gets each of them once.
#[test]
fn m6_r69_each_event_comes_once() {
    explore(|| {
        let events = Arc::new(Completions::new(2, None).unwrap());
        let completers = [1, 2].map(|data| {
            events.reserve().unwrap();
            let events = events.clone();
            thread::spawn(move || {
                events.post(event(data));
                events.tell_destroyer();
            })
        });
        let got = [get_one(&events), get_one(&events)];
        assert!(got == [Some(1), Some(2)] || got == [Some(2), Some(1)], "{got:?}");
        completers.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(events.in_flight(), 0);
    });
}

/// M6, R69, AIO-8: two events, and two sleepers of which one needs both. The one that needs a single event is not left asleep beside
/// it, wherever it stands in the list.
#[test]
fn m6_r69_nobody_sleeps_beside_the_events_it_needs() {
    explore(|| {
        let events = Arc::new(Completions::new(2, None).unwrap());
        events.reserve().unwrap();
        let greedy = {
            let events = events.clone();
            // It is let go by the end of the context, not by an event.
            thread::spawn(move || assert_eq!(events.wait_by(2, sleep), Waited::Destroyed))
        };
        let completer = {
            let events = events.clone();
            thread::spawn(move || {
                events.post(event(1));
                events.tell_destroyer();
            })
        };
        assert_eq!(get_one(&events), Some(1));
        completer.join().unwrap();
        events.destroy().unwrap();
        greedy.join().unwrap();
    });
}

/// M6, R66, AIO-12: a context is destroyed with a request in flight. The destroyer comes back when that has let go of everything, and
/// whoever sleeps for events learns of the end.
#[test]
fn m6_r66_destroy_waits_for_the_last_request() {
    explore(|| {
        let events = Arc::new(Completions::new(1, None).unwrap());
        events.reserve().unwrap();
        let finished = Arc::new(AtomicBool::new(false));
        let completer = {
            let (events, finished) = (events.clone(), finished.clone());
            thread::spawn(move || {
                finished.store(true, Ordering::Relaxed);
                events.post(event(1));
                events.tell_destroyer();
            })
        };
        let sleeper = {
            let events = events.clone();
            thread::spawn(move || get_one(&events))
        };
        events.destroy().unwrap();
        assert!(finished.load(Ordering::Relaxed), "destroyed with a request in flight");
        assert!(events.destroy().is_err(), "destroyed twice");
        assert!(events.reserve().is_err(), "a slot of a dead context");
        completer.join().unwrap();
        let _one_or_none = sleeper.join().unwrap();
    });
}
