//! Locks, signals, timers and CPU times, from ring 3.
use anyhow::Result;
use tests::TestDisk;
use xtask::image::Spec;

on_cpus! {
    fn processes_lock_signal_and_are_timed_as_on_linux(cpus: u32) -> Result<()> {
        let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["abitest"])?;
        disk.run_ok_on(cpus, "/bin/abitest", 120).map(drop)
    }
}
