//! The disk images for BIOS and UEFI, booted: the in-kernel tests, and a program on the kernel that users boot.
use super::{Tally, kernel};
use crate::bootimage::{self, Images};
use crate::build::{self, Flavour};
use crate::console::nowhere;
use crate::image::{self, Spec};
use crate::qemu::{Loader, Machine};
use anyhow::{Result, ensure};
use std::path::Path;

/// Seconds that a boot with all its tests may take: firmware and loader are slow.
const LIMIT_S: u64 = 180;
/// The program, which looks at what differs most between machines: the registers of its threads.
const PROGRAM: &str = "abitest";

pub(super) fn run(tally: &mut Tally) -> Result<()> {
    in_kernel_tests(tally)?;
    let elf = build::kernel(Flavour::Release)?;
    let work = tempfile::tempdir_in(build::target())?;
    let disk = disk(work.path())?;
    // The command line of the image is the one that counts here: the machine gives none.
    let line = format!("root=/dev/vda init=/bin/{PROGRAM} -- registers");
    let images = bootimage::make(&elf, &build::target().join("boottest"), &line)?;
    for (name, loader) in loaders(&images) {
        let ran = program(Machine { loader, ..Machine::new(&elf, "") }.disk(&disk).limit(LIMIT_S), &disk);
        tally.note(&format!("boottest::{name}_runs_a_program_with_the_command_line_of_the_image"), ran);
    }
    Ok(())
}

fn loaders(images: &Images) -> [(&'static str, Loader); 2] {
    [("bios", Loader::Bios(images.bios.clone())), ("uefi", Loader::Uefi(images.uefi.clone()))]
}

fn in_kernel_tests(tally: &mut Tally) -> Result<()> {
    let elf = build::kernel(Flavour::KernelTests)?;
    let images = bootimage::make(&elf, &elf, "")?;
    let disk = kernel::scratch()?;
    for (name, loader) in loaders(&images) {
        for cpus in [1, 2] {
            let machine = Machine { loader: loader.clone(), cpus, ..Machine::new(&elf, "") };
            kernel::all_tests(tally, machine.disk(disk.path()).limit(LIMIT_S), &format!("{name}, {cpus}"))?;
        }
    }
    Ok(())
}

fn disk(work: &Path) -> Result<std::path::PathBuf> {
    let (root, disk) = (work.join("root"), work.join("disk.img"));
    image::root_folder(&root, &[build::user()?.join(PROGRAM)])?;
    image::make(&disk, &Spec { size_mib: 64, ..Spec::default() }, &root)?;
    Ok(disk)
}

fn program(mut machine: Machine, disk: &Path) -> Result<()> {
    machine.cpus = 2;
    let outcome = machine.run(&mut nowhere)?;
    let text = outcome.console.lines.join("\n");
    ensure!(outcome.console.init_status() == Some(0), "{:?}\n{text}", outcome.end);
    ensure!(text.contains("running on 2 of 2 CPUs"), "one CPU only\n{text}");
    image::check(disk)
}
