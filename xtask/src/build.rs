//! Building the kernel and the ring-3 programs with cargo.
use crate::progress;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// What users boot: no test, no lab hook in it.
    Release,
    /// With the in-kernel tests, debug assertions and the hooks of the lab.
    KernelTests,
    /// With the hooks of the lab (device gate, anchors).
    Lab,
    /// The same, with guards that can be switched off.
    Museum,
}

impl Flavour {
    fn cargo_args(self) -> &'static [&'static str] {
        match self {
            Flavour::Release => &["--profile", "kernel"],
            Flavour::KernelTests => &["--profile", "kernel-test", "--features", "ktest"],
            Flavour::Lab => &["--profile", "kernel", "--features", "lab"],
            Flavour::Museum => &["--profile", "kernel", "--features", "museum"],
        }
    }
    fn output(self) -> &'static str {
        match self {
            Flavour::Release => "sluice",
            Flavour::KernelTests => "sluice-ktest",
            Flavour::Lab => "sluice-lab",
            Flavour::Museum => "sluice-museum",
        }
    }
    /// Flavours are built into folders of their own: cargo would otherwise rebuild at each change of features.
    fn target_dir(self) -> PathBuf {
        target().join(self.output().replace("sluice", "kernel"))
    }
    fn profile_dir(self) -> &'static str {
        match self {
            Flavour::KernelTests => "kernel-test",
            Flavour::Release | Flavour::Lab | Flavour::Museum => "kernel",
        }
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask stands in the root").to_owned()
}

/// The folder for everything built.
pub fn target() -> PathBuf {
    root().join("target")
}

/// Builds the kernel and returns the path of its ELF, `target/sluice*`.
pub fn kernel(flavour: Flavour) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--package", "boot", "--target", "x86_64-unknown-none"]).args(flavour.cargo_args());
    cargo.arg("--target-dir").arg(flavour.target_dir());
    progress::build(&mut cargo, "the kernel")?;
    let elf = flavour.target_dir().join("x86_64-unknown-none").join(flavour.profile_dir()).join("boot");
    let out = target().join(flavour.output());
    std::fs::copy(&elf, &out).with_context(|| format!("copy {} to {}", elf.display(), out.display()))?;
    Ok(out)
}

/// Builds the ring-3 programs and returns the folder with their binaries.
pub fn user() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--package", "user", "--bins", "--target", "x86_64-unknown-linux-musl", "--profile", "user"]);
    progress::build(&mut cargo, "the programs")?;
    Ok(target().join("x86_64-unknown-linux-musl/user"))
}

/// A cargo command in the repository's root, untouched by flags meant for this tool's own build; what it builds goes where [`target`] says.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    command
}

/// Runs a command that must succeed.
pub fn status(command: &mut Command, otherwise: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{otherwise} ({status})");
    }
    Ok(())
}
