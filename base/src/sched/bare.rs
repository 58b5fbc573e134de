//! The kernel's scheduler: one FIFO of ready tasks for all CPUs, time-outs, idling, reaping.
//!
//! # States of a task
//!
//! | state | who refers to it | leaves it by |
//! |---|---|---|
//! | Running | a CPU | park, yield, exit |
//! | Ready | the run queue | being picked |
//! | Parked | a wait queue, a list of time-outs, handles | unpark |
//! | Dead | a list of the dead, then nobody | the reaper |
//!
//! An unpark of a task that is not parked leaves a token, which the next park takes. State and token change under the
//! lock of the run queue only, and that lock masks interrupts: an unpark from an interrupt or another CPU falls before the
//! park (the token is found) or after it (the task is made ready), never between.
//!
//! # CPUs
//!
//! The queue is one for all, under one lock: with up to eight CPUs and a kernel that sleeps rather than spins, it is short and
//! seldom contended, and no CPU can stand idle while a task waits in another one's queue. What a CPU has of its own are its
//! time-outs, its dead, and a reaper. A task is *on* a CPU from being picked there until that CPU picks another one, so also
//! while it is parked and the CPU halts on its stack. Only that CPU may pick it then. Once it is on none, any CPU may, and at
//! most waits until its registers are saved (`hal::thread::switch_to`).
//!
//! Who makes a task ready sees to it that a CPU looks: the one it is on; else one that halts; else this one, by a tick. A CPU
//! marks itself as halting under the lock and with interrupts off, and halts and unmasks in one step, so that the interrupt
//! that calls it is never lost.
//!
//! # Idling
//!
//! There is no idle task. A task that finds nobody ready halts where it stands; the interrupt that makes a task ready, quite
//! often the same one, returns there. A single task that waits for its disk thus costs no switch of stacks. Only when it must go
//! on elsewhere ([`set_allowed`]) the CPU leaves it for its reaper, which then halts.
//!
//! # The end of a task
//!
//! Nothing on the stack of a dead task is ever dropped, so it must not own anything when it leaves it for the last time. It
//! always hands the CPU to the CPU's reaper, which frees the stack at once: memory does not wait for the next task that ends.
//!
//! # Preemption of user mode
//!
//! While more than one task is ready a tick of [`SLICE_NS`] runs; it and every wake-up from an interrupt mark the CPU, and
//! [`preempt_point`] yields when it finds the mark. Without a second ready task there is no tick.
use super::list::{RUN, TIMER, TaskList};
use super::task::{Entry, Inner};
use crate::errno::{Errno, Result};
use crate::sync::Arc;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hal::bare::smp::{self, MAX_CPUS};
use hal::sync::{IrqLock, SpinLock};
use hal::thread::{self, Kthread};

/// How long a user thread runs while others are ready.
const SLICE_NS: u64 = 4_000_000;
/// A CPU whose timer is overdue by this much is reported.
const OVERDUE_NS: u64 = 10_000_000_000;
/// Stands for no CPU.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Running,
    Ready,
    Parked,
    Dead,
}

/// The scheduler's part of a task. Everything but `allowed` changes under the lock of the run queue only.
pub(super) struct RunState {
    status: SpinLock<(Status, /* token */ bool)>,
    /// The CPU it is on, or [`NOWHERE`].
    on: AtomicU32,
    /// The CPUs that may run it, a bit for each.
    allowed: AtomicU32,
    /// When the time-out ends; valid while the task stands in a list of time-outs.
    deadline_ns: AtomicU64,
    /// The CPU in whose list of time-outs it stands.
    timer_cpu: AtomicU32,
    /// The stack and the saved registers. The thread refers back to the task; the reaper breaks the circle.
    thread: SpinLock<Option<Arc<Kthread>>>,
}

