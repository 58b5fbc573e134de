//! Mappings of files, from ring 3, and what the disk has afterwards.
use anyhow::Result;
use tests::{TestDisk, kernel};
use xtask::build::{self, Flavour};
use xtask::console::nowhere;
use xtask::image::{self, Spec};
use xtask::qemu::{End, Machine, Outcome};

const PAGE: usize = 4096;

on_cpus! {
    fn mappings_agree_with_the_file_and_the_disk(cpus: u32) -> Result<()> {
        mappings_agree(cpus)
    }

    fn stores_reach_the_disk_with_blocks_of_4096_bytes(cpus: u32) -> Result<()> {
        stores_reach_the_disk(4096, cpus)
    }

    fn stores_reach_the_disk_with_blocks_of_1024_bytes(cpus: u32) -> Result<()> {
        stores_reach_the_disk(1024, cpus)
    }

    fn mm_1_r20_r22_r25_r26_stores_against_requests_in_flight(cpus: u32) -> Result<()> {
        stores_against_requests(cpus)
    }

    /// MM-6, MM-9: stores that end a program, and leave the disk in order.
    fn mm_6_mm_9_stores_that_are_sigbus(cpus: u32) -> Result<()> {
        stores_that_are_sigbus(cpus)
    }
}

fn mappings_agree(cpus: u32) -> Result<()> {
    for block_size in [4096, 1024] {
        let spec = Spec { block_size, ..Spec::default() };
        let disk = TestDisk::new(&spec, &["maptest"])?;
        disk.run_ok_on(cpus, "/bin/maptest", 60)?;
        let pages = |path: &str| -> Result<Vec<u8>> {
            Ok(image::read_file(&disk.path, path)?.chunks(PAGE).map(|page| page[page.len() - 1]).collect())
        };
        assert_eq!(pages("/data/coherence")?, [1, 42]);
        assert_eq!(pages("/data/private")?, [1, 2], "stores to a private mapping never reach the disk");
        assert_eq!(pages("/data/truncate")?, [1, 0, 0]);
        assert_eq!(pages("/data/self1")?, [1, 2]);
        assert_eq!(pages("/data/source.copy")?, [1, 1, 3]);
    }
    Ok(())
}

#[test]
fn mm_6_a_load_past_the_end_is_sigbus() -> Result<()> {
    let disk = TestDisk::new(&Spec::default(), &["maptest"])?;
    let outcome = disk.run("/bin/maptest bus", 30)?;
    assert!(outcome.console.lines.iter().any(|line| line.contains("about to touch")), "{:?}", outcome.console.lines);
    assert_eq!((outcome.end, outcome.console.init_status()), (End::Clean, Some(128 + 7)));
    image::check(&disk.path)
}

/// What was stored through mappings is what the disk has after the unmount, and the disk is in order. With as little memory as here the
/// page cache takes fewer dirty pages than one of the checks makes: who stores is throttled, and folios are evicted from mappings.
fn stores_reach_the_disk(block_size: u32, cpus: u32) -> Result<()> {
    let disk = TestDisk::new(&Spec { block_size, size_mib: 64, ..Spec::default() }, &["maptest"])?;
    let mut machine = Machine::with_program(kernel(), "/bin/maptest").disk(&disk.path).limit(120);
    (machine.memory_mib, machine.cpus) = (32, cpus);
    let outcome = machine.run(&mut nowhere)?;
    show(&outcome);
    assert_eq!(outcome.console.init_status(), Some(0), "{:?}", outcome.console.lines);
    image::check(&disk.path)?;
    let file = |path: &str| image::read_file(&disk.path, path);
    assert_eq!(file("/data/stores")?[5..8], [70, 72, 1]);
    assert_eq!(file("/data/outlives")?[..3], [70, 73, 1]);
    assert_eq!(file("/data/beside")?[3072..3075], [79, 89, 1]);
    assert!(file("/data/past-eof")?[100..PAGE - 1].iter().all(|byte| *byte == 0), "R24: bytes of the past end");
    assert_eq!(file("/data/private3")?[..2], [71, 1]);
    assert_eq!(file("/data/exit")?[PAGE - 2..], [1, 70], "MM-2: stored before the exit");
    assert_eq!(file("/data/frozen")?[0], 70);
    // A page full of 1 and a hole behind it, with a store to each page.
    let mut expected = vec![0; 2048 * PAGE];
    expected[..PAGE].fill(1);
    (0..2048).for_each(|page| expected[page * PAGE + page % PAGE] = (page % 251) as u8 ^ 5);
    let digest = |bytes: &[u8]| {
        let mut digest = user::digest::Digest::default();
        digest.update(bytes);
        digest.value()
    };
    assert_eq!(digest(&file("/data/full-of-stores")?), digest(&expected));
    Ok(())
}

fn show(outcome: &Outcome) {
    outcome.console.lines.iter().filter(|line| line.contains("maptest:")).for_each(|line| println!("{line}"));
}

fn stores_against_requests(cpus: u32) -> Result<()> {
    let kernel = build::kernel(Flavour::Lab)?;
    for block_size in [4096, 1024] {
        let disk = TestDisk::new(&Spec { block_size, size_mib: 64, ..Spec::default() }, &["maptest"])?;
        let mut machine = Machine::with_program(&kernel, "/bin/maptest lab").disk(&disk.path).limit(120);
        machine.cpus = cpus;
        let outcome = machine.run(&mut nowhere)?;
        show(&outcome);
        assert_eq!(outcome.console.init_status(), Some(0), "{:?}", outcome.console.lines);
        image::check(&disk.path)?;
        assert_eq!(image::read_file(&disk.path, "/data/lab.waits")?[6..9], [60, 70, 60]);
        assert_eq!(image::read_file(&disk.path, "/data/lab.mkclean")?[100..103], [71, 72, 1]);
        assert_eq!(image::read_file(&disk.path, "/data/lab.first")?[..2], [70, 60]);
    }
    Ok(())
}

fn stores_that_are_sigbus(cpus: u32) -> Result<()> {
    let lab = build::kernel(Flavour::Lab)?;
    for (mode, kernel) in [("bus-store", kernel()), ("bus-full", kernel()), ("bus-cut", lab.as_path())] {
        let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["maptest"])?;
        let program = format!("/bin/maptest {mode}");
        let mut machine = Machine::with_program(kernel, &program).disk(&disk.path).limit(120);
        machine.cpus = cpus;
        let outcome = machine.run(&mut nowhere)?;
        let text = outcome.console.lines.join("\n");
        assert!(text.contains("about to store"), "{mode}: {text}");
        assert_eq!((outcome.end, outcome.console.init_status()), (End::Clean, Some(128 + 7)), "{mode}: {text}");
        image::check(&disk.path)?;
    }
    Ok(())
}
