//! Raw return addresses, for a panic. The runner resolves them from the ELF.
use super::{image, stack, uaccess};

/// So many words of a stack without known bounds are looked at.
const MAX_WORDS: usize = 4096;

/// Calls `emit` with each word on the stack, from the caller's frame up, that points into the kernel's text after a
/// call. A scan needs no frame pointers; it may show a stale address between the true ones. Any context; doesn't fault.
pub fn scan(emit: impl FnMut(u64)) {
    scan_from(&raw const emit as u64, emit);
}

/// As [`scan`], from the address `here` on a stack of the kernel.
pub(super) fn scan_from(here: u64, mut emit: impl FnMut(u64)) {
    let top = stack::top_of(here).unwrap_or(here + (MAX_WORDS * 8) as u64);
    let text = image::text();
    for at in (here & !7..top).step_by(8) {
        let Some(word) = uaccess::probe(at) else { break };
        if text.contains(&word) && follows_call(word) {
            emit(word);
        }
    }
}

/// True if the bytes before `address` look like a call: `e8 rel32`, or `ff /2` with its usual lengths.
fn follows_call(address: u64) -> bool {
    let Some(before) = uaccess::probe(address - 8).map(u64::to_le_bytes) else { return false };
    let indirect = |at: usize| before[at] == 0xff && (before[at + 1] >> 3) & 7 == 2;
    before[3] == 0xe8 || [6, 5, 4, 2, 1].into_iter().any(indirect)
}
