//! Worker threads and the work items they run. Items are embedded in what they finish, so that queueing cannot fail.
//!
//! # States of an item
//!
//! | state | owner of the queue's reference | leaves it by |
//! |---|---|---|
//! | Idle | nobody | [`WorkQueue::queue`]: Queued |
//! | Queued | the list, then the worker that took it out | the worker that begins it: Running |
//! | Running | the worker | the end of `run`: Idle |
//! | Again(queue) | the worker | the end of `run`: Queued, in that queue |
//!
//! An item stands in one list at most (I9) and never runs twice at a time: queued while it runs, it runs again afterwards,
//! in the queue that was named first. A `queue` that is refused because the item is queued already is served by the run that
//! is still to come: that run begins after the refusal, because the step to Running is made under the same lock.
//!
//! # Lists
//!
//! A queue has one list, or one for each CPU ([`WorkQueue::per_cpu`]), and each list has workers of its own. An item goes to the list
//! of the CPU that queues it and stays there until it has run, also when it was queued again meanwhile. So who has seen each
//! list empty once, one after the other, knows that everything has run that was queued before (`wait_idle`).
use crate::errno::Result;
use crate::sched::{self, Task};
use crate::stats::{self, Counter};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, IrqLock, SpinLock, WaitQueue};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Something a worker can run. The item is embedded: queueing allocates nothing and is safe in hard IRQ.
pub trait Work: Send + Sync {
    /// The embedded link.
    fn link(&self) -> &WorkLink;
    /// Runs on a worker task; may sleep. The last reference may fall here.
    fn run(self: Arc<Self>);
}

enum State {
    Idle,
    Queued,
    Running,
    Again(Arc<Shared>),
}

/// The link of a [`Work`] item; an item is queued at most once at a time (SEMANTICS I9).
pub struct WorkLink {
    state: IrqLock<State>,
    /// The next item of the list. Touched under the list's lock only, so this one is never contended.
    next: IrqLock<Option<Arc<dyn Work>>>,
}

impl WorkLink {
    /// An unqueued link.
    pub fn new() -> Self {
        WorkLink { state: IrqLock::new(State::Idle), next: IrqLock::new(None) }
    }

    /// Leaves Running: to Idle, or to Queued in the queue that is returned.
    fn end_run(&self) -> Option<Arc<Shared>> {
        let mut state = self.state.lock();
        match core::mem::replace(&mut *state, State::Idle) {
            State::Again(queue) => {
                *state = State::Queued;
                Some(queue)
            }
            _ => None,
        }
    }
}
impl Default for WorkLink {
    fn default() -> Self {
        Self::new()
    }
}

/// Work items and worker tasks of its own: a FIFO (SEMANTICS QUE-6), or one for each CPU. Dropping it waits until it is empty and its
/// workers have ended, except on one of those workers; then they end by themselves.
pub struct WorkQueue {
    shared: Arc<Shared>,
    workers: SpinLock<Vec<Task>>,
}

impl WorkQueue {
    /// Starts `workers` worker tasks named `name` on one list, on whatever CPU. Errors: `ENOMEM`. Task context.
    pub fn new(name: &str, workers: usize) -> Result<Arc<WorkQueue>> {
        let queue = WorkQueue::with_lists(1)?;
        (0..workers).try_for_each(|_| queue.start_worker(name, 0).map(drop))?;
        Ok(queue)
    }

    /// Starts a worker task named `name` on each of the CPUs that run tasks now: it runs what is queued there. Errors: `ENOMEM`. Task context.
    /// In a model, whose tasks are on no CPU, two workers share a list.
    pub fn per_cpu(name: &str) -> Result<Arc<WorkQueue>> {
        if cfg!(shuttle) {
            return WorkQueue::new(name, 2);
        }
        WorkQueue::for_cpus(name, sched::cpus())
    }

