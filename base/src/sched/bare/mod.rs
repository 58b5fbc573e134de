//! The kernel's scheduler: a FIFO of ready tasks for each CPU, time-outs, idling, reaping.
//!
//! | file | idea |
//! |---|---|
//! | `queue` | what a CPU has: ready tasks, time-outs, the dead, its timer; picking the next task |
//! | `place` | where a ready task goes: wake-ups, stealing, balance, affinity |
//! | `watch` | the watchdog: CPUs that don't take their tick, tasks that wait beside a CPU that halts |
//!
//! # States of a task
//!
//! | state | who refers to it | leaves it by |
//! |---|---|---|
//! | Running | a CPU | park, yield, exit |
//! | Ready | a run queue, or who moves it to one | being picked |
//! | Parked | a wait queue, a list of time-outs, handles | unpark |
//! | Dead | a list of the dead, then nobody | the reaper |
//!
//! An unpark of a task that is not parked leaves a token, which the next park takes. State and token change under the lock of the
//! task's home only, and that lock masks interrupts: an unpark from an interrupt or another CPU falls before the park (the token is
//! found) or after it (the task is made ready), never between.
//!
//! # Home, and being on a CPU
//!
//! A task's *home* is the CPU in whose queue it stands or will stand, or on which it was last. The lock of that CPU's queue
//! protects the task's state. The home changes under the lock of the old home only, and while the task stands in no queue. So who
//! has locked a home and finds that it still is the task's home holds the right lock ([`queue::lock_home`]), and nobody ever holds
//! two of these locks: a task on its way is Ready, in no queue, and only its mover puts it into one.
//!
//! A task is *on* a CPU from being picked there until that CPU picks another one, so also while it is parked and the CPU halts on its
//! stack. That CPU is its home all the time, and only that CPU may pick it then. Once it is on none, any CPU may take it, and at most
//! waits until its registers are saved (`hal::thread::switch_to`). It waits only for a CPU that has left the task before: every CPU takes
//! its next task first and then leaves its own, under one lock, so there is no circle of CPUs that wait for each other.
//!
//! # Idling
//!
//! There is no idle task. A task that finds nobody ready halts where it stands; the interrupt that makes a task ready, quite
//! often the same one, returns there. A single task that waits for its disk thus costs no switch of stacks. Only when it must go
//! on elsewhere ([`set_allowed`]) the CPU leaves it for its reaper, which then halts.
//!
//! Before it halts it looks for tasks in the queues of others. Why it misses none, and nobody who makes one ready misses the CPU, is
//! told in `idle`.
//!
//! # The end of a task
//!
//! Nothing on the stack of a dead task is ever dropped, so it must not own anything when it leaves it for the last time. It
//! always hands the CPU to the CPU's reaper, which frees the stack at once: memory does not wait for the next task that ends.
//!
//! # Preemption of user mode
//!
//! While a task waits in a CPU's queue a tick of [`SLICE_NS`] runs there; it and every wake-up from an interrupt mark the CPU, and
//! [`preempt_point`] yields when it finds the mark. Where nobody waits there is no tick.
mod place;
mod queue;
mod watch;

use super::list::{RUN, TIMER, TaskList};
use super::task::{Entry, Inner};
use crate::errno::{Errno, Result};
use crate::sync::Arc;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use hal::bare::smp::{self, MAX_CPUS};
use hal::sync::SpinLock;
use hal::thread::{self, Kthread};
use queue::{CPUS, HALTING, lock, lock_home};

/// How long a user thread runs while others are ready.
const SLICE_NS: u64 = 4_000_000;
/// Stands for no CPU.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Running,
    Ready,
    Parked,
    Dead,
}

