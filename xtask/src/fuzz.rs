//! `make fuzz`: damaged images against ext4, driven by coverage. See `fuzz/src/lib.rs`.
//!
//! libFuzzer wants code that counts which edges it has taken. `-Cpasses=sancov-module` makes it on the stable compiler; only the
//! sanitizers need a nightly one, and `fs` has no unsafe code for which they would be of use.
use crate::build;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What to look for.
#[derive(Args)]
pub struct Options {
    /// mount, journal, directory or extents; all of them if none is given
    #[arg(long, env = "TARGET")]
    target: Option<String>,
    /// Inputs that each target runs
    #[arg(long, env = "RUNS", default_value_t = 250_000)]
    runs: u64,
}

const TARGETS: [&str; 4] = ["mount", "journal", "directory", "extents"];
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// What cargo-fuzz builds with, without a sanitizer.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// Builds the targets and runs them in turn. New inputs are kept below `target/fuzz`, beside those of `fuzz/corpus`.
pub fn run(options: &Options) -> Result<ExitCode> {
    let chosen: Vec<&str> = TARGETS.into_iter().filter(|t| options.target.as_deref().is_none_or(|o| o == *t)).collect();
    if chosen.is_empty() {
        bail!("TARGET is one of {}", TARGETS.join(", "));
    }
    let out = build::target().join("fuzz");
    build_targets(&out)?;
    let mut failed = 0;
    for target in chosen {
        let found = search(&out, target, options.runs)?;
        println!("fuzz {target}: {}", found.summary);
        failed += u32::from(!found.survived);
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build_targets(out: &Path) -> Result<()> {
    let mut cargo = build::cargo();
    cargo.current_dir(build::root().join("fuzz")).env("RUSTFLAGS", FLAGS);
    cargo.args(["build", "--quiet", "--release", "--bins", "--target", TRIPLE, "--target-dir"]).arg(out);
    build::status(&mut cargo, "the fuzz targets do not build; libFuzzer needs a C++ compiler (g++)")
}

struct Found {
    survived: bool,
    summary: String,
}

fn search(out: &Path, target: &str, runs: u64) -> Result<Found> {
    let found = out.join("found").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("{}", found.display()))?;
    let corpus = build::root().join("fuzz/corpus").join(target);
    let artifacts = format!("{}/{target}-", out.display());
    let output = Command::new(out.join(TRIPLE).join("release").join(target))
        .args([format!("-runs={runs}"), format!("-artifact_prefix={artifacts}")])
        .args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=400", "-len_control=20"])
        .args([&found, &corpus])
        .output()
        .with_context(|| format!("cannot run {target}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let survived = output.status.success();
    if !survived {
        text.lines().rev().take(40).collect::<Vec<_>>().iter().rev().for_each(|line| println!("    {line}"));
    }
    Ok(Found { survived, summary: summary(&text, survived, &corpus) })
}

/// One line out of what libFuzzer has printed.
fn summary(text: &str, survived: bool, corpus: &Path) -> String {
    if survived {
        let last = text.lines().rev().find(|line| line.contains("DONE")).unwrap_or_default();
        let figure = |name: &str| last.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next());
        let runs = last.trim_start_matches('#').split_whitespace().next().unwrap_or("no");
        let [edges, memory] = [figure("cov: "), figure("rss: ")].map(|f| f.unwrap_or("?"));
        return format!("{runs} runs survived, {edges} edges seen, {memory} of memory");
    }
    let written = text.lines().find_map(|line| line.split_once("Test unit written to ")).map_or("nowhere", |(_, p)| p);
    format!("FAILED; the input is {written}: once it is fixed, keep it in {}", corpus.display())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_summary_is_one_line() {
        let text = "#2\tINITED\n#2000\tDONE   cov: 3407 ft: 8799 corp: 93/313b lim: 8 exec/s: 222 rss: 66Mb\nDone";
        let line = super::summary(text, true, Path::new(""));
        assert_eq!(line, "2000 runs survived, 3407 edges seen, 66Mb of memory");
        let text = "artifact_prefix='/t/'; Test unit written to /t/mount-crash-1\n";
        let line = super::summary(text, false, Path::new("fuzz/corpus/mount"));
        assert_eq!(line, "FAILED; the input is /t/mount-crash-1: once it is fixed, keep it in fuzz/corpus/mount");
    }
}
