//! `make lab`: races of the catalogue played step by step by a program, in the kernel with the lab.
//!
//! The program `scenario` stops requests and tasks through `/proc/sluice/lab`, tells what it sees and judges it; this command boots
//! the machine and checks the disk. The last line is `sluice: OK` or `sluice: FAILED: reason`.
use crate::build::{self, Flavour};
use crate::console::nowhere;
use crate::qemu::Machine;
use crate::{demo, image, museum, run};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// Seconds.
const LIMIT: u64 = 120;

/// Options.
#[derive(Args)]
pub struct Options {
    /// The scenarios to play, or all; without any they are listed
    #[arg(long, env = "SCENARIO", value_delimiter = ',')]
    scenario: Vec<String>,
    /// A guard of the bug museum that is off: see what comes of it
    #[arg(long, env = "OFF")]
    off: Option<String>,
}

/// Plays the scenarios and tells them.
pub fn run(options: &Options) -> Result<ExitCode> {
    let flavour = if options.off.is_some() { Flavour::Museum } else { Flavour::Lab };
    let (kernel, programs) = (build::kernel(flavour)?, build::user()?);
    let off = options.off.iter().flat_map(|guard| ["--off", guard]);
    let words: Vec<&str> = off.chain(options.scenario.iter().map(String::as_str)).collect();
    let (status, lines) = play(&kernel, &programs, &words)?;
    println!();
    lines.iter().for_each(|line| println!("{line}"));
    println!("\nsluice: disk: e2fsck -fn is clean");
    if status != 0 {
        println!("sluice: FAILED: /bin/scenario exited with status {status}");
        return Ok(ExitCode::FAILURE);
    }
    println!("sluice: OK");
    Ok(ExitCode::SUCCESS)
}

/// Fails where the anchors of `docs/LAB.md` are not those of the sources.
pub fn check_document() -> Result<()> {
    let text = std::fs::read_to_string(build::root().join("docs/LAB.md")).context("docs/LAB.md")?;
    let rows = text.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()));
    let (told, there): (BTreeSet<String>, _) = (rows.collect(), museum::anchors()?);
    let differ: Vec<_> = told.symmetric_difference(&there).collect();
    ensure!(differ.is_empty(), "docs/LAB.md and the sources differ in the anchors {differ:?}");
    Ok(())
}

/// Boots `kernel` with the program `scenario` from the folder `programs` and its arguments: its exit status and what it printed. Errors:
/// the machine did not come to an end, or the disk is damaged.
pub fn play(kernel: &Path, programs: &Path, words: &[&str]) -> Result<(i32, Vec<String>)> {
    let work = demo::work_folder()?;
    let disk = demo::make_disk(work.path(), programs, "scenario")?;
    let init = format!("/bin/scenario {}", words.join(" "));
    let outcome = Machine::with_program(kernel, init.trim_end()).disk(&disk).limit(LIMIT).run(&mut nowhere)?;
    let status =
        run::judge(kernel, &outcome).inspect_err(|_| outcome.console.lines.iter().for_each(|l| println!("{l}")))?;
    image::check(&disk)?;
    Ok((status, demo::told(&outcome.console.lines)))
}
