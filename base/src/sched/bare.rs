//! The kernel's scheduler: one FIFO of ready tasks, time-outs in order of their deadlines, idling, reaping.
//!
//! # States of a task
//!
//! | state | who refers to it | leaves it by |
//! |---|---|---|
//! | Running | the CPU | park, yield, exit |
//! | Ready | the run queue | being picked |
//! | Parked | a wait queue, the list of time-outs, handles | unpark |
//! | Dead | the list of the dead, then nobody | the reaper |
//!
//! An unpark of a task that is not parked leaves a token, which the next park takes. State and token change under the
//! lock of the run queue only, and that lock masks interrupts: an unpark from an interrupt falls before the park (the token
//! is found) or after it (the task is made ready), never between.
//!
//! # Idling
//!
//! There is no idle task. A task that finds nobody ready halts where it stands; the interrupt that makes a task ready, quite
//! often the same one, returns there. A single task that waits for its disk thus costs no switch of stacks.
//!
//! # The end of a task
//!
//! Nothing on the stack of a dead task is ever dropped, so it must not own anything when it leaves it for the last time. It
//! always hands the CPU to the reaper, which frees the stack at once: memory does not wait for the next task that ends.
//!
//! # Preemption of user mode
//!
//! While more than one task is ready a tick of [`SLICE_NS`] runs; it and every wake-up from an interrupt mark the CPU, and
//! [`preempt_point`] yields when it finds the mark. Without a second ready task there is no tick.
use super::list::{RUN, TIMER, TaskList};
use super::task::{Entry, Inner, Task};
use crate::errno::{Errno, Result};
use crate::sync::Arc;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use hal::sync::{IrqLock, SpinLock};
use hal::thread::{self, Kthread};

/// How long a user thread runs while others are ready.
const SLICE_NS: u64 = 4_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Running,
    Ready,
    Parked,
    Dead,
}

/// The scheduler's part of a task.
pub(super) struct RunState {
    /// Changed under the lock of the run queue only.
    status: SpinLock<(Status, /* token */ bool)>,
    /// When the time-out ends; valid while the task stands in the list of time-outs.
    deadline_ns: AtomicU64,
    /// The stack and the saved registers. The thread refers back to the task; the reaper breaks the circle.
    thread: SpinLock<Option<Arc<Kthread>>>,
}

impl RunState {
    pub(super) fn new() -> Self {
        RunState {
            status: SpinLock::new((Status::Ready, false)),
            deadline_ns: AtomicU64::new(u64::MAX),
            thread: SpinLock::new(None),
        }
    }

    fn take_thread_if_unshared(&self) -> Option<Arc<Kthread>> {
        let mut thread = self.thread.lock();
        let unshared = thread.as_ref().is_some_and(|t| Arc::strong_count(t) == 1);
        unshared.then(|| thread.take()).flatten()
    }
}

struct RunQueue {
    ready: TaskList<RUN>,
    timers: TaskList<TIMER>,
    dead: TaskList<RUN>,
    /// When the tick comes, if one is wanted.
    tick_ns: Option<u64>,
    /// The CPU halts: a wake-up needs no tick.
    idle: bool,
}

/// Belongs to the one CPU that runs tasks. With more of them it becomes one for each, and a task stays on the CPU it
/// started on: then no CPU picks a task whose registers another one is still saving.
static QUEUE: IrqLock<RunQueue> = IrqLock::new(RunQueue {
    ready: TaskList::new(),
    timers: TaskList::new(),
    dead: TaskList::new(),
    tick_ns: None,
    idle: false,
});
static STARTED: AtomicBool = AtomicBool::new(false);
static CURRENT_ID: AtomicU64 = AtomicU64::new(0);
static REAPER: spin::Once<(Arc<Inner>, Arc<Kthread>)> = spin::Once::new();

