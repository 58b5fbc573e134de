//! Races of SEMANTICS A28, played with the hooks of the lab and told step by step.
//!
//!   scenario            lists them
//!   scenario NAME...    plays them; `all` plays all
//!   scenario --off GUARD NAME...    with a guard of the bug museum switched off, in a kernel that has it
//!
//! A scenario stops requests at the disk and tasks at anchors, so that the steps come in the order of the catalogue, and looks after
//! each whether the kernel did what it must. Any of it can be done by hand, through `/proc/sluice/lab`.
//!
//! | file | contents |
//! |---|---|
//! | `stage` | what scenarios are played on: files, requests, threads, and the telling |
//! | `truncate` | truncates against writes in flight |
//! | `cache` | readers, eviction, two writers of one page |
//! | `sync` | fsync and errors |
//! | `depth` | what must not wait |
//!
//! Exit status: 0 if everything was as it must be; 1 if not; 2 if this kernel has no lab or there is no such scenario.
mod cache;
mod depth;
mod stage;
mod sync;
mod truncate;

#[allow(dead_code, reason = "the checks use more of it")]
#[path = "../rulecheck/aio.rs"]
mod aio;
#[allow(dead_code, reason = "the checks use more of it")]
#[path = "../rulecheck/kit.rs"]
mod kit;

use kit::Outcome;
use stage::Stage;
use std::process::ExitCode;
use user::lab::{Lab, PATH};

/// A race, what must not come of it, and how it is played.
type Scenario = (&'static str, &'static str, fn(&Stage) -> Outcome);

const SCENARIOS: [&[Scenario]; 4] = [truncate::SCENARIOS, cache::SCENARIOS, sync::SCENARIOS, depth::SCENARIOS];

fn main() -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let off = (names.len() > 1 && names[0] == "--off").then(|| names.drain(..2).next_back()).flatten();
    if names.is_empty() {
        all().for_each(|(name, never, _)| println!("{name:5} {never}"));
        return ExitCode::SUCCESS;
    }
    let Some(lab) = Lab::enter() else {
        eprintln!("scenario: this kernel has no lab ({PATH}): boot the one that `make lab` builds");
        return ExitCode::from(2);
    };
    let wanted: Vec<&Scenario> = all().filter(|(name, ..)| names.iter().any(|n| n == name || n == "all")).collect();
    if let Some(unknown) = names.iter().find(|n| *n != "all" && all().all(|(name, ..)| name != n)) {
        eprintln!("scenario: there is no {unknown}");
        return ExitCode::from(2);
    }
    let stage = Stage::new(lab, off);
    let failed = wanted.iter().filter(|scenario| !told(&stage, scenario)).count();
    println!("\n{} scenarios, {failed} failed", wanted.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.into_iter().flatten()
}

/// Plays a scenario; whether it went as it must. Whatever it held goes on.
fn told(stage: &Stage, (name, never, play): &Scenario) -> bool {
    println!("\n{name}: {never}\n");
    let outcome = stage.begin().and_then(|()| play(stage)).and_then(|()| stage.end());
    match &outcome {
        Ok(()) => println!("{name}: as it must be"),
        Err(text) => println!("{name}: FAILED: {text}"),
    }
    stage.reset();
    outcome.is_ok()
}