impl RunState {
    /// What a task starts with; it may run where the one that makes it may.
    pub(super) fn new() -> Self {
        let allowed = with_inner(|t| t.run.allowed.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        RunState {
            status: SpinLock::new((Status::Ready, false)),
            on: AtomicU32::new(NOWHERE),
            allowed: AtomicU32::new(allowed),
            deadline_ns: AtomicU64::new(u64::MAX),
            timer_cpu: AtomicU32::new(0),
            thread: SpinLock::new(None),
        }
    }

    fn take_thread_if_unshared(&self) -> Option<Arc<Kthread>> {
        let mut thread = self.thread.lock();
        let unshared = thread.as_ref().is_some_and(|t| Arc::strong_count(t) == 1);
        unshared.then(|| thread.take()).flatten()
    }

    fn on(&self) -> u32 {
        self.on.load(Ordering::Relaxed)
    }

    fn is_allowed(&self, cpu: usize) -> bool {
        self.allowed.load(Ordering::Relaxed) & 1 << cpu != 0
    }

    /// Whether `cpu` may pick it.
    fn fits(&self, cpu: usize) -> bool {
        let on = self.on();
        (on == NOWHERE || on == cpu as u32) && self.is_allowed(cpu)
    }

    /// It runs on `cpu` from now on.
    fn run_on(&self, cpu: usize) {
        self.status.lock().0 = Status::Running;
        self.on.store(cpu as u32, Ordering::Relaxed);
    }
}

/// What a CPU has of its own.
struct Cpu {
    timers: TaskList<TIMER>,
    dead: TaskList<RUN>,
    /// When the tick comes, if one is wanted.
    tick_ns: Option<u64>,
    /// When the hardware's timer goes off; `u64::MAX` for never.
    timer_ns: u64,
}

struct RunQueue {
    ready: TaskList<RUN>,
    cpus: [Cpu; MAX_CPUS],
    /// The CPUs that halt and that nobody has called yet, a bit for each.
    idle: u32,
}

static QUEUE: IrqLock<RunQueue> = IrqLock::new(RunQueue {
    ready: TaskList::new(),
    cpus: [const { Cpu { timers: TaskList::new(), dead: TaskList::new(), tick_ns: None, timer_ns: u64::MAX } };
        MAX_CPUS],
    idle: 0,
});
static REAPERS: [spin::Once<(Arc<Inner>, Arc<Kthread>)>; MAX_CPUS] = [const { spin::Once::new() }; MAX_CPUS];

pub(super) fn init() -> Result<()> {
    adopt("boot");
    thread::on_exit(exit_current);
    hal::time::on_timer(Box::new(on_timer));
    let reaper = super::spawn("reaper", Box::new(|| reap_for_ever()))?.0;
    reaper.run.allowed.store(1, Ordering::Relaxed);
    let thread = reaper.run.thread.lock().clone().ok_or(Errno::ENOMEM)?;
    REAPERS[0].call_once(|| (reaper, thread));
    Ok(())
}

/// Makes what runs on this CPU its first task.
fn adopt(name: &str) -> Arc<Inner> {
    let task = Inner::new(name, Arc::new(()));
    task.run.run_on(smp::cpu());
    task.cpu.start(hal::time::now_ns());
    *task.run.thread.lock() = Some(thread::adopt_boot_thread(task.clone()));
    thread::set_tag(task.id());
    task
}

pub(super) fn start_other_cpus() -> usize {
    smp::start_others(|| {
        let cpu = smp::cpu();
        let me = hal::irq::with_disabled(|| adopt("reaper"));
        me.run.allowed.store(1 << cpu, Ordering::Relaxed);
        REAPERS[cpu].call_once(|| (me, thread::current()));
        reap_for_ever()
    })
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
    if thread::is_started() { thread::with_current(|k| k.data_as::<Inner>().map(f)) } else { None }
}

#[inline]
pub(super) fn current_id() -> u64 {
    thread::tag()
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
        let next = queue.pick(&me);
        drop(queue);
        run(next, &me);
        if deadline_ns.is_some() && TaskList::<TIMER>::is_linked(&me) {
            let cpu = me.run.timer_cpu.load(Ordering::Relaxed) as usize;
            QUEUE.lock().cpus[cpu].timers.remove(&me);
        }
    });
}

pub(super) fn unpark(inner: &Arc<Inner>) {
    wake(inner, false);
}

pub(super) fn interrupt(inner: &Arc<Inner>) {
    wake(inner, true);
}

/// Ends the task's current or next park. `look` also calls it out of user mode, should it be there.
fn wake(inner: &Arc<Inner>, look: bool) {
    let mut queue = QUEUE.lock();
    let mut status = inner.run.status.lock();
    match status.0 {
        Status::Parked => {
            drop(status);
            queue.make_ready(inner);
        }
        Status::Running | Status::Ready => {
            status.1 = true;
            if look && status.0 == Status::Running {
                call(inner.run.on() as usize);
            }
        }
        Status::Dead => {}
    }
}

/// Has `cpu`, which runs a task, come out of user mode and yield.
fn call(cpu: usize) {
    if cpu == smp::cpu() {
        thread::set_need_resched();
    } else {
        smp::reschedule(cpu);
    }
}

pub(super) fn cpu() -> usize {
    smp::cpu()
}

