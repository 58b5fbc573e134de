//! The serial console as a program's standard input and output.
use crate::files::Console;
use base::Result;
use hal::bare::console;

/// The first serial port.
pub struct SerialConsole;

impl Console for SerialConsole {
    /// Line ends become what a terminal wants.
    fn write(&self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            match line.split_last() {
                Some((b'\n', rest)) => {
                    console::write_bytes(rest);
                    console::write_bytes(b"\r\n");
                }
                _ => console::write_bytes(line),
            }
        }
    }

    /// There is no input: a program that reads finds the end of its input.
    fn read(&self, _dst: &mut [u8]) -> Result<usize> {
        Ok(0)
    }
}
