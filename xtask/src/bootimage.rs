//! `make bootimage`: disk images that BIOS and UEFI start, with the same kernel in them; and `make boottest`, which boots them
//! ([`crate::test::boot_images`]).
//!
//! The images are made by the `bootloader` crate in a package of its own (`boot/image`): it needs a nightly toolchain, and builds its
//! stages with it.
use crate::build::{self, Flavour};
use crate::progress;
use anyhow::{Result, ensure};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What the images are to have in them.
#[derive(Args)]
pub struct Options {
    /// The kernel command line, where the machine gives none (QEMU: `-fw_cfg name=opt/cmdline,string=...`)
    #[arg(long, env = "CMDLINE", default_value = "root=/dev/vda init=/bin/init")]
    cmdline: String,
}

/// The two images.
pub(crate) struct Images {
    pub(crate) bios: PathBuf,
    pub(crate) uefi: PathBuf,
}

/// As much of a command line is read by the kernel.
const LINE_MAX: usize = 2048;

/// Makes both images of the release kernel.
pub fn run(options: &Options) -> Result<ExitCode> {
    ensure!(options.cmdline.len() <= LINE_MAX, "a command line has at most {LINE_MAX} bytes");
    let kernel = build::kernel(Flavour::Release)?;
    let images = make(&kernel, &kernel, &options.cmdline)?;
    println!("sluice: {}\nsluice: {}", images.bios.display(), images.uefi.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes both images of a kernel; their paths are `stem` with an ending.
pub(crate) fn make(kernel: &Path, stem: &Path, command_line: &str) -> Result<Images> {
    let beside = |end: &str| PathBuf::from(format!("{}{end}", stem.display()));
    let (stripped, images) = (beside("-stripped"), Images { bios: beside("-bios.img"), uefi: beside("-uefi.img") });
    // The firmware reads it sector by sector: names and lines would take seconds.
    build::status(Command::new("strip").arg("-o").arg(&stripped).arg(kernel), "strip has failed")?;
    let mut maker = Command::new(maker()?);
    maker.arg(&stripped).args([&images.bios, &images.uefi]);
    if !command_line.is_empty() {
        let ramdisk = beside("-cmdline");
        std::fs::write(&ramdisk, command_line)?;
        maker.arg(ramdisk);
    }
    build::status(&mut maker, "the images cannot be made")?;
    Ok(images)
}

/// The program that makes them.
fn maker() -> Result<PathBuf> {
    let out = build::target().join("image");
    // Not `build::cargo`: the toolchain is that of the folder, which this one's must not decide.
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(build::root().join("boot/image"))
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(&out);
    ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO", "RUSTC"].iter().for_each(|name| _ = cargo.env_remove(name));
    progress::build(&mut cargo, "the loaders (the first time takes minutes)")?;
    Ok(out.join("release/image"))
}
