//! `make run`: boot, run a program on a disk, then check the disk.
use crate::build::{self, Flavour};
use crate::image;
use crate::qemu::{End, Machine, Outcome};
use crate::symbols;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Options; each can also be given as an environment variable of the same name in capitals.
#[derive(Args)]
pub struct Options {
    /// Somebody's own raw ext4 image instead of a fresh one. It is copied first, unless WRITE=1
    #[arg(long, env = "DISK")]
    disk: Option<PathBuf>,
    /// The program to run with its arguments
    #[arg(long, env = "INIT", default_value = "")]
    init: String,
    /// Write the rows of the benchmark to this file as JSON
    #[arg(long, env = "JSON")]
    json: Option<PathBuf>,
    /// Memory in MiB
    #[arg(long, env = "MEM", default_value = "256")]
    mem: String,
    /// Change the given disk itself
    #[arg(long, env = "WRITE", default_value = "")]
    write: String,
    /// Time limit in seconds
    #[arg(long, env = "LIMIT", default_value_t = 120)]
    limit: u64,
}

/// Boots; the program's exit status becomes this command's.
pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(disk) = &options.disk {
        check_disk(disk)?;
    }
    println!("sluice: building the kernel and the programs");
    let kernel = build::kernel(Flavour::Release)?;
    let programs = build::user()?;
    let work = tempfile::tempdir_in(build::target()).context("cannot make a working folder in target/")?;
    let disk = prepare_disk(options, &programs, work.path())?;
    let own_program = !options.init.trim().is_empty();
    let init = if own_program { options.init.trim() } else { "/bin/bench" };
    let machine = machine(&kernel, &disk, init, options)?;
    let outcome = machine.run(&mut |line| println!("{line}"))?;
    let status = judge(&kernel, &outcome)?;
    image::check(&disk)?;
    println!("sluice: e2fsck -fn: clean");
    if status != 0 {
        println!("sluice: FAILED: {init} exited with status {status}");
        return Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)));
    }
    println!("sluice: OK");
    Ok(ExitCode::SUCCESS)
}

fn check_disk(disk: &Path) -> Result<()> {
    if !disk.is_file() {
        bail!("DISK={}: no such file", disk.display());
    }
    if !image::is_ext(disk)? {
        bail!("DISK={}: there is no ext4 file system in it", disk.display());
    }
    Ok(())
}

fn prepare_disk(options: &Options, programs: &Path, work: &Path) -> Result<PathBuf> {
    let Some(own) = &options.disk else {
        let folder = work.join("root");
        image::root_folder(&folder, &[programs.join("bench")])?;
        let path = work.join("disk.img");
        image::make(&path, &image::Spec::default(), &folder)?;
        return Ok(path);
    };
    let program = options.init.split_whitespace().next().unwrap_or("/bin/bench");
    if !image::has_file(own, program)? {
        bail!("INIT={program}: there is no such file in {}", own.display());
    }
    if options.write == "1" {
        return Ok(own.clone());
    }
    let copy = work.join("disk.img");
    std::fs::copy(own, &copy).with_context(|| format!("cannot copy {}", own.display()))?;
    Ok(copy)
}

fn machine(kernel: &Path, disk: &Path, init: &str, options: &Options) -> Result<Machine> {
    let (program, arguments) = init.split_once(' ').unwrap_or((init, ""));
    let append = format!("root=/dev/vda init={program} -- {arguments}");
    let mut machine = Machine::new(kernel, append).disk(disk).limit(options.limit);
    machine.memory_mib =
        options.mem.trim_end_matches('M').parse().with_context(|| format!("MEM={}: not a size in MiB", options.mem))?;
    Ok(machine)
}

/// The first program's exit status, or why there is none.
fn judge(kernel: &Path, outcome: &Outcome) -> Result<i32> {
    match outcome.end {
        End::Clean => outcome.console.init_status().context("the kernel powered off without running the program"),
        End::Panic => {
            for line in symbols::resolve(kernel, &outcome.console.lines) {
                println!("{line}");
            }
            bail!("the kernel panicked")
        }
        End::TimeOut => bail!("no end after {} seconds (LIMIT=seconds raises the limit)", outcome.took.as_secs()),
        End::Qemu(status) => bail!("QEMU ended with status {status}"),
    }
}
