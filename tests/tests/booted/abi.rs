//! Locks, signals, timers and CPU times, from ring 3.
use anyhow::Result;
use tests::TestDisk;
use xtask::image::Spec;

#[test]
fn processes_lock_signal_and_are_timed_as_on_linux() -> Result<()> {
    let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["abitest"])?;
    disk.run_ok("/bin/abitest", 120).map(drop)
}
