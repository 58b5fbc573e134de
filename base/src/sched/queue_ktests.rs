//! Tasks between the queues of several CPUs: stealing, balance, affinity, calls. On a machine with one CPU some have nothing to show.
use super::smp_ktests::{ALL, COUNTS, PATIENCE_NS, Program, counted, hammer, spin_until, start, stay_on};
use super::{Task, current, park, sleep_until, yield_now};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::time::now_ns;
use alloc::vec::Vec;
use hal::bare::smp;
use hal::bare::watchdog::{Kind, reports};
use hal::ktest;
use hal::mem::Page;

const MS_NS: u64 = 1_000_000;

/// Keeps CPUs busy in the kernel, where nobody preempts them, until it is dropped.
struct Held {
    enough: Arc<AtomicBool>,
    tasks: Vec<Task>,
}

impl Held {
    /// All CPUs but this one, which the caller stays on.
    fn others() -> Held {
        let (enough, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let hold = |cpu: usize| {
            let (enough, held) = (enough.clone(), held.clone());
            start(1 << cpu, move || {
                held.fetch_add(1, Ordering::Release);
                wait_busily("the test lets the CPU go", || enough.load(Ordering::Acquire));
            })
        };
        let me = smp::cpu();
        let tasks: Vec<Task> = (0..smp::online()).filter(|&cpu| cpu != me).map(hold).collect();
        spin_until("the CPUs are held", || held.load(Ordering::Acquire) as usize == tasks.len());
        Held { enough, tasks }
    }

    fn let_go(&self) {
        self.enough.store(true, Ordering::Release);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
        self.tasks.iter().for_each(Task::join);
    }
}

/// Keeps this CPU meanwhile: only others can do it.
fn wait_busily(what: &str, mut done: impl FnMut() -> bool) {
    let end_ns = now_ns() + PATIENCE_NS;
    while !done() {
        assert!(now_ns() < end_ns, "{what}");
        core::hint::spin_loop();
    }
}

/// A task that says where it ran: a bit for the CPU.
fn note_cpu(cpus: u32, seen: &Arc<AtomicU32>) -> Task {
    let seen = seen.clone();
    start(cpus, move || _ = seen.fetch_or(1 << smp::cpu(), Ordering::Release))
}

/// A task that parks at home on CPU 0 until it is unparked, and then says where it runs.
fn parked_at_home(seen: &Arc<AtomicU32>) -> Task {
    let (seen, parks) = (seen.clone(), Arc::new(AtomicBool::new(false)));
    let flag = parks.clone();
    let task = start(1, move || {
        flag.store(true, Ordering::Release);
        park();
        seen.fetch_or(1 << smp::cpu(), Ordering::Release);
    });
    // On one CPU, and nothing is preempted: once this one runs again the other has parked.
    spin_until("the task parks", || parks.load(Ordering::Acquire));
    task
}

/// How far each program got in the next `ms`, least and most.
fn progress(data: &[Page], ms: u64) -> (u64, u64) {
    let before: Vec<u64> = data.iter().map(counted).collect();
    sleep_until(now_ns() + ms * MS_NS);
    let done: Vec<u64> = data.iter().zip(before).map(|(page, before)| counted(page) - before).collect();
    (done.iter().copied().min().unwrap_or(0), done.iter().copied().max().unwrap_or(0))
}

/// `n` programs that never sleep, all started on CPU 0: before long the one that gets most has less than `most_percent` of what the
/// one that gets least has. An emulated CPU may stand still for any time, so one stretch is enough, and later ones are longer.
fn hogs_share(n: usize, most_percent: u64) {
    let data: Vec<Page> = (0..n).map(|_| Page::alloc_zeroed().expect("memory")).collect();
    let hogs: Vec<Program> = data.iter().map(|page| Program::start(1, &COUNTS, page)).collect();
    hogs.iter().for_each(|hog| hog.task.set_allowed_cpus(ALL));
    let is_fair = |(least, most): (u64, u64)| least > 0 && most * 100 / least < most_percent;
    let fair = (0..6).any(|doubled| is_fair(progress(&data, 250 << doubled)));
    assert!(fair, "{n} programs never share {} CPUs", smp::online());
    hogs.iter().for_each(|hog| hog.task.interrupt());
    hogs.iter().for_each(|hog| _ = hog.end());
}

ktest! {
    fn a_cpu_with_nothing_to_do_steals_what_waits_elsewhere() {
        stay_on(1);
        if smp::online() > 1 {
            let seen = Arc::new(AtomicU32::new(0));
            let held = Held::others();
            let waiting: Vec<Task> = (0..4).map(|_| note_cpu(ALL, &seen)).collect();
            assert_eq!(seen.load(Ordering::Acquire), 0, "no CPU was free");
            held.let_go();
            wait_busily("they are stolen", || waiting.iter().all(Task::has_exited));
            assert_eq!(seen.load(Ordering::Acquire) & 1, 0, "this CPU ran nothing else");
        }
        stay_on(ALL);
    }

    fn stealing_leaves_those_that_may_not_go() {
        stay_on(1);
        if smp::online() > 1 {
            let (here, there) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let held = Held::others();
            // The oldest must stay; those behind it may go, one to the last CPU only.
            let stays = note_cpu(1, &here);
            let goes = [note_cpu(1 | 1 << (smp::online() - 1), &there), note_cpu(ALL, &there)];
            held.let_go();
            wait_busily("the others are stolen", || goes.iter().all(Task::has_exited));
            wait_busily("the other CPUs are free", || held.tasks.iter().all(Task::has_exited));
            let idle_ns = now_ns() + 20 * MS_NS;
            wait_busily("CPUs with nothing to do look around", || now_ns() > idle_ns);
            assert!(!stays.has_exited() && here.load(Ordering::Acquire) == 0);
            stays.join();
            assert_eq!((here.load(Ordering::Acquire), there.load(Ordering::Acquire) & 1), (1, 0));
        }
        stay_on(ALL);
    }

    fn a_wake_up_leaves_a_busy_home_for_a_cpu_that_halts() {
        stay_on(1);
        let last = smp::online() - 1;
        if last > 0 {
            for _ in 0..50 {
                let seen = Arc::new(AtomicU32::new(0));
                let task = parked_at_home(&seen);
                // This CPU, its home, is busy with the test.
                task.set_allowed_cpus(ALL);
                task.unpark();
                wait_busily("another CPU is called", || task.has_exited());
                assert_eq!(seen.load(Ordering::Acquire) & 1, 0);
            }
        }
        stay_on(ALL);
    }

    fn a_cpu_that_halts_is_called_for_each_task() {
        stay_on(1);
        let told = reports(Kind::WakeUp);
        for cpu in (1..smp::online()).cycle().take(if smp::online() > 1 { 300 } else { 0 }) {
            let task = start(1 << cpu, || ());
            wait_busily("the CPU is called", || task.has_exited());
        }
        assert_eq!(reports(Kind::WakeUp), told, "a call was lost and made up for");
        stay_on(ALL);
    }

    fn more_rights_call_a_cpu_that_halts_and_less_move_the_task() {
        stay_on(1);
        let last = smp::online() - 1;
        if last > 0 {
            for round in 0..50 {
                let seen = Arc::new(AtomicU32::new(0));
                let task = note_cpu(1, &seen);
                let cpus = if round % 2 == 0 { ALL } else { 1 << last };
                task.set_allowed_cpus(cpus);
                wait_busily("another CPU takes it", || task.has_exited());
                assert_eq!(seen.load(Ordering::Acquire) & !(cpus & !1), 0);
            }
        }
        stay_on(ALL);
    }

    fn affinity_is_kept_whatever_moves_tasks() {
        const ROUNDS: u64 = 400;
        let told = reports(Kind::WakeUp);
        let online = (1u32 << smp::online()) - 1;
        hammer(move |n| {
            let mut random = n + 1;
            for round in 0..ROUNDS {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let cpus = match (random >> 33) as u32 & online {
                    0 => online,
                    cpus => cpus,
                };
                current().set_allowed_cpus(cpus);
                match round % 3 {
                    0 => yield_now(),
                    1 => sleep_until(now_ns() + (random >> 40) % 20_000),
                    _ => {
                        let me = current();
                        // By another task, on another CPU perhaps; it may change the mask on the way as well.
                        let helper = start(ALL, move || {
                            me.set_allowed_cpus(cpus);
                            me.unpark();
                        });
                        helper.join();
                    }
                }
                // It may have come to no sleep at all.
                yield_now();
                assert!(cpus & 1 << smp::cpu() != 0, "on CPU {} of {cpus:#b}", smp::cpu());
            }
        });
        assert_eq!(reports(Kind::WakeUp), told);
    }

    fn programs_that_never_sleep_share_the_cpus() {
        // All get the same, as the one that waits goes round; without that some would get half of what others get.
        hogs_share(smp::online() + 1, 170);
        // Two or three to a CPU; if CPUs took only what they need, the first would have all but one for each of the others.
        hogs_share(2 * smp::online() + 1, 250);
    }

    fn a_storm_of_wake_ups_between_cpus_loses_none() {
        const ROUNDS: u64 = 400;
        let told = reports(Kind::WakeUp);
        let n = 2 * smp::online() + 1;
        // Each waits for its turn in the ring, and wakes the next; three turns go round at a time.
        let turns: Arc<Vec<AtomicU64>> = Arc::new((0..n).map(|_| AtomicU64::new(0)).collect());
        let ring: Arc<spin::Once<Vec<Task>>> = Arc::new(spin::Once::new());
        let hops = Arc::new(AtomicU64::new(0));
        let member = |i: usize| {
            let (turns, ring, hops) = (turns.clone(), ring.clone(), hops.clone());
            start(if i.is_multiple_of(2) { ALL } else { 1 << (i / 2 % smp::online()) }, move || {
                for round in 1..=ROUNDS {
                    while turns[i].load(Ordering::Acquire) < round {
                        park();
                    }
                    hops.fetch_add(1, Ordering::Relaxed);
                    let next = (i + 1) % n;
                    turns[next].fetch_add(1, Ordering::Release);
                    if let Some(ring) = ring.get() {
                        ring[next].unpark();
                    }
                }
            })
        };
        let tasks: Vec<Task> = (0..n).map(member).collect();
        ring.call_once(|| tasks.clone());
        for i in [0, n / 3, 2 * n / 3] {
            turns[i].fetch_add(1, Ordering::Release);
            tasks[i].unpark();
        }
        tasks.iter().for_each(Task::join);
        assert_eq!(hops.load(Ordering::Relaxed), ROUNDS * n as u64);
        assert_eq!(reports(Kind::WakeUp), told);
    }

    fn time_outs_end_on_whichever_cpu_the_task_is_then() {
        const ROUNDS: u64 = 200;
        hammer(|n| {
            for round in 0..ROUNDS {
                let (me, deadline_ns) = (current(), now_ns() + 20_000 + 1_000 * (round % 50));
                // A wake-up beside the time-out; the next sleep may be on another CPU than the list it was in.
                let waker = start(ALL, move || me.unpark());
                while now_ns() < deadline_ns {
                    super::park_until(deadline_ns);
                }
                if round % 8 == n % 8 {
                    waker.join();
                }
            }
        });
    }
}
