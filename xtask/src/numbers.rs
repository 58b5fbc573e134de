//! `make numbers`: time to the first program, the clock beside the host's, smallest memory, sizes, lines of code.
mod lines;

use crate::build::{self, Flavour};
use crate::clock::{self, Agreement};
use crate::console::{Piece, nowhere};
use crate::image::{self, Spec};
use crate::qemu::Machine;
use crate::table::grouped;
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// The kernel says this right before it enters the first program.
const FIRST_PROGRAM: &str = "first program: ";
const BOOTS: usize = 7;
/// The main job, short: every way to write, and the files read back.
const JOB: &str = "/bin/bench --ops 1";
const MOST_MIB: u32 = 256;
/// How long the clock is looked at, in seconds, and how wrong it may be.
const CLOCK_S: u64 = 60;
const CLOCK_PART: f64 = 0.01;

/// Options.
#[derive(Args)]
pub struct Options {
    /// Time limit of one boot in seconds
    #[arg(long, env = "LIMIT", default_value_t = 60)]
    limit: u64,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<ExitCode> {
    let kernel = build::kernel(Flavour::Release)?;
    let programs = build::user()?;
    let work = tempfile::tempdir_in(build::target()).context("cannot make a working folder in target/")?;
    let disk = work.path().join("disk.img");
    let job = Job { kernel: &kernel, programs: &programs, disk: &disk, limit: options.limit };
    job.fresh_disk()?;
    let mut times = (0..BOOTS).map(|_| job.time_to_program()).collect::<Result<Vec<_>>>()?;
    times.sort();
    let ms = |time: Duration| time.as_millis();
    let (best, median, worst) = (ms(times[0]), ms(times[BOOTS / 2]), ms(times[BOOTS - 1]));
    println!("QEMU start to first program    {median} ms (median of {BOOTS}; {best} to {worst})");
    let clock = job.clock()?;
    println!("clock    {}", told(&clock));
    let smallest = smallest(MOST_MIB, |mib| job.passes(mib))?;
    match smallest {
        Some(mib) => println!("smallest memory for {JOB}    {mib} MiB"),
        None => println!("{JOB} fails with {MOST_MIB} MiB"),
    }
    println!("kernel ELF    {} bytes, {} stripped", grouped(len(&kernel)?), grouped(stripped(&kernel, work.path())?));
    println!("\n{}", lines::table()?);
    Ok(if smallest.is_some() && clock.is_possible(CLOCK_PART) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Job<'a> {
    kernel: &'a Path,
    programs: &'a Path,
    disk: &'a Path,
    limit: u64,
}

impl Job<'_> {
    fn fresh_disk(&self) -> Result<()> {
        let folder = tempfile::tempdir_in(build::target())?;
        image::root_folder(folder.path(), &["bench", "clock"].map(|name| self.programs.join(name)))?;
        image::make(self.disk, &Spec::default(), folder.path())
    }

    /// From the start of QEMU to the line with which the kernel enters the first program.
    fn time_to_program(&self) -> Result<Duration> {
        let start = Instant::now();
        let mut reached = None;
        let machine = Machine::with_program(self.kernel, "/bin/bench --list").disk(self.disk).limit(self.limit);
        let outcome = machine.run(&mut |piece| {
            if let Piece::Line(line) = piece
                && line.contains(FIRST_PROGRAM)
            {
                reached.get_or_insert_with(|| start.elapsed());
            }
        })?;
        ensure!(outcome.console.init_status() == Some(0), "the first program did not run: {:?}", outcome.end);
        reached.context("the kernel did not tell when it entered the first program")
    }

    /// The clock beside the host's.
    fn clock(&self) -> Result<Agreement> {
        let init = format!("{} {CLOCK_S}", clock::PROGRAM);
        clock::compare(&Machine::with_program(self.kernel, &init).disk(self.disk).limit(self.limit + CLOCK_S))
    }

    /// Whether the job ends well with this much memory. A machine too small for QEMU's firmware is one that fails.
    fn passes(&self, mib: u32) -> Result<bool> {
        self.fresh_disk()?;
        let mut machine = Machine::with_program(self.kernel, JOB).disk(self.disk).limit(self.limit);
        machine.memory_mib = mib;
        let well = machine.run(&mut nowhere).is_ok_and(|outcome| outcome.console.init_status() == Some(0));
        Ok(well && image::check(self.disk).is_ok())
    }
}

fn told(clock: &Agreement) -> String {
    let off = |rate: f64| (rate - 1.0) * 1e6;
    let verdict = match clock {
        clock if clock.is_certain(CLOCK_PART) => "within 1 %",
        clock if clock.is_possible(CLOCK_PART) => "within 1 % or not: the host was too busy to say",
        _ => "WRONG",
    };
    format!(
        "{:+.0} to {:+.0} millionths off the host's in {:.0} s: {verdict}",
        off(clock.least),
        off(clock.most),
        clock.seconds
    )
}

/// The smallest number from 1 to `most` that passes, by bisection: what passes does so with more as well.
fn smallest(most: u32, mut passes: impl FnMut(u32) -> Result<bool>) -> Result<Option<u32>> {
    if !passes(most)? {
        return Ok(None);
    }
    let (mut fails, mut good) = (0, most);
    while good - fails > 1 {
        let middle = fails.midpoint(good);
        *(if passes(middle)? { &mut good } else { &mut fails }) = middle;
    }
    Ok(Some(good))
}

fn len(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

fn stripped(kernel: &Path, work: &Path) -> Result<u64> {
    let copy = work.join("stripped");
    build::status(Command::new("strip").arg("-o").arg(&copy).arg(kernel), "cannot strip the kernel")?;
    len(&copy)
}

#[cfg(test)]
mod tests {
    use super::smallest;

    #[test]
    fn the_border_is_found() {
        for border in [1, 2, 17, 255, 256] {
            assert_eq!(smallest(256, |n| Ok(n >= border)).unwrap(), Some(border));
        }
        assert_eq!(smallest(256, |_| Ok(false)).unwrap(), None);
    }
}
