//! `make run`: boot, run a program on a disk, then check the disk.
//!
//! | file | idea |
//! |---|---|
//! | `disk` | which disk: a fresh one or somebody's own, and whether the program is on it |
//! | `latency` | the benchmark once more on a device with a fixed latency: who blocks in `io_submit`? |
//!
//! The last line is `sluice: OK` or `sluice: FAILED: reason`.
mod disk;
mod latency;

use crate::build::{self, Flavour};
use crate::qemu::{Disk, End, Machine, Outcome};
use crate::{console, digests, image, interrupts, symbols};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The program that runs where none is named.
const BENCH: &str = "/bin/bench";

/// Options; each can also be given as a variable of the same name in capitals.
#[derive(Args, Default)]
pub struct Options {
    /// Somebody's own raw ext4 image instead of a fresh one. It is copied first, unless WRITE=1
    #[arg(long, env = "DISK")]
    disk: Option<OsString>,
    /// The program to run with its arguments
    #[arg(long, env = "INIT", default_value = "", hide_default_value = true)]
    init: String,
    /// Write the rows of the benchmark to this file as JSON
    #[arg(long, env = "JSON")]
    json: Option<OsString>,
    /// Memory in MiB
    #[arg(long, env = "MEM", default_value = "256")]
    mem: String,
    /// CPUs; the kernel uses eight of them at most
    #[arg(long, env = "CPUS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: u32,
    /// 1: change the given disk itself
    #[arg(long, env = "WRITE", default_value = "", hide_default_value = true)]
    write: String,
    /// How long each row of the benchmark runs (a variable of this name would be the shell's own)
    #[arg(long)]
    seconds: Option<f64>,
    /// Only these rows of the benchmark, by name or start: getppid,aio_w_*
    #[arg(long, env = "ONLY")]
    only: Option<String>,
    /// Time limit in seconds
    #[arg(long, env = "LIMIT", default_value_t = 120)]
    limit: u64,
}

/// Boots; the program's exit status becomes this command's.
pub fn run(options: &Options) -> Result<ExitCode> {
    disk::look_at(options)?;
    let kernel = build::kernel(Flavour::Release)?;
    let programs = build::user()?;
    let work = tempfile::tempdir_in(build::target()).context("cannot make a working folder in target/")?;
    let disk = disk::prepare(options, &programs, work.path())?;
    let init = options.init(disk.has_data);
    let machine = options.machine(&kernel, Disk::Image(disk.path.clone()), &init)?;
    let outcome = machine.run(&mut console::standard_output())?;
    let status = judge(&kernel, &outcome)?;
    check(&disk.path, &outcome)?;
    if let Some(json) = options.json() {
        let rows = image::read_file(&disk.path, options.rows_path(disk.has_data))?;
        std::fs::write(json, rows).with_context(|| format!("JSON={}", json.display()))?;
        println!("sluice: rows: {}", json.display());
    }
    if status != 0 {
        println!("sluice: FAILED: {init} exited with status {status}");
        return Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)));
    }
    if options.is_whole_benchmark() {
        ensure!(interrupts::check(&outcome.console.lines)?, "the benchmark said nothing of interrupts");
        latency::run(options, &kernel, &programs, work.path())?;
    }
    println!("sluice: OK");
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// Nothing was chosen: everything is told.
    fn is_whole_benchmark(&self) -> bool {
        self.disk().is_none() && self.init.trim().is_empty() && self.only.is_none()
    }

    /// Somebody's own disk. A variable that is there and empty names none.
    fn disk(&self) -> Option<&Path> {
        self.disk.as_deref().filter(|disk| !disk.is_empty()).map(Path::new)
    }

    /// Where the rows go.
    fn json(&self) -> Option<&Path> {
        self.json.as_deref().filter(|json| !json.is_empty()).map(Path::new)
    }

    /// The program and its arguments.
    fn init(&self, has_data: bool) -> String {
        let own = self.init.trim();
        if !own.is_empty() {
            return own.to_owned();
        }
        let mut init = BENCH.to_owned();
        if let Some(seconds) = self.seconds {
            init += &format!(" --seconds {seconds}");
        }
        if let Some(only) = self.only.as_ref().filter(|only| !only.trim().is_empty()) {
            init += &format!(" --only {}", only.trim());
        }
        if self.json().is_some() {
            init += &format!(" --json {}", self.rows_path(has_data));
        }
        init
    }

    /// Where the benchmark leaves its rows on the guest's disk.
    fn rows_path(&self, has_data: bool) -> &'static str {
        if has_data { "/data/rows.json" } else { "/rows.json" }
    }

    fn machine(&self, kernel: &Path, disk: Disk, init: &str) -> Result<Machine> {
        let mut machine = Machine::with_program(kernel, init).limit(self.limit);
        machine.disks.push(disk);
        let mem = self.mem.trim_end_matches(['M', 'm']);
        machine.memory_mib = mem.parse().with_context(|| format!("MEM={}: not a size in MiB", self.mem))?;
        // Options made without the command line have none.
        machine.cpus = self.cpus.max(1);
        Ok(machine)
    }
}

/// The first program's exit status, or why there is none.
pub fn judge(kernel: &Path, outcome: &Outcome) -> Result<i32> {
    match outcome.end {
        End::Clean => outcome.console.init_status().context("the kernel powered off without running the program"),
        End::Panic => {
            for line in symbols::resolve(kernel, &outcome.console.lines) {
                println!("{line}");
            }
            match outcome.console.refusal() {
                Some(why) => bail!("the kernel gave up: {why}"),
                None => bail!("the kernel panicked"),
            }
        }
        End::TimeOut => bail!("no end after {} seconds (LIMIT=seconds raises the limit)", outcome.took.as_secs()),
        End::Qemu(status) => bail!("QEMU ended with status {status}"),
    }
}

/// Checks the disk, its files if the benchmark told their digests, and what it told of interrupts.
fn check(disk: &Path, outcome: &Outcome) -> Result<()> {
    image::check(disk)?;
    let compared = digests::compare(disk, &outcome.console.lines)?;
    interrupts::check(&outcome.console.lines)?;
    let files = if compared == 1 { "file has" } else { "files have" };
    let bytes = if compared > 0 { format!("; {compared} {files} the bytes the guest saw") } else { String::new() };
    println!("sluice: disk: e2fsck -fn is clean{bytes}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn the_benchmark_gets_what_was_chosen() {
        let options =
            Options { seconds: Some(0.5), only: Some("getppid".into()), json: Some("x".into()), ..Options::default() };
        assert_eq!(options.init(true), "/bin/bench --seconds 0.5 --only getppid --json /data/rows.json");
        assert!(!options.is_whole_benchmark());
        let own = Options { init: " /bin/true a ".into(), ..Options::default() };
        assert_eq!(own.init(true), "/bin/true a");
        assert_eq!(Options::default().init(true), "/bin/bench");
        assert!(Options::default().is_whole_benchmark());
        let empty = Options { disk: Some("".into()), json: Some("".into()), ..Options::default() };
        assert!(empty.is_whole_benchmark());
        assert_eq!(empty.init(true), "/bin/bench");
    }

    #[test]
    fn a_wrong_size_of_memory_is_told() {
        let options = |mem: &str| Options { mem: mem.into(), ..Options::default() };
        let disk = || crate::qemu::Disk::Image("disk".into());
        assert_eq!(options("64M").machine("kernel".as_ref(), disk(), "/x").unwrap().memory_mib, 64);
        let error = options("much").machine("kernel".as_ref(), disk(), "/x").unwrap_err();
        assert_eq!(error.to_string(), "MEM=much: not a size in MiB");
    }
}
