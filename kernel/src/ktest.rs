//! Runs the in-kernel tests, a line each.
//!
//! `opt/test` (or `test=` on the command line) selects tests by parts of their names, `opt/skip` leaves some out; both
//! are lists with commas. A test fails by panicking, and a panic ends the machine: the panic handler prints `FAILED` and
//! the counts, and the runner starts the machine again for the tests that are left.
use crate::cmdline;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use hal::KTest;
use hal::bare::{console, power};

static PASSED: AtomicUsize = AtomicUsize::new(0);
/// The test that runs now.
static CURRENT: AtomicPtr<KTest> = AtomicPtr::new(core::ptr::null_mut());

/// Runs all selected tests and powers off; or, with `crash=KIND`, goes down that way.
pub fn run() -> ! {
    if let Some(kind) = cmdline::option("crash") {
        crash(&kind);
    }
    let (only, skip) = (cmdline::option("test"), cmdline::option("skip"));
    let selected = |test: &&KTest| {
        only.as_ref().is_none_or(|list| matches(list, test.name))
            && skip.as_ref().is_none_or(|list| !matches(list, test.name))
    };
    // As at every boot, devices are brought up by one CPU.
    drivers::pci::probe_disks(drivers::virtio::blk::Params::default());
    let (of_devices, others): (Vec<&KTest>, Vec<&KTest>) =
        hal::ktests().iter().filter(selected).partition(|test| test.name.starts_with("drivers::ktests::"));
    run_all(&of_devices);
    crate::start::start_other_cpus();
    run_all(&others);
    console::write_fmt(format_args!("{} passed, 0 failed\n", PASSED.load(Ordering::Relaxed)));
    power::exit(power::SUCCESS)
}

fn run_all(tests: &[&'static KTest]) {
    for &test in tests {
        console::write_fmt(format_args!("test {} ... ", test.name));
        CURRENT.store(core::ptr::from_ref(test).cast_mut(), Ordering::Relaxed);
        (test.run)();
        CURRENT.store(core::ptr::null_mut(), Ordering::Relaxed);
        PASSED.fetch_add(1, Ordering::Relaxed);
        console::write_fmt(format_args!("ok\n"));
    }
}

/// Says that the running test failed, if one runs. From the panic handler.
pub fn report_failure() {
    if !CURRENT.load(Ordering::Relaxed).is_null() {
        let passed = PASSED.load(Ordering::Relaxed);
        console::write_fmt_unlocked(format_args!("FAILED\n{passed} passed, 1 failed\n"));
    }
}

/// Ends the machine as a bug would, so that the runner can check the last words and the status.
fn crash(kind: &str) {
    /// Fills the stack, then its guard.
    #[allow(unconditional_recursion, reason = "that is the point")]
    fn overflow(depth: u64) -> u64 {
        let frame = [depth; 64];
        core::hint::black_box(&frame);
        overflow(depth + 1) + frame[(depth % 64) as usize]
    }
    match kind {
        "stack" => drop(core::hint::black_box(overflow(0))),
        "panic" => panic!("asked for"),
        "oom" => drop(alloc::vec::Vec::<u8>::with_capacity(1 << 40)),
        _ => {}
    }
}

fn matches(list: &str, name: &str) -> bool {
    list.split(',').any(|part| !part.is_empty() && name.contains(part))
}

hal::ktest! {
    fn tasks_sleep_and_end_while_another_runs() {
        let ended = Arc::new(AtomicUsize::new(0));
        let deadline_ns = base::time::now_ns() + 1_000_000;
        for _ in 0..3 {
            let ended = ended.clone();
            let entry = Box::new(move || {
                base::sched::sleep_until(deadline_ns);
                ended.fetch_add(1, Ordering::Relaxed);
            });
            base::sched::spawn("sleeper", entry).expect("memory");
        }
        let limit_ns = deadline_ns + 2_000_000_000;
        while ended.load(Ordering::Relaxed) < 3 && base::time::now_ns() < limit_ns {
            base::sched::yield_now();
        }
        assert_eq!(ended.load(Ordering::Relaxed), 3);
        assert!(base::time::now_ns() >= deadline_ns);
    }
}
