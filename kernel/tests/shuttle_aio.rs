//! Model M6 at its full size, on the real types, under many random schedules: completers, reapers with numbers of their own, copies that
//! fail, a submitter that takes every slot that comes free, and the end of the context.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --target-dir target/shuttle -p kernel --test shuttle_aio`
#![cfg(shuttle)]
use base::Errno;
use base::sched::{self, Task};
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, SpinLock};
use kernel::aio::{Completions, Event, Ready, Waited};

const SLOTS: usize = 2;
const REQUESTS: u64 = 6;

fn spawn(body: impl FnOnce() + Send + 'static) -> Task {
    sched::spawn("t", Box::new(body)).unwrap()
}

fn sleep(ready: &mut Ready<'_>) -> base::Result<Option<Waited>> {
    loop {
        if let Some(waited) = ready() {
            return Ok(Some(waited));
        }
        sched::park();
    }
}

struct Context {
    events: Completions,
    /// The data of each event that came to a reaper.
    delivered: SpinLock<Vec<u64>>,
    failures: AtomicUsize,
}

impl Context {
    fn new() -> Arc<Context> {
        let events = Completions::new(SLOTS, None).unwrap();
        Arc::new(Context { events, delivered: SpinLock::new(Vec::new()), failures: AtomicUsize::new(0) })
    }

    /// Takes a slot and has the request complete elsewhere; false if there is no slot.
    fn submit(self: &Arc<Self>, data: u64) -> Option<Task> {
        match self.events.reserve() {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, Errno::EAGAIN);
                return None;
            }
        }
        let context = self.clone();
        Some(spawn(move || {
            context.events.post(Event { data, ..Event::default() });
            context.events.tell_destroyer();
        }))
    }

    /// A reaper that wants `need` events at a time until the context ends. Its first copy fails, if `clumsy`: those events stay.
    fn reap(self: &Arc<Self>, need: usize, mut clumsy: bool) {
        loop {
            let waited = self.events.wait_by(need, sleep);
            let outcome = self.events.reap(need, |batch| {
                if core::mem::take(&mut clumsy) {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    return Err(Errno::EFAULT);
                }
                self.delivered.lock().extend(batch.iter().map(|event| event.data));
                Ok(())
            });
            if waited == Waited::Destroyed && outcome == Ok(0) {
                return;
            }
        }
    }
}

/// R66, R68, R69, AIO-4, AIO-7: each event comes to one reaper and once, none is overwritten or lost, a slot comes free with every
/// event that is reaped, nobody sleeps beside the events it needs, and the end of the context reaches everybody.
#[test]
fn m6_events_of_many_requests() {
    base::explore!(|| {
        let context = Context::new();
        // The second one alone takes what the first, who needs two, leaves over.
        let reapers = [(2, false), (1, true)].map(|(need, clumsy)| {
            let context = context.clone();
            spawn(move || context.reap(need, clumsy))
        });
        let mut completers = Vec::new();
        for data in 0..REQUESTS {
            let request = loop {
                match context.submit(data) {
                    Some(request) => break request,
                    None => sched::yield_now(),
                }
            };
            completers.push(request);
        }
        completers.iter().for_each(Task::join);
        context.events.destroy().unwrap();
        assert_eq!(context.events.destroy(), Err(Errno::EINVAL));
        reapers.iter().for_each(Task::join);
        let mut delivered = core::mem::take(&mut *context.delivered.lock());
        delivered.sort_unstable();
        assert_eq!(delivered, (0..REQUESTS).collect::<Vec<_>>(), "lost, or delivered twice");
        assert!(context.failures.load(Ordering::Relaxed) <= 1);
    });
}
