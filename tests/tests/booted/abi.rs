//! Locks, signals, timers and CPU times, and the registers of programs, from ring 3.
use anyhow::{Result, ensure};
use tests::{TestDisk, kernel};
use xtask::console::nowhere;
use xtask::image::{self, Spec};
use xtask::qemu::Machine;

on_cpus! {
    fn processes_lock_signal_and_are_timed_as_on_linux(cpus: u32) -> Result<()> {
        let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["abitest"])?;
        disk.run_ok_on(cpus, "/bin/abitest", 120).map(drop)
    }
}

#[test]
fn registers_belong_to_their_thread_with_avx_and_without() -> Result<()> {
    let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["abitest"])?;
    for (cpu, cpus, there) in
        [("max", 1, "SSE AVX"), ("max", 2, "SSE AVX"), ("max", 4, "SSE AVX"), ("qemu64", 2, "no AVX here")]
    {
        let mut machine = Machine::with_program(kernel(), "/bin/abitest registers").disk(&disk.path).limit(120);
        (machine.cpu, machine.cpus) = (cpu, cpus);
        let outcome = machine.run(&mut nowhere)?;
        let text = outcome.console.lines.join("\n");
        ensure!(outcome.console.init_status() == Some(0), "{cpus} {cpu}: {:?}\n{text}", outcome.end);
        ensure!(text.contains(there), "{cpus} {cpu}: not {there}\n{text}");
        image::check(&disk.path)?;
    }
    Ok(())
}
