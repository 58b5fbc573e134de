//! What each way to write costs, and what calls, processes and page faults cost: a row for each, on Linux and on Sluice alike.
//!
//!   bench [--dir DIR] [--seconds S] [--only NAME,NAME*] [--ops PERCENT] [--json FILE] [--list] [--help]
//!
//! | file | rows |
//! |---|---|
//! | `rows` | calls, cached I/O, every way to write |
//! | `processes` | fork, exec, pipes and switches between processes and threads |
//! | `memory` | page faults and mappings |
//!
//! Without `--ops` each row runs for a time and tells operations a second and latencies; with it each row runs a fixed number of
//! operations between marker NOPs, for the instruction counter. Where the running kernel refuses a feature the row says so.
mod args;
mod counters;
mod memory;
mod meter;
mod processes;
mod report;
mod rows;
mod setup;

use args::Args;
use meter::Meter;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    if args.exit {
        return ExitCode::SUCCESS;
    }
    if args.help {
        print!("{}", args::HELP);
        return ExitCode::SUCCESS;
    }
    let rows: Vec<_> = rows::all().into_iter().filter(|row| args.wants(row.name)).collect();
    if args.list {
        rows.iter().for_each(|row| println!("{:32}{}", row.name, row.what));
        return ExitCode::SUCCESS;
    }
    match run(&args, &rows) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("bench: FAILED: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, rows: &[rows::Row]) -> Result<(), String> {
    let place = setup::Place::new(&args.dir)?;
    let clock = meter::Clock::calibrate();
    let mut results = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        eprint!("\r  {}/{}  {:32}", i + 1, rows.len(), row.name);
        let mut meter = Meter::new(clock, args.seconds, args.ops, row.ops);
        let outcome = (row.run)(&place, &mut meter);
        results.push(meter.finish(row.name, outcome)?);
    }
    eprint!("\r{:44}\r", "");
    print!("{}", report::table(&results));
    if let Some(path) = &args.json {
        std::fs::write(path, report::json(&results)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    place.tell_digests()?;
    if let Some((allocations, frees)) = counters::in_interrupts() {
        println!("bench: interrupts: {allocations} allocations, {frees} frees");
    }
    Ok(())
}
