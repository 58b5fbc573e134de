//! What the watchdog says of things that hang on purpose, in the kernel with its tests: the line, and the stack of the CPU to blame.
use anyhow::{Context, Result, ensure};
use xtask::build::{self, Flavour};
use xtask::console::nowhere;
use xtask::qemu::{End, Machine};
use xtask::symbols;

/// The tests of `base/src/sched/watch_ktests.rs`, what is said in each, and a function that must be on a stack.
const CASES: &[(&str, &str, &str)] = &[
    ("a_cpu_that_spins_with_interrupts_masked_is_told", "sees that cpu 1 does not take its tick", "hang_until_told"),
    ("a_spin_lock_that_is_held_too_long_is_told", "cpu 0 waits for a spin lock", "hang_until_told"),
    ("an_irq_lock_that_is_held_too_long_is_told", "cpu 0 waits for a spin lock", "hang_until_told"),
    ("a_cpu_that_does_not_forget_a_translation_is_told", "cpu 0 waits for other CPUs to forget", "hang_until_told"),
    (
        "a_wake_up_that_calls_nobody_is_told_and_made_up_for",
        "in the queue of cpu 0 while cpu 1 halts",
        "miss_a_wake_up",
    ),
];

/// The lines from the one with `start` to the next test.
fn section<'a>(lines: &'a [String], start: &str) -> &'a [String] {
    let begin = lines.iter().position(|line| line.contains(start)).unwrap_or(lines.len());
    let rest = &lines[begin..];
    let end = rest.iter().skip(1).position(|line| line.starts_with("test ")).map_or(rest.len(), |at| at + 1);
    &rest[..end]
}

#[test]
fn what_hangs_is_told_with_stacks() -> Result<()> {
    let kernel = build::kernel(Flavour::KernelTests)?;
    let mut machine = Machine::new(&kernel, "test=watch_ktests").limit(120);
    machine.cpus = 2;
    let outcome = machine.run(&mut nowhere)?;
    let text = outcome.console.lines.join("\n");
    ensure!(outcome.end == End::Clean, "{:?}\n{text}", outcome.end);
    for (test, said, function) in CASES {
        let lines = section(&outcome.console.lines, test);
        let at = lines.iter().position(|line| line.starts_with("watchdog: cpu") && line.contains(said));
        let at = at.with_context(|| format!("{test}: nobody says {said:?}\n{text}"))?;
        let told = &lines[at..];
        ensure!(told.iter().any(|line| line.starts_with("cpu 0: task") || line.starts_with("cpu 1: task")), "{text}");
        let names = symbols::resolve(&kernel, told);
        ensure!(names.iter().any(|name| name.contains(function)), "{test}: {function} is on no stack\n{names:#?}");
    }
    Ok(())
}

/// The limit can be set on the command line, and a wrong one is told.
#[test]
fn a_limit_that_is_no_number_is_told() -> Result<()> {
    let disk = tests::TestDisk::new(&xtask::image::Spec { size_mib: 64, ..Default::default() }, &["rulecheck"])?;
    for (limit, wrong) in [("7", false), ("0", true), ("soon", true)] {
        let append = format!("watchdog={limit} root=/dev/vda init=/bin/rulecheck -- --only 'proc cmdline'");
        let mut machine = Machine::new(tests::kernel(), append).disk(&disk.path).limit(60);
        machine.cpus = 2;
        let outcome = machine.run(&mut nowhere)?;
        let told = outcome.console.lines.iter().any(|line| line.contains(&format!("watchdog={limit}: not a number")));
        ensure!(told == wrong && outcome.end == End::Clean, "{limit}: {:#?}", outcome.console.lines);
    }
    Ok(())
}
