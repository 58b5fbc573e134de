//! Terminals: bytes that are typed and shown, with the rules that make them a place to work at.
//!
//! | file | contents |
//! |---|---|
//! | `discipline` | from keys to lines, echo, output processing (pure) |
//! | `termios` | settings and window size, as the ABI has them |
//! | `node` | what opens a terminal: `/dev/console`, `/dev/ttyS0`, `/dev/tty` |
//! | `tests` | a terminal with readers, jobs and a typist |
//!
//! A task of the kernel gives what the device receives to [`Tty::receive`], which echoes it and sends the signals of keys at once, whether
//! somebody reads or not. Readers sleep until the discipline has something for them. Which session a terminal belongs to, and which group is in
//! the foreground, the processes know ([`crate::process::Family`]); who is in the background and reads, changes settings, or writes with
//! `TOSTOP`, is stopped by a signal, and its call is made again when it goes on.
//!
//! What it does not do: nothing stops the output (^S), and it is never hung up: when the leader of its session ends, whoever is left may go on
//! reading.
mod discipline;
mod node;
mod termios;
#[cfg(test)]
mod tests;

pub use node::Node;
pub use termios::{SHORT as TERMIOS_SHORT, Termios, WindowSize};

use crate::process::{Signal, Standing, System, Thread};
use alloc::vec;
use alloc::vec::Vec;
use base::sync::{Arc, PollQueue, SpinLock, Weak};
use base::{Errno, Result, sched, time};
use discipline::{CAPACITY, Discipline, Key};
use fs::io::{IoSink, IoSource};
use fs::kiocb::{IoFlags, Kiocb, Outcome};
use fs::vfs::{File, FileFeatures, FileOps, OpenFlags, Readiness};
use linux_raw_sys::general as abi;

/// Bytes that are written in one piece.
const CHUNK: usize = 256;
/// The unit of `VTIME`.
const TENTH_NS: u64 = 100_000_000;

/// The device behind a terminal. The serial driver implements it.
pub trait Console: Send + Sync {
    /// Shows `bytes` as they are, in one piece. Task context, under a spin lock.
    fn write(&self, bytes: &[u8]);
    /// A reader has made room for more input. Task context.
    fn room_made(&self);
    /// Whether input can ever come; without, readers find its end.
    fn has_input(&self) -> bool;
}

/// A terminal.
pub struct Tty {
    /// The number of its device.
    pub rdev: u64,
    console: Arc<dyn Console>,
    system: Weak<System>,
    state: SpinLock<State>,
    /// Something can be read, or the settings have changed.
    changed: PollQueue,
}

#[derive(Default)]
struct State {
    discipline: Discipline,
    window: WindowSize,
}

/// How long a read waits.
enum Wait {
    /// Not at all.
    No,
    /// Until there are so many bytes, or a line.
    For(usize),
    /// The same, but no longer than this after the call.
    Until(usize, u64),
    /// The same, but no longer than this after each byte.
    Pause(usize, u64),
}

impl Tty {
    /// A terminal of the device with number `rdev`.
    pub fn new(system: &Arc<System>, rdev: u64, console: Arc<dyn Console>) -> Arc<Tty> {
        let system = Arc::downgrade(system);
        Arc::new(Tty { rdev, console, system, state: SpinLock::new(State::default()), changed: PollQueue::new() })
    }
    /// An open file on the terminal for reading and writing.
    pub fn open(self: &Arc<Tty>) -> Arc<File> {
        File::new(None, OpenFlags::RDWR, Arc::new(Terminal(self.clone())))
    }
    /// The terminal behind an open file.
    pub fn of(file: &File) -> Option<&Arc<Tty>> {
        file.ops().as_any()?.downcast_ref::<Terminal>().map(|terminal| &terminal.0)
    }

