//! The in-kernel tests in QEMU. A failed test is a panic and ends the machine: it is started again without that test.
use super::Tally;
use crate::build::{self, Flavour};
use crate::console::nowhere;
use crate::qemu::{End, Machine};
use crate::symbols;
use anyhow::{Context, Result, bail};

/// What to test on, CPU model and number of CPUs: everything QEMU can do, and the plainest.
const CPUS: [(&str, u32); 3] = [("max", 1), ("qemu64", 2), ("max", 4)];
/// Size of the empty disk the driver's tests write to.
const SCRATCH_BYTES: u64 = 64 << 20;

pub(super) fn run(tally: &mut Tally) -> Result<()> {
    let kernel = build::kernel(Flavour::KernelTests)?;
    let disk = scratch()?;
    for (cpu, count) in CPUS {
        let mut machine = Machine::new(&kernel, "").disk(disk.path()).limit(120);
        machine.cpu = cpu;
        machine.cpus = count;
        all_tests(tally, machine, &format!("{count} {cpu}"))?;
    }
    Ok(())
}

/// An empty disk.
pub(super) fn scratch() -> Result<tempfile::NamedTempFile> {
    let disk = tempfile::NamedTempFile::new_in(build::target()).context("cannot make a disk in target/")?;
    disk.as_file().set_len(SCRATCH_BYTES)?;
    Ok(disk)
}

/// Boots `machine`, a kernel with tests, until all of them have run; `place` tells where.
pub(super) fn all_tests(tally: &mut Tally, mut machine: Machine, place: &str) -> Result<()> {
    let mut done: Vec<String> = Vec::new();
    loop {
        machine.append = format!("skip={}", done.join(","));
        let outcome = machine.run(&mut nowhere)?;
        let before = done.len();
        for (name, passed) in results(&outcome.console.lines) {
            println!("test {name} ({place}) ... {}", if passed { "ok" } else { "FAILED" });
            tally.passed += u32::from(passed);
            tally.failed += u32::from(!passed);
            done.push(name.to_owned());
        }
        if outcome.end == End::Clean {
            return if done.is_empty() { bail!("{place}: the kernel ran no test") } else { Ok(()) };
        }
        for line in outcome.console.lines.iter().rev().take(40).rev() {
            println!("    {line}");
        }
        symbols::resolve(&machine.kernel, &outcome.console.lines).iter().for_each(|l| println!("{l}"));
        if done.len() == before {
            bail!("{place}: the kernel ended ({:?}) outside a test", outcome.end);
        }
    }
}

/// The tests that began, and whether each passed. What a test logs stands between its name and its result; one without a
/// result ended the machine.
fn results(lines: &[String]) -> Vec<(&str, bool)> {
    let mut results: Vec<(&str, bool)> = Vec::new();
    for line in lines {
        if let Some((name, rest)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ")) {
            results.push((name, rest == "ok"));
        } else if line == "ok"
            && let Some((_, passed)) = results.last_mut()
        {
            *passed = true;
        }
    }
    results
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_result_counts_wherever_it_stands_and_a_missing_one_fails() {
        let lines = ["test a ... ok", "test b ... [ 0.1] INFO a disk", "ok", "test c ... [ 0.2] INFO", "panic"];
        let lines: Vec<String> = lines.map(String::from).to_vec();
        assert_eq!(super::results(&lines), [("a", true), ("b", true), ("c", false)]);
    }
}
