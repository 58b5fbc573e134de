//! `make test`: everything, one line a test, closing with `N passed, N failed`.
use crate::build;
use anyhow::{Context, Result};
use clap::Args;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only the host tests
    #[arg(long)]
    host: bool,
}

/// The sum of all parts.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

/// Runs the parts in turn and prints the closing line.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut tally = Tally::default();
    host(&mut tally)?;
    let _ = options.host;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn host(tally: &mut Tally) -> Result<()> {
    let mut cargo = build::cargo();
    cargo.args(["test", "--workspace", "--exclude", "boot", "--exclude", "user", "--no-fail-fast"]);
    let status = cargo_test(&mut cargo, tally)?;
    if !status && tally.failed == 0 {
        println!("test host build ... FAILED");
        tally.failed += 1;
    }
    Ok(())
}

/// Runs `cargo test` and counts its lines; they are passed through. Returns whether cargo itself was content.
fn cargo_test(cargo: &mut Command, tally: &mut Tally) -> Result<bool> {
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    for line in BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines() {
        let line = line?;
        if line.starts_with("test ") {
            tally.passed += u32::from(line.ends_with(" ... ok"));
            tally.failed += u32::from(line.ends_with(" ... FAILED"));
        }
        if !line.trim().is_empty() && !line.starts_with("running ") && !line.starts_with("test result: ok") {
            println!("{line}");
        }
    }
    Ok(child.wait()?.success())
}