pub(super) fn init() -> Result<()> {
    let boot = Inner::new("boot", Arc::new(()));
    boot.run.status.lock().0 = Status::Running;
    boot.cpu.start(hal::time::now_ns());
    *boot.run.thread.lock() = Some(thread::adopt_boot_thread(boot.clone()));
    CURRENT_ID.store(boot.id(), Ordering::Relaxed);
    STARTED.store(true, Ordering::Release);
    thread::on_exit(exit_current);
    hal::time::on_timer(Box::new(on_timer));
    let reaper = super::spawn("reaper", Box::new(reap_for_ever))?.0;
    let thread = reaper.run.thread.lock().clone().ok_or(Errno::ENOMEM)?;
    REAPER.call_once(|| (reaper, thread));
    Ok(())
}

pub(super) fn start(inner: &Arc<Inner>, entry: Entry) -> Result<()> {
    let kthread = Kthread::new(entry, inner.clone()).ok_or(Errno::ENOMEM)?;
    *inner.run.thread.lock() = Some(kthread);
    QUEUE.lock().make_ready(inner);
    Ok(())
}

pub(super) fn current() -> Arc<Inner> {
    let data = thread::with_current(|k| k.data().clone());
    data.downcast::<Inner>().expect("every thread carries its task since `init`")
}

pub(super) fn with_inner<R>(f: impl FnOnce(&Inner) -> R) -> Option<R> {
    if !STARTED.load(Ordering::Relaxed) {
        return None;
    }
    thread::with_current(|k| k.data_as::<Inner>().map(f))
}

#[inline]
pub(super) fn current_id() -> u64 {
    CURRENT_ID.load(Ordering::Relaxed)
}

pub(super) fn park() {
    block(None);
}

pub(super) fn park_until(deadline_ns: u64) {
    block(Some(deadline_ns));
}

fn block(deadline_ns: Option<u64>) {
    let me = current();
    hal::irq::with_disabled(|| {
        let mut queue = QUEUE.lock();
        if !queue.may_park(&me) {
            return;
        }
        if let Some(deadline_ns) = deadline_ns
            && !queue.add_timeout(&me, deadline_ns)
        {
            return;
        }
        me.run.status.lock().0 = Status::Parked;
        drop(queue);
        run_next(&me);
        if deadline_ns.is_some() && TaskList::<TIMER>::is_linked(&me) {
            QUEUE.lock().timers.remove(&me);
        }
    });
}

pub(super) fn unpark(inner: &Arc<Inner>) {
    let mut queue = QUEUE.lock();
    let mut status = inner.run.status.lock();
    match status.0 {
        Status::Parked => {
            drop(status);
            queue.make_ready(inner);
        }
        Status::Running | Status::Ready => status.1 = true,
        Status::Dead => {}
    }
}

pub(super) fn yield_now() {
    let me = current();
    hal::irq::with_disabled(|| {
        let mut queue = QUEUE.lock();
        if queue.ready.is_empty() {
            return;
        }
        queue.make_ready(&me);
        drop(queue);
        run_next(&me);
    });
}

#[inline]
pub(super) fn preempt_point() {
    if thread::take_need_resched() {
        super::yield_now();
    }
}

impl RunQueue {
    /// Takes the token if there is one: then the task doesn't park.
    fn may_park(&self, me: &Inner) -> bool {
        !core::mem::take(&mut me.run.status.lock().1)
    }

    /// Appends the task to those that are ready.
    fn make_ready(&mut self, inner: &Arc<Inner>) {
        inner.run.status.lock().0 = Status::Ready;
        self.ready.push_back(inner.clone());
        if hal::irq::in_interrupt() {
            thread::set_need_resched();
        }
        if !self.idle {
            self.want_tick();
        }
    }

    fn want_tick(&mut self) {
        if self.tick_ns.is_none() {
            self.tick_ns = Some(hal::time::now_ns().saturating_add(SLICE_NS));
            self.set_timer();
        }
    }

    /// Puts the task among the time-outs; false if the deadline is past.
    fn add_timeout(&mut self, me: &Arc<Inner>, deadline_ns: u64) -> bool {
        if deadline_ns <= hal::time::now_ns() {
            return false;
        }
        me.run.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        self.timers.insert_before(me.clone(), |other| other.run.deadline_ns.load(Ordering::Relaxed) > deadline_ns);
        self.set_timer();
        true
    }

