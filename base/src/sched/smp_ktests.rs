//! Tasks on several CPUs. On a machine with one the tests hold as well, and show less.
use super::{Task, current, park, spawn, yield_now};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, Rank, SpinLock, WaitQueue};
use crate::time::now_ns;
use alloc::boxed::Box;
use alloc::vec::Vec;
use hal::bare::smp;
use hal::mem::{Page, stats};
use hal::user::{PageTable, Prot, Trap, UserContext};
use hal::{PAGE_SIZE, ktest};

pub(super) const ALL: u32 = u32::MAX;
pub(super) const PATIENCE_NS: u64 = 20_000_000_000;

pub(super) fn start(cpus: u32, body: impl FnOnce() + Send + 'static) -> Task {
    let task = spawn("hammer", Box::new(body)).expect("memory");
    task.set_allowed_cpus(cpus);
    task
}

/// The current task runs on `cpus` only, from here on.
pub(super) fn stay_on(cpus: u32) {
    current().set_allowed_cpus(cpus);
    yield_now();
}

/// A task on each CPU, and as many that run anywhere.
pub(super) fn hammer(body: impl Fn(u64) + Clone + Send + 'static) -> u64 {
    let online = smp::online();
    let start_one = |n: usize| {
        let (body, cpus) = (body.clone(), if n < online { 1 << n } else { ALL });
        start(cpus, move || body(n as u64))
    };
    let tasks: Vec<Task> = (0..2 * online).map(start_one).collect();
    tasks.iter().for_each(Task::join);
    tasks.len() as u64
}

/// Waits for what another CPU does, without sleeping.
pub(super) fn spin_until(what: &str, mut done: impl FnMut() -> bool) {
    let end_ns = now_ns() + PATIENCE_NS;
    while !done() {
        assert!(now_ns() < end_ns, "{what}");
        yield_now();
    }
}

const CODE: u64 = 0x40_0000;
pub(super) const DATA: u64 = 0x50_0000;
const READ_EXECUTE: Prot = Prot { read: true, write: false, exec: true };
pub(super) const READ_WRITE: Prot = Prot { read: true, write: true, exec: false };

/// A task that runs the program `code` with the address of [`DATA`] in `rdi`, on `cpus`, until it traps or is interrupted.
pub(super) struct Program {
    pub(super) table: Arc<PageTable>,
    trap: Arc<SpinLock<Option<Trap>>>,
    pub(super) task: Task,
}

impl Program {
    pub(super) fn start(cpus: u32, code: &[u8], data: &Page) -> Program {
        let table = Arc::new(PageTable::new().expect("memory"));
        let text = Page::alloc_zeroed().expect("memory");
        text.write_from(0, code);
        assert_eq!(table.map(CODE, text, READ_EXECUTE), Ok(()));
        assert_eq!(table.map(DATA, data.clone(), READ_WRITE), Ok(()));
        let trap = Arc::new(SpinLock::new(None));
        let (active, result) = (table.clone(), trap.clone());
        let task = start(cpus, move || {
            active.activate();
            let mut context = UserContext::new(CODE, 0).expect("memory");
            context.regs.rdi = DATA;
            let trap = loop {
                match context.run() {
                    Trap::Interrupt if current().interrupt_pending() => break Trap::Interrupt,
                    Trap::Interrupt => super::preempt_point(),
                    trap => break trap,
                }
            };
            *result.lock() = Some(trap);
            drop(active);
            PageTable::deactivate();
        });
        Program { table, trap, task }
    }

    pub(super) fn end(&self) -> Option<Trap> {
        spin_until("the program ends", || self.task.has_exited());
        self.trap.lock().take()
    }
}

/// 2: inc rax; mov [rdi], rax; jmp 2b
pub(super) const COUNTS: [u8; 8] = [0x48, 0xff, 0xc0, 0x48, 0x89, 0x07, 0xeb, 0xf8];
/// 2: jmp 2b
const SPINS: [u8; 2] = [0xeb, 0xfe];

pub(super) fn counted(data: &Page) -> u64 {
    let mut bytes = [0; 8];
    data.read_into(0, &mut bytes);
    u64::from_le_bytes(bytes)
}

