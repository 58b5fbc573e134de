//! `make powercut`: see `tests::powercut`. Prints a table; the last line is `N states, N violations`.
use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::time::Instant;
use tests::powercut::booted;
use tests::powercut::campaign::{self, Plan};
use tests::powercut::case::Case;
use tests::powercut::keep;
use tests::powercut::workloads::WORKLOADS;
use xtask::table::{Figures, grouped};

#[derive(Parser)]
#[command(about = "Cuts the power in the middle of everything and looks at what is left")]
struct Options {
    /// States to look at
    #[arg(long, env = "STATES", default_value_t = 10_000)]
    states: usize,
    /// States to look at in the booted kernel as well
    #[arg(long, env = "BOOTED", default_value_t = 0)]
    booted: usize,
    /// The seed of all choices
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// Only this workload
    #[arg(long, env = "ONLY")]
    only: Option<String>,
    /// Only this run of it
    #[arg(long, env = "RUN", requires = "only")]
    run: Option<u64>,
}

/// One machine that recovers one state after the other.
fn boot(count: usize, seed: u64) -> Result<booted::Outcome> {
    let bar = ProgressBar::new(count as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} states in QEMU, {per_sec}, {eta} left")?);
    let outcome = booted::run(count, seed, &|| bar.inc(1));
    bar.finish_and_clear();
    outcome
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plan = Plan { states: options.states, seed: options.seed, only: options.only, run: options.run };
    let start = Instant::now();
    let bar = ProgressBar::new(plan.states as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} states, {per_sec}, {eta} left")?);
    let outcome = campaign::run(&plan, &|| bar.inc(1));
    bar.finish_and_clear();
    let outcome = outcome?;
    let mut table = Figures::new(&["workload", "runs", "cuts", "states", "replays", "violations"], 0);
    for row in &outcome.rows {
        let counts = &row.counts;
        let figures = [row.runs, counts.cuts, counts.states, counts.replays, counts.violations];
        let cells = figures.map(|figure| grouped(figure as u64));
        table.row([row.workload.to_owned()].into_iter().chain(cells).collect());
    }
    outcome.told.iter().for_each(|words| println!("{words}"));
    println!("{table}");
    println!("seed {}, {:.0} s", plan.seed, start.elapsed().as_secs_f64());
    let case = Case::new(&WORKLOADS[0], plan.seed, 0);
    println!("one cut as a picture: {}", keep::picture(case)?.display());
    let (mut states, mut violations) = (outcome.sum(|c| c.states), outcome.sum(|c| c.violations));
    if options.booted > 0 {
        let more = boot(options.booted, plan.seed)?;
        more.violations.iter().for_each(|words| println!("{words}"));
        println!("recovered by the kernel in QEMU: {} states, {} violations", more.states, more.violations.len());
        states += more.states;
        violations += more.violations.len();
    }
    println!("{states} states, {violations} violations");
    Ok(if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
