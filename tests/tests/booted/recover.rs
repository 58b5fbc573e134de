//! A second disk, mounted and unmounted by a program while it runs.
use anyhow::Result;
use tests::TestDisk;
use xtask::image::{self, Spec};
use xtask::qemu::{End, Machine};

fn mounts_a_second_disk(cpus: u32) -> Result<()> {
    let root = TestDisk::new(&Spec::default(), &["recover"])?;
    let second = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["maptest"])?;
    let mut machine =
        Machine::with_program(tests::kernel(), "/bin/recover /dev/vdb").disk(&root.path).disk(&second.path);
    machine.cpus = cpus;
    let mut rounds = 0;
    let outcome = machine.limit(60).converse(&mut |line| {
        let asks = line == "recover: ready" || line.starts_with("recover: done");
        rounds += u32::from(asks);
        // The end of the input: a line with ^D alone.
        asks.then(|| if rounds <= 3 { "next".into() } else { "\u{4}".into() })
    })?;
    let lines = &outcome.console.lines;
    assert_eq!((&outcome.end, outcome.console.init_status()), (&End::Clean, Some(0)), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("recover: file /bin/maptest ")).count(), 3, "{lines:#?}");
    image::check(&root.path)?;
    image::check(&second.path)
}

on_cpus! {
    fn a_program_mounts_a_second_disk_again_and_again(cpus: u32) -> Result<()> {
        mounts_a_second_disk(cpus)
    }

    /// States of cut disks, recovered by the booted kernel: a few here, `make powercut` does hundreds.
    fn the_booted_kernel_recovers_what_a_cut_has_left(cpus: u32) -> Result<()> {
        let count = if cpus == 1 { 30 } else { 15 };
        let outcome = tests::powercut::booted::run(count, cpus, cpus.into(), &|| ())?;
        assert_eq!(outcome.violations, [] as [String; 0]);
        assert!(outcome.states >= count);
        Ok(())
    }
}
