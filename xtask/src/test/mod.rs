//! `make test`: everything, one line a test, closing with `N passed, N failed`.
//!
//! | part | what runs |
//! |---|---|
//! | `style` | rustfmt, clippy and rustdoc with warnings denied, the dependency law |
//! | `host` | the tests beside the code and the races, on threads of the host |
//! | `models` | the protocol types: small models under loom, exhaustively, larger ones under shuttle, at random |
//! | `kernel` | the in-kernel tests in QEMU |
//! | `powercut` | two thousand states that power cuts leave |
//! | `integration` | booted kernels with disks and programs |
//!
//! `make boottest`, outside of it, boots the disk images (`loaders`).
mod cargo;
mod kernel;
mod loaders;

use crate::build;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use std::time::Instant;

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only these parts: style, host, models, kernel, powercut, integration
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    schedules: Schedules,
}

/// Of the models under shuttle.
#[derive(Args)]
struct Schedules {
    /// Schedules of each model
    #[arg(long, env = "SCHEDULES", default_value_t = 2000)]
    schedules: u64,
    /// Seed of the first; each next one has the next number
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
}

/// The sum of all parts.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    /// One test of the runner's own.
    fn note(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                println!("test {name} ... ok");
                self.passed += 1;
            }
            Err(error) => {
                println!("test {name} ... FAILED\n{error:#}");
                self.failed += 1;
            }
        }
    }

    /// The closing line.
    fn close(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Boots the disk images with BIOS and UEFI, and prints the closing line.
pub fn boot_images() -> Result<ExitCode> {
    let mut tally = Tally::default();
    if let Err(error) = loaders::run(&mut tally) {
        tally.note("boottest", Err(error));
    }
    Ok(tally.close())
}

type Part = (&'static str, fn(&mut Tally, &Options) -> Result<()>);
const PARTS: [Part; 6] = [
    ("style", |tally, _| style(tally)),
    ("host", |tally, _| cargo::host(tally)),
    ("models", |tally, options| cargo::models(tally, &options.schedules)),
    ("kernel", |tally, _| kernel::run(tally)),
    ("powercut", |tally, _| powercut(tally)),
    ("integration", |tally, _| cargo::integration(tally)),
];

/// Runs the parts in turn and prints the closing line.
pub fn run(options: &Options) -> Result<ExitCode> {
    for name in &options.only {
        anyhow::ensure!(PARTS.iter().any(|(part, _)| part == name), "--only {name}: there is no such part");
    }
    let mut tally = Tally::default();
    for (name, part) in PARTS {
        if !options.only.is_empty() && !options.only.iter().any(|n| n == name) {
            continue;
        }
        println!("== {name}");
        let start = Instant::now();
        if let Err(error) = part(&mut tally, options) {
            tally.note(name, Err(error));
        }
        println!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(tally.close())
}

fn powercut(tally: &mut Tally) -> Result<()> {
    tally.note("powercut::nothing_acknowledged_is_lost", crate::powercut::check());
    Ok(())
}

fn style(tally: &mut Tally) -> Result<()> {
    let quiet = |args: &[&str]| build::status(build::cargo().args(args), "see above");
    tally.note("style::rustfmt", quiet(&["fmt", "--all", "--check"]));
    let deny = ["--", "-D", "warnings"];
    tally.note("style::clippy", quiet(&[&["clippy", "--quiet", "--workspace", "--all-targets"][..], &deny].concat()));
    let bare = ["clippy", "--quiet", "--package", "boot", "--target", "x86_64-unknown-none", "--features", "ktest"];
    tally.note("style::clippy_bare", quiet(&[&bare[..], &deny].concat()));
    let mut doc = build::cargo();
    doc.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    tally.note("style::doc", build::status(&mut doc, "see above"));
    tally.note("style::dependency_law", crate::law::check());
    tally.note("style::syscalls_document", crate::syscalls::check());
    tally.note("style::rules_document", crate::rules::check());
    tally.note("style::museum_pages", crate::museum::check_pages());
    tally.note("style::lab_document", crate::lab::check_document());
    Ok(())
}
