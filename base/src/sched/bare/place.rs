//! Where a ready task goes.
//!
//! | who | does |
//! |---|---|
//! | a wake-up | puts the task to its home if that CPU halts, else to one that halts and may run it, else to its home |
//! | a CPU that finds nothing to run | takes the oldest task that it may, from the longest queue first |
//! | the tick of a CPU where tasks wait | calls a CPU that halts; moves the last one to where fewer wait |
//! | a change of affinity | moves a task that may not run where it stands |
//!
//! Who puts a task into the queue of a CPU that runs another one sees to it that a tick comes there: on this CPU it sets the timer, on
//! another one it interrupts if nobody waited yet. So a task that is ready is picked at the next end of a slice at the latest, also if
//! the CPU that was called for it takes another one first.
use super::super::list::{RUN, TaskList};
use super::super::task::Inner;
use super::queue::{CPUS, HALTING, Queue, lock, lock_home};
use super::{RunState, Status};
use crate::sync::Arc;
use core::cmp::Reverse;
use core::sync::atomic::Ordering;
use hal::bare::smp;
use hal::sync::IrqGuard;

/// Makes a task ready that is parked or new. `queue` is its home's.
pub(super) fn make_ready(mut queue: IrqGuard<'static, Queue>, task: &Arc<Inner>) {
    task.run.set_status(Status::Ready);
    if smp::online() == 1 {
        queue.append(task.clone());
        if HALTING.marked() == 0 {
            queue.look_here();
        }
        return;
    }
    task.run.ready_ns.store(hal::time::now_ns(), Ordering::Relaxed);
    let target = choose(&task.run, queue.cpu());
    if target == queue.cpu() {
        queue.put(task.clone());
    } else {
        task.run.set_home(target);
        drop(queue);
        deliver(task.clone());
    }
}

/// The CPU in whose queue a ready task is best put. Under the lock of its home, which is `home`.
fn choose(run: &RunState, home: usize) -> usize {
    if !run.is_off() {
        // That CPU halts on its stack, or is just about to look.
        return home;
    }
    let me = smp::cpu();
    let allowed = run.allowed() & ((1 << smp::online()) - 1);
    let halting = HALTING.marked() & allowed;
    let has = |cpus: u32, cpu: usize| cpus & 1 << cpu != 0;
    if has(halting, home) {
        home
    } else if has(halting, me) {
        me // This is an interrupt of a CPU that halts: it needs no call.
    } else if halting != 0 {
        halting.trailing_zeros() as usize
    } else if has(allowed, home) {
        home
    } else {
        let fewest = (0..smp::online()).filter(|&cpu| has(allowed, cpu)).min_by_key(|&cpu| CPUS[cpu].waiting.count());
        fewest.unwrap_or(home)
    }
}

/// Puts a task that is Ready and in no queue into that of its home. No queue is locked.
fn deliver(task: Arc<Inner>) {
    loop {
        let mut queue = lock(task.run.home());
        if task.run.is_allowed(queue.cpu()) {
            return queue.put(task);
        }
        // Its affinity has changed on the way.
        let target = choose(&task.run, queue.cpu());
        if target == queue.cpu() {
            return queue.put(task);
        }
        task.run.set_home(target);
    }
}

/// What a CPU that finds nothing in its queue does before it halts: the next task, now at home here and picked.
pub(super) fn look(cpu: usize, me: &Arc<Inner>) -> Option<Arc<Inner>> {
    loop {
        let next = lock(cpu).pick(me);
        if next.is_some() || !pull(cpu) {
            return next;
        }
    }
}

/// Brings the oldest task that `cpu`, this CPU, may run into its queue, from the longest queue first; whether there was one.
pub(super) fn pull(cpu: usize) -> bool {
    let mut seen = 1u32 << cpu;
    loop {
        let others = (0..smp::online()).filter(|&other| seen & 1 << other == 0);
        let longest = others.min_by_key(|&other| Reverse(CPUS[other].waiting.count()));
        let Some(from) = longest.filter(|&other| CPUS[other].waiting.count() > 0) else { return false };
        seen |= 1 << from;
        let taken = lock(from).take_first(|task| task.run.is_off() && task.run.is_allowed(cpu)).inspect(|task| {
            // Still under the lock of `from`: a temporary lives to the end of its statement.
            task.run.set_home(cpu);
        });
        let Some(task) = taken else { continue };
        let mut queue = lock(cpu);
        if task.run.is_allowed(cpu) {
            // This CPU looks at its queue next.
            queue.append(task);
            return true;
        }
        drop(queue);
        deliver(task);
    }
}

