//! Model M3, the first use of a work queue, on the real types, all orders under the weak memory of C11.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p fs --test loom_queue`
#![cfg(loom)]
use base::sync::Arc;
use base::workqueue::{Work, WorkLink, WorkQueue};
use fs::ext4::queues::LazyQueue;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

struct Item {
    link: WorkLink,
    runs: AtomicU32,
}

impl Work for Item {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    fn run(self: Arc<Self>) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }
}

/// M3, R42, QUE-2, QUE-4: of two first users one makes the queue that both use; what either queued has run when the queue is closed. The
/// workers of a queue that lost have ended, or the checker would find them asleep for ever.
#[test]
fn m3_r42_two_first_users_share_one_queue() {
    let mut builder = loom::model::Builder::new();
    // Up to four threads, two users and a worker of either queue: in every order with no bound they take too long.
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let lazy = Arc::new(LazyQueue::new(|| WorkQueue::new("w", 1)));
        let items = [0, 1].map(|_| Arc::new(Item { link: WorkLink::new(), runs: AtomicU32::new(0) }));
        let other = {
            let (lazy, item) = (lazy.clone(), items[0].clone());
            thread::spawn(move || {
                let queue = lazy.get().unwrap();
                queue.queue(item);
                queue
            })
        };
        let mine = lazy.get().unwrap();
        mine.queue(items[1].clone());
        let others = other.join().unwrap();
        assert!(Arc::ptr_eq(&mine, &others), "two queues");
        drop((mine, others));
        lazy.close();
        assert!(items.iter().all(|item| item.runs.load(Ordering::Relaxed) == 1), "lost, or run twice");
    });
}
