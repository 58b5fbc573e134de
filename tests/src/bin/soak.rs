//! `make soak`: random operations against a model for as long as is wanted, on all CPUs. The last line is `N operations, N failures`.
use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use xtask::table::grouped;

/// Operations between two looks at the clock.
const SLICE: usize = 5000;

#[derive(Parser)]
#[command(about = "Random operations against a model, on file systems in memory")]
struct Options {
    /// How long
    #[arg(long, env = "MINUTES", default_value_t = 30.0)]
    minutes: f64,
    /// The seed of the first program; others count on from there
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let end = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {human_pos} operations, {per_sec}, {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let (next, stop) = (AtomicU64::new(options.seed), AtomicBool::new(false));
    let (done, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    let seed = next.fetch_add(1, Ordering::Relaxed).wrapping_mul(1 << 20);
                    let mut before = 0;
                    let mut count = |now: usize| {
                        let more = (now - before) as u64;
                        before = now;
                        bar.inc(more);
                        done.fetch_add(more, Ordering::Relaxed);
                    };
                    if let Err(why) = tests::oracle::run(seed, SLICE, &mut count) {
                        stop.store(true, Ordering::Relaxed);
                        failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(format!("{why:#}"));
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let failures = failures.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    failures.iter().for_each(|why| println!("{why}"));
    println!("{} operations, {} failures", grouped(done.into_inner()), failures.len());
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
