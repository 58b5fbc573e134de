//! A build as one line: what is compiled while it goes on, how long it took at its end.
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Words with which cargo tells how far it is; everything else is for the reader.
const STATUS: [&str; 10] = [
    "Compiling",
    "Finished",
    "Building",
    "Blocking",
    "Downloading",
    "Downloaded",
    "Updating",
    "Locking",
    "Adding",
    "Fresh",
];

/// Runs cargo on `what`. Its messages are only shown where it fails or warns.
pub fn build(cargo: &mut Command, what: &str) -> Result<()> {
    let start = Instant::now();
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner.set_message(format!("building {what}"));
    let mut child = cargo.stderr(Stdio::piped()).spawn().context("cannot run cargo")?;
    let mut messages = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines() {
        let line = line?;
        if STATUS.iter().any(|word| line.trim_start().starts_with(word)) {
            spinner.set_message(format!("building {what}: {}", line.trim()));
        } else {
            messages.push(line);
        }
    }
    let status = child.wait()?;
    spinner.finish_and_clear();
    messages.iter().for_each(|line| eprintln!("{line}"));
    if !status.success() {
        bail!("{what}: cargo failed ({status})");
    }
    println!("sluice: built {what} in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
