//! The parts that are `cargo test`.
use super::{Schedules, Tally};
use crate::build;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Tests beside the code, and the races.
pub(super) fn host(tally: &mut Tally) -> Result<()> {
    let mut cargo = build::cargo();
    cargo.args(["test", "--workspace", "--exclude", "boot", "--exclude", "tests", "--no-fail-fast"]);
    counted(&mut cargo, tally, "host")
}

/// The models: the small ones under loom, in every order there is, and the larger ones under shuttle, in many random ones. Either kind
/// is built with its own flags into a folder of its own.
pub(super) fn models(tally: &mut Tally, schedules: &Schedules) -> Result<()> {
    for checker in ["loom", "shuttle"] {
        for package in ["base", "fs", "drivers", "kernel"] {
            let tests = model_files(package, checker)?;
            if tests.is_empty() {
                continue;
            }
            let mut cargo = build::cargo();
            cargo.env("RUSTFLAGS", format!("--cfg {checker}")).env("LOOM_MAX_PREEMPTIONS", "3");
            cargo.env("MODEL_SCHEDULES", schedules.schedules.to_string()).env("MODEL_SEED", schedules.seed.to_string());
            cargo.args(["test", "--release", "--no-fail-fast", "--package", package, "--features", "base/testing"]);
            tests.iter().for_each(|test| _ = cargo.args(["--test", test]));
            cargo.arg("--target-dir").arg(build::target().join(checker));
            counted(&mut cargo, tally, &format!("models::{package}::{checker}"))?;
        }
    }
    Ok(())
}

/// The test files of a package that are models for a checker.
fn model_files(package: &str, checker: &str) -> Result<Vec<String>> {
    let folder = build::root().join(package).join("tests");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".rs").filter(|n| n.starts_with(&format!("{checker}_"))) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Booted kernels with disks and programs.
pub(super) fn integration(tally: &mut Tally) -> Result<()> {
    build::kernel(build::Flavour::Release)?;
    build::user()?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--package", "tests", "--no-fail-fast", "--", "--test-threads", "2"]);
    counted(&mut cargo, tally, "integration")
}

/// Runs `cargo test`, passes its lines through and counts them. A build that fails is a failed test.
fn counted(cargo: &mut Command, tally: &mut Tally, name: &str) -> Result<()> {
    let failed_before = tally.failed;
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    for line in BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines() {
        let line = line?;
        if line.starts_with("test ") {
            tally.passed += u32::from(line.ends_with(" ... ok"));
            tally.failed += u32::from(line.ends_with(" ... FAILED"));
        }
        let noise = ["running ", "test result: ok"].iter().any(|start| line.starts_with(start));
        if !line.trim().is_empty() && !noise {
            println!("{line}");
        }
    }
    if !child.wait()?.success() && tally.failed == failed_before {
        println!("test {name} ... FAILED");
        tally.failed += 1;
    }
    Ok(())
}
