//! Tests of a disk that several CPUs use: after those of `ktests`, which have reset it, and with the other CPUs running. They want the
//! same disk. On a machine with one CPU they hold as well, and show less.
use crate::ktests::{SECTORS_PER_PAGE, disk_or_skip, page_of};
use crate::pci::{Disk, WATCH_NS};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::{Bio, BioEnd, BioOp, BlockDevice, Sector, Segment, submit_and_wait};
use base::sched::{self, Task};
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, IrqLock, WaitQueue};
use base::workqueue::{Work, WorkLink, WorkQueue};
use base::{PAGE_SIZE, Page};
use hal::bare::smp;

const NOWHERE: usize = usize::MAX;
const ROUNDS_OF_KICKS: u64 = 20;

fn start(cpus: u32, body: impl FnOnce() + Send + 'static) -> Task {
    let there = move || {
        go_to(cpus);
        body();
    };
    sched::spawn("submitter", Box::new(there)).expect("memory")
}

/// The task goes on where it may run from now on.
fn go_to(cpus: u32) {
    sched::current().set_allowed_cpus(cpus);
    sched::yield_now();
}

fn bio_of(op: BioOp, sector: u64, page: &Page, end: Arc<dyn BioEnd>) -> Box<Bio> {
    let mut bio = Bio::new(op, Sector(sector), end);
    bio.push(Segment { page: page.clone(), offset: 0, len: PAGE_SIZE as u32 });
    bio
}

/// A request that notes the CPU of its interrupt and that of its finish, which is queued there.
struct Visitor {
    queue: Arc<WorkQueue>,
    link: WorkLink,
    interrupted: AtomicUsize,
    finished: AtomicUsize,
    ended: IrqLock<Option<Box<Bio>>>,
    wait: WaitQueue,
}

impl BioEnd for Visitor {
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        assert!(hal::irq::in_interrupt(), "the device's task found it first");
        bio.chain(&mut self.ended.lock());
        self.interrupted.store(smp::cpu(), Ordering::Relaxed);
        self.queue.queue(self.clone());
    }
}

impl Work for Visitor {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    fn run(self: Arc<Self>) {
        self.finished.store(smp::cpu(), Ordering::Release);
        self.wait.wake_all();
    }
}

/// Submits a read on one CPU and kicks on another or the same: the CPUs of the interrupt and of the finish.
fn visit(vda: &Arc<Disk>, queue: &Arc<WorkQueue>, submits: usize, kicks: usize) -> (usize, usize) {
    let visitor = Arc::new(Visitor {
        queue: queue.clone(),
        link: WorkLink::new(),
        interrupted: AtomicUsize::new(NOWHERE),
        finished: AtomicUsize::new(NOWHERE),
        ended: IrqLock::new(None),
        wait: WaitQueue::new(),
    });
    let (mine, disk) = (visitor.clone(), vda.clone());
    let submitter = start(1 << submits, move || {
        assert_eq!(smp::cpu(), submits);
        bio_of(BioOp::Read, 0, &page_of(0), mine.clone()).submit_to(&*disk);
        go_to(1 << kicks);
        assert_eq!(smp::cpu(), kicks);
        disk.kick();
        mine.wait.wait_until(|| mine.finished.load(Ordering::Acquire) != NOWHERE);
    });
    submitter.join();
    drop(visitor.ended.lock().take());
    (visitor.interrupted.load(Ordering::Relaxed), visitor.finished.load(Ordering::Relaxed))
}

hal::ktest! {
    fn there_is_a_queue_for_each_cpu() {
        let Some(vda) = disk_or_skip() else { return };
        assert_eq!(vda.queues(), smp::online());
    }

    fn a_request_completes_and_is_finished_on_the_cpu_that_submitted_it() {
        let Some(vda) = disk_or_skip() else { return };
        let queue = WorkQueue::per_cpu("finish").expect("memory");
        for round in 0..10 * smp::online() {
            let cpu = round % smp::online();
            assert_eq!(visit(vda, &queue, cpu, cpu), (cpu, cpu));
        }
    }

    /// All queues at once, by tasks that stay and by tasks that go where there is room. What each has written it reads back.
    fn all_cpus_write_and_read_at_once() {
        let Some(vda) = disk_or_skip() else { return };
        const ROUNDS: u8 = 60;
        let tasks: Vec<Task> = (0..2 * smp::online() as u64)
            .map(|n| {
                let device: Arc<dyn BlockDevice> = vda.clone();
                let cpus = if n < smp::online() as u64 { 1 << n } else { u32::MAX };
                start(cpus, move || {
                    let sector = SECTORS_PER_PAGE * n;
                    let run = |op: BioOp, page: &Page| {
                        let mut bio = Bio::for_wait(op, Sector(sector));
                        bio.push(Segment { page: page.clone(), offset: 0, len: PAGE_SIZE as u32 });
                        submit_and_wait(&device, bio).map(drop).expect("the disk works");
                    };
                    for round in 1..=ROUNDS {
                        run(BioOp::Write, &page_of(round));
                        sched::yield_now();
                        let (back, mut bytes) = (page_of(0), [0; PAGE_SIZE]);
                        run(BioOp::Read, &back);
                        back.read_into(0, &mut bytes);
                        assert!(bytes.iter().all(|&byte| byte == round), "round {round} of task {n}");
                    }
                })
            })
            .collect();
        tasks.iter().for_each(Task::join);
        assert_eq!(vda.in_flight(), 0);
    }

    /// The device hears of it at once: what the disk's task makes up for, it would find in its look, and not in an interrupt of that CPU
    /// within the time of a few rounds.
    fn a_kick_follows_the_task_to_another_cpu() {
        let Some(vda) = disk_or_skip() else { return };
        let queue = WorkQueue::per_cpu("finish").expect("memory");
        let (last, begin_ns) = (smp::online() - 1, base::time::now_ns());
        for _ in 0..ROUNDS_OF_KICKS {
            assert_eq!(visit(vda, &queue, last, 0), (last, last));
        }
        assert!(base::time::now_ns() - begin_ns < ROUNDS_OF_KICKS * WATCH_NS / 2, "the disk's task had to kick");
    }
}
