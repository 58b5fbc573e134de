//! Random bytes for programs.

/// Fills `buf` from the CPU's generator.
#[cfg(target_os = "none")]
pub fn fill(buf: &mut [u8]) {
    hal::bare::random::fill(buf);
}

/// On the host tests want the same bytes each time: a counter, mixed (splitmix64).
#[cfg(not(target_os = "none"))]
pub fn fill(buf: &mut [u8]) {
    use core::sync::atomic::{AtomicU64, Ordering};
    static STATE: AtomicU64 = AtomicU64::new(0);
    for chunk in buf.chunks_mut(8) {
        let mut z = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.iter_mut().zip((z ^ z >> 31).to_le_bytes()).for_each(|(to, from)| *to = from);
    }
}
