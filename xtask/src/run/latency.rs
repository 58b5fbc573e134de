//! The benchmark once more, short, on a device where each request takes 1 ms. On a fast device every kernel seems to block in
//! `io_submit`, because the device has answered before the call returns; here it shows who waits there and who does not.
use super::{Options, disk, judge};
use crate::console::nowhere;
use crate::linux::Linux;
use crate::nbd;
use crate::qemu::Disk;
use crate::table::Figures;
use crate::{image, interrupts};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(1);
const ROWS: &str = "aio_w_*,unwritten_wt_*,unwritten_direct_*,append_wt_*,append_direct_*";
const ROWS_PATH: &str = "/data/rows.json";

/// Runs it and prints the shares.
pub(super) fn run(options: &Options, kernel: &Path, programs: &Path, work: &Path) -> Result<()> {
    println!("\nsluice: once more on a device where each request takes 1 ms: the share of the time inside io_submit");
    let rows = on_device(LATENCY, &format!("--seconds 0.05 --only {ROWS}"), options, kernel, programs, work)?;
    println!("{}\n", table(&rows));
    Ok(())
}

/// The rows of a benchmark with these arguments, on a fresh disk behind a device where each request takes `latency`.
pub(super) fn on_device(
    latency: Duration,
    arguments: &str,
    options: &Options,
    kernel: &Path,
    programs: &Path,
    work: &Path,
) -> Result<Value> {
    let folder = tempfile::tempdir_in(work)?;
    let image = disk::fresh(programs, folder.path())?;
    let socket = folder.path().join("nbd");
    nbd::serve(&image, socket.clone(), latency)?;
    let init = format!("/bin/bench {arguments} --json {ROWS_PATH}");
    let outcome = options.machine(kernel, Disk::Nbd(socket), &init)?.run(&mut nowhere)?;
    if !matches!(judge(kernel, &outcome), Ok(0)) {
        outcome.console.lines.iter().for_each(|line| println!("{line}"));
        judge(kernel, &outcome)?;
        bail!("the benchmark failed on the slow device");
    }
    image::check(&image)?;
    interrupts::check(&outcome.console.lines)?;
    serde_json::from_slice(&image::read_file(&image, ROWS_PATH)?).context("the rows are no JSON")
}

fn table(rows: &Value) -> Figures {
    let linux = Linux::load();
    let mut table = Figures::new(&["row", "ops/s", "in io_submit", "Linux 6.1", "Linux row where it is another"], 1);
    for row in rows.as_array().map(Vec::as_slice).unwrap_or_default() {
        let (Some(name), Some(share)) = (row["row"].as_str(), row["submit_share"].as_f64()) else { continue };
        let theirs = linux.submit_share(name);
        table.row(vec![
            name.to_owned(),
            format!("{:.0}", row["ops_per_second"].as_f64().unwrap_or(0.0)),
            format!("{:.1} %", share * 100.0),
            theirs.as_ref().map_or("-".into(), |figure| format!("{:.1} %", figure.value)),
            theirs.and_then(|figure| figure.row).unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_without_a_share_are_left_out() {
        let rows = serde_json::json!([
            {"row": "aio_w_wt_qd32", "supported": true, "ops_per_second": 12.4, "submit_share": 0.125},
            {"row": "append_wt_qd32", "supported": false}
        ]);
        let table = super::table(&rows).to_string();
        assert!(table.contains("12.5 %") && table.contains("46.0 %") && table.contains("aio_w_direct_qd32"), "{table}");
        assert!(!table.contains("append"), "{table}");
    }
}
