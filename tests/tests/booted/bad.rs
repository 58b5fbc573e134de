//! Bad programs: the kernel stays up, says why it has killed whom, and leaves the disk in order.
use anyhow::{Context, Result, ensure};
use tests::TestDisk;
use xtask::image::Spec;

/// A boot in which `/bin/badtest` does `what`, and ends well. The lines of the console.
fn boot(what: &str, limit_s: u64) -> Result<Vec<String>> {
    let disk = TestDisk::new(&Spec { size_mib: 32, ..Spec::default() }, &["badtest"])?;
    // The disk is checked.
    let lines = disk.run_ok(&format!("/bin/badtest {what}"), limit_s)?.console.lines;
    ensure!(lines.iter().any(|line| line.ends_with("unmounted")), "{}", lines.join("\n"));
    Ok(lines)
}

/// `PID (DEED)` of a line `badtest: process PID must die of one of the signals [N]: DEED`.
fn announced(line: &str) -> Option<(&str, &str)> {
    let (pid, rest) = line.strip_prefix("badtest: process ")?.split_once(" must die of one of the signals ")?;
    Some((pid, rest.split_once(": ")?.1))
}

/// Of a deed like `Store(0)`: what the kernel must say of it. What the processor calls a general protection fault has no address but that of the
/// instruction.
fn reason(deed: &str) -> Option<String> {
    let (what, at) = deed.strip_suffix(')')?.split_once('(')?;
    let at = u64::from_str_radix(at, 16).ok()?;
    let is_canonical = !(1 << 47..u64::MAX << 47).contains(&at);
    match what {
        "Jump" | "Return" => Some(format!(", at {at:#x}")),
        "Load" if is_canonical => Some(format!(": load from {at:#x}, at ")),
        "Store" if is_canonical => Some(format!(": store to {at:#x}, at ")),
        _ => None,
    }
}

#[test]
fn who_does_what_no_program_may_is_killed_with_a_line_on_the_log() -> Result<()> {
    let lines = boot("deeds", 60)?;
    let deeds: Vec<_> = lines.iter().filter_map(|line| announced(line)).collect();
    ensure!(deeds.len() == 40, "{} deeds", deeds.len());
    for (pid, deed) in deeds {
        let killed = format!("process {pid} (badtest) killed by SIG");
        let line = lines.iter().find(|line| line.contains(&killed)).with_context(|| format!("{pid}: {deed}"))?;
        ensure!(line.contains(", at 0x"), "{line}");
        let reason = reason(deed).unwrap_or_default();
        ensure!(line.contains(&reason), "{deed}: {line}");
    }
    Ok(())
}

/// Seconds of a line of the kernel's log: `[   1.234567] LEVEL ...`.
fn second(line: &str) -> Option<f64> {
    line.strip_prefix('[')?.split_once(']')?.0.trim().parse().ok()
}

#[test]
fn a_message_that_is_provoked_without_end_is_limited() -> Result<()> {
    let lines = boot("flood", 120)?;
    let shown: Vec<_> = lines.iter().filter(|line| line.contains("(badtest) killed by SIGILL")).collect();
    let times: Vec<_> = shown.iter().filter_map(|line| second(line)).collect();
    let (first, last) = (times.first().context("nothing was killed")?, times.last().context("nothing")?);
    let periods = ((last - first) / 10.0).ceil() as usize + 1;
    ensure!(shown.len() <= 50 * periods, "{} lines in {periods} periods", shown.len());
    let is_limited = lines.iter().any(|line| line.contains("more of them are left out"));
    ensure!(is_limited || shown.len() == 300, "{} lines, and nothing said of others", shown.len());
    Ok(())
}

#[test]
fn output_without_end_can_be_ended() -> Result<()> {
    boot("endless", 90).map(drop)
}

#[test]
fn a_program_without_descriptors_works() -> Result<()> {
    boot("closed", 30).map(drop)
}

#[test]
fn no_system_call_with_wild_arguments_brings_the_kernel_down() -> Result<()> {
    let lines = boot("calls", 300)?;
    let told = lines.iter().find_map(|line| line.strip_prefix("badtest: ")?.split_once(" calls came back"));
    let calls: u64 = told.context("nothing is said of calls")?.0.parse()?;
    // Some of 512 numbers with 77 rounds each do not come back: exit, and what takes the caller's memory away.
    ensure!(calls > 500 * 77, "only {calls} calls came back");
    Ok(())
}

#[test]
fn a_full_disk_is_told_and_what_is_removed_makes_room() -> Result<()> {
    boot("full", 120).map(drop)
}
