//! The watchdog: what goes wrong on purpose is told. `tests/tests/booted/watchdog.rs` looks at what it says.
use super::smp_ktests::{ALL, DATA, PATIENCE_NS, READ_WRITE, start, stay_on};
use super::{Task, backend, park, sleep_until};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{Arc, IrqLock, SpinLock};
use crate::time::now_ns;
use alloc::vec::Vec;
use hal::bare::smp;
use hal::bare::watchdog::{self, Kind, reports};
use hal::ktest;
use hal::mem::Page;
use hal::user::PageTable;

const MS_NS: u64 = 1_000_000;
const LIMIT_NS: u64 = 200 * MS_NS;

/// While it lives the watchdog has little patience.
struct Impatient(u64);

impl Impatient {
    fn begin() -> Impatient {
        let before = Impatient(watchdog::set_limit_ns(LIMIT_NS));
        // The next interrupt of a CPU's timer sets the time of its next look.
        let sleep = |cpu: usize| start(1 << cpu, || sleep_until(now_ns() + MS_NS));
        let tasks: Vec<Task> = (0..smp::online()).map(sleep).collect();
        tasks.iter().for_each(Task::join);
        before
    }
}

impl Drop for Impatient {
    fn drop(&mut self) {
        watchdog::set_limit_ns(self.0);
    }
}

/// Keeps this CPU, in its own name on the stack, until the watchdog has told `kind`; whether it has.
#[inline(never)]
fn hang_until_told(kind: Kind, before: u32) -> bool {
    let end_ns = now_ns() + PATIENCE_NS;
    while reports(kind) == before && now_ns() < end_ns {
        core::hint::spin_loop();
    }
    reports(kind) > before
}

fn spin_until(done: impl Fn() -> bool) {
    while !done() {
        core::hint::spin_loop();
    }
}

/// `hang` on the last CPU, which sets the flag once it does; then `meanwhile` on CPU 0. `hang` says whether it was told.
fn beside(hang: impl FnOnce(&AtomicBool) -> bool + Send + 'static, meanwhile: impl FnOnce()) {
    stay_on(1);
    let last = smp::online() - 1;
    if last > 0 {
        let impatient = Impatient::begin();
        let (hangs, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (flag, result) = (hangs.clone(), told.clone());
        let task = start(1 << last, move || result.store(hang(&flag), Ordering::Release));
        spin_until(|| hangs.load(Ordering::Acquire));
        meanwhile();
        task.join();
        assert!(told.load(Ordering::Acquire), "the watchdog says nothing");
        drop(impatient);
    }
    stay_on(ALL);
}

/// A task that is parked at home on `home` is made ready, and no CPU is called: whether that is told. It is not if another interrupt
/// comes first, after which a CPU looks around anyway.
#[inline(never)]
fn miss_a_wake_up(home: usize) -> bool {
    let before = reports(Kind::WakeUp);
    let (seen, parks) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (note, flag) = (seen.clone(), parks.clone());
    let task = start(1 << home, move || {
        flag.store(true, Ordering::Release);
        park();
        note.store(1 << smp::cpu(), Ordering::Release);
    });
    while !parks.load(Ordering::Acquire) {
        super::yield_now();
    }
    // All other CPUs have come to their halts.
    sleep_until(now_ns() + 10 * MS_NS);
    task.set_allowed_cpus(ALL);
    spin_until(|| backend::wake_without_a_call(&task.0));
    // This CPU is kept, so that another one has to run it.
    let end_ns = now_ns() + PATIENCE_NS;
    while seen.load(Ordering::Acquire) == 0 {
        assert!(now_ns() < end_ns, "nobody makes up for it");
        core::hint::spin_loop();
    }
    assert!(seen.load(Ordering::Acquire) & 1 == 0 && task.allowed_cpus() == ALL);
    task.join();
    reports(Kind::WakeUp) > before
}

ktest! {
    fn a_cpu_that_spins_with_interrupts_masked_is_told() {
        let before = reports(Kind::Tick);
        let hang = move |hangs: &AtomicBool| {
            hal::irq::with_disabled(|| {
                hangs.store(true, Ordering::Release);
                hang_until_told(Kind::Tick, before)
            })
        };
        beside(hang, || ());
    }

    fn a_spin_lock_that_is_held_too_long_is_told() {
        let before = reports(Kind::Lock);
        let lock = Arc::new(SpinLock::new(()));
        let held = lock.clone();
        let hang = move |hangs: &AtomicBool| {
            let _held = held.lock();
            hangs.store(true, Ordering::Release);
            hang_until_told(Kind::Lock, before)
        };
        beside(hang, || drop(lock.lock()));
    }

    fn an_irq_lock_that_is_held_too_long_is_told() {
        let before = reports(Kind::Lock);
        let lock = Arc::new(IrqLock::new(()));
        let held = lock.clone();
        let hang = move |hangs: &AtomicBool| {
            let _held = held.lock();
            hangs.store(true, Ordering::Release);
            hang_until_told(Kind::Lock, before)
        };
        beside(hang, || drop(lock.lock()));
    }

    fn a_cpu_that_does_not_forget_a_translation_is_told() {
        let before = reports(Kind::Answer);
        let table = Arc::new(PageTable::new().expect("memory"));
        assert_eq!(table.map(DATA, Page::alloc_zeroed().expect("memory"), READ_WRITE), Ok(()));
        let loaded = table.clone();
        let hang = move |hangs: &AtomicBool| {
            loaded.activate();
            let told = hal::irq::with_disabled(|| {
                hangs.store(true, Ordering::Release);
                hang_until_told(Kind::Answer, before)
            });
            drop(loaded);
            PageTable::deactivate();
            told
        };
        beside(hang, || drop(table.unmap(DATA)));
    }

    fn a_wake_up_that_calls_nobody_is_told_and_made_up_for() {
        stay_on(1);
        if smp::online() > 1 {
            let impatient = Impatient::begin();
            for home in [0, smp::online() - 1] {
                assert!((0..20).any(|_| miss_a_wake_up(home)), "the watchdog says nothing");
            }
            drop(impatient);
        }
        stay_on(ALL);
    }
}
