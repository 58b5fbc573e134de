//! The clock, beside that of the host.
use anyhow::{Result, ensure};
use tests::{TestDisk, kernel};
use xtask::clock;
use xtask::image::{self, Spec};
use xtask::qemu::Machine;

/// `make numbers` does the same for a minute.
const SECONDS: u64 = 12;

#[test]
fn the_clock_agrees_with_that_of_the_host() -> Result<()> {
    let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["clock"])?;
    let machine = Machine::with_program(kernel(), &format!("{} {SECONDS}", clock::PROGRAM)).disk(&disk.path).limit(90);
    let agreement = clock::compare(&machine)?;
    ensure!(agreement.is_possible(0.01), "a second of the host is not one of the guest: {agreement:?}");
    // The clock chip tells whole seconds.
    ensure!(agreement.wall_off < 2.0, "the wall clock is wrong: {agreement:?}");
    ensure!(agreement.seconds >= SECONDS as f64, "{agreement:?}");
    image::check(&disk.path)
}
