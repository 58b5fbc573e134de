//! The rules that a program can see, checked from ring 3 by `/bin/rulecheck`, and what the disk has afterwards.
use anyhow::{Context, Result, ensure};
use tests::TestDisk;
use xtask::build::{self, Flavour};
use xtask::console::nowhere;
use xtask::image::{self, Spec};
use xtask::qemu::{End, Machine, Outcome};

/// The disk has files with the flags that only the tools of the host set.
fn disk(block_size: u32, size_mib: u64) -> Result<TestDisk> {
    let disk = TestDisk::new(&Spec { block_size, size_mib, ..Spec::default() }, &["rulecheck"])?;
    let mut commands = vec!["cd /data".to_owned()];
    for (name, flags) in [("append-only", "0x80020"), ("immutable", "0x80010")] {
        commands.push(format!("write /dev/null {name}"));
        commands.push(format!("set_inode_field {name} flags {flags}"));
    }
    image::edit(&disk.path, &commands)?;
    Ok(disk)
}

/// Every check has a line, and the run ends with the sum. The lines are shown, so that a failure can be read.
fn judge(outcome: &Outcome, disk: &TestDisk, least: usize) -> Result<()> {
    let lines = &outcome.console.lines;
    lines.iter().filter(|line| line.contains(" ... ")).for_each(|line| println!("{line}"));
    let text = lines.join("\n");
    ensure!(outcome.console.init_status() == Some(0), "{:?}\n{text}", outcome.end);
    image::check(&disk.path).context(text)?;
    let sum = lines.iter().find_map(|line| line.strip_suffix(" passed, 0 failed")).context("no sum")?;
    ensure!(sum.trim().parse::<usize>()? >= least, "only {sum} checks");
    Ok(())
}

/// There are no fewer checks than when this was written.
const CHECKS: usize = 100;

fn all_rules(block_size: u32, cpus: u32) -> Result<()> {
    let disk = disk(block_size, 128)?;
    judge(&disk.run_on(cpus, "/bin/rulecheck", 240)?, &disk, CHECKS)
}

#[test]
fn every_rule_that_a_program_can_see_holds_with_blocks_of_4096_bytes() -> Result<()> {
    all_rules(4096, 1)
}

#[test]
fn every_rule_that_a_program_can_see_holds_on_four_cpus_with_blocks_of_1024_bytes() -> Result<()> {
    all_rules(1024, 4)
}

#[test]
fn rules_about_requests_in_flight_hold_in_the_kernel_with_the_lab() -> Result<()> {
    let kernel = build::kernel(Flavour::Lab)?;
    for (block_size, cpus) in [(4096, 1), (1024, 2)] {
        let disk = disk(block_size, 64)?;
        let mut machine = Machine::with_program(&kernel, "/bin/rulecheck --only lab").disk(&disk.path).limit(120);
        machine.cpus = cpus;
        judge(&machine.run(&mut nowhere)?, &disk, 11)?;
    }
    Ok(())
}

#[test]
fn prc_2_what_a_process_leaves_in_flight_arrives() -> Result<()> {
    const PAGE: usize = 4096;
    let expected: Vec<u8> = (0..64).flat_map(|i| [i + 1; PAGE]).collect();
    for (init, status) in [("/bin/rulecheck leave", 0), ("/bin/rulecheck leave killed", 128 + 9)] {
        let disk = disk(4096, 64)?;
        assert_eq!(disk.run(init, 60)?.console.init_status(), Some(status));
        image::check(&disk.path)?;
        ensure!(image::read_file(&disk.path, "/data/left")? == expected, "{init}: the file is not what was written");
    }
    Ok(())
}

/// SHD-1: in each way to shut down, with write-throughs on their way: the kernel unmounts and powers off in order, and the journal leads to
/// a disk that is in order, with what was acknowledged as durable.
#[test]
fn shd_1_a_disk_that_was_shut_down_is_recovered() -> Result<()> {
    const PAGE: usize = 4096;
    let kernel = build::kernel(Flavour::Lab)?;
    for way in 0..3 {
        let disk = disk(4096, 64)?;
        let machine = Machine::with_program(&kernel, &format!("/bin/rulecheck shut-down {way}"));
        let outcome = machine.disk(&disk.path).limit(60).run(&mut nowhere)?;
        let text = outcome.console.lines.join("\n");
        ensure!(outcome.console.init_status() == Some(0) && outcome.end == End::Clean, "way {way}: {text}");
        image::recover(&disk.path)?;
        image::check(&disk.path).context(text)?;
        let kept = image::read_file(&disk.path, "/data/kept")?;
        ensure!(kept[..PAGE] == [b'k'; PAGE], "way {way}: what was durable is not there");
        ensure!(kept.len() == if way == 0 { 5 * PAGE } else { 4 * PAGE }, "way {way}: {} bytes", kept.len());
        let has = |name| image::has_file(&disk.path, name);
        ensure!(way == 2 || has("/data/new")?, "way {way}: the folder is not there");
        ensure!(!has("/data/late")?, "way {way}: what came later is there");
    }
    Ok(())
}

#[test]
fn a_wrong_word_and_a_part_without_checks_fail() -> Result<()> {
    let disk = disk(4096, 64)?;
    assert_eq!(disk.run("/bin/rulecheck --nonsense", 30)?.console.init_status(), Some(2));
    assert_eq!(disk.run("/bin/rulecheck --only nothing", 30)?.console.init_status(), Some(1));
    image::check(&disk.path)
}
