//! Bit runs in a block of bits, least significant bit of byte 0 first.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// The first bit equal to `value` at or after `from` and before `end`; `None` if there is none. Bits past the slice count as set.
pub fn find(bits: &[u8], value: bool, from: u32, end: u32) -> Option<u32> {
    let mut at = from;
    while at < end {
        let (word, valid) = word_at(bits, at);
        let hits = if value { word } else { !word };
        let skip = hits.trailing_zeros();
        if skip < valid {
            let bit = at.saturating_add(skip);
            return (bit < end).then_some(bit);
        }
        at = at.saturating_add(valid);
    }
    None
}

/// Up to 64 bits from bit `at` on in the low end of the word, and how many of them are valid (at least 1).
fn word_at(bits: &[u8], at: u32) -> (u64, u32) {
    let byte = (at / 64).saturating_mul(8) as usize;
    let shift = at % 64;
    let mut raw = [0xffu8; 8];
    let tail = bits.get(byte..).unwrap_or_default();
    let have = tail.len().min(8);
    if let (Some(dst), Some(src)) = (raw.get_mut(..have), tail.get(..have)) {
        dst.copy_from_slice(src);
    }
    (u64::from_le_bytes(raw) >> shift, 64u32.saturating_sub(shift))
}

/// The run of clear bits that begins at or after `from`: its first bit and length, the latter cut at `max` and at `end`.
pub fn clear_run(bits: &[u8], from: u32, end: u32, max: u32) -> Option<(u32, u32)> {
    let start = find(bits, false, from, end)?;
    let stop = end.min(start.saturating_add(max));
    let last = find(bits, true, start, stop).unwrap_or(stop);
    Some((start, last.saturating_sub(start)))
}

/// Whether all bits of the run are `value`. Bits past the slice count as set.
pub fn all(bits: &[u8], value: bool, start: u32, len: u32) -> bool {
    find(bits, !value, start, start.saturating_add(len)).is_none()
}

/// Sets or clears the run; bits past the slice are left out.
pub fn fill(bits: &mut [u8], value: bool, start: u32, len: u32) {
    let end = start.saturating_add(len);
    let mut at = start;
    while at < end {
        let in_byte = at % 8;
        let count = end.saturating_sub(at).min(8u32.saturating_sub(in_byte));
        let mask = ((1u16 << count).wrapping_sub(1) as u8) << in_byte;
        match bits.get_mut((at / 8) as usize) {
            Some(byte) if value => *byte |= mask,
            Some(byte) => *byte &= !mask,
            None => return,
        }
        at = at.saturating_add(count);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_fills_like_a_naive_loop() {
        let mut bits = [0u8; 40];
        let mut plain = [false; 320];
        let mut seed = 7u32;
        for round in 0..2000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (start, len) = (seed >> 8 & 255, (seed >> 20) % 65);
            let value = round % 3 != 0;
            fill(&mut bits, value, start, len);
            plain.iter_mut().skip(start as usize).take(len as usize).for_each(|b| *b = value);
            let want = (start..320).find(|&i| !plain[i as usize]);
            assert_eq!(find(&bits, false, start, 320), want);
            if let Some(first) = want {
                let stop = (first..(first + 50).min(320)).find(|&i| plain[i as usize]).unwrap_or((first + 50).min(320));
                assert_eq!(clear_run(&bits, start, 320, 50), Some((first, stop - first)));
            }
            assert!(all(&bits, value, start, len));
        }
    }

    #[test]
    fn past_the_end_counts_as_set() {
        let bits = [0u8; 2];
        assert_eq!(find(&bits, true, 0, 100), Some(16));
        assert_eq!(clear_run(&bits, 3, 100, 100), Some((3, 13)));
    }
}
