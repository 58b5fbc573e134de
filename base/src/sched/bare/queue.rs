//! What a CPU has of its own: its ready tasks, its time-outs, its dead, its timer.
use super::super::idle::{Halting, Waiting};
use super::super::list::{RUN, TIMER, TaskList};
use super::super::task::Inner;
use super::{NOWHERE, REAPERS, SLICE_NS};
use crate::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use hal::bare::smp::{self, MAX_CPUS};
use hal::sync::{IrqGuard, IrqLock};
use hal::thread;

/// A CPU. On cache lines of its own.
#[repr(align(128))]
pub(super) struct Cpu {
    queue: IrqLock<Queue>,
    /// How many tasks are ready in the queue.
    pub(super) waiting: Waiting,
    /// When the hardware's timer goes off; `u64::MAX` for never, or for told.
    pub(super) timer_ns: AtomicU64,
}

/// What the lock of a CPU protects, beside the states of the tasks at home there.
pub(super) struct Queue {
    cpu: usize,
    pub(super) ready: TaskList<RUN>,
    timers: TaskList<TIMER>,
    pub(super) dead: TaskList<RUN>,
    /// When the tick comes, if one is wanted.
    tick_ns: Option<u64>,
    /// When the watchdog looks next; `u64::MAX` for never.
    pub(super) watch_ns: u64,
    /// A task that perhaps should not wait, and since when the watchdog thinks so.
    pub(super) suspect: (u64, u64),
}

impl Cpu {
    const fn new(cpu: usize) -> Cpu {
        let queue = Queue {
            cpu,
            ready: TaskList::new(),
            timers: TaskList::new(),
            dead: TaskList::new(),
            tick_ns: None,
            watch_ns: u64::MAX,
            suspect: (0, 0),
        };
        Cpu { queue: IrqLock::new(queue), waiting: Waiting::new(), timer_ns: AtomicU64::new(u64::MAX) }
    }
}

pub(super) static CPUS: [Cpu; MAX_CPUS] =
    [Cpu::new(0), Cpu::new(1), Cpu::new(2), Cpu::new(3), Cpu::new(4), Cpu::new(5), Cpu::new(6), Cpu::new(7)];
pub(super) static HALTING: Halting = Halting::new();

/// The queue of `cpu`. Nobody holds two.
#[inline]
pub(super) fn lock(cpu: usize) -> IrqGuard<'static, Queue> {
    CPUS[cpu].queue.lock()
}

/// As [`lock`], if nobody holds it.
pub(super) fn try_lock(cpu: usize) -> Option<IrqGuard<'static, Queue>> {
    CPUS[cpu].queue.try_lock()
}

/// The queue of the task's home, which it keeps as long as this is held.
#[inline]
pub(super) fn lock_home(task: &Inner) -> IrqGuard<'static, Queue> {
    loop {
        let home = task.run.home();
        let queue = lock(home);
        if task.run.home() == home {
            return queue;
        }
    }
}

impl Queue {
    /// Whose it is.
    pub(super) fn cpu(&self) -> usize {
        self.cpu
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    fn waiting(&self) -> &'static Waiting {
        &CPUS[self.cpu].waiting
    }

    /// Appends a task that is Ready and at home here.
    pub(super) fn append(&mut self, task: Arc<Inner>) {
        self.ready.push_back(task);
        self.waiting().more();
    }

    /// Takes the oldest task that `fits`.
    pub(super) fn take_first(&mut self, fits: impl Fn(&Inner) -> bool) -> Option<Arc<Inner>> {
        let task = self.ready.pop_first(fits)?;
        self.waiting().less();
        Some(task.0)
    }

    /// Takes the task that came last of those that `fits`.
    pub(super) fn take_last(&mut self, fits: impl Fn(&Inner) -> bool) -> Option<Arc<Inner>> {
        let task = self.ready.pop_last(fits)?;
        self.waiting().less();
        Some(task.0)
    }

    /// Takes `task` out, which stands here.
    pub(super) fn take(&mut self, task: &Arc<Inner>) {
        if self.ready.remove(task) {
            self.waiting().less();
        }
    }