    /// The device has received `bytes`. Task context.
    pub fn receive(self: &Arc<Tty>, bytes: &[u8]) {
        let mut shown = Vec::new();
        for &byte in bytes {
            let mut state = self.state.lock();
            let key = state.discipline.receive(byte, &mut shown);
            self.console.write(&shown);
            drop(state);
            shown.clear();
            key.into_iter().for_each(|key| self.signal_foreground(signal_of(key)));
        }
        self.changed.wake_all();
    }
    /// Whether more should be received now. Any task.
    pub fn has_room(&self) -> bool {
        self.state.lock().discipline.has_room()
    }

    fn signal_foreground(self: &Arc<Tty>, signal: Signal) {
        let Some(system) = self.system.upgrade() else { return };
        let group = system.family.foreground(self);
        group.into_iter().for_each(|group| system.family.signal_group(group, signal));
    }

    /// The settings.
    pub fn settings(&self) -> Termios {
        *self.state.lock().discipline.settings()
    }
    /// Changes the settings; with `flush` what was typed before is forgotten. All output has been shown: writers wait for it.
    pub fn set(&self, settings: Termios, flush: bool) {
        let mut state = self.state.lock();
        if flush {
            state.discipline.forget_input();
        }
        state.discipline.set(settings);
        drop(state);
        self.changed.wake_all();
        self.console.room_made();
    }
    /// The size of the window.
    pub fn window(&self) -> WindowSize {
        self.state.lock().window
    }
    /// Sets the size of the window; the foreground is told. Task context.
    pub fn set_window(self: &Arc<Tty>, window: WindowSize) {
        let before = core::mem::replace(&mut self.state.lock().window, window);
        if before != window {
            self.signal_foreground(Signal::SIGWINCH);
        }
    }
    /// Forgets what was typed and not read.
    pub fn flush_input(&self) {
        self.state.lock().discipline.forget_input();
        self.console.room_made();
    }
    /// Bytes that can be read.
    pub fn readable_bytes(&self) -> usize {
        self.state.lock().discipline.readable_bytes()
    }

    /// What the caller may do, as `signal` says: to read (SIGTTIN), to change something (SIGTTOU). Task context. Errors: `EINTR`: it is in the
    /// background, and its group was sent the signal; `EIO`: that could not help.
    pub fn check(self: &Arc<Tty>, signal: Signal) -> Result<()> {
        let Some(thread) = Thread::current() else { return Ok(()) };
        let process = &thread.process;
        let family = &process.system.family;
        let Standing::Background { group, orphaned } = family.standing(process.pid, self) else { return Ok(()) };
        let deaf = thread.blocked().contains(signal) || process.ignores(signal);
        match deaf {
            true if signal == Signal::SIGTTOU => Ok(()),
            false if !orphaned => {
                family.signal_group(group, signal);
                Err(Errno::EINTR)
            }
            _ => Err(Errno::EIO),
        }
    }

    /// Waits as the settings say, then takes what can be read. Errors: `EAGAIN`, `EINTR`.
    fn read(&self, dst: &mut [u8], blocks: bool) -> Result<usize> {
        loop {
            let how = self.how_to_wait(dst.len());
            if !blocks && !matches!(how, Wait::No) && !self.is_readable(1) {
                return Err(Errno::EAGAIN);
            }
            let timed_out = blocks && !self.wait(&how)?;
            let read = self.state.lock().discipline.read(dst);
            self.console.room_made();
            match read {
                Some(n) => return Ok(n),
                None if timed_out || matches!(how, Wait::No) || !self.console.has_input() => return Ok(0),
                None if !blocks => return Err(Errno::EAGAIN),
                // Another reader was faster.
                None => {}
            }
        }
    }

    fn how_to_wait(&self, room: usize) -> Wait {
        let state = self.state.lock();
        let settings = state.discipline.settings();
        let least = usize::from(settings.key(abi::VMIN)).min(room);
        let time_ns = u64::from(settings.key(abi::VTIME)) * TENTH_NS;
        match (least, time_ns) {
            _ if settings.local(abi::ICANON) => Wait::For(1),
            (0, 0) => Wait::No,
            (0, time_ns) => Wait::Until(1, time::now_ns() + time_ns),
            (least, 0) => Wait::For(least),
            (least, time_ns) => Wait::Pause(least, time_ns),
        }
    }

