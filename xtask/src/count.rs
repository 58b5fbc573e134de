//! `make count`: guest instructions an operation, beside Linux.
//!
//! | file | idea |
//! |---|---|
//! | `plugin/count.c` | counts what QEMU executes between the markers that the benchmark sets around each row |
//! | `sections` | the counter's lines |
//! | `linux_guest` | the same on Linux, for its column |
//! | `profile` | where one row's instructions go, by function |
//!
//! # What makes a count repeatable
//! * `-icount shift=0`: the guest's clock is the number of its instructions, so ticks come equally often in each run.
//! * The guest stands still after each notification of the disk until the disk has answered: no request sleeps. The column
//!   `hlt` proves it; a row with more than a few hundredths there has paid for sleeps, and is marked.
//! * One processor.
mod linux_guest;
mod profile;
mod sections;

use crate::build::{self, Flavour};
use crate::image::{self, Spec};
use crate::linux::Linux;
use crate::qemu::Machine;
use crate::table::{Figures, grouped};
use crate::{console, run};
use anyhow::{Context, Result, ensure};
use clap::Args;
use sections::Section;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const ROWS_PATH: &str = "/data/rows.json";
/// How long the guest stands still after a notification.
const STALL_US: u32 = 3000;
/// More HLT instructions an operation than this, and the figure is not that of a row without sleeps.
const MOST_HALTS: f64 = 0.05;

/// Options; each can also be given as a variable of the same name in capitals.
#[derive(Args)]
pub struct Options {
    /// Only these rows, by name or start: getppid,aio_w_*
    #[arg(long, env = "ONLY")]
    only: Option<String>,
    /// How many operations, in percent of the usual
    #[arg(long, env = "OPS", default_value_t = 25)]
    ops: u32,
    /// Where the instructions of this row go, by function
    #[arg(long, env = "PROFILE")]
    profile: Option<String>,
    /// Time limit in seconds
    #[arg(long, env = "LIMIT", default_value_t = 600)]
    limit: u64,
    /// 0: take the dated figures of Linux instead of measuring it as well
    #[arg(long, env = "LINUX", default_value = "1")]
    linux: String,
}

/// What was counted for one row.
struct Row {
    name: String,
    ops: f64,
    /// Commits and flushes an operation, as the kernel counted them.
    commits: Option<f64>,
    flushes: Option<f64>,
    section: Section,
}

impl Row {
    /// Whether its figure has the cost of sleeps in it.
    fn slept(&self) -> bool {
        self.section.halts as f64 / self.ops > MOST_HALTS
    }
}

/// Counts and prints the table.
pub fn run(options: &Options) -> Result<ExitCode> {
    let kernel = build::kernel(Flavour::Release)?;
    let programs = build::user()?;
    let plugin = build_plugin()?;
    let work = tempfile::tempdir_in(build::target()).context("cannot make a working folder in target/")?;
    let disk = disk(&programs, work.path())?;
    let (counts, profile) = (work.path().join("counts"), work.path().join("profile"));
    let mut counter = counter(&plugin, &counts);
    if options.profile.is_some() {
        counter += &format!(",profile={}", profile.display());
    }
    let machine = counted(Machine::with_program(&kernel, &program(options)), options, &disk, &counter);
    let outcome = machine.run(&mut console::transient_only())?;
    let status = run::judge(&kernel, &outcome);
    if !matches!(status, Ok(0)) {
        outcome.console.lines.iter().for_each(|line| println!("{line}"));
        ensure!(status? == 0, "the benchmark failed");
    }
    let rows = rows(&disk, &counts)?;
    if options.profile.is_some() {
        rows.iter().try_for_each(|row| profile::print(&kernel, &profile, &row.name, row.ops))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&rows, &linux(options, &programs, &plugin, work.path()));
    Ok(ExitCode::SUCCESS)
}

/// The figures of Linux: of this run where they can be had, and of `linux.json`.
fn linux(options: &Options, programs: &Path, plugin: &Path, work: &Path) -> Linux {
    let measured = match options.linux.trim() {
        "0" => Err(anyhow::anyhow!("LINUX=0")),
        _ => linux_guest::run(options, programs, plugin, work),
    };
    match measured {
        Ok(measured) => {
            let per_op = |row: &Row| (row.name.clone(), row.section.instructions() as f64 / row.ops);
            let slept = measured.rows.iter().filter(|row| row.slept()).map(|row| row.name.as_str()).collect();
            Linux::load().measured(&measured.version, measured.rows.iter().map(per_op).collect(), slept)
        }
        Err(why) => Linux::load().not_measured(&format!("{why:#}")),
    }
}

/// The machine with one CPU and the counter in it.
fn counted(mut machine: Machine, options: &Options, disk: &Path, counter: &str) -> Machine {
    machine = machine.disk(disk).limit(options.limit);
    machine.accelerator = "tcg";
    // The guest's flushes are counted all the same; only the host's disk does not have to be waited for.
    machine.cache = "unsafe";
    machine.memory_mib = 512;
    machine.extra = ["-icount", "shift=0", "-plugin", counter].map(String::from).to_vec();
    machine
}

