//! Model M11 on the real work queue, all orders under the weak memory of C11: an item is queued at most once (I9), no item
//! is lost, and what was done before queueing is seen by the run.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p base --test loom_work_list`
#![cfg(loom)]
use base::sync::Arc;
use base::sync::atomic::{AtomicUsize, Ordering};
use base::workqueue::{Work, WorkLink, WorkQueue};

struct Item {
    link: WorkLink,
    wanted: AtomicUsize,
    seen: AtomicUsize,
    running: AtomicUsize,
}
impl Work for Item {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    fn run(self: Arc<Self>) {
        assert_eq!(self.running.fetch_add(1, Ordering::Relaxed), 0, "an item runs twice at a time");
        self.seen.store(self.wanted.load(Ordering::Relaxed), Ordering::Relaxed);
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}
fn item() -> Arc<Item> {
    Arc::new(Item {
        link: WorkLink::new(),
        wanted: AtomicUsize::new(0),
        seen: AtomicUsize::new(0),
        running: AtomicUsize::new(0),
    })
}

fn explore(bound: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.check(model);
}

/// An interrupt queues the item beside a task that does too: the last run sees both wishes.
#[test]
fn m11_every_wish_is_seen_by_a_later_run() {
    explore(2, || {
        let queue = WorkQueue::new("w", 1).unwrap();
        let item = item();
        let (q, i) = (queue.clone(), item.clone());
        let irq = loom::thread::spawn(move || {
            i.wanted.fetch_add(1, Ordering::Relaxed);
            hal::irq::as_interrupt(|| q.queue(i.clone()));
        });
        item.wanted.fetch_add(1, Ordering::Relaxed);
        queue.queue(item.clone());
        irq.join().unwrap();
        drop(queue);
        assert_eq!(item.seen.load(Ordering::Relaxed), 2);
    });
}

/// Two items of two pushers both run before the queue's end.
#[test]
fn m11_no_item_is_lost() {
    explore(1, || {
        let queue = WorkQueue::new("w", 1).unwrap();
        let (a, b) = (item(), item());
        let (q, i) = (queue.clone(), a.clone());
        let irq = loom::thread::spawn(move || {
            i.wanted.store(1, Ordering::Relaxed);
            q.queue(i);
        });
        b.wanted.store(1, Ordering::Relaxed);
        queue.queue(b.clone());
        irq.join().unwrap();
        drop(queue);
        assert_eq!(a.seen.load(Ordering::Relaxed) + b.seen.load(Ordering::Relaxed), 2);
    });
}