    /// False when the time is over. Errors: `EINTR`.
    fn wait(&self, how: &Wait) -> Result<bool> {
        let ready = |least: usize| self.is_readable(least) || !self.console.has_input();
        match *how {
            Wait::No => Ok(true),
            Wait::For(least) => self.changed.wait_interruptible(|| ready(least)).map(|()| true),
            Wait::Until(least, at_ns) => self.changed.wait_interruptible_deadline(at_ns, || ready(least)),
            Wait::Pause(least, time_ns) => {
                self.changed.wait_interruptible(|| ready(1))?;
                loop {
                    let have = self.readable_bytes();
                    let more = || ready(least) || self.readable_bytes() != have;
                    if !self.changed.wait_interruptible_deadline(time::now_ns() + time_ns, more)? || ready(least) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn is_readable(&self, least: usize) -> bool {
        self.state.lock().discipline.is_readable(least)
    }

    /// Brings the cursor to the beginning of a line, if a program or an echo has left it elsewhere.
    pub fn fresh_line(&self) {
        if !self.state.lock().discipline.at_line_start() {
            self.show(b"\n", &mut Vec::new());
        }
    }

    /// Shows `bytes`, processed for the terminal; `room` is used on the way.
    fn show(&self, bytes: &[u8], room: &mut Vec<u8>) {
        let mut state = self.state.lock();
        room.clear();
        bytes.iter().for_each(|&byte| state.discipline.process(byte, room));
        // Under the lock: the cursor is where the discipline believes.
        self.console.write(room);
    }
}

fn signal_of(key: Key) -> Signal {
    match key {
        Key::Interrupt => Signal::SIGINT,
        Key::Quit => Signal::SIGQUIT,
        Key::Suspend => Signal::SIGTSTP,
    }
}

/// The operations of an open terminal.
struct Terminal(Arc<Tty>);

impl FileOps for Terminal {
    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }
    fn features(&self) -> FileFeatures {
        FileFeatures::NOWAIT_READ
    }
    fn read(&self, kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        self.0.check(Signal::SIGTTIN)?;
        let room = dst.remaining().min(CAPACITY);
        // Room is made first: bytes that were taken out and cannot be stored would be lost.
        if dst.fault_in(room) < room {
            return Err(Errno::EFAULT);
        }
        let blocks = !kiocb.file.flags().contains(OpenFlags::NONBLOCK) && !kiocb.flags.contains(IoFlags::NOWAIT);
        let mut bytes = vec![0; room];
        let n = if room == 0 { 0 } else { self.0.read(&mut bytes, blocks)? };
        super::copy_out(dst, &bytes[..n]).map(Outcome::Done)
    }
    /// A chunk at a time, so that lines of the log come before or after it, not inside.
    fn write(&self, _kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        if self.0.settings().local(abi::TOSTOP) {
            self.0.check(Signal::SIGTTOU)?;
        }
        let mut done = 0;
        let (mut chunk, mut shown) = ([0; CHUNK], Vec::with_capacity(2 * CHUNK));
        while src.remaining() > 0 {
            let room = src.remaining().min(chunk.len());
            match super::copy_in(src, &mut chunk[..room]) {
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
                Ok(()) => {}
            }
            self.0.show(&chunk[..room], &mut shown);
            done += room;
            // Others run too, and the writer can be stopped, however long it is.
            sched::preempt_point();
            if Thread::current().is_some_and(|thread| thread.interrupted()) {
                break;
            }
        }
        Ok(Outcome::Done(done))
    }
    fn readiness(&self, _file: &File) -> Readiness {
        let settings = self.0.settings();
        let at_once = settings.key(abi::VTIME) > 0 || settings.key(abi::VMIN) == 0;
        let least = if at_once { 1 } else { usize::from(settings.key(abi::VMIN)) };
        let hung_up = !self.0.console.has_input();
        Readiness { readable: self.0.is_readable(least) || hung_up, writable: true, hung_up, failed: false }
    }
    fn poll_queue(&self) -> Option<&PollQueue> {
        Some(&self.0.changed)
    }
    fn seekable(&self) -> bool {
        false
    }
}
