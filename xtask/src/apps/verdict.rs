//! What a run has shown: the checks that its lines tell of, how it ended, and which system calls it missed.
use super::calls;
use super::place::Place;
use super::script::Script;
use crate::console::Console;
use crate::qemu::{End, Outcome};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Lines that are told of a failed check.
const DETAIL: usize = 6;

/// The result of one run.
#[derive(Default)]
pub(super) struct Verdict {
    pub name: String,
    /// Checks that ended well, and all that began.
    good: usize,
    all: usize,
    took: Duration,
    /// What went wrong, a few lines each.
    wrong: Vec<String>,
    /// System calls that are not there.
    missing: BTreeSet<String>,
}

impl Verdict {
    /// Runs a variant of a script and judges it; the console goes to a file in `logs`.
    pub fn of(script: &Script, variant: &str, place: &Place, logs: &Path) -> Verdict {
        let mut verdict = Verdict { name: script.title(variant), ..Verdict::default() };
        let start = Instant::now();
        let mut lines = Vec::new();
        if let Err(error) = verdict.run(script, variant, place, &mut lines) {
            verdict.wrong.push(format!("{error:#}"));
        }
        verdict.took = start.elapsed();
        let log = logs.join(format!("{}.log", verdict.name));
        if let Err(error) = std::fs::write(&log, lines.join("\n") + "\n") {
            verdict.wrong.push(format!("{}: {error}", log.display()));
        }
        verdict
    }

    fn run(&mut self, script: &Script, variant: &str, place: &Place, lines: &mut Vec<String>) -> Result<()> {
        place.prepare(script)?;
        let mut outcome = place.run(script, &[variant], script.cut.as_deref())?;
        lines.extend(outcome.console.lines.iter().cloned());
        if let Some(cut) = &script.cut {
            self.read(&outcome.console);
            ensure!(outcome.end == End::Stopped, "the line `{cut}` did not come: {}", ending(&outcome, script));
            let word = cut.split(' ').next().unwrap_or_default();
            let last =
                outcome.console.lines.iter().rev().find(|line| line.starts_with(word)).cloned().unwrap_or_default();
            outcome = place.run(script, &[variant, &last], None)?;
            lines.extend(outcome.console.lines.iter().cloned());
        }
        self.read(&outcome.console);
        if script.compare {
            let (same, different) = place.compare(script)?;
            self.good += same;
            self.all += same + different.len();
            self.wrong.extend(different);
        }
        let status = outcome.console.init_status();
        // A failed check makes the status 1, and is told already.
        let told = status == Some(1) && !self.wrong.is_empty();
        ensure!(told || (outcome.end == End::Clean && status == Some(0)), "{}", ending(&outcome, script));
        place.check(&outcome)?;
        ensure!(self.all > 0, "it checked nothing");
        Ok(())
    }

    /// Counts what the lines of a run tell.
    fn read(&mut self, console: &Console) {
        let mut open: Option<&str> = None;
        let mut lines = console.lines.iter().map(String::as_str).peekable();
        while let Some(line) = lines.next() {
            if let Some(call) = missing_call(line) {
                self.missing.insert(call);
            }
            let Some(rest) = line.strip_prefix("check ") else { continue };
            if let Some((name, result)) = rest.split_once(" ... ") {
                self.good += usize::from(result == "ok");
                if result != "ok" {
                    let detail = std::iter::from_fn(|| lines.next_if(|line| !line.starts_with("check ")));
                    let detail: Vec<&str> = detail.filter(|line| !is_log(line)).collect();
                    let detail = &detail[detail.len().saturating_sub(DETAIL)..];
                    self.wrong.push([&[name, result][..], detail].concat().join("\n    "));
                }
                open = None;
            } else {
                self.all += 1;
                open = Some(rest);
            }
        }
        if let Some(name) = open {
            self.wrong.push(format!("{name}: it came to no end"));
        }
    }

    /// Whether all is well.
    pub fn passed(&self) -> bool {
        self.wrong.is_empty() && self.all > 0 && self.good == self.all
    }

    /// For the list that grows.
    pub fn line(&self) -> String {
        let result = if self.passed() { "ok" } else { "FAILED" };
        format!("test {} ... {result} ({} of {}, {:.0} s)", self.name, self.good, self.all, self.took.as_secs_f64())
    }

    /// For the table.
    pub fn row(&self) -> Vec<String> {
        let result = if self.passed() { "passed" } else { "FAILED" };
        let missing: Vec<&str> = self.missing.iter().map(String::as_str).collect();
        let seconds = format!("{:.0}", self.took.as_secs_f64());
        vec![self.name.clone(), self.good.to_string(), self.all.to_string(), seconds, result.into(), missing.join(", ")]
    }

    /// Why it failed.
    pub fn reasons(&self) -> &[String] {
        &self.wrong
    }
}

/// The name of the call that a line of the kernel's log says it lacks.
fn missing_call(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("system call ")?;
    let (number, name) = rest.split_once(" is not supported")?.0.split_once(' ')?;
    let known = number.parse().ok().and_then(calls::name);
    Some(known.map_or_else(|| format!("{number} {name}"), String::from))
}

/// Whether a line is the kernel's.
fn is_log(line: &str) -> bool {
    line.starts_with("sluice: ")
        || line.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

/// How a run ended, for people.
fn ending(outcome: &Outcome, script: &Script) -> String {
    match (outcome.end, outcome.console.init_status()) {
        (End::Clean, Some(status)) => format!("the script exited with status {status}"),
        (End::TimeOut, _) => format!("no end after {} seconds", script.limit_s),
        (End::Panic, _) => {
            let panic = outcome.console.lines.iter().position(|line| line.starts_with("PANIC"));
            let lines = panic.map_or(&[][..], |at| &outcome.console.lines[at..]);
            let why = outcome
                .console
                .refusal()
                .unwrap_or_else(|| lines.iter().take(4).cloned().collect::<Vec<_>>().join("\n    "));
            format!("the kernel gave up: {why}")
        }
        (end, _) => format!("the machine ended: {end:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Verdict {
        let mut console = Console::default();
        console.lines = lines.iter().map(|line| line.to_string()).collect();
        let mut verdict = Verdict::default();
        verdict.read(&console);
        verdict
    }

    #[test]
    fn checks_are_counted_and_failures_come_with_what_was_printed() {
        let well =
            read(&["check a", "check a ... ok", "[ 0.1] WARN k: system call 41 (no name) is not supported: ENOSYS"]);
        assert!(well.passed());
        assert_eq!(well.missing.iter().collect::<Vec<_>>(), ["socket"]);
        let ill =
            read(&["check a", "check a ... FAILED (status 3)", "why", "[ 0.2] INFO x", "check b", "check b ... ok"]);
        assert_eq!((ill.good, ill.all), (1, 2));
        assert_eq!(ill.reasons(), ["a\n    FAILED (status 3)\n    why"]);
    }

    #[test]
    fn a_check_without_an_end_and_a_run_without_checks_fail() {
        let stuck = read(&["check a", "check a ... ok", "check b", "noise"]);
        assert_eq!((stuck.passed(), stuck.reasons()), (false, &["b: it came to no end".to_owned()][..]));
        assert!(!read(&["hello"]).passed());
        assert_eq!(missing_call("system call 9 (mmap) is not supported: ENOSYS").as_deref(), Some("mmap"));
        assert_eq!(missing_call("a system call"), None);
    }
}
