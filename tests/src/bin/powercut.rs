//! `make powercut`: see `tests::powercut`. Prints a table; the last line is `N states, N violations`.
use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::time::Instant;
use tests::powercut::booted;
use tests::powercut::campaign::{self, Plan};
use tests::powercut::case::{By, Case};
use tests::powercut::keep;
use tests::powercut::workloads::WORKLOADS;
use xtask::table::{Figures, grouped};

#[derive(Parser)]
#[command(about = "Cuts the power in the middle of everything and looks at what is left")]
struct Options {
    /// States to look at
    #[arg(long, env = "STATES", default_value_t = 10_000)]
    states: usize,
    /// States to look at of workloads that the booted kernel plays
    #[arg(long, env = "GUEST", default_value_t = 0)]
    guest: usize,
    /// States that the booted kernel recovers
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

/// How far something is, of `count` states.
fn bar(count: usize, what: &str) -> Result<ProgressBar> {
    let bar = ProgressBar::new(count as u64);
    let template = format!("{{bar:40}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&template)?);
    Ok(bar)
}

/// One machine that recovers one state after the other.
fn boot(count: usize, seed: u64) -> Result<booted::Outcome> {
    let bar = bar(count, "states recovered in QEMU")?;
    let outcome = booted::run(count, 1, seed, &|| bar.inc(1));
    bar.finish_and_clear();
    outcome
}

/// The states of one plan, added to the table. Gives how many there were, and how many broke a promise.
fn cut(plan: &Plan, table: &mut Figures) -> Result<(usize, usize)> {
    let bar = bar(plan.states, if plan.by == By::Host { "states" } else { "states of what QEMU plays" })?;
    let outcome = campaign::run(plan, &|| bar.inc(1));
    bar.finish_and_clear();
    let outcome = outcome?;
    for row in outcome.rows.iter().filter(|row| row.runs > 0) {
        let counts = &row.counts;
        let figures = [row.runs, counts.cuts, counts.states, counts.replays, counts.violations];
        let name = if plan.by == By::Host { row.workload.to_owned() } else { format!("{}, in QEMU", row.workload) };
        table.row([name].into_iter().chain(figures.map(|figure| grouped(figure as u64))).collect());
    }
    outcome.told.iter().for_each(|words| println!("{words}"));
    Ok((outcome.sum(|c| c.states), outcome.sum(|c| c.violations)))
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let start = Instant::now();
    let mut table = Figures::new(&["workload", "runs", "cuts", "states", "replays", "violations"], 0);
    let (mut states, mut violations) = (0, 0);
    for (by, count) in [(By::Host, options.states), (By::Guest, options.guest)] {
        let plan = Plan { states: count, by, seed: options.seed, only: options.only.clone(), run: options.run };
        if count > 0 {
            let (seen, broken) = cut(&plan, &mut table)?;
            (states, violations) = (states + seen, violations + broken);
        }
    }
    println!("{table}");
    let case = Case::new(&WORKLOADS[0], options.seed, 0);
    println!("one cut as a picture: {}", keep::picture(case)?.display());
    if options.booted > 0 {
        let more = boot(options.booted, options.seed)?;
        more.violations.iter().for_each(|words| println!("{words}"));
        println!("recovered by the kernel in QEMU: {} states, {} violations", more.states, more.violations.len());
        states += more.states;
        violations += more.violations.len();
    }
    println!("seed {}, {:.0} s", options.seed, start.elapsed().as_secs_f64());
    println!("{states} states, {violations} violations");
    Ok(if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