    /// As [`Self::per_cpu`] with the first `cpus` CPUs; the others share their workers.
    fn for_cpus(name: &str, cpus: usize) -> Result<Arc<WorkQueue>> {
        let queue = WorkQueue::with_lists(cpus)?;
        for cpu in 0..cpus {
            let worker = queue.start_worker(name, cpu)?;
            if cpus > 1 {
                worker.set_allowed_cpus(1 << cpu);
            }
        }
        Ok(queue)
    }

    fn with_lists(lists: usize) -> Result<Arc<WorkQueue>> {
        crate::memory::may_allocate()?;
        Ok(Arc::new(WorkQueue { shared: Arc::new(Shared::new(lists)), workers: SpinLock::new(Vec::new()) }))
    }

    /// On failure the caller drops the queue, which ends the workers that did start.
    fn start_worker(&self, name: &str, list: usize) -> Result<Task> {
        let shared = self.shared.clone();
        let worker = sched::spawn(name, Box::new(move || shared.work_until_closed(&shared.lines[list])))?;
        self.workers.lock().push(worker.clone());
        Ok(worker)
    }

    /// Queues `work`; false if it was queued already, and then the reference is dropped here: who calls from an interrupt
    /// keeps another one that falls in a task. Any context; no allocation, no free.
    pub fn queue(&self, work: Arc<dyn Work>) -> bool {
        self.queue_in(self.shared.here(), work)
    }

    #[inline]
    fn queue_in(&self, line: &Line, work: Arc<dyn Work>) -> bool {
        let mut state = work.link().state.lock();
        match *state {
            State::Queued | State::Again(_) => return false,
            State::Running => {
                *state = State::Again(self.shared.clone());
                return true;
            }
            State::Idle => *state = State::Queued,
        }
        drop(state);
        line.push(work);
        true
    }

    /// Sleeps until every item that was queued before has run. Task context, not on a worker of this queue.
    pub fn wait_idle(&self) {
        for line in &self.shared.lines {
            self.shared.idle.wait_until(|| line.list.lock().unfinished == 0);
        }
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        for line in &self.shared.lines {
            line.more.wake_all();
        }
        let workers = core::mem::take(&mut *self.workers.lock());
        let me = sched::current_id();
        if workers.iter().all(|w| w.id() != me) {
            workers.iter().for_each(Task::join);
        }
    }
}

struct List {
    head: Option<Arc<dyn Work>>,
    tail: Option<Arc<dyn Work>>,
    /// Items in the list and items that run.
    unfinished: usize,
}

/// A list and those who wait for its items. Each on cache lines of its own.
#[repr(align(128))]
struct Line {
    list: IrqLock<List>,
    more: WaitQueue,
}

/// What the workers keep alive.
struct Shared {
    lines: Box<[Line]>,
    idle: WaitQueue,
    closed: AtomicBool,
}

impl Shared {
    fn new(lists: usize) -> Self {
        let line =
            |_| Line { list: IrqLock::new(List { head: None, tail: None, unfinished: 0 }), more: WaitQueue::new() };
        Shared { lines: (0..lists).map(line).collect(), idle: WaitQueue::new(), closed: AtomicBool::new(false) }
    }

    /// The list of this CPU.
    #[inline]
    fn here(&self) -> &Line {
        match &*self.lines {
            [only] => only,
            many => &many[sched::cpu() % many.len()],
        }
    }

    fn work_until_closed(self: &Arc<Self>, line: &Line) {
        loop {
            let mut taken = None;
            line.more.wait_until(|| {
                // In this order: whoever sees the end sees everything that was queued before it.
                let closed = self.closed.load(Ordering::Acquire);
                taken = line.pop();
                taken.is_some() || closed
            });
            match taken {
                Some(work) => self.run(line, work),
                None => return,
            }
        }
    }

