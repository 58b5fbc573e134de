//! `make demo`: one aio write-through against one truncate, in the kernel with the lab.
//!
//! The program tells the timeline and judges it; this command boots the machine, checks the disk, and turns the trace that the
//! program left on it into a file for <https://ui.perfetto.dev> (`perfetto`).
//!
//! The last line is `sluice: OK` or `sluice: FAILED: reason`.
mod perfetto;

use crate::build::{self, Flavour};
use crate::console::nowhere;
use crate::qemu::Machine;
use crate::{image, run};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The program, and where it leaves the trace on the guest's disk.
const INIT: &str = "/bin/demo --trace /data/trace.txt";
const TRACE: &str = "/data/trace.txt";
/// Seconds.
const LIMIT: u64 = 60;

/// Plays the demo and tells it.
pub fn run() -> Result<ExitCode> {
    let kernel = build::kernel(Flavour::Lab)?;
    let programs = build::user()?;
    let played = play(&kernel, &programs, 1)?;
    println!();
    played.lines.iter().for_each(|line| println!("{line}"));
    println!("\nsluice: disk: e2fsck -fn is clean");
    if played.status != 0 {
        println!("sluice: FAILED: {INIT} exited with status {}", played.status);
        return Ok(ExitCode::FAILURE);
    }
    let file = build::target().join("demo/trace.json");
    std::fs::create_dir_all(file.parent().context("target/demo")?)?;
    std::fs::write(&file, played.json()?).with_context(|| file.display().to_string())?;
    println!("sluice: trace: {} (open it at https://ui.perfetto.dev)", file.display());
    println!("sluice: OK");
    Ok(ExitCode::SUCCESS)
}

/// What the demo left.
pub struct Played {
    /// The program's exit status.
    pub status: i32,
    /// What the program printed.
    pub lines: Vec<String>,
    /// The raw trace; empty if the program came to no end.
    pub trace: String,
}

impl Played {
    /// The trace as Chrome trace JSON. Errors: a line that is no event.
    pub fn json(&self) -> Result<String> {
        perfetto::json(&self.trace)
    }
}

/// Boots `kernel` on `cpus` CPUs with the demo from the folder `programs`. Errors: the machine did not come to an end, or the disk is damaged.
pub fn play(kernel: &Path, programs: &Path, cpus: u32) -> Result<Played> {
    let work = work_folder()?;
    let disk = make_disk(work.path(), programs, "demo")?;
    let mut machine = Machine::with_program(kernel, INIT).disk(&disk).limit(LIMIT);
    machine.cpus = cpus;
    let outcome = machine.run(&mut nowhere)?;
    let status =
        run::judge(kernel, &outcome).inspect_err(|_| outcome.console.lines.iter().for_each(|l| println!("{l}")))?;
    image::check(&disk)?;
    let trace = if status == 0 { image::read_file(&disk, TRACE)? } else { Vec::new() };
    Ok(Played { status, lines: told(&outcome.console.lines), trace: String::from_utf8(trace)? })
}

/// A folder for one run; it goes with the value.
pub(crate) fn work_folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir_in(build::target()).context("cannot make a working folder in target/")
}

/// A disk in the folder `work` with one program.
pub(crate) fn make_disk(work: &Path, programs: &Path, program: &str) -> Result<PathBuf> {
    let (folder, disk) = (work.join("root"), work.join("disk.img"));
    let program = programs.join(program);
    ensure!(program.is_file(), "{} was not built", program.display());
    image::root_folder(&folder, &[program])?;
    image::make(&disk, &image::Spec { size_mib: 64, ..image::Spec::default() }, &folder)?;
    Ok(disk)
}

/// The lines of the program: the kernel's own begin with a time in brackets or with its name.
pub(crate) fn told(lines: &[String]) -> Vec<String> {
    let from = lines.iter().position(|l| l.contains("first program: ")).map_or(0, |at| at + 1);
    lines[from..].iter().filter(|l| !l.starts_with('[') && !l.starts_with("sluice:")).cloned().collect()
}
