//! One test under one condition, within a time limit.
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a test that has failed may take to end: its other threads may be stuck in the very bug.
const AFTERMATH: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A test to run.
pub(super) struct Trial<'a> {
    pub binary: &'a Path,
    pub test: &'a str,
    /// The guard that is switched off, or none.
    pub guards_off: &'a str,
    pub limit: Duration,
}

/// How a test ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    Passed,
    /// By a panic, with the first line of its message.
    Failed(String),
    TimedOut,
    /// Otherwise: no assertion has found the bug.
    Died,
    /// There is no such test.
    Missing,
}

impl Trial<'_> {
    /// Runs it in a process of its own. The time is until the panic, where there is one.
    pub fn run(&self) -> Result<(End, Duration)> {
        let log = tempfile::NamedTempFile::new()?;
        // One open file for both streams: with an offset each they would overwrite one another.
        let output = log.reopen()?;
        let start = Instant::now();
        let mut child = Command::new(self.binary)
            .args(["--exact", self.test, "--nocapture", "--test-threads", "1"])
            .env("SLUICE_GUARDS_OFF", self.guards_off)
            .env("LOOM_MAX_PREEMPTIONS", "3")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        let text = || -> Result<String> { Ok(String::from_utf8_lossy(&std::fs::read(log.path())?).into_owned()) };
        let mut failed: Option<(String, Instant)> = None;
        loop {
            let ended = child.try_wait()?;
            if failed.is_none() {
                failed = panic_message(&text()?).map(|why| (why, Instant::now()));
            }
            let over = match &failed {
                Some((_, at)) => at.elapsed() > AFTERMATH,
                None => start.elapsed() > self.limit,
            };
            if ended.is_none() && !over {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            if ended.is_none() {
                stop(&mut child)?;
            }
            let took = failed.as_ref().map_or_else(|| start.elapsed(), |(_, at)| *at - start);
            return Ok((verdict(ended.map(|status| status.success()), failed.map(|(why, _)| why), &text()?), took));
        }
    }
}

fn stop(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn verdict(ended_well: Option<bool>, panic: Option<String>, text: &str) -> End {
    match (panic, ended_well) {
        (Some(why), Some(false) | None) => End::Failed(why),
        (None, Some(false)) => End::Died,
        (None, None) => End::TimedOut,
        // A test that expects a panic passes with one.
        (_, Some(true)) if text.contains("running 0 tests") => End::Missing,
        (_, Some(true)) => End::Passed,
    }
}

/// The first line of the first panic's message.
fn panic_message(text: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at"));
    let place = lines.next()?;
    let message = lines.next()?.trim();
    let file = place.split("panicked at ").nth(1)?.trim_end_matches(':').rsplit_once(':').map(|(at, _column)| at)?;
    Some(format!("{message} ({file})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANIC: &str =
        "running 1 test\n\nthread 'x' (7) panicked at fs/tests/races/truncate.rs:12:5:\nassertion failed: a\n";

    #[test]
    fn a_panic_is_told_with_its_place() {
        assert_eq!(panic_message(PANIC).as_deref(), Some("assertion failed: a (fs/tests/races/truncate.rs:12)"));
        assert_eq!(panic_message("running 1 test\n"), None);
    }

    #[test]
    fn each_way_to_end_is_told_from_the_others() {
        let why = || Some("why".to_owned());
        assert_eq!(verdict(Some(true), None, "running 1 test"), End::Passed);
        assert_eq!(verdict(Some(true), None, "running 0 tests"), End::Missing);
        assert_eq!(verdict(Some(false), why(), PANIC), End::Failed("why".into()));
        assert_eq!(verdict(None, why(), PANIC), End::Failed("why".into()));
        assert_eq!(verdict(None, None, "running 1 test"), End::TimedOut);
        assert_eq!(verdict(Some(false), None, "running 1 test"), End::Died);
    }

    #[test]
    fn a_process_is_watched_until_it_fails_or_the_limit_passes() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("stuck");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 100\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let trial = Trial { binary: &program, test: "x", guards_off: "", limit: Duration::from_millis(20) };
        assert_eq!(trial.run().unwrap().0, End::TimedOut);
        std::fs::write(
            &program,
            "#!/bin/sh\necho 'running 1 test'\necho 'x panicked at a.rs:1:2:\nwhy' >&2\nexit 101\n",
        )
        .unwrap();
        assert_eq!(trial.run().unwrap().0, End::Failed("why (a.rs:1)".into()));
    }
}
