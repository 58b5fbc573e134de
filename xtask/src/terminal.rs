//! The user's terminal as the terminal of the guest: keys go there as they are typed, and what it prints comes here.
//!
//! The terminal is in raw mode meanwhile. A small process beside this one watches: it puts the terminal back as it was, and ends the
//! machine, when this one has gone, whatever it died of.
use crate::console::{Piece, nowhere};
use crate::qemu::{Machine, Outcome, Running, Stopper};
use anyhow::{Context, Result, ensure};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

/// Control-], which ends the machine: the way out where the guest does not answer.
const ESCAPE: u8 = 0x1d;
/// Control-D, which ends the input.
const END_OF_INPUT: u8 = 4;

/// In the line with which the kernel starts the first program.
const LISTENS: &str = "first program: ";

/// Reads numbers of processes until its input ends; then the last one has to go and the terminal is restored.
const WATCH: &str = r#"trap '' HUP INT QUIT TERM TSTP TTOU
while read -r line; do machine=$line; done
[ -z "$machine" ] || kill -9 "$machine"
stty -F "$0" "$1""#;

/// Runs `machine` on this process's terminal. Where there is none, the input is taken to its end and closed by a control-D.
pub fn attach(machine: Machine) -> Result<Outcome> {
    let terminal = Terminal::raw()?;
    let machine = match &terminal {
        Some(terminal) => terminal.describe(machine),
        None => machine,
    };
    let mut running = machine.start(Stdio::piped())?;
    if let Some(terminal) = &terminal {
        terminal.watch(running.id())?;
    }
    let (keyboard, stopper) = (running.keyboard().context("QEMU's input is a pipe")?, running.stopper());
    let is_terminal = terminal.is_some();
    let (listens, ready) = mpsc::channel();
    // It may wait for a key for ever: it ends with this process.
    std::thread::spawn(move || type_on(keyboard, &ready, &stopper, is_terminal));
    show(&mut running, &listens);
    running.finish()
}

/// Shows what comes, byte for byte, and tells when the guest listens.
fn show(running: &mut Running, listens: &mpsc::Sender<()>) {
    while let Some(bytes) = running.output() {
        let mut out = std::io::stdout().lock();
        // A closed pipe must not end the machine before the disk is checked.
        let _ = out.write_all(&bytes).and_then(|()| out.flush());
        running.console.feed(&bytes, &mut |piece| {
            if matches!(piece, Piece::Line(line) if line.contains(LISTENS)) {
                let _ = listens.send(());
            }
        });
    }
    running.console.flush(&mut nowhere);
}

/// Hands the input on, from when the guest listens until the input ends or asks for the end.
fn type_on(mut keyboard: ChildStdin, ready: &mpsc::Receiver<()>, stopper: &Stopper, is_terminal: bool) {
    // What is sent before is lost when the guest sets up its serial port. On a terminal somebody may want to stop it even then.
    if !is_terminal && ready.recv().is_err() {
        return;
    }
    let mut keys = [0; 256];
    let mut input = std::io::stdin().lock();
    while let Ok(n @ 1..) = input.read(&mut keys) {
        let keys = &keys[..n];
        if is_terminal && keys.contains(&ESCAPE) {
            return stopper.stop();
        }
        if keyboard.write_all(keys).and_then(|()| keyboard.flush()).is_err() {
            return;
        }
    }
    // A guest that has gone needs no end of its input.
    let _ = keyboard.write_all(&[END_OF_INPUT]).and_then(|()| keyboard.flush());
}

/// A terminal in raw mode, for as long as this value lives.
struct Terminal {
    device: PathBuf,
    watcher: Child,
}

impl Terminal {
    /// Takes the terminal of the standard input over. None if it is something else.
    fn raw() -> Result<Option<Terminal>> {
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let device = std::fs::read_link("/proc/self/fd/0").context("the terminal has no name")?;
        let saved = stty(&device, &["-g"])?;
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCH]).arg(&device).arg(saved.trim());
        let watcher = watcher.stdin(Stdio::piped()).spawn().context("cannot run sh")?;
        let terminal = Terminal { device, watcher };
        // Output stays as it is: lines of this tool need their carriage returns.
        let raw =
            ["-icanon", "-echo", "-isig", "-iexten", "-ixon", "-icrnl", "-inlcr", "-istrip", "min", "1", "time", "0"];
        stty(&terminal.device, &raw)?;
        Ok(Some(terminal))
    }

    /// Tells the guest which terminal it is, and how large.
    fn describe(&self, machine: Machine) -> Machine {
        let kind = std::env::var("TERM").unwrap_or_else(|_| "vt100".into());
        let size = stty(&self.device, &["size"]).unwrap_or_default();
        let machine = machine.variable("TERM", &kind);
        match size.trim().split_once(' ') {
            Some((lines, columns)) if lines != "0" => machine.variable("LINES", lines).variable("COLUMNS", columns),
            _ => machine,
        }
    }

    /// The process that must not outlive this one.
    fn watch(&self, id: u32) -> Result<()> {
        let mut pipe = self.watcher.stdin.as_ref().context("the watcher's input is a pipe")?;
        writeln!(pipe, "{id}").context("the watcher of the terminal has gone")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.watcher.stdin.take() {
            // The machine has ended: its number may be another's by now.
            let _ = writeln!(pipe);
        }
        let _ = self.watcher.wait();
    }
}

/// Runs stty on a terminal and gives what it prints.
fn stty(device: &Path, settings: &[&str]) -> Result<String> {
    let out = Command::new("stty").arg("-F").arg(device).args(settings).output().context("cannot run stty")?;
    ensure!(out.status.success(), "stty: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
