//! The scenarios in the kernel with the lab, and that the release kernel has no trace of the lab.
use anyhow::{Result, ensure};
use tests::TestDisk;
use xtask::build::{self, Flavour};
use xtask::image::Spec;
use xtask::{lab, museum};

/// A step of each scenario without which its story is none.
const TOLD: [(&str, &str); 12] = [
    ("R01", "the size is still 4096: a write is in flight"),
    ("R02", "bytes 5000 to 8192 are zero"),
    ("R12", "the page was not evicted"),
    ("R13", "the direct read has returned what was written"),
    ("R20", "byte 10 is still what is on its way to the disk"),
    ("R29", "cache and disk have 1, 2, 2"),
    ("R32", "the second append has ended first"),
    ("R50", "the conversion is in the journal"),
    ("R51", "its flush stands at the disk"),
    ("R59", "fsync tells of the error"),
    ("R72", "all 32 stand at the disk"),
    ("R73", "a write-through to another page has returned"),
];

#[test]
fn every_scenario_goes_as_it_must() -> Result<()> {
    let (status, lines) = lab::play(&build::kernel(Flavour::Lab)?, tests::programs(), &["all"])?;
    let text = lines.join("\n");
    ensure!(status == 0, "{text}");
    for (name, step) in TOLD {
        ensure!(lines.contains(&format!("{name}: as it must be")), "{name} was not played:\n{text}");
        ensure!(text.contains(step), "{name} does not tell \"{step}\":\n{text}");
    }
    ensure!(lines.contains(&format!("{} scenarios, 0 failed", TOLD.len())), "{text}");
    Ok(())
}

/// The scenarios can fail: with the guard off the mistake is seen, told, and ends with a failure status.
#[test]
fn a_mistake_is_seen_by_its_scenario() -> Result<()> {
    let kernel = build::kernel(Flavour::Museum)?;
    let mistakes = [
        ("R12", "R12", "R12: FAILED: cache: byte 0"),
        ("ERR-3", "R59", "R59: FAILED: cache: byte 0"),
        ("ERR-6", "R59", "R59: FAILED: fsync: Ok(())"),
    ];
    for (guard, scenario, seen) in mistakes {
        let (status, lines) = lab::play(&kernel, tests::programs(), &["--off", guard, scenario])?;
        ensure!(status == 1 && lines.iter().any(|line| line.starts_with(seen)), "{guard}: {lines:?}");
    }
    Ok(())
}

#[test]
fn without_the_lab_and_without_such_a_scenario_it_says_so() -> Result<()> {
    let disk = TestDisk::new(&Spec::default(), &["scenario"])?;
    let outcome = disk.run("/bin/scenario R01", 60)?;
    ensure!(outcome.console.init_status() == Some(2), "{:?}", outcome.console.lines);
    ensure!(outcome.console.lines.iter().any(|l| l.contains("has no lab")), "{:?}", outcome.console.lines);
    let (status, lines) = lab::play(&build::kernel(Flavour::Lab)?, tests::programs(), &["R00"])?;
    ensure!(status == 2 && lines.iter().any(|l| l.contains("there is no R00")), "{lines:?}");
    Ok(())
}

/// What the lab leaves in an ELF: a name in `/proc`, the mangled path of the gate, its source files in the line table.
const SIGNS: [&str; 5] = ["sluice/lab", "5block4gate", "block/gate.rs", "lab/anchor.rs", "lab/museum.rs"];
/// A shorter name stands in any ELF by chance.
const LONG_ENOUGH: usize = 5;

#[test]
fn the_release_kernel_has_nothing_of_the_lab() -> Result<()> {
    let (release, lab) = (std::fs::read(tests::kernel())?, std::fs::read(build::kernel(Flavour::Lab)?)?);
    let has = |elf: &[u8], sign: &str| elf.windows(sign.len()).any(|w| w == sign.as_bytes());
    let (anchors, guards) = (museum::anchors()?, museum::guards()?);
    // And a plain word may be the name of something else.
    let telling = |name: &&str| name.len() >= LONG_ENOUGH && name.contains(['-', '.']);
    let names = anchors.iter().chain(&guards).map(String::as_str).filter(telling);
    for sign in SIGNS.into_iter().chain(names) {
        ensure!(!has(&release, sign), "{sign} is in the release kernel");
    }
    // The signs are signs: the kernel with the lab has them.
    ensure!(has(&lab, SIGNS[0]) && SIGNS[1..].iter().any(|sign| has(&lab, sign)), "the lab has no sign of itself");
    for anchor in anchors.iter().filter(|name| telling(&name.as_str())) {
        ensure!(has(&lab, anchor), "{anchor} is not in the kernel with the lab");
    }
    Ok(())
}
