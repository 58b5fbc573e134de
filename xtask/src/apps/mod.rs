//! `make apps`: programs of Debian as they are, each checked by a script in a guest of its own.
//!
//! | file | idea |
//! |---|---|
//! | `script` | what stands at the head of a script: packages, variants, limits |
//! | `place` | where a script runs: in a booted guest, or in a folder of the host under Linux |
//! | `verdict` | what its lines say, and what the kernel said it lacks |
//! | `calls` | names of system calls |
//!
//! Scripts are those of `tests/apps`; `docs/APPS.md` tells how to add one. Each is run by busybox's shell as the first program, once for
//! each of its variants, with a time limit; after it the disk must pass `e2fsck -fn`. With `HOST=1` they run on the host, below a
//! folder with the same packages: what fails there is the script's fault.
//!
//! The last line is `N passed, N failed`.
mod calls;
mod place;
mod script;
mod verdict;

use crate::build::{self, Flavour};
use crate::{demo, table};
use anyhow::{Context, Result, ensure};
use clap::Args;
use place::Place;
use script::Script;
use std::path::PathBuf;
use std::process::ExitCode;
use verdict::Verdict;

/// Options; each can also be given as a variable of the same name in capitals.
#[derive(Args)]
pub struct Options {
    /// Only these, by the start of their names: fio,sqlite-cut
    #[arg(long, env = "ONLY", default_value = "", hide_default_value = true)]
    only: String,
    /// 1: on the host, below a folder with the same packages, instead of in guests
    #[arg(long, env = "HOST", default_value = "", hide_default_value = true)]
    host: String,
    /// 1: show everything that comes on the console
    #[arg(long, env = "VERBOSE", default_value = "", hide_default_value = true)]
    verbose: String,
    /// Virtual CPUs
    #[arg(long, env = "SMP", default_value_t = 1)]
    smp: u32,
}

/// Runs them and prints a table.
pub fn run(options: &Options) -> Result<ExitCode> {
    let scripts = chosen(&options.only)?;
    let logs = build::target().join("apps");
    std::fs::create_dir_all(&logs).context("no folder for the logs")?;
    let kernel = if options.host == "1" { None } else { Some(build::kernel(Flavour::Release)?) };
    let mut verdicts = Vec::new();
    for script in &scripts {
        let work = demo::work_folder()?;
        let mut place = match &kernel {
            Some(kernel) => Place::guest(kernel, options.smp, script, work.path())?,
            None => Place::host(script, work.path())?,
        };
        place.verbose = options.verbose == "1";
        for variant in &script.variants {
            let verdict = Verdict::of(script, variant, &place, &logs);
            println!("{}", verdict.line());
            verdicts.push(verdict);
        }
    }
    Ok(report(&verdicts, &logs))
}

fn report(verdicts: &[Verdict], logs: &std::path::Path) -> ExitCode {
    let mut table =
        table::Figures::new(&["program", "passed", "of", "seconds", "result", "calls that are not there"], 2);
    verdicts.iter().for_each(|verdict| table.row(verdict.row()));
    println!("\n{table}\n");
    for verdict in verdicts.iter().filter(|verdict| !verdict.passed()) {
        verdict.reasons().iter().for_each(|line| println!("{}: {line}", verdict.name));
    }
    println!("sluice: logs: {}", logs.display());
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    println!("{} passed, {failed} failed", verdicts.len() - failed);
    if failed == 0 && !verdicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The scripts whose names, or those of their variants, begin as was asked for.
fn chosen(only: &str) -> Result<Vec<Script>> {
    let mut scripts = Script::all(&folder())?;
    let wanted: Vec<&str> = only.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    for name in &wanted {
        ensure!(scripts.iter().any(|script| script.narrowed(&[name]).is_some()), "ONLY={name}: there is no such check");
    }
    if !wanted.is_empty() {
        scripts = scripts.iter().filter_map(|script| script.narrowed(&wanted)).collect();
    }
    Ok(scripts)
}

/// Where the scripts are.
fn folder() -> PathBuf {
    build::root().join("tests/apps")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_needs() {
        let scripts = chosen("").unwrap();
        assert!(scripts.len() >= 7, "{scripts:?}");
        assert!(scripts.iter().all(|script| !script.does.is_empty() && script.limit_s >= 10));
    }

    #[test]
    fn names_are_chosen_by_their_starts() {
        let names = |only| -> Vec<String> {
            let scripts = chosen(only).unwrap();
            scripts.iter().flat_map(|script| script.variants.iter().map(|variant| script.title(variant))).collect()
        };
        assert_eq!(names("fio-psync,ioping"), ["fio-psync", "ioping"]);
        assert!(names("fio").len() > 2 && names("fio").iter().all(|name| name.starts_with("fio")));
        assert_eq!(chosen("nothing").unwrap_err().to_string(), "ONLY=nothing: there is no such check");
    }
}