/// The scheduler's part of a task. Everything but `deadline_ns` and `timer_cpu` changes under the lock of its home only.
pub(super) struct RunState {
    /// A [`Status`].
    status: AtomicU8,
    /// Ends the next park at once.
    token: AtomicBool,
    /// The CPU whose lock protects this.
    home: AtomicU32,
    /// The CPU it is on, or [`NOWHERE`].
    on: AtomicU32,
    /// The CPUs that may run it, a bit for each.
    allowed: AtomicU32,
    /// Since when it waits, where there are several CPUs; 0: it is told already.
    ready_ns: AtomicU64,
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
        let allowed = with_inner(|t| t.run.allowed()).unwrap_or(u32::MAX);
        RunState {
            status: AtomicU8::new(Status::Ready as u8),
            token: AtomicBool::new(false),
            home: AtomicU32::new(smp::cpu() as u32),
            on: AtomicU32::new(NOWHERE),
            allowed: AtomicU32::new(allowed),
            ready_ns: AtomicU64::new(0),
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

    fn status(&self) -> Status {
        match self.status.load(Ordering::Relaxed) {
            0 => Status::Running,
            1 => Status::Ready,
            2 => Status::Parked,
            _ => Status::Dead,
        }
    }

    fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Relaxed);
    }

    /// Sees what was done under the lock of the home before.
    fn home(&self) -> usize {
        self.home.load(Ordering::Acquire) as usize
    }

    /// Under the lock of the old home.
    fn set_home(&self, cpu: usize) {
        self.home.store(cpu as u32, Ordering::Release);
    }

    fn on(&self) -> u32 {
        self.on.load(Ordering::Relaxed)
    }

    /// It runs and halts on no CPU, and its registers are saved or about to be.
    fn is_off(&self) -> bool {
        self.on() == NOWHERE
    }

    fn allowed(&self) -> u32 {
        self.allowed.load(Ordering::Relaxed)
    }

    fn is_allowed(&self, cpu: usize) -> bool {
        self.allowed() & 1 << cpu != 0
    }

    /// It runs on `cpu`, its home, from now on.
    fn run_on(&self, cpu: usize) {
        self.set_status(Status::Running);
        self.on.store(cpu as u32, Ordering::Relaxed);
    }
}

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
    let online = smp::start_others(|| {
        let cpu = smp::cpu();
        let me = hal::irq::with_disabled(|| adopt("reaper"));
        me.run.allowed.store(1 << cpu, Ordering::Relaxed);
        REAPERS[cpu].call_once(|| (me, thread::current()));
        watch::begin();
        reap_for_ever()
    });
    if online > 1 {
        watch::begin();
    }
    online
}

