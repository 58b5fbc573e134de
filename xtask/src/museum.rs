//! `make museum`: proof that the tests can fail. Each guard against a named hazard is switched off in turn, and the test that is
//! there for the hazard must then fail; with every guard on, the same binary must pass.
//!
//! | file | idea |
//! |---|---|
//! | `exhibits` | which test is there for which guard |
//! | `binaries` | the test programs, built once with the feature `museum` |
//! | `trial` | one test under one condition, within a time limit |
//! | `pages` | a page for each guard, `docs/museum` |
//!
//! A test that does not end counts as caught only where the hazard is a deadlock. A guard in the sources without an exhibit
//! counts as not caught.
mod binaries;
mod exhibits;
mod pages;
mod trial;

use crate::build;
use crate::table::Figures;
use anyhow::{Context, Result};
use binaries::Binaries;
use clap::Args;
use exhibits::{EXHIBITS, Exhibit};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trial::{End, Trial};

/// Options.
#[derive(Args)]
pub struct Options {
    /// Only these guards
    #[arg(long, env = "GUARDS", value_delimiter = ',')]
    only: Vec<String>,
    /// Only write docs/museum
    #[arg(long)]
    pages: bool,
}

/// Runs all exhibits and prints which test caught what.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.pages {
        return pages::write().map(|()| ExitCode::SUCCESS);
    }
    let wanted = |guard: &str| options.only.is_empty() || options.only.iter().any(|name| name == guard);
    let exhibits: Vec<&Exhibit> = EXHIBITS.iter().filter(|exhibit| wanted(exhibit.guard)).collect();
    let binaries = Binaries::build(&exhibits)?;
    let mut table = Figures::new(&["guard", "seconds", "test", "what happened with the guard off"], 2);
    let (mut caught, mut missed) = (0, 0);
    for exhibit in exhibits {
        let (verdict, seconds) = visit(exhibit, &binaries)?;
        *(if verdict.is_ok() { &mut caught } else { &mut missed }) += 1;
        let words = verdict.unwrap_or_else(|why| format!("NOT CAUGHT: {why}"));
        table.row(vec![exhibit.guard.into(), format!("{seconds:.2}"), exhibit.test.into(), words]);
    }
    for guard in guards()?.iter().filter(|guard| wanted(guard)) {
        if !EXHIBITS.iter().any(|exhibit| exhibit.guard == guard) {
            table.row(vec![guard.clone(), "-".into(), "-".into(), "NOT CAUGHT: no exhibit".into()]);
            missed += 1;
        }
    }
    println!("{table}\n{caught} caught, {missed} not caught");
    Ok(if missed == 0 && caught > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How the exhibit's test caught the bug, or why it did not, and how long it took.
fn visit(exhibit: &Exhibit, binaries: &Binaries) -> Result<(Result<String, String>, f64)> {
    let binary = binaries.get(exhibit.binary)?;
    let trial = |guards_off| Trial { binary, test: exhibit.test, guards_off, limit: exhibit.binary.limit() };
    let (healthy, _) = trial("").run()?;
    let (end, took) = trial(exhibit.guard).run()?;
    let verdict = match (healthy, end) {
        (End::Missing, _) => Err("there is no such test".to_owned()),
        (End::Failed(why), _) => Err(format!("the test fails with all guards on: {why}")),
        (End::TimedOut, _) => Err("the test does not end with all guards on".to_owned()),
        (End::Died, _) | (_, End::Died) => Err("the process ended without a panic".to_owned()),
        (End::Passed, End::Failed(why)) => Ok(why),
        (End::Passed, End::TimedOut) if exhibit.deadlock => Ok("deadlock".to_owned()),
        (End::Passed, End::TimedOut) => Err("the test did not end".to_owned()),
        (End::Passed, End::Passed | End::Missing) => Err("the test passed".to_owned()),
    };
    Ok((verdict, took.as_secs_f64()))
}

/// Fails where `docs/museum` is not what the sources say.
pub fn check_pages() -> Result<()> {
    pages::check()
}

/// How guards are written in the kernel's crates.
const GUARDS: [&str; 2] = ["guard!(\"", "mistake!(\""];

/// The names behind such calls in the kernel's crates.
fn names_in_sources(calls: &[&str]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in kernel_sources()? {
        names.extend(names_in(&std::fs::read_to_string(&path)?, calls));
    }
    Ok(names)
}

/// The names of all `anchor!("NAME", ...)` there, for the lab.
pub fn anchors() -> Result<BTreeSet<String>> {
    names_in_sources(&["anchor!(\""])
}

/// The names of all guards and mistakes.
pub fn guards() -> Result<BTreeSet<String>> {
    names_in_sources(&GUARDS)
}

/// The sources of the kernel's crates, in order. The lab is left out: it defines guards and tests them under names of no hazard.
fn kernel_sources() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for package in ["base", "drivers", "fs", "kernel"] {
        rust_files(&build::root().join(package).join("src"), &mut files)?;
    }
    files.retain(|path| !path.components().any(|part| part.as_os_str() == "lab"));
    files.sort();
    Ok(files)
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn names_in(source: &str, calls: &[&str]) -> impl Iterator<Item = String> {
    let found = calls.iter().flat_map(|call| source.split(call).skip(1));
    found.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_are_found_in_a_source() {
        let source = r#"base::mistake!("R45", c); if base::guard!("R12", a) && guard!("STB-2", b) {}"#;
        assert_eq!(names_in(source, &GUARDS).collect::<Vec<_>>(), ["R12", "STB-2", "R45"]);
    }

    #[test]
    fn each_exhibit_is_a_guard_of_the_sources() {
        let guards = guards().unwrap();
        for exhibit in EXHIBITS {
            assert!(guards.contains(exhibit.guard), "{} guards nothing", exhibit.guard);
        }
    }
}