pub(super) fn cpus() -> usize {
    smp::online()
}

pub(super) fn allowed(inner: &Inner) -> u32 {
    inner.run.allowed.load(Ordering::Relaxed)
}

pub(super) fn set_allowed(inner: &Arc<Inner>, allowed: u32) {
    let mut queue = QUEUE.lock();
    inner.run.allowed.store(allowed, Ordering::Relaxed);
    let status = inner.run.status.lock().0;
    match status {
        Status::Running if !inner.run.is_allowed(inner.run.on() as usize) => call(inner.run.on() as usize),
        Status::Ready => queue.tell(inner),
        Status::Running | Status::Parked | Status::Dead => {}
    }
}

pub(super) fn yield_now() {
    let me = current();
    hal::irq::with_disabled(|| {
        let mut queue = QUEUE.lock();
        if queue.ready.is_empty() && me.run.is_allowed(smp::cpu()) {
            return;
        }
        queue.make_ready(&me);
        let next = queue.pick(&me);
        drop(queue);
        run(next, &me);
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
        self.tell(inner);
    }

    /// Sees to it that a CPU looks at the queue, where `task` has just come.
    fn tell(&mut self, task: &Inner) {
        let me = smp::cpu();
        let allowed = match task.run.on() {
            NOWHERE => task.run.allowed.load(Ordering::Relaxed),
            // It halts there, or is just about to look.
            cpu => 1 << cpu,
        };
        let (here, halting) = (allowed & 1 << me != 0, self.idle & allowed);
        if halting & 1 << me != 0 {
            // This is an interrupt of a CPU that halts: it looks as soon as the interrupt returns.
        } else if halting != 0 {
            let cpu = halting.trailing_zeros() as usize;
            self.idle &= !(1 << cpu);
            smp::reschedule(cpu);
        } else if here {
            if hal::irq::in_interrupt() {
                thread::set_need_resched();
            }
            self.want_tick(me);
        } else if task.run.on() == NOWHERE {
            smp::reschedule((allowed & ((1 << smp::online()) - 1)).trailing_zeros() as usize);
        }
    }

    fn want_tick(&mut self, me: usize) {
        if self.cpus[me].tick_ns.is_none() {
            self.cpus[me].tick_ns = Some(hal::time::now_ns().saturating_add(SLICE_NS));
            self.cpus[me].set_timer();
        }
    }

    /// Puts the task among the time-outs of this CPU; false if the deadline is past.
    fn add_timeout(&mut self, me: &Arc<Inner>, deadline_ns: u64) -> bool {
        if deadline_ns <= hal::time::now_ns() {
            return false;
        }
        let cpu = smp::cpu();
        me.run.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        me.run.timer_cpu.store(cpu as u32, Ordering::Relaxed);
        let timers = &mut self.cpus[cpu].timers;
        timers.insert_before(me.clone(), |other| other.run.deadline_ns.load(Ordering::Relaxed) > deadline_ns);
        self.cpus[cpu].set_timer();
        true
    }

    /// Takes the next task that this CPU may run; `me` is the one it leaves, unless that is the next. `None`: it shall halt.
    fn pick(&mut self, me: &Arc<Inner>) -> Option<Arc<Inner>> {
        let cpu = smp::cpu();
        let now_ns = hal::time::now_ns();
        me.cpu.stop(now_ns);
        let next = self.ready.pop_first(|task| task.run.fits(cpu)).map(|task| task.0);
        // It is ready, and may not run here: it has to be left, so that another CPU may take it.
        let next = next.or_else(|| TaskList::<RUN>::is_linked(me).then(|| self.take_reaper(cpu).clone()));
        let Some(next) = next else {
            self.idle |= 1 << cpu;
            return None;
        };
        self.idle &= !(1 << cpu);
        next.run.run_on(cpu);
        next.cpu.start(now_ns);
        if !Arc::ptr_eq(&next, me) {
            me.run.on.store(NOWHERE, Ordering::Relaxed);
            if TaskList::<RUN>::is_linked(me) && smp::online() > 1 {
                self.tell(me);
            }
        }
        if !self.ready.is_empty() {
            self.want_tick(cpu);
        }
        Some(next)
    }

    /// The reaper of this CPU, which runs nowhere else, taken out of wherever it waits.
    fn take_reaper(&mut self, cpu: usize) -> &'static Arc<Inner> {
        let (reaper, _) = REAPERS[cpu].get().expect("the reaper starts before any task can end");
        if TaskList::<RUN>::is_linked(reaper) {
            self.ready.remove(reaper);
        }
        reaper
    }
}