pub(super) fn start(inner: &Arc<Inner>, entry: Entry) -> Result<()> {
    let kthread = Kthread::new(entry, inner.clone()).ok_or(Errno::ENOMEM)?;
    *inner.run.thread.lock() = Some(kthread);
    place::make_ready(lock_home(inner), inner);
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
        let mut queue = lock(smp::cpu());
        if me.run.token.load(Ordering::Relaxed) {
            me.run.token.store(false, Ordering::Relaxed);
            return;
        }
        if let Some(deadline_ns) = deadline_ns
            && !queue.add_timeout(&me, deadline_ns)
        {
            return;
        }
        me.run.set_status(Status::Parked);
        let next = queue.pick(&me);
        drop(queue);
        run(next, &me);
        if deadline_ns.is_some() && TaskList::<TIMER>::is_linked(&me) {
            lock(me.run.timer_cpu.load(Ordering::Relaxed) as usize).remove_timeout(&me);
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
    let queue = lock_home(inner);
    match inner.run.status() {
        Status::Parked => place::make_ready(queue, inner),
        Status::Running | Status::Ready => {
            inner.run.token.store(true, Ordering::Relaxed);
            if look && inner.run.status() == Status::Running {
                call(inner.run.on() as usize);
            }
        }
        Status::Dead => {}
    }
}

/// Ends the task's park if it is parked.
fn wake_parked(inner: &Arc<Inner>) {
    let queue = lock_home(inner);
    if inner.run.status() == Status::Parked {
        place::make_ready(queue, inner);
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
    inner.run.allowed()
}

pub(super) fn set_allowed(inner: &Arc<Inner>, allowed: u32) {
    let queue = lock_home(inner);
    inner.run.allowed.store(allowed, Ordering::Relaxed);
    if inner.run.status() == Status::Running && !inner.run.is_allowed(inner.run.on() as usize) {
        call(inner.run.on() as usize);
    }
    drop(queue);
    place::put_right(inner);
}

pub(super) fn yield_now() {
    let me = current();
    hal::irq::with_disabled(|| {
        let cpu = smp::cpu();
        let mut queue = lock(cpu);
        if queue.is_empty() && me.run.is_allowed(cpu) {
            drop(queue);
            if smp::online() == 1 || !place::pull(cpu) {
                return;
            }
            queue = lock(cpu);
        }
        me.run.set_status(Status::Ready);
        if smp::online() > 1 {
            me.run.ready_ns.store(hal::time::now_ns(), Ordering::Relaxed);
        }
        queue.append(me.clone());
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

/// Runs `next`, which may be the current task, `me`, again; halts while there is none. Interrupts are off, before and after.
fn run(next: Option<Arc<Inner>>, me: &Arc<Inner>) {
    let next = next.unwrap_or_else(|| halt(me));
    if Arc::ptr_eq(&next, me) {
        return;
    }
    if smp::online() > 1 && !me.run.is_allowed(smp::cpu()) {
        // This CPU has just left it.
        place::put_right(me);
    }
    let thread = next.run.thread.lock().clone().expect("a task that is ready has a thread");
    thread::set_tag(next.id());
    crate::stats::count(crate::stats::Counter::Switches);
    drop(next);
    thread::switch_to(thread);
}

/// Halts until this CPU has something to run, on the stack of `me`, which it does not leave before.
#[inline]
fn halt(me: &Arc<Inner>) -> Arc<Inner> {
    let cpu = smp::cpu();
    loop {
        if smp::online() == 1 {
            HALTING.mark(cpu);
        } else if !HALTING.is_marked(cpu)
            && let Some(next) = HALTING.last_look(cpu, || place::look(cpu, me))
        {
            return next;
        } else if !HALTING.is_marked(cpu) {
            continue; // It was called meanwhile.
        }
        let halted_ns = hal::time::now_ns();
        hal::irq::wait_for_interrupt();
        super::cputime::was_idle(hal::time::now_ns() - halted_ns);
        if let Some(next) = lock(cpu).pick(me) {
            return next;
        }
    }
}

/// The timer interrupt: ends the time-outs of this CPU that are due, and marks it when a slice is over.
fn on_timer() {
    let now_ns = hal::time::now_ns();
    with_inner(|me| me.cpu.tick(hal::irq::found_user()));
    let cpu = smp::cpu();
    loop {
        let Some(due) = lock(cpu).due(now_ns) else { break };
        wake_parked(&due);
    }
    let mut queue = lock(cpu);
    let slice_is_over = queue.tick(now_ns);
    let watches = smp::online() > 1 && queue.watch(now_ns);
    queue.set_timer();
    drop(queue);
    if slice_is_over {
        if smp::online() > 1 {
            place::balance(cpu);
        }
        if CPUS[cpu].waiting.count() > 0 {
            thread::set_need_resched();
        }
    }
    if watches {
        watch::look(cpu, now_ns);
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
            let mut queue = lock(cpu);
            me.run.set_status(Status::Dead);
            me.run.on.store(NOWHERE, Ordering::Relaxed);
            queue.dead.push_back(me);
            queue.take_reaper().run.run_on(cpu);
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
            let next = lock(cpu).dead.pop_front();
            let Some(dead) = next else { break };
            if let Some(thread) = dead.0.run.take_thread_if_unshared() {
                drop(thread);
            } else {
                referred.push_back(dead.0);
            }
        }
        while let Some(dead) = referred.pop_front() {
            lock(cpu).dead.push_back(dead.0);
        }
        super::park();
    }
}

#[cfg(feature = "ktest")]
pub(super) use place::wake_without_a_call;
