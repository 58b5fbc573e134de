//! The in-kernel tests in QEMU. A failed test is a panic and ends the machine: it is started again without that test.
use super::Tally;
use crate::build::{self, Flavour};
use crate::console::nowhere;
use crate::qemu::{End, Machine};
use crate::symbols;
use anyhow::{Context, Result, bail};
use std::path::Path;

/// CPU models to test on: everything QEMU can do, and the plainest.
const CPUS: [&str; 2] = ["max", "qemu64"];
/// Size of the empty disk the driver's tests write to.
const SCRATCH_BYTES: u64 = 64 << 20;

pub(super) fn run(tally: &mut Tally) -> Result<()> {
    let kernel = build::kernel(Flavour::KernelTests)?;
    let work = tempfile::tempdir_in(build::target()).context("cannot make a working folder in target/")?;
    let disk = work.path().join("scratch.img");
    std::fs::File::create(&disk)?.set_len(SCRATCH_BYTES)?;
    for cpu in CPUS {
        on_cpu(tally, &kernel, &disk, cpu)?;
    }
    Ok(())
}

fn on_cpu(tally: &mut Tally, kernel: &Path, disk: &Path, cpu: &'static str) -> Result<()> {
    let mut done: Vec<String> = Vec::new();
    loop {
        let mut machine = Machine::new(kernel, format!("skip={}", done.join(","))).disk(disk).limit(60);
        machine.cpu = cpu;
        let outcome = machine.run(&mut nowhere)?;
        let before = done.len();
        for line in &outcome.console.lines {
            let Some((name, rest)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ")) else { continue };
            let passed = rest.ends_with("ok");
            println!("test {name} ({cpu}) ... {}", if passed { "ok" } else { "FAILED" });
            tally.passed += u32::from(passed);
            tally.failed += u32::from(!passed);
            done.push(name.to_owned());
        }
        if outcome.end == End::Clean {
            return if done.is_empty() { bail!("{cpu}: the kernel ran no test") } else { Ok(()) };
        }
        for line in outcome.console.lines.iter().rev().take(40).rev() {
            println!("    {line}");
        }
        symbols::resolve(kernel, &outcome.console.lines).iter().for_each(|l| println!("{l}"));
        if done.len() == before {
            bail!("{cpu}: the kernel ended ({:?}) outside a test", outcome.end);
        }
    }
}