    /// Sets the hardware to the next moment of interest.
    fn set_timer(&self) {
        let first_ns = self.timers.front().map_or(u64::MAX, |t| t.run.deadline_ns.load(Ordering::Relaxed));
        hal::time::set_deadline(first_ns.min(self.tick_ns.unwrap_or(u64::MAX)));
    }

    /// Takes the next ready task and lets it run.
    fn pick(&mut self) -> Option<Task> {
        let next = self.ready.pop_front();
        self.idle = next.is_none();
        if let Some(next) = &next {
            next.0.run.status.lock().0 = Status::Running;
            if !self.ready.is_empty() {
                self.want_tick();
            }
        }
        next
    }
}

/// Runs the next ready task, which may be the current one, `me`, again; halts while there is none. Interrupts are off,
/// before and after.
fn run_next(me: &Inner) {
    let mut now_ns = hal::time::now_ns();
    me.cpu.stop(now_ns);
    let next = loop {
        // The guard must be gone before the halt.
        let picked = QUEUE.lock().pick();
        match picked {
            Some(next) => break next,
            None => {
                hal::irq::wait_for_interrupt();
                let woken_ns = hal::time::now_ns();
                super::cputime::was_idle(woken_ns - now_ns);
                now_ns = woken_ns;
            }
        }
    };
    next.0.cpu.start(now_ns);
    if next.id() == me.id() {
        return;
    }
    let thread = next.0.run.thread.lock().clone().expect("a task that is ready has a thread");
    CURRENT_ID.store(next.id(), Ordering::Relaxed);
    crate::stats::count(crate::stats::Counter::Switches);
    drop(next);
    thread::switch_to(thread);
    CURRENT_ID.store(me.id(), Ordering::Relaxed);
}

/// The timer interrupt: ends the time-outs that are due and marks the CPU when a slice is over.
fn on_timer() {
    let now_ns = hal::time::now_ns();
    with_inner(|me| me.cpu.tick(hal::irq::found_user()));
    let mut queue = QUEUE.lock();
    while queue.timers.front().is_some_and(|t| t.run.deadline_ns.load(Ordering::Relaxed) <= now_ns) {
        let Some(due) = queue.timers.pop_front() else { break };
        if due.0.run.status.lock().0 == Status::Parked {
            queue.make_ready(&due.0);
        }
    }
    if queue.tick_ns.is_some_and(|tick_ns| tick_ns <= now_ns) {
        let others = !queue.ready.is_empty() && !queue.idle;
        queue.tick_ns = others.then(|| now_ns.saturating_add(SLICE_NS));
        if others {
            thread::set_need_resched();
        }
    }
    queue.set_timer();
}

/// The last act of a task, on its own stack, which the reaper frees.
fn exit_current() -> ! {
    hal::irq::with_disabled(|| {
        let (reaper, thread) = REAPER.get().expect("the reaper starts before any task can end");
        {
            let me = current();
            let now_ns = hal::time::now_ns();
            me.cpu.stop(now_ns);
            reaper.cpu.start(now_ns);
            let mut queue = QUEUE.lock();
            me.run.status.lock().0 = Status::Dead;
            queue.dead.push_back(me);
            if TaskList::<RUN>::is_linked(reaper) {
                queue.ready.remove(reaper);
            }
            reaper.run.status.lock().0 = Status::Running;
        }
        CURRENT_ID.store(reaper.id(), Ordering::Relaxed);
        crate::stats::count(crate::stats::Counter::Switches);
        thread::switch_to(thread.clone());
    });
    unreachable!("nobody switches back to a dead task");
}

/// Frees the stacks of dead tasks. A thread is let go once the reaper holds the only reference: a CPU that has only just
/// left the stack keeps one until it is on the next.
fn reap_for_ever() {
    loop {
        let mut referred = TaskList::<RUN>::new();
        loop {
            let next = QUEUE.lock().dead.pop_front();
            let Some(dead) = next else { break };
            if let Some(thread) = dead.0.run.take_thread_if_unshared() {
                drop(thread);
            } else {
                referred.push_back(dead.0);
            }
        }
        while let Some(dead) = referred.pop_front() {
            QUEUE.lock().dead.push_back(dead.0);
        }
        super::park();
    }
}