fn counter(plugin: &Path, counts: &Path) -> String {
    format!("{},out={},stall={STALL_US}", plugin.display(), counts.display())
}

/// What the benchmark left on the disk, and the counter beside it.
fn rows(disk: &Path, counts: &Path) -> Result<Vec<Row>> {
    let told: Value = serde_json::from_slice(&image::read_file(disk, ROWS_PATH)?).context("the rows are no JSON")?;
    pair(&told, &sections::parse(&std::fs::read_to_string(counts)?)?)
}

fn program(options: &Options) -> String {
    let only = options.profile.as_ref().or(options.only.as_ref());
    let only = only.map_or(String::new(), |only| format!(" --only {}", only.trim()));
    format!("/bin/bench --ops {}{only} --json {ROWS_PATH}", options.ops)
}

fn build_plugin() -> Result<PathBuf> {
    let path = build::target().join("count.so");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o"]).arg(&path);
    cc.arg(build::root().join("xtask/plugin/count.c"));
    build::status(&mut cc, "the counter does not build")?;
    Ok(path)
}

fn disk(programs: &Path, work: &Path) -> Result<PathBuf> {
    let (root, path) = (work.join("root"), work.join("disk.img"));
    image::root_folder(&root, &[programs.join("bench")])?;
    image::make(&path, &Spec { size_mib: 1024, ..Spec::default() }, &root)?;
    Ok(path)
}

/// The benchmark's rows with the counter's sections: one for each row, in order, empty for a row that the kernel lacks.
fn pair(told: &Value, sections: &[Section]) -> Result<Vec<Row>> {
    let told = told.as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(told.len() == sections.len(), "{} rows, but {} counted sections", told.len(), sections.len());
    let rows = told.iter().zip(sections).filter_map(|(row, section)| {
        Some(Row {
            name: row["row"].as_str()?.to_owned(),
            ops: row["ops"].as_f64()?,
            commits: row["commits_per_op"].as_f64(),
            flushes: row["flushes_per_op"].as_f64(),
            section: *section,
        })
    });
    Ok(rows.filter(|row| row.ops > 0.0).collect())
}

fn print(rows: &[Row], linux: &Linux) {
    let headings = [
        "row",
        "insns/op",
        "program",
        "REP rounds",
        "hlt",
        "commits",
        "flushes",
        "Linux 6.1",
        "ratio",
        "target",
        "remarks",
    ];
    let mut table = Figures::new(&headings, 1);
    let (mut targets, mut met) = (0, 0);
    for row in rows {
        let per_op = |count: u64| count as f64 / row.ops;
        let ours = per_op(row.section.instructions());
        let theirs = linux.instructions(&row.name);
        let target = linux.target(&row.name);
        let mut remarks = Vec::new();
        if let Some(target) = target {
            targets += 1;
            met += u32::from(ours <= target);
            remarks.push(if ours <= target { "met".to_owned() } else { format!("{:.1} x the target", ours / target) });
        }
        remarks.extend(theirs.iter().filter_map(|figure| figure.row.as_ref()).map(|row| format!("Linux: {row}")));
        if row.slept() {
            remarks.push("slept".into());
        }
        let counted = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
        let whole = |value: f64| grouped(value.round() as u64);
        table.row(vec![
            row.name.clone(),
            whole(ours),
            whole(per_op(row.section.user)),
            whole(per_op(row.section.iterations)),
            format!("{:.2}", per_op(row.section.halts)),
            counted(row.commits),
            counted(row.flushes),
            theirs.as_ref().map_or("-".into(), |figure| whole(figure.value)),
            theirs.as_ref().map_or("-".into(), |figure| format!("{:.2}", ours / figure.value)),
            target.map_or("-".into(), whole),
            remarks.join("; "),
        ]);
    }
    println!("{table}");
    println!("Instructions of the guest an operation, program and kernel, a REP counted once; no request slept.");
    println!("Linux: {}.", linux.origin());
    println!("Both keep a journal on the disk, as mke2fs makes it.");
    println!("{met} of {targets} targets met");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_belong_to_rows_in_order() {
        let told = serde_json::json!([
            {"row": "a", "supported": true, "ops": 10},
            {"row": "b", "supported": false},
            {"row": "c", "supported": true, "ops": 20}
        ]);
        let section = |user| Section { user, ..Section::default() };
        let rows = pair(&told, &[section(1), section(0), section(3)]).unwrap();
        assert_eq!(rows.iter().map(|r| (r.name.as_str(), r.section.user)).collect::<Vec<_>>(), [("a", 1), ("c", 3)]);
        assert!(pair(&told, &[section(1)]).is_err());
    }
}