    fn run(self: &Arc<Self>, line: &Line, work: Arc<dyn Work>) {
        *work.link().state.lock() = State::Running;
        stats::count(Counter::WorkItems);
        work.clone().run();
        // Before the end is counted: who waits for it may rely on what the item held.
        match work.link().end_run() {
            Some(queue) if Arc::ptr_eq(&queue, self) => line.push(work),
            Some(queue) => queue.here().push(work),
            None => drop(work),
        }
        if line.end_one() {
            self.idle.wake_all();
        }
    }
}

impl Line {
    fn push(&self, work: Arc<dyn Work>) {
        let mut list = self.list.lock();
        list.unfinished += 1;
        match list.tail.replace(work.clone()) {
            Some(tail) => *tail.link().next.lock() = Some(work),
            None => list.head = Some(work),
        }
        drop(list);
        self.more.wake_one();
    }

    fn pop(&self) -> Option<Arc<dyn Work>> {
        let mut list = self.list.lock();
        let work = list.head.take()?;
        list.head = work.link().next.lock().take();
        if list.head.is_none() {
            // Not the last reference: `work` is one more.
            list.tail = None;
        }
        Some(work)
    }

    /// An item has run; whether it was the last one.
    fn end_one(&self) -> bool {
        let mut list = self.list.lock();
        list.unfinished -= 1;
        list.unfinished == 0
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use crate::sync::{Mutex, Rank};

    impl WorkQueue {
        /// As [`WorkQueue::queue`] does on the CPU `cpu`.
        fn queue_at(&self, cpu: usize, work: Arc<dyn Work>) -> bool {
            self.queue_in(&self.shared.lines[cpu], work)
        }
    }

    /// Notes its runs; the first one waits until it may go on.
    struct Item {
        link: WorkLink,
        name: u32,
        runs: Arc<Mutex<Vec<u32>>>,
        began: AtomicBool,
        may_end: AtomicBool,
        changed: WaitQueue,
    }
    impl Item {
        fn new(name: u32, runs: &Arc<Mutex<Vec<u32>>>, may_end: bool) -> Arc<Item> {
            Arc::new(Item {
                link: WorkLink::new(),
                name,
                runs: runs.clone(),
                began: AtomicBool::new(false),
                may_end: AtomicBool::new(may_end),
                changed: WaitQueue::new(),
            })
        }
        fn wait_began(&self) {
            self.changed.wait_until(|| self.began.load(Ordering::Acquire));
        }
        fn let_end(&self) {
            self.may_end.store(true, Ordering::Release);
            self.changed.wake_all();
        }
    }
    impl Work for Item {
        fn link(&self) -> &WorkLink {
            &self.link
        }
        fn run(self: Arc<Self>) {
            self.began.store(true, Ordering::Release);
            self.changed.wake_all();
            self.changed.wait_until(|| self.may_end.load(Ordering::Acquire));
            self.runs.lock().push(self.name);
        }
    }
    fn runs() -> Arc<Mutex<Vec<u32>>> {
        Arc::new(Mutex::new(Rank::Leaf, Vec::new()))
    }

    #[test]
    fn an_idle_queue_has_let_go_of_its_items() {
        let (queue, runs) = (WorkQueue::new("work", 1).unwrap(), runs());
        for round in 0..1000 {
            let item = Item::new(round, &runs, true);
            queue.queue(item.clone());
            queue.wait_idle();
            assert_eq!(Arc::strong_count(&item), 1);
        }
    }

    #[test]
    fn items_run_in_order_and_i9_are_queued_once() {
        let (queue, runs) = (WorkQueue::new("work", 1).unwrap(), runs());
        let first = Item::new(1, &runs, false);
        assert!(queue.queue(first.clone()));
        first.wait_began();
        let others = [Item::new(2, &runs, true), Item::new(3, &runs, true)];
        for item in &others {
            assert!(hal::irq::as_interrupt(|| queue.queue(item.clone())));
            assert!(!queue.queue(item.clone()));
        }
        first.let_end();
        queue.wait_idle();
        assert_eq!(*runs.lock(), [1, 2, 3]);
    }

    #[test]
    fn an_item_queued_while_it_runs_runs_again_and_never_twice_at_a_time() {
        let (queue, runs) = (WorkQueue::new("work", 2).unwrap(), runs());
        let item = Item::new(1, &runs, false);
        queue.queue(item.clone());
        item.wait_began();
        assert!(queue.queue(item.clone()) && !queue.queue(item.clone()));
        assert!(runs.lock().is_empty());
        item.let_end();
        queue.wait_idle();
        assert_eq!(*runs.lock(), [1, 1]);
    }

    #[test]
    fn a_running_item_may_go_on_in_another_queue() {
        let (a, b, runs) = (WorkQueue::new("a", 1).unwrap(), WorkQueue::new("b", 1).unwrap(), runs());
        let item = Item::new(1, &runs, false);
        a.queue(item.clone());
        item.wait_began();
        assert!(b.queue(item.clone()));
        item.let_end();
        a.wait_idle();
        b.wait_idle();
        assert_eq!(*runs.lock(), [1, 1]);
    }

    #[test]
    fn dropping_the_queue_waits_for_its_items() {
        let (queue, runs) = (WorkQueue::new("work", 1).unwrap(), runs());
        assert!((0..10).all(|n| queue.queue(Item::new(n, &runs, true))));
        drop(queue);
        assert_eq!(runs.lock().len(), 10);
    }

    /// I9, and the finishes of one file system on several CPUs: an item of one list waits for none of another, runs where it was queued,
    /// and is in no second list meanwhile.
    #[test]
    fn each_cpu_has_a_list_and_a_worker() {
        let (queue, runs) = (WorkQueue::for_cpus("work", 3).unwrap(), runs());
        let held: Vec<_> = (0..3).map(|cpu| Item::new(cpu, &runs, false)).collect();
        for (cpu, item) in held.iter().enumerate() {
            assert!(queue.queue_at(cpu, item.clone()));
            item.wait_began();
            assert!(queue.queue_at(cpu, Item::new(10 + cpu as u32, &runs, true)));
        }
        // Again while it runs: it stays in its list, whoever asks from wherever.
        assert!(queue.queue_at(0, held[2].clone()) && !queue.queue_at(1, held[2].clone()));
        for (done, cpu) in [1, 2, 0].into_iter().enumerate() {
            held[cpu].let_end();
            queue.shared.idle.wait_until(|| queue.shared.lines[cpu].list.lock().unfinished == 0);
            assert_eq!(runs.lock().len(), [2, 5, 7][done]);
        }
        assert_eq!(*runs.lock(), [1, 11, 2, 12, 2, 0, 10]);
    }

    #[test]
    fn idle_means_every_list() {
        let (queue, runs) = (WorkQueue::for_cpus("work", 2).unwrap(), runs());
        let item = Item::new(1, &runs, false);
        queue.queue_at(1, item.clone());
        item.wait_began();
        let (waiter, seen) = (queue.clone(), runs.clone());
        let waits = std::thread::spawn(move || {
            waiter.wait_idle();
            seen.lock().len()
        });
        while queue.shared.idle.waiters() == 0 {
            std::thread::yield_now();
        }
        item.let_end();
        assert_eq!(waits.join().unwrap(), 1);
        // Dropping it waits for each of them too.
        assert!((0..10).all(|n| queue.queue_at(n as usize % 2, Item::new(n, &runs, true))));
        drop(queue);
        assert_eq!(runs.lock().len(), 11);
    }

    #[test]
    #[cfg(feature = "lab")]
    fn a_queue_that_lacks_a_worker_is_no_queue() {
        for make in [WorkQueue::new, WorkQueue::for_cpus] {
            let _plan = crate::memory::fail_allocation(2, 1);
            assert_eq!(make("work", 2).err(), Some(crate::Errno::ENOMEM));
        }
    }
}
