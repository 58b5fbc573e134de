//! The marks of halting CPUs beside the counts of the queues, all orders under the weak memory of C11: no CPU halts uncalled beside
//! a task that it may run.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p base --test loom_idle`
#![cfg(loom)]
use base::sched::idle::{Halting, Waiting};
use base::sync::{Arc, SpinLock};

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

struct Queue {
    tasks: SpinLock<u32>,
    waiting: Waiting,
}
struct Machine {
    halting: Halting,
    queues: [Queue; 2],
}
impl Machine {
    fn new() -> Arc<Machine> {
        let queue = || Queue { tasks: SpinLock::new(0), waiting: Waiting::new() };
        Arc::new(Machine { halting: Halting::new(), queues: [queue(), queue()] })
    }

    /// T1 to T4 for a task in queue `n` that the CPUs in `allowed` may run.
    fn make_ready(&self, n: usize, allowed: u32) -> Option<usize> {
        let mut tasks = self.queues[n].tasks.lock();
        *tasks += 1;
        self.queues[n].waiting.more();
        drop(tasks);
        self.halting.call(allowed)
    }

    /// Takes a task from wherever one waits.
    fn take(&self) -> Option<()> {
        let queue = self.queues.iter().find(|queue| queue.waiting.count() > 0)?;
        let mut tasks = queue.tasks.lock();
        *tasks = tasks.checked_sub(1)?;
        queue.waiting.less();
        Some(())
    }

    /// What `cpu` does until it halts and nobody has called it: how many tasks it has run.
    fn run(&self, cpu: usize) -> u32 {
        let mut done = 0;
        loop {
            if self.halting.last_look(cpu, || self.take()).is_some() {
                self.halting.unmark(cpu);
                done += 1;
            } else if self.halting.is_marked(cpu) {
                return done;
            }
        }
    }

    fn left(&self) -> u32 {
        self.queues.iter().map(|queue| *queue.tasks.lock()).sum()
    }
}

/// A task comes into another CPU's queue beside the last look.
#[test]
fn a_cpu_about_to_halt_sees_the_task_or_is_called() {
    explore(|| {
        let machine = Machine::new();
        let waker = machine.clone();
        let other = loom::thread::spawn(move || waker.make_ready(1, 1).is_some());
        let done = machine.run(0);
        let called = other.join().unwrap();
        assert!(done == 1 || called, "it halts beside a task and nobody calls it");
        assert!(machine.left() == 0 || !machine.halting.is_marked(0));
    });
}

/// Two CPUs make tasks ready at a time. The one that halts is called as long as one is left.
#[test]
fn two_wake_ups_leave_nothing_behind() {
    explore(|| {
        let machine = Machine::new();
        let wakers = [0, 1].map(|n| {
            let machine = machine.clone();
            loom::thread::spawn(move || _ = machine.make_ready(n, 1))
        });
        let done = machine.run(0);
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        assert!(done + machine.left() == 2 && (machine.left() == 0 || !machine.halting.is_marked(0)));
    });
}

/// Two CPUs that halt, one task for either: one of them runs it, or is on its way to.
#[test]
fn of_two_that_halt_one_takes_it() {
    explore(|| {
        let machine = Machine::new();
        let (cpu, waker) = (machine.clone(), machine.clone());
        let second = loom::thread::spawn(move || cpu.run(1));
        let third = loom::thread::spawn(move || waker.make_ready(1, 0b11));
        let done = machine.run(0) + second.join().unwrap();
        let called = third.join().unwrap();
        let left = machine.left();
        assert!(done + left == 1 && (left == 0 || called.is_some()), "a task waits while two CPUs halt");
    });
}
