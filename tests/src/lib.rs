//! What the integration tests share: a disk with the programs on it, and a machine that runs one of them; and the power cut.
pub mod oracle;
pub mod powercut;

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use xtask::build::{self, Flavour};
use xtask::console::nowhere;
use xtask::image::{self, Spec};
use xtask::qemu::{Machine, Outcome};

/// The release kernel, built once.
pub fn kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| build::kernel(Flavour::Release).expect("the kernel builds"))
}

/// The folder with the ring-3 programs, built once.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| build::user().expect("the programs build"))
}

/// A disk of a test, removed with it.
pub struct TestDisk {
    /// The image.
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl TestDisk {
    /// An image with the named programs in `/bin`.
    pub fn new(spec: &Spec, names: &[&str]) -> Result<TestDisk> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root");
        image::root_folder(&root, &names.iter().map(|n| programs().join(n)).collect::<Vec<_>>())?;
        let path = folder.path().join("disk.img");
        image::make(&path, spec, &root)?;
        Ok(TestDisk { path, _folder: folder })
    }

    /// Boots with this disk and `init` (program and arguments).
    pub fn run(&self, init: &str, limit_s: u64) -> Result<Outcome> {
        self.run_on(1, init, limit_s)
    }

    /// As [`TestDisk::run`], with several CPUs.
    pub fn run_on(&self, cpus: u32, init: &str, limit_s: u64) -> Result<Outcome> {
        let mut machine = Machine::with_program(kernel(), init).disk(&self.path).limit(limit_s);
        machine.cpus = cpus;
        machine.run(&mut nowhere)
    }

    /// As [`TestDisk::run`] for a program that must end well; the disk must be clean afterwards.
    pub fn run_ok(&self, init: &str, limit_s: u64) -> Result<Outcome> {
        self.run_ok_on(1, init, limit_s)
    }

    /// As [`TestDisk::run_ok`], with several CPUs.
    pub fn run_ok_on(&self, cpus: u32, init: &str, limit_s: u64) -> Result<Outcome> {
        let outcome = self.run_on(cpus, init, limit_s)?;
        let text = outcome.console.lines.join("\n");
        ensure!(outcome.console.init_status() == Some(0), "{init}: {:?}\n{text}", outcome.end);
        image::check(&self.path).with_context(|| text)?;
        Ok(outcome)
    }
}
