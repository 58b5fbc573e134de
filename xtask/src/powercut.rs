//! `make powercut`: builds the program that cuts the power (`tests::powercut`) and runs it. It takes its options by the environment.
use crate::{build, progress};
use anyhow::{Context, Result};
use clap::Args;
use std::process::{Command, ExitCode};

/// Options.
#[derive(Args)]
pub struct Options {
    /// States to look at
    #[arg(long, env = "STATES", default_value_t = 10_000)]
    states: u64,
    /// States to look at of workloads that the booted kernel plays: a tenth of STATES, or none where one workload is asked for
    #[arg(long, env = "GUEST")]
    guest: Option<u64>,
    /// States that the booted kernel recovers: a twentieth of STATES; none where one workload is asked for
    #[arg(long, env = "BOOTED")]
    booted: Option<u64>,
    /// The seed of all choices
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// Only this workload
    #[arg(long, env = "ONLY")]
    only: Option<String>,
    /// Only this run of it
    #[arg(long, env = "RUN")]
    run: Option<u64>,
}

/// Cuts the power and tells what was left.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut program = program()?;
    program.args(["--states", &options.states.to_string(), "--seed", &options.seed.to_string()]);
    let (guest, booted) = match options.only {
        None => (options.guest.unwrap_or(options.states / 10), options.booted.unwrap_or(options.states / 20)),
        Some(_) => (options.guest.unwrap_or(0), 0),
    };
    program.args(["--guest", &guest.to_string(), "--booted", &booted.to_string()]);
    for (name, value) in [("--only", options.only.clone()), ("--run", options.run.map(|run| run.to_string()))] {
        program.args(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    }
    let status = program.status().context("cannot run the program that cuts the power")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The part of `make test`: two thousand states.
pub fn check() -> Result<()> {
    let mut program = program()?;
    program.args(["--states", "2000", "--seed", "1"]);
    build::status(&mut program, "see above")
}

/// The program, built with optimisations and with all assertions on. It hears nothing of the environment's options.
fn program() -> Result<Command> {
    let mut cargo = build::cargo();
    cargo.args(["build", "--package", "tests", "--bin", "powercut", "--profile", "cut"]);
    progress::build(&mut cargo, "what cuts the power")?;
    let mut program = Command::new(build::target().join("cut/powercut"));
    ["STATES", "GUEST", "BOOTED", "SEED", "ONLY", "RUN"].iter().for_each(|name| _ = program.env_remove(name));
    Ok(program)
}
