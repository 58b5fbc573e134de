//! The rules of the specification that a program can see, each checked with real system calls.
//!
//!   rulecheck                 all checks
//!   rulecheck --only PART     only the checks of a part, or with PART at the start of their name
//!   rulecheck --list          the names
//!   rulecheck leave           submits write-throughs and ends without waiting for them (PRC-2)
//!   rulecheck leave killed    the same, and is killed
//!   rulecheck shut-down WAY   shuts the root file system down, in the way 0, 1 or 2 (SHD-1); only in a kernel with the lab
//!
//! | part | rules |
//! |---|---|
//! | `flags`, `vectors` | A1: flags and their combinations; positions and vectors |
//! | `before` | A2: checks before a write |
//! | `contract` | A3: what an outcome promises |
//! | `align` | A5, A12: any position and length, the end of the file |
//! | `short` | A11: short counts and errors |
//! | `truncate`, `ranges` | A14; with the modes of fallocate, FIEMAP |
//! | `direct` | A15, A16: direct and buffered I/O beside write-through |
//! | `submit`, `events` | A20: aio |
//! | `process` | A21, A22: close, threads, unlink; append |
//! | `order` | A23 |
//! | `now` | A24: requests that must not sleep |
//! | `poll` | poll, select and their relatives |
//! | `shutdown` | A19: what a forced shutdown refuses |
//! | `hostile` | wild pointers at every pointer argument |
//! | `lab` | what needs a request held in flight; only in a kernel with the lab |
//! | `selves` | `/proc/self` |
//! | `cpus` | where threads run, and what reaches them there |
//! | `unprivileged` | what needs a process that is not root's; the last part, since it never is again |
//!
//! A check is a line: its name, which starts with its rule, then `ok` or what was seen. The last line is `N passed, N failed`.
//! Exit status: 0 if all passed; 1 if not; 2 for a wrong call.
mod aio;
mod align;
mod before;
mod contract;
mod cpus;
mod direct;
mod events;
mod flags;
mod hostile;
mod kit;
mod lab;
mod now;
mod order;
mod poll;
mod process;
mod ranges;
mod selves;
mod short;
mod shutdown;
mod submit;
mod truncate;
mod unprivileged;
mod vectors;

use kit::Check;
use std::process::ExitCode;

type Part = (&'static str, &'static [Check]);

const PARTS: [Part; 21] = [
    ("flags", flags::CHECKS),
    ("vectors", vectors::CHECKS),
    ("before", before::CHECKS),
    ("contract", contract::CHECKS),
    ("align", align::CHECKS),
    ("short", short::CHECKS),
    ("truncate", truncate::CHECKS),
    ("ranges", ranges::CHECKS),
    ("direct", direct::CHECKS),
    ("submit", submit::CHECKS),
    ("events", events::CHECKS),
    ("process", process::CHECKS),
    ("order", order::CHECKS),
    ("now", now::CHECKS),
    ("poll", poll::CHECKS),
    ("shutdown", shutdown::CHECKS),
    ("hostile", hostile::CHECKS),
    ("lab", lab::CHECKS),
    ("selves", selves::CHECKS),
    ("cpus", cpus::CHECKS),
    ("unprivileged", unprivileged::CHECKS),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => run(|_, _| true),
        ["--only", only] => run(|part, name| part == only || name.starts_with(only)),
        ["--list"] => {
            PARTS.iter().for_each(|(part, checks)| checks.iter().for_each(|(name, _)| println!("{part:10}{name}")));
            ExitCode::SUCCESS
        }
        ["leave"] => process::leave(false),
        ["leave", "killed"] => process::leave(true),
        ["shut-down", way] => shutdown::run(way),
        _ => {
            eprintln!("usage: rulecheck [--list | --only PART | leave [killed] | shut-down WAY]");
            ExitCode::from(2)
        }
    }
}

/// Runs the checks that are wanted, all of them, even after one has failed.
fn run(wanted: impl Fn(&str, &str) -> bool) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for (part, checks) in PARTS {
        if part == "lab" && !lab::is_there() {
            continue;
        }
        for (name, check) in checks.iter().filter(|(name, _)| wanted(part, name)) {
            match check() {
                Ok(()) => {
                    println!("{name} ... ok");
                    passed += 1;
                }
                Err(text) => {
                    println!("{name} ... FAILED: {text}");
                    failed += 1;
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
