//! Model M2 on the real wait queue, all orders under the weak memory of C11: no wake-up is lost (R39, R40).
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p base --test loom_wait_queue`
#![cfg(loom)]
use base::sched;
use base::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use base::sync::{Arc, WaitQueue};

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

struct Site {
    done: AtomicBool,
    permits: AtomicUsize,
    queue: WaitQueue,
}
fn site() -> Arc<Site> {
    Arc::new(Site { done: AtomicBool::new(false), permits: AtomicUsize::new(0), queue: WaitQueue::new() })
}
impl Site {
    fn take(&self) -> bool {
        self.permits.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }
}

/// A lost wake-up shows as a deadlock. The condition is stored relaxed: the queue's fences alone must carry it.
#[test]
fn r40_waiter_lost_wake() {
    explore(|| {
        let site = site();
        let waker = site.clone();
        let irq = loom::thread::spawn(move || {
            hal::irq::as_interrupt(|| {
                waker.done.store(true, Ordering::Relaxed);
                waker.queue.wake_all();
            });
        });
        site.queue.wait_until(|| site.done.load(Ordering::Relaxed));
        irq.join().unwrap();
    });
}

/// Two wake-ups of one waiter each, two waiters: both go on, also when one of them finds its permit before it sleeps.
#[test]
fn wake_one_reaches_both_waiters() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let site = site();
        let (waiter, giver) = (site.clone(), site.clone());
        let other = loom::thread::spawn(move || waiter.queue.wait_until(|| waiter.take()));
        let irq = loom::thread::spawn(move || {
            for _ in 0..2 {
                giver.permits.fetch_add(1, Ordering::Release);
                giver.queue.wake_one();
            }
        });
        site.queue.wait_until(|| site.take());
        other.join().unwrap();
        irq.join().unwrap();
    });
}

/// An interruption comes between any two steps of a wait: it ends the wait, unless the condition came first.
#[test]
fn an_interruption_is_not_lost() {
    explore(|| {
        let site = site();
        let me = sched::current();
        let other = loom::thread::spawn(move || me.interrupt());
        assert!(site.queue.wait_interruptible(|| site.done.load(Ordering::Relaxed)).is_err());
        other.join().unwrap();
    });
}
