//! The first serial port as the terminal of the kernel.
use crate::files::{Console, Tty};
use crate::process::System;
use alloc::boxed::Box;
use base::sched;
use base::sync::Arc;
use drivers::serial::Serial;
use fs::devfs;
use hal::bare::console;
use log::warn;

/// Bytes that are taken from the port at a time.
const CHUNK: usize = 64;

/// The port. Without an interrupt for it there is output only, and a reader finds the end of its input.
struct SerialConsole(Option<Arc<Serial>>);

/// Takes the port over for input, and starts the task that gives it to the terminal. Once, in a task.
pub fn start(system: &Arc<System>) -> Arc<Tty> {
    let port = Serial::start().inspect_err(|error| warn!("serial: no input: {error}")).ok();
    let tty = Tty::new(system, devfs::TTY_S0, Arc::new(SerialConsole(port.clone())));
    if let Some(port) = port {
        let tty = tty.clone();
        let started = sched::spawn("tty", Box::new(move || receive(&port, &tty)));
        started.err().into_iter().for_each(|error| warn!("serial: no input: {error}"));
    }
    tty
}

/// What comes in while the terminal is full stays in the port.
fn receive(port: &Serial, tty: &Arc<Tty>) {
    let mut bytes = [0; CHUNK];
    loop {
        port.arrived.wait_until(|| port.readable() && tty.has_room());
        let n = port.try_read(&mut bytes);
        tty.receive(&bytes[..n]);
    }
}

impl Console for SerialConsole {
    /// Under one hold of the port's lock, so that log lines come before or after it, not inside.
    fn write(&self, bytes: &[u8]) {
        console::write_bytes(bytes);
    }
    fn room_made(&self) {
        self.0.iter().for_each(|port| _ = port.arrived.wake_all());
    }
    fn has_input(&self) -> bool {
        self.0.is_some()
    }
}
