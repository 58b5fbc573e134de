//! The serial console as a program's standard input and output.
//!
//! Input comes by the port's interrupt. Two characters mean something: Enter's carriage return becomes a line feed, and control-D
//! ends a read as the end of a file does. Nothing is echoed and there is no line editing.
use crate::files::Console;
use base::Result;
use base::sync::{Arc, PollQueue};
use drivers::serial::Serial;
use hal::bare::console;
use log::warn;

/// Control-D.
const END_OF_INPUT: u8 = 4;
/// Bytes that go to the port in one piece.
const CHUNK: usize = 256;

/// The first serial port. Without an interrupt for it there is output only, and a reader finds the end of its input.
pub struct SerialConsole(Option<Arc<Serial>>);

impl SerialConsole {
    /// Takes the port over for input. Once, in a task.
    pub fn start() -> Arc<SerialConsole> {
        let port = Serial::start().inspect_err(|error| warn!("serial: no input: {error}"));
        Arc::new(SerialConsole(port.ok()))
    }
}

impl Console for SerialConsole {
    /// Line ends become what a terminal wants. A piece is written under one hold of the port's lock, so that log lines come before or
    /// after it, not inside.
    fn write(&self, bytes: &[u8]) {
        for piece in bytes.chunks(CHUNK) {
            let mut text = [0; 2 * CHUNK];
            let mut len = 0;
            for &byte in piece {
                if byte == b'\n' {
                    text[len] = b'\r';
                    len += 1;
                }
                text[len] = byte;
                len += 1;
            }
            console::write_bytes(&text[..len]);
        }
    }

    fn read(&self, dst: &mut [u8]) -> Result<usize> {
        let Some(port) = &self.0 else { return Ok(0) };
        if dst.is_empty() {
            return Ok(0);
        }
        loop {
            port.arrived.wait_interruptible(|| port.readable())?;
            // Another reader may have been quicker.
            let n = port.try_read(dst);
            if n > 0 {
                return Ok(translate(&mut dst[..n]));
            }
        }
    }

    fn readable(&self) -> bool {
        self.0.as_ref().is_none_or(|port| port.readable())
    }

    fn poll_queue(&self) -> Option<&PollQueue> {
        self.0.as_ref().map(|port| &port.arrived)
    }
}

/// Turns carriage returns into line feeds, and cuts at control-D: how many bytes are left.
fn translate(bytes: &mut [u8]) -> usize {
    let end = bytes.iter().position(|&byte| byte == END_OF_INPUT).unwrap_or(bytes.len());
    bytes.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
    end
}