    /// Takes the next task that this CPU may run; `me` is the one it leaves, unless that is the next. `None`: there is none. On the
    /// CPU itself.
    pub(super) fn pick(&mut self, me: &Arc<Inner>) -> Option<Arc<Inner>> {
        let cpu = self.cpu;
        let now_ns = hal::time::now_ns();
        me.cpu.stop(now_ns);
        let next = self.take_first(|task| task.run.is_allowed(cpu));
        // It is ready, and may not run here: it has to be left, so that another CPU may take it.
        let next = next.or_else(|| TaskList::<RUN>::is_linked(me).then(|| self.take_reaper().clone()))?;
        HALTING.unmark(cpu);
        next.run.run_on(cpu);
        next.cpu.start(now_ns);
        // After the next one was taken: see "no circle" in the front page.
        if !Arc::ptr_eq(&next, me) {
            me.run.on.store(NOWHERE, Ordering::Relaxed);
        }
        if !self.ready.is_empty() {
            self.want_tick();
            if smp::online() > 1 {
                self.offer();
            }
        }
        Some(next)
    }

    /// The reaper of this CPU, which runs nowhere else, taken out of wherever it waits.
    pub(super) fn take_reaper(&mut self) -> &'static Arc<Inner> {
        let (reaper, _) = REAPERS[self.cpu].get().expect("the reaper starts before any task can end");
        if TaskList::<RUN>::is_linked(reaper) {
            self.take(reaper);
        }
        reaper
    }

    /// This CPU runs a task, and yields when it can. On the CPU itself.
    pub(super) fn look_here(&mut self) {
        if hal::irq::in_interrupt() {
            thread::set_need_resched();
        }
        self.want_tick();
    }

    fn want_tick(&mut self) {
        if self.tick_ns.is_none() {
            self.tick_ns = Some(hal::time::now_ns().saturating_add(SLICE_NS));
            self.set_timer();
        }
    }

    /// Whether the tick was due and finds tasks that wait; then it comes again. On the CPU itself.
    pub(super) fn tick(&mut self, now_ns: u64) -> bool {
        if self.tick_ns.is_none_or(|tick_ns| tick_ns > now_ns) {
            return false;
        }
        let others = !self.ready.is_empty() && !HALTING.is_marked(self.cpu);
        self.tick_ns = others.then(|| now_ns.saturating_add(SLICE_NS));
        others
    }

    /// Puts the task among the time-outs of this CPU, on which it runs; false if the deadline is past.
    pub(super) fn add_timeout(&mut self, me: &Arc<Inner>, deadline_ns: u64) -> bool {
        if deadline_ns <= hal::time::now_ns() {
            return false;
        }
        me.run.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        me.run.timer_cpu.store(self.cpu as u32, Ordering::Relaxed);
        self.timers.insert_before(me.clone(), |other| other.run.deadline_ns.load(Ordering::Relaxed) > deadline_ns);
        self.set_timer();
        true
    }

    /// Takes the task out, if it still stands here. On any CPU.
    pub(super) fn remove_timeout(&mut self, task: &Arc<Inner>) {
        self.timers.remove(task);
    }

    /// Takes out a task whose time-out is due.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<Arc<Inner>> {
        let is_due = self.timers.front().is_some_and(|t| t.run.deadline_ns.load(Ordering::Relaxed) <= now_ns);
        if is_due { self.timers.pop_front().map(|task| task.0) } else { None }
    }

    /// Sets the hardware's timer to the next moment of interest. On the CPU itself.
    pub(super) fn set_timer(&mut self) {
        let first_ns = self.timers.front().map_or(u64::MAX, |t| t.run.deadline_ns.load(Ordering::Relaxed));
        let timer_ns = first_ns.min(self.tick_ns.unwrap_or(u64::MAX)).min(self.watch_ns);
        CPUS[self.cpu].timer_ns.store(timer_ns, Ordering::Relaxed);
        hal::time::set_deadline(timer_ns);
    }
}