ktest! {
    fn every_cpu_runs_tasks_and_a_task_goes_where_it_may() {
        let seen = Arc::new(AtomicU64::new(0));
        let note = seen.clone();
        start(ALL, move || {
            for cpu in (0..smp::online()).cycle().take(100) {
                stay_on(1 << cpu);
                assert_eq!(smp::cpu(), cpu);
                note.fetch_or(1 << cpu, Ordering::Relaxed);
            }
        })
        .join();
        assert_eq!(seen.load(Ordering::Relaxed), (1 << smp::online()) - 1);
    }

    fn a_sleeper_that_must_move_leaves_the_cpu_that_halts_on_its_stack() {
        let (woken, queue) = (Arc::new(AtomicU64::new(0)), Arc::new(WaitQueue::new()));
        let last = smp::online() - 1;
        for round in 1..=50 {
            let (flag, site) = (woken.clone(), queue.clone());
            let task = start(1 << last, move || {
                site.wait_until(|| flag.load(Ordering::Acquire) == round);
                // It may have seen the wake-up before it slept: then it moves here.
                yield_now();
                assert_eq!(smp::cpu(), 0);
            });
            spin_until("the task sleeps", || queue.waiters() == 1);
            task.set_allowed_cpus(1);
            woken.store(round, Ordering::Release);
            queue.wake_all();
            task.join();
        }
    }

    fn locks_exclude_across_cpus() {
        const ROUNDS: u64 = 2_000;
        let spin = Arc::new((SpinLock::new(0u64), crate::sync::IrqLock::new(0u64), Mutex::new(Rank::Leaf, 0u64)));
        let locks = spin.clone();
        let tasks = hammer(move |_| {
            for round in 0..ROUNDS {
                *locks.0.lock() += 1;
                *locks.1.lock() += 1;
                *locks.2.lock() += 1;
                if round % 64 == 0 {
                    yield_now();
                }
            }
        });
        assert_eq!(*spin.0.lock(), tasks * ROUNDS);
        assert_eq!(*spin.1.lock(), tasks * ROUNDS);
        assert_eq!(*spin.2.lock(), tasks * ROUNDS);
    }

    fn wake_ups_go_back_and_forth_between_cpus() {
        const ROUNDS: u64 = 1_000;
        let (turn, queue) = (Arc::new(AtomicU64::new(0)), Arc::new(WaitQueue::new()));
        let player = |mine: u64, cpus: u32| {
            let (turn, queue) = (turn.clone(), queue.clone());
            start(cpus, move || {
                for round in 0..ROUNDS {
                    queue.wait_until(|| turn.load(Ordering::Acquire) == 2 * round + mine);
                    turn.fetch_add(1, Ordering::AcqRel);
                    queue.wake_all();
                }
            })
        };
        let last = smp::online() - 1;
        for cpus in [[1, 1 << last], [ALL, ALL]] {
            turn.store(0, Ordering::Release);
            let players = [player(0, cpus[0]), player(1, cpus[1])];
            players.iter().for_each(Task::join);
            assert_eq!(turn.load(Ordering::Acquire), 2 * ROUNDS);
        }
    }

    fn sleeps_and_permits_under_load() {
        const ROUNDS: u64 = 300;
        let site = Arc::new((AtomicU64::new(0), WaitQueue::new()));
        let taken = Arc::new(AtomicU64::new(0));
        let (s, t) = (site.clone(), taken.clone());
        let tasks = hammer(move |n| {
            for round in 0..ROUNDS {
                if n % 2 == 0 {
                    s.0.fetch_add(1, Ordering::Release);
                    s.1.wake_one();
                } else {
                    let less_one = |permits: u64| permits.checked_sub(1);
                    let take = || s.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less_one).is_ok();
                    s.1.wait_until(take);
                    t.fetch_add(1, Ordering::Relaxed);
                }
                if round % 16 == n % 16 {
                    super::sleep_until(now_ns() + 1000 * n);
                }
            }
        });
        assert_eq!(taken.load(Ordering::Relaxed), tasks / 2 * ROUNDS);
        assert_eq!((site.0.load(Ordering::Relaxed), site.1.waiters()), (0, 0));
    }

    fn tasks_start_and_end_on_all_cpus_and_leave_no_memory() {
        let round = || {
            let ends = Arc::new(AtomicU64::new(0));
            let count = ends.clone();
            let tasks = hammer(move |_| {
                for _ in 0..20 {
                    let count = count.clone();
                    start(ALL, move || _ = count.fetch_add(1, Ordering::Relaxed)).join();
                }
            });
            assert_eq!(ends.load(Ordering::Relaxed), tasks * 20);
        };
        // The stacks of the first rounds stay in their pool.
        round();
        round();
        let before = stats().free_frames;
        round();
        // The last task of a CPU may still stand on its stack.
        spin_until("stacks come back", || stats().free_frames + 4 * 32 * smp::online() as u64 > before);
    }

    fn an_interrupt_fetches_a_task_out_of_user_mode_on_another_cpu() {
        let data = Page::alloc_zeroed().expect("memory");
        for _ in 0..20 {
            let program = Program::start(1 << (smp::online() - 1), &SPINS, &data);
            yield_now();
            program.task.interrupt();
            assert_eq!(program.end(), Some(Trap::Interrupt));
        }
    }

    fn no_store_reaches_a_page_after_its_mapping_is_gone() {
        let data = Page::alloc_zeroed().expect("memory");
        for round in 0..60 {
            let program = Program::start(1 << (smp::online() - 1), &COUNTS, &data);
            let before = counted(&data);
            spin_until("the program counts", || counted(&data) != before);
            let table = &program.table;
            match round % 4 {
                0 => drop(table.unmap(DATA)),
                1 => table.unmap_many(&[DATA], |va, _, stored| assert!(va == DATA && stored)),
                2 => assert!(table.stop_stores(DATA)),
                _ => assert!(table.protect(DATA, Prot { write: false, ..READ_WRITE })),
            }
            let last = counted(&data);
            let trap = program.end();
            let present = round % 4 > 1;
            assert_eq!(trap, Some(Trap::PageFault { addr: DATA, write: true, exec: false, present }));
            assert_eq!(counted(&data), last, "a store after the change was in force (round {round})");
        }
    }

    fn tables_are_freed_while_another_cpu_still_has_them_loaded() {
        let data = Page::alloc_zeroed().expect("memory");
        let mut before = 0;
        for round in 0..40 {
            if round == 1 {
                // The stack of the first round is in its pool, or will be.
                before = stats().free_frames;
            }
            let program = Program::start(1 << (smp::online() - 1), &COUNTS, &data);
            spin_until("the program counts", || counted(&data) > 0);
            program.task.interrupt();
            // The CPU goes on in the kernel, where nothing loads other tables.
            program.end();
            assert_eq!(Arc::strong_count(&program.table), 1);
            drop(program);
            assert_eq!(data.ref_count(), 1);
        }
        // Two more stacks may have been made. What the rounds would leak is three times as much.
        spin_until("tables and pages come back", || stats().free_frames + 64 >= before);
    }

    fn changes_of_two_tables_at_once_do_not_wait_for_each_other() {
        const ROUNDS: u64 = 200;
        hammer(|_| {
            let (table, page) = (PageTable::new().expect("memory"), Page::alloc_zeroed().expect("memory"));
            table.activate();
            for _ in 0..ROUNDS {
                assert_eq!(table.map(DATA, page.clone(), READ_WRITE), Ok(()));
                assert_eq!(hal::user::copy_to_user(DATA, b"x"), 1);
                // On its way to another CPU the task leaves the tables loaded behind it.
                yield_now();
                table.unmap_many(&[DATA, DATA + PAGE_SIZE as u64], |_, _, stored| assert!(stored));
                assert_eq!(hal::user::copy_to_user(DATA, b"x"), 0);
            }
            PageTable::deactivate();
        });
    }

    fn a_cpu_that_masks_interrupts_still_says_where_it_is() {
        let (started, enough) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flags = (started.clone(), enough.clone());
        stay_on(1);
        let last = smp::online() - 1;
        if last > 0 {
            let stuck = start(1 << last, move || {
                hal::irq::with_disabled(|| {
                    flags.0.store(true, Ordering::Release);
                    while !flags.1.load(Ordering::Acquire) {
                        core::hint::spin_loop();
                    }
                });
            });
            spin_until("the task is stuck", || started.load(Ordering::Acquire));
            assert_eq!(smp::report_others(), last);
            enough.store(true, Ordering::Release);
            stuck.join();
        }
        stay_on(ALL);
    }

    fn a_token_from_another_cpu_ends_the_next_park() {
        for _ in 0..200 {
            let me = current();
            let done = Arc::new(AtomicBool::new(false));
            let flag = done.clone();
            start(ALL, move || {
                flag.store(true, Ordering::Release);
                me.unpark();
            });
            while !done.load(Ordering::Acquire) {
                park();
            }
        }
    }
}
