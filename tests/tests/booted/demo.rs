//! The demo in the kernel with the lab.
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tests::TestDisk;
use xtask::build::{self, Flavour};
use xtask::demo;
use xtask::image::Spec;

fn lab_kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| build::kernel(Flavour::Lab).expect("the kernel builds"))
}

#[test]
fn the_truncate_waits_for_the_write_and_the_trace_tells_it() -> Result<()> {
    let played = demo::play(lab_kernel(), tests::programs(), 2)?;
    let told = played.lines.join("\n");
    ensure!(played.status == 0, "{told}");
    ensure!(told.contains("truncate waits") && told.contains("size of the file: 0"), "{told}");

    let json: Value = serde_json::from_str(&played.json()?)?;
    let events = json["traceEvents"].as_array().context("a list of events")?;
    let place = |name: &str| events.iter().position(|e| e["name"] == name && e["ph"] == "i").context(name.to_owned());
    let order = [
        "io_submit returned",
        "truncate.begin",
        "drain.wait",
        "gate opened",
        "wt.finish",
        "wt.drop_drain",
        "truncate.end",
    ];
    let places = order.iter().map(|name| place(name)).collect::<Result<Vec<_>>>()?;
    ensure!(places.is_sorted(), "{order:?} are at {places:?}");
    let names: Vec<_> = events.iter().filter(|e| e["name"] == "thread_name").map(|e| &e["args"]["name"]).collect();
    for name in ["demo", "truncate", "ext4-end", "interrupts"] {
        ensure!(names.iter().any(|n| *n == name), "{name} is not among {names:?}");
    }
    for span in ["write-through", "wait for the drain count", "truncate"] {
        ensure!(events.iter().any(|e| e["name"] == span && (e["ph"] == "X" || e["ph"] == "b")), "no span {span}");
    }
    Ok(())
}

#[test]
fn without_the_lab_the_demo_says_so() -> Result<()> {
    let disk = TestDisk::new(&Spec::default(), &["demo"])?;
    let outcome = disk.run("/bin/demo", 60)?;
    assert_eq!(outcome.console.init_status(), Some(2));
    assert!(outcome.console.lines.iter().any(|l| l.contains("has no lab")), "{:?}", outcome.console.lines);
    Ok(())
}
