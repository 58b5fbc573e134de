//! `make soak`: builds the program that plays random operations against a model (`tests::oracle`) and runs it. It takes its options by
//! the environment.
use crate::{build, progress};
use anyhow::{Context, Result};
use clap::Args;
use std::process::{Command, ExitCode};

/// Options.
#[derive(Args)]
pub struct Options {
    /// How long
    #[arg(long, env = "MINUTES", default_value_t = 30.0)]
    minutes: f64,
    /// The seed of the first program
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
}

/// Plays until the time is over or something is not as the model says.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut cargo = build::cargo();
    cargo.args(["build", "--package", "tests", "--bin", "soak", "--profile", "cut"]);
    progress::build(&mut cargo, "the random operations")?;
    let mut program = Command::new(build::target().join("cut/soak"));
    program.args(["--minutes", &options.minutes.to_string(), "--seed", &options.seed.to_string()]);
    let status = program.status().context("cannot run the random operations")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