/// At the end of a slice of this CPU, where tasks wait: calls a CPU that halts, or else moves the one that came last to a CPU where at
/// least two fewer wait, or none. It is at no worse a place there than it was here.
pub(super) fn balance(cpu: usize) {
    if lock(cpu).offer() {
        return;
    }
    let mut seen = 1u32 << cpu;
    loop {
        let others = (0..smp::online()).filter(|&other| seen & 1 << other == 0);
        // Of several the next one after this: so the one task too many goes round all CPUs.
        let distance = |other: usize| (other + smp::online() - cpu) % smp::online();
        let Some(to) = others.min_by_key(|&other| (CPUS[other].waiting.count(), distance(other))) else { return };
        seen |= 1 << to;
        let there = CPUS[to].waiting.count();
        if there != 0 && CPUS[cpu].waiting.count() < there + 2 {
            return;
        }
        let taken = lock(cpu).take_last(|task| task.run.is_off() && task.run.is_allowed(to)).inspect(|task| {
            task.run.set_home(to);
        });
        if let Some(task) = taken {
            return deliver(task);
        }
    }
}

/// Moves a task that stands in a queue whose CPU may not run it; else tells those that may, now perhaps more than before.
pub(super) fn put_right(task: &Arc<Inner>) {
    let mut queue = lock_home(task);
    let stands = task.run.status() == Status::Ready && task.run.is_off() && TaskList::<RUN>::is_linked(task);
    if !stands {
        return;
    }
    let target = if task.run.is_allowed(queue.cpu()) { queue.cpu() } else { choose(&task.run, queue.cpu()) };
    if target == queue.cpu() {
        call_one(task.run.allowed());
    } else {
        queue.take(task);
        task.run.set_home(target);
        drop(queue);
        deliver(task.clone());
    }
}

/// Calls one of the CPUs in `allowed` that halt; whether there was one.
pub(super) fn call_one(allowed: u32) -> bool {
    let called = HALTING.call(allowed);
    if let Some(cpu) = called.filter(|&cpu| cpu != smp::cpu()) {
        smp::reschedule(cpu);
    }
    called.is_some()
}

impl Queue {
    /// Appends a task that is Ready and at home here, and sees to it that a CPU looks. On any CPU, of several.
    fn put(&mut self, task: Arc<Inner>) {
        let (me, cpu) = (smp::cpu(), self.cpu());
        let (was_empty, off, allowed) = (self.is_empty(), task.run.is_off(), task.run.allowed());
        self.append(task);
        if HALTING.claim(cpu) {
            // An interrupt of the CPU itself needs no call: it looks as soon as it returns.
            if cpu != me {
                smp::reschedule(cpu);
            }
            return;
        }
        if cpu == me {
            self.look_here();
        } else if was_empty {
            smp::reschedule(cpu);
        }
        if off {
            // One that has marked itself since the choice was made.
            call_one(allowed);
        }
    }

    /// Calls a CPU that halts and may run one of the tasks that wait here; whether there was one.
    pub(super) fn offer(&self) -> bool {
        core::sync::atomic::fence(Ordering::SeqCst);
        let halting = HALTING.marked();
        if halting == 0 {
            return false;
        }
        let offered = self.ready.find(|task| task.run.is_off() && task.run.allowed() & halting != 0);
        offered.is_some_and(|task| call_one(task.run.allowed()))
    }
}

/// A wake-up that forgets what it owes: the task stands in its home's queue, and no CPU is told. False: it was not parked.
#[cfg(feature = "ktest")]
pub(in super::super) fn wake_without_a_call(task: &Arc<Inner>) -> bool {
    let mut queue = lock_home(task);
    let parked = task.run.status() == Status::Parked;
    if parked {
        task.run.set_status(Status::Ready);
        task.run.ready_ns.store(hal::time::now_ns(), Ordering::Relaxed);
        queue.append(task.clone());
    }
    parked
}
