//! Random bytes.

/// Fills `buf` with random bytes. Task context.
pub fn fill(buf: &mut [u8]) {
    buf.fill(0);
}
