//! The memory of processes, from ring 3; and a machine that has too little of it.
use anyhow::Result;
use tests::{TestDisk, kernel};
use xtask::console::nowhere;
use xtask::image::{self, Spec};
use xtask::qemu::{End, Machine};

on_cpus! {
    fn processes_share_move_and_lock_memory(cpus: u32) -> Result<()> {
        let disk = TestDisk::new(&Spec::default(), &["memtest"])?;
        disk.run_ok_on(cpus, "/bin/memtest", 60).map(drop)
    }

    /// The kernel lives, says who had to go, and leaves the disk in order.
    fn the_end_of_memory_is_the_end_of_who_took_it(cpus: u32) -> Result<()> {
        let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["memtest"])?;
        let mut machine = Machine::with_program(kernel(), "/bin/memtest pressure").disk(&disk.path).limit(180);
        (machine.memory_mib, machine.cpus) = (32, cpus);
        let outcome = machine.run(&mut nowhere)?;
        let text = outcome.console.lines.join("\n");
        assert_eq!((outcome.end, outcome.console.init_status()), (End::Clean, Some(0)), "{text}");
        assert!(text.contains("out of memory: process") && text.contains("unmounted"), "{text}");
        image::check(&disk.path)?;
        assert!(image::read_file(&disk.path, "/data/beside")?.iter().all(|byte| *byte == 7));
        Ok(())
    }
}
