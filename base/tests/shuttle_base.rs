//! Larger models on the real types under many random schedules: several waiters, writers, queues and a whole RAM disk.
//!
//! `RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo test --release -p base --features testing --test shuttle_base`
//! A failure prints the command that plays it again.
#![cfg(shuttle)]
use base::sched::{self, Task};
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, Mutex, Rank, RwLock, WaitQueue};
use base::workqueue::{Work, WorkLink, WorkQueue};

fn spawn(body: impl FnOnce() + Send + 'static) -> Task {
    sched::spawn("t", Box::new(body)).unwrap()
}

#[test]
fn permits_waiters_and_deadlines() {
    base::explore!(|| {
        let queue = Arc::new(WaitQueue::new());
        let permits = Arc::new(AtomicUsize::new(0));
        let take = |p: &AtomicUsize| p.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok();
        let waiters: Vec<Task> = (0..3)
            .map(|i| {
                let (queue, permits) = (queue.clone(), permits.clone());
                spawn(move || {
                    // The first one gives up after a while; its wake-up must not be lost for the others.
                    if i == 0 {
                        let deadline_ns = base::time::now_ns() + 1000;
                        if queue.wait_until_deadline(deadline_ns, || take(&permits)) {
                            permits.fetch_add(1, Ordering::Release);
                            queue.wake_one();
                        }
                    } else {
                        queue.wait_until(|| take(&permits));
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            permits.fetch_add(1, Ordering::Release);
            queue.wake_one();
        }
        waiters.iter().for_each(Task::join);
        assert_eq!((permits.load(Ordering::Relaxed), queue.waiters()), (0, 0));
    });
}

#[test]
fn locks_let_everybody_through() {
    base::explore!(|| {
        let lock = Arc::new(RwLock::new(Rank::Inode, 0));
        let mutex = Arc::new(Mutex::new(Rank::Extent, 0));
        let tasks: Vec<Task> = (0..4)
            .map(|i| {
                let (lock, mutex) = (lock.clone(), mutex.clone());
                spawn(move || {
                    for _ in 0..2 {
                        if i < 2 {
                            *lock.write() += 1;
                        } else {
                            let _shared = lock.read();
                            *mutex.lock() += 1;
                        }
                    }
                })
            })
            .collect();
        tasks.iter().for_each(Task::join);
        assert_eq!((*lock.read(), *mutex.lock()), (4, 4));
    });
}

struct Stage {
    link: WorkLink,
    second: Option<Arc<WorkQueue>>,
    runs: Arc<AtomicUsize>,
    stage: AtomicUsize,
}
impl Work for Stage {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    fn run(self: Arc<Self>) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        if self.stage.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(second) = &self.second
        {
            assert!(second.queue(self.clone()));
        }
    }
}

#[test]
fn items_go_through_two_stages() {
    base::explore!(|| {
        let (first, second) = (WorkQueue::new("f1-f4", 2).unwrap(), WorkQueue::new("f5", 1).unwrap());
        let runs = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let (link, stage) = (WorkLink::new(), AtomicUsize::new(0));
            first.queue(Arc::new(Stage { link, second: Some(second.clone()), runs: runs.clone(), stage }));
        }
        first.wait_idle();
        second.wait_idle();
        assert_eq!(runs.load(Ordering::Relaxed), 6);
    });
}

#[cfg(feature = "testing")]
#[test]
fn requests_of_two_tasks_to_a_gated_disk() {
    use base::block::{Bio, BioOp, BlockDevice, Filter, Gate, RamDisk, Sector, Segment, submit_and_wait};
    base::explore!(|| {
        let disk = RamDisk::new(8);
        let gate = Gate::new(disk.clone());
        gate.hold(Filter::any().nth(1));
        let writers: Vec<Task> = (0..2u64)
            .map(|i| {
                let device: Arc<dyn BlockDevice> = gate.clone();
                spawn(move || {
                    let page = base::Page::alloc_zeroed().unwrap();
                    page.write_from(0, &[i as u8 + 1; 512]);
                    let mut bio = Bio::for_wait(BioOp::Write, Sector(i));
                    bio.push(Segment { page, offset: 0, len: 512 });
                    submit_and_wait(&device, bio).unwrap();
                })
            })
            .collect();
        gate.wait_held(1);
        gate.wait_completed(1);
        gate.open();
        writers.iter().for_each(Task::join);
        assert_eq!((disk.peek(0, 1)[0], disk.peek(512, 1)[0]), (1, 2));
    });
}
