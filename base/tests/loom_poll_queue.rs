//! The poll queue under the weak memory of C11, in all orders: who watches two files is called by whichever changes (R40).
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p base --test loom_poll_queue`
#![cfg(loom)]
use base::sched::{self, Task};
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, Listener, PollQueue};

/// A file that is ready or not.
struct Site {
    ready: AtomicBool,
    queue: PollQueue,
}
fn site() -> Arc<Site> {
    Arc::new(Site { ready: AtomicBool::new(false), queue: PollQueue::new() })
}
impl Site {
    /// The condition is stored relaxed: the queue's fences alone must carry it.
    fn become_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
        self.queue.wake_all();
    }
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

struct Sleeper {
    task: Task,
    changed: AtomicBool,
}
impl Listener for Sleeper {
    fn changed(self: Arc<Self>) {
        // A swap, because the checker leaves a plain store and the swap of another thread without an order.
        self.changed.swap(true, Ordering::Release);
        self.task.unpark();
    }
}

/// Sleeps until one of the two is ready, as poll(2) does.
fn poll(sites: [&Site; 2]) {
    let sleeper = Arc::new(Sleeper { task: sched::current(), changed: AtomicBool::new(false) });
    sites.iter().for_each(|site| site.queue.listen(sleeper.clone()).unwrap());
    while !sites.iter().any(|site| site.is_ready()) {
        while !sleeper.changed.swap(false, Ordering::Acquire) {
            sched::park();
        }
    }
    sites.iter().for_each(|site| site.queue.leave(&sleeper));
}

/// A lost call shows as a deadlock.
#[test]
fn r40_listener_lost_call() {
    loom::model(|| {
        let (one, two) = (site(), site());
        let waker = two.clone();
        let irq = loom::thread::spawn(move || hal::irq::as_interrupt(|| waker.become_ready()));
        poll([&one, &two]);
        irq.join().unwrap();
    });
}

/// Nobody is called once `leave` has returned, even by who had found it listening.
#[test]
fn no_call_after_leaving() {
    loom::model(|| {
        let site = site();
        let waker = site.clone();
        let irq = loom::thread::spawn(move || waker.become_ready());
        let sleeper = Arc::new(Sleeper { task: sched::current(), changed: AtomicBool::new(false) });
        site.queue.listen(sleeper.clone()).unwrap();
        site.queue.leave(&sleeper);
        let before = sleeper.changed.load(Ordering::Relaxed);
        irq.join().unwrap();
        assert_eq!(sleeper.changed.load(Ordering::Relaxed), before);
    });
}
