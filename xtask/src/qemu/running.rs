//! A machine that runs: what it prints, and how it ends.
use crate::console::Console;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What `isa-debug-exit` makes of the values the kernel writes: `(value << 1) | 1`.
const EXIT_CLEAN: i32 = 0x10 << 1 | 1;
const EXIT_PANIC: i32 = 0x11 << 1 | 1;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The kernel powered off in order.
    Clean,
    /// The kernel stopped on a panic or a fatal fault.
    Panic,
    /// The time limit passed.
    TimeOut,
    /// Somebody outside ended it.
    Stopped,
    /// QEMU itself failed with this status.
    Qemu(i32),
}

/// What a run left behind.
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Everything on the console.
    pub console: Console,
    /// Wall-clock time of the run.
    pub took: Duration,
}

enum Event {
    Output(Vec<u8>),
    Ended,
    Stop,
}

/// A running machine.
pub struct Running {
    child: Child,
    events: mpsc::Receiver<Event>,
    stopper: Stopper,
    limit: Duration,
    start: Instant,
    /// Why it is ended from outside.
    ended_by: Option<End>,
    /// What it has printed, as far as it was fed.
    pub console: Console,
}

/// Ends a machine, from any thread.
#[derive(Clone)]
pub struct Stopper(mpsc::Sender<Event>);

impl Stopper {
    /// Asks for the end: the output that is there already comes first.
    pub fn stop(&self) {
        // A machine that has gone needs no end.
        let _ = self.0.send(Event::Stop);
    }
}

impl Running {
    /// Starts a command that ends as QEMU with Sluice does.
    pub(crate) fn start(mut command: Command, stdin: Stdio, limit: Duration) -> Result<Running> {
        let start = Instant::now();
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let (send, events) = mpsc::channel();
        let stopper = Stopper(send.clone());
        let mut stdout = child.stdout.take().expect("stdout is a pipe");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if send.send(Event::Output(buffer[..n].to_vec())).is_err() {
                    return;
                }
            }
            let _ = send.send(Event::Ended);
        });
        Ok(Running { child, events, stopper, limit, start, ended_by: None, console: Console::default() })
    }

    /// What types on the serial line, if that was a pipe, and once.
    pub fn keyboard(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The process of QEMU.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next output; none when it has ended, or has to.
    pub fn output(&mut self) -> Option<Vec<u8>> {
        self.ended_by = match self.limit.checked_sub(self.start.elapsed()).map(|left| self.events.recv_timeout(left)) {
            Some(Ok(Event::Output(bytes))) => return Some(bytes),
            Some(Ok(Event::Ended)) | Some(Err(mpsc::RecvTimeoutError::Disconnected)) => None,
            Some(Ok(Event::Stop)) => Some(End::Stopped),
            Some(Err(mpsc::RecvTimeoutError::Timeout)) | None => Some(End::TimeOut),
        };
        None
    }

    /// Ends QEMU if it is still there, at once and whatever the guest does.
    pub fn kill(&mut self) -> Result<()> {
        self.ended_by.get_or_insert(End::Stopped);
        self.child.kill().context("cannot end QEMU")
    }

    /// Waits for the end, after [`Self::output`] has given none.
    pub fn finish(mut self) -> Result<Outcome> {
        if self.ended_by.is_some() {
            self.kill()?;
        }
        let status = self.child.wait()?;
        let mut errors = String::new();
        self.child.stderr.take().expect("stderr is a pipe").read_to_string(&mut errors)?;
        let end = match (self.ended_by, status.code()) {
            (Some(end), _) => end,
            (None, Some(EXIT_CLEAN)) => End::Clean,
            (None, Some(EXIT_PANIC)) => End::Panic,
            (None, Some(0)) => End::Qemu(0),
            (None, code) => {
                bail!("QEMU failed ({}): {}", code.map_or("signal".into(), |c| c.to_string()), errors.trim())
            }
        };
        Ok(Outcome { end, console: std::mem::take(&mut self.console), took: self.start.elapsed() })
    }
}

impl Drop for Running {
    /// No machine outlives the one who started it, whatever went wrong.
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
