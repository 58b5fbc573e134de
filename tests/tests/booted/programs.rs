//! Programs of ring 3 on disks made by mke2fs, judged by e2fsck and debugfs.
use anyhow::Result;
use tests::TestDisk;
use xtask::console::nowhere;
use xtask::image::{self, Spec};
use xtask::qemu::{End, Machine};
use xtask::{digests, interrupts};

on_cpus! {
    fn the_benchmark_writes_every_way_and_the_disk_has_the_bytes(cpus: u32) -> Result<()> {
        let disk = TestDisk::new(&Spec::default(), &["bench"])?;
        let outcome = disk.run_ok_on(cpus, "/bin/bench --ops 3", 120)?;
        assert!(digests::compare(&disk.path, &outcome.console.lines)? >= 2);
        assert!(interrupts::check(&outcome.console.lines)?, "the benchmark says nothing of interrupts");
        Ok(())
    }

    fn small_blocks_work_as_well(cpus: u32) -> Result<()> {
        for block_size in [1024, 2048] {
            let spec = Spec { block_size, ..Spec::default() };
            let disk = TestDisk::new(&spec, &["bench"])?;
            let init = "/bin/bench --ops 1 --only pwrite*,aio_w_wt*,append_wt*,unwritten_wt*";
            let outcome = disk.run_ok_on(cpus, init, 120)?;
            assert!(digests::compare(&disk.path, &outcome.console.lines)? >= 1);
        }
        Ok(())
    }

    fn a_disk_without_a_journal_works_as_well(cpus: u32) -> Result<()> {
        let spec = Spec { options: vec!["-O".into(), "^has_journal".into()], ..Spec::default() };
        let disk = TestDisk::new(&spec, &["bench"])?;
        let outcome = disk.run_ok_on(cpus, "/bin/bench --ops 3 --only pwrite*,aio_w_*,append_*,create_unlink", 120)?;
        assert!(digests::compare(&disk.path, &outcome.console.lines)? >= 1);
        assert!(outcome.console.lines.iter().any(|l| l.contains("no journal")), "{:?}", outcome.console.lines);
        Ok(())
    }
}

#[test]
fn a_missing_program_is_told() -> Result<()> {
    let disk = TestDisk::new(&Spec::default(), &[])?;
    let outcome = disk.run("/bin/nothing", 30)?;
    assert_ne!(outcome.console.init_status(), Some(0));
    assert!(outcome.console.lines.iter().any(|l| l.contains("/bin/nothing")), "{:?}", outcome.console.lines);
    assert_ne!(outcome.end, End::TimeOut);
    image::check(&disk.path)
}

#[test]
fn the_exit_status_of_a_program_comes_out() -> Result<()> {
    let disk = TestDisk::new(&Spec::default(), &["bench"])?;
    let outcome = disk.run("/bin/bench --nonsense", 30)?;
    assert_eq!((outcome.end, outcome.console.init_status()), (End::Clean, Some(2)));
    image::check(&disk.path)
}

#[test]
fn an_argument_may_have_blanks_and_a_quote_needs_its_end() -> Result<()> {
    let disk = TestDisk::new(&Spec::default(), &["rulecheck"])?;
    // The name of one check has a blank, and the check compares the arguments with those in /proc.
    let outcome = disk.run_ok("/bin/rulecheck --only 'proc cmdline'", 60)?;
    assert!(outcome.console.lines.iter().any(|l| l == "1 passed, 0 failed"), "{:?}", outcome.console.lines);
    let machine = Machine::new(tests::kernel(), "init=/bin/rulecheck -- 'proc cmdline").disk(&disk.path).limit(60);
    let outcome = machine.run(&mut nowhere)?;
    assert_eq!((outcome.end, outcome.console.init_status()), (End::Panic, None));
    assert_eq!(outcome.console.refusal().as_deref(), Some("command line: a quote has no end"));
    image::check(&disk.path)
}
