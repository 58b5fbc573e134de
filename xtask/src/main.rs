//! The host tool behind the Makefile. Each command is one file; `make help` says what they are for.
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::build::{self, Flavour};
use xtask::{
    apps, bootimage, count, demo, fuzz, lab, museum, numbers, packages, powercut, rules, run, shell, soak, syscalls,
    test,
};

#[derive(Parser)]
#[command(about = "Builds, boots and tests Sluice", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the kernel ELF and leave it at target/sluice
    Kernel,
    /// Disk images that BIOS and UEFI start
    Bootimage(bootimage::Options),
    /// Boot them, through the in-kernel tests and a program
    Boottest,
    /// Make a disk image from Debian packages
    Image(packages::Options),
    /// Boot and run a program on a disk image, then check the disk
    Run(run::Options),
    /// Boot a shell on this terminal
    Shell(shell::Options),
    /// Programs of Debian as they are, each checked in a guest of its own
    Apps(apps::Options),
    /// All tests
    Test(test::Options),
    /// Guest instructions an operation, beside Linux
    Count(count::Options),
    /// One aio write-through against one truncate, told as a timeline
    Demo,
    /// Races played step by step in the kernel with the lab
    Lab(lab::Options),
    /// Each guard switched off in turn; the named test must then fail
    Museum(museum::Options),
    /// Damaged images against ext4, driven by coverage
    Fuzz(fuzz::Options),
    /// Boot time, smallest memory, sizes
    Numbers(numbers::Options),
    /// The power cut in the middle of everything: nothing that was acknowledged is lost
    Powercut(powercut::Options),
    /// Random operations against a model, for as long as is wanted
    Soak(soak::Options),
    /// Write docs/SYSCALLS.md from the kernel's table
    Syscalls,
    /// Write docs/RULES.md: the code and the tests of each rule; fails where one is missing
    Rules,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Kernel => build::kernel(Flavour::Release).map(|elf| {
            println!("sluice: {}", elf.display());
            ExitCode::SUCCESS
        }),
        Command::Bootimage(options) => bootimage::run(&options),
        Command::Boottest => test::boot_images(),
        Command::Image(options) => packages::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Shell(options) => shell::run(&options),
        Command::Apps(options) => apps::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Count(options) => count::run(&options),
        Command::Demo => demo::run(),
        Command::Lab(options) => lab::run(&options),
        Command::Museum(options) => museum::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Numbers(options) => numbers::run(&options),
        Command::Powercut(options) => powercut::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Rules => rules::run(),
        Command::Syscalls => syscalls::write().map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        println!("sluice: FAILED: {error:#}");
        ExitCode::FAILURE
    })
}
