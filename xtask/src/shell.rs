//! `make shell`: boots with a shell on this terminal, then checks the disk.
//!
//! Keys go to the guest, control-C among them; `exit` ends it, and control-] where it does not answer.
use crate::build::{self, Flavour};
use crate::qemu::{Disk, End};
use crate::run::{self, Guest};
use crate::{image, terminal};
use anyhow::{Result, ensure};
use clap::Args;
use std::process::ExitCode;

/// What runs where nothing else is named: busybox's shell, unless a package has another, as at a login.
const SHELL: &str = "/bin/sh -l";

/// Options.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    guest: Guest,
    /// Time limit in seconds; without it there is none
    #[arg(long, env = "LIMIT")]
    limit: Option<u64>,
}

/// Boots; the shell's exit status becomes this command's.
pub fn run(options: &Options) -> Result<ExitCode> {
    let guest = &options.guest;
    guest.look_at("/bin/sh")?;
    let kernel = build::kernel(Flavour::Release)?;
    let work = crate::demo::work_folder()?;
    let disk = guest.prepare_packaged("/bin/sh", work.path())?;
    let init = if guest.init().is_empty() { SHELL } else { guest.init() };
    let mut machine = guest.machine(&kernel, Disk::Image(disk.clone()), init)?;
    if let Some(limit) = options.limit {
        machine = machine.limit(limit);
    }
    println!("sluice: leave with exit; Control-] ends the machine at once");
    let outcome = terminal::attach(machine)?;
    println!();
    if outcome.end == End::Stopped {
        println!("sluice: ended by Control-]: the disk is as after a crash");
        return Ok(ExitCode::FAILURE);
    }
    let status = run::judge(&kernel, &outcome)?;
    image::check(&disk)?;
    println!("sluice: disk: e2fsck -fn is clean");
    ensure!((0..=255).contains(&status), "{init} exited with status {status}");
    Ok(ExitCode::from(status as u8))
}