impl Cpu {
    /// Sets the hardware's timer of this CPU to the next moment of interest.
    fn set_timer(&mut self) {
        let first_ns = self.timers.front().map_or(u64::MAX, |t| t.run.deadline_ns.load(Ordering::Relaxed));
        self.timer_ns = first_ns.min(self.tick_ns.unwrap_or(u64::MAX));
        hal::time::set_deadline(self.timer_ns);
    }
}

/// Runs `next`, which may be the current task, `me`, again; halts while there is none. Interrupts are off, before and after.
fn run(mut next: Option<Arc<Inner>>, me: &Arc<Inner>) {
    let next = loop {
        if let Some(next) = next {
            break next;
        }
        let idle_ns = hal::time::now_ns();
        hal::irq::wait_for_interrupt();
        super::cputime::was_idle(hal::time::now_ns() - idle_ns);
        next = QUEUE.lock().pick(me);
    };
    if Arc::ptr_eq(&next, me) {
        return;
    }
    let thread = next.run.thread.lock().clone().expect("a task that is ready has a thread");
    thread::set_tag(next.id());
    crate::stats::count(crate::stats::Counter::Switches);
    drop(next);
    thread::switch_to(thread);
}

/// The timer interrupt: ends the time-outs of this CPU that are due, and marks it when a slice is over.
fn on_timer() {
    let now_ns = hal::time::now_ns();
    with_inner(|me| me.cpu.tick(hal::irq::found_user()));
    let mut queue = QUEUE.lock();
    let me = smp::cpu();
    while queue.cpus[me].timers.front().is_some_and(|t| t.run.deadline_ns.load(Ordering::Relaxed) <= now_ns) {
        let Some(due) = queue.cpus[me].timers.pop_front() else { break };
        if due.0.run.status.lock().0 == Status::Parked {
            queue.make_ready(&due.0);
        }
    }
    if queue.cpus[me].tick_ns.is_some_and(|tick_ns| tick_ns <= now_ns) {
        let others = !queue.ready.is_empty() && queue.idle & 1 << me == 0;
        queue.cpus[me].tick_ns = others.then(|| now_ns.saturating_add(SLICE_NS));
        if others {
            thread::set_need_resched();
        }
    }
    queue.cpus[me].set_timer();
    let overdue = queue.overdue(now_ns);
    drop(queue);
    if let Some(cpu) = overdue {
        smp::report_late(cpu);
    }
}

impl RunQueue {
    /// A CPU that has not taken its timer's interrupt for too long; each is told once.
    fn overdue(&mut self, now_ns: u64) -> Option<usize> {
        let late = |cpu: &Cpu| cpu.timer_ns.saturating_add(OVERDUE_NS) < now_ns;
        let cpu = self.cpus.iter().position(late)?;
        self.cpus[cpu].timer_ns = u64::MAX;
        Some(cpu)
    }
}

/// The last act of a task, on its own stack, which the reaper frees.
fn exit_current() -> ! {
    hal::irq::with_disabled(|| {
        let cpu = smp::cpu();
        let (reaper, thread) = REAPERS[cpu].get().expect("the reaper starts before any task can end");
        {
            let me = current();
            let now_ns = hal::time::now_ns();
            me.cpu.stop(now_ns);
            reaper.cpu.start(now_ns);
            let mut queue = QUEUE.lock();
            me.run.status.lock().0 = Status::Dead;
            me.run.on.store(NOWHERE, Ordering::Relaxed);
            queue.cpus[cpu].dead.push_back(me);
            queue.take_reaper(cpu).run.run_on(cpu);
        }
        thread::set_tag(reaper.id());
        crate::stats::count(crate::stats::Counter::Switches);
        thread::switch_to(thread.clone());
    });
    unreachable!("nobody switches back to a dead task");
}

/// Frees the stacks of the tasks that died on this CPU, which the reaper never leaves. A thread is let go once the reaper holds
/// the only reference: the CPU, which has only just left the stack, keeps one until it is on the next.
fn reap_for_ever() -> ! {
    let cpu = smp::cpu();
    loop {
        let mut referred = TaskList::<RUN>::new();
        loop {
            let next = QUEUE.lock().cpus[cpu].dead.pop_front();
            let Some(dead) = next else { break };
            if let Some(thread) = dead.0.run.take_thread_if_unshared() {
                drop(thread);
            } else {
                referred.push_back(dead.0);
            }
        }
        while let Some(dead) = referred.pop_front() {
            QUEUE.lock().cpus[cpu].dead.push_back(dead.0);
        }
        super::park();
    }
}
