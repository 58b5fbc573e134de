//! crc32c, the checksum of all ext4 metadata: by the CPU's instruction, or by tables, eight bytes a step.
//!
//! The seed is handed on from call to call and never inverted at the end: that is how ext4 chains them.

/// Tables for eight bytes at once ("slicing by eight"), for the reflected Castagnoli polynomial.
static TABLES: [[u32; 256]; 8] = tables();

const POLYNOMIAL: u32 = 0x82f6_3b78;

const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        t[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let prev = t[k - 1][i];
            t[k][i] = (prev >> 8) ^ t[0][(prev & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    t
}

/// Continues the checksum `crc` over `bytes`. A chain starts with `!0`.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    base::crc32c(crc, bytes).unwrap_or_else(|| by_tables(crc, bytes))
}

fn by_tables(mut crc: u32, bytes: &[u8]) -> u32 {
    let byte = |word: u32, shift: u32| ((word >> shift) & 0xff) as usize;
    let (words, tail) = bytes.as_chunks::<8>();
    for w in words {
        let lo = crc ^ u32::from_le_bytes([w[0], w[1], w[2], w[3]]);
        let hi = u32::from_le_bytes([w[4], w[5], w[6], w[7]]);
        crc = TABLES[7][byte(lo, 0)]
            ^ TABLES[6][byte(lo, 8)]
            ^ TABLES[5][byte(lo, 16)]
            ^ TABLES[4][byte(lo, 24)]
            ^ TABLES[3][byte(hi, 0)]
            ^ TABLES[2][byte(hi, 8)]
            ^ TABLES[1][byte(hi, 16)]
            ^ TABLES[0][byte(hi, 24)];
    }
    for &b in tail {
        crc = (crc >> 8) ^ TABLES[0][byte(crc ^ u32::from(b), 0)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::{by_tables, crc32c};

    #[test]
    fn check_value_of_the_standard() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(!by_tables(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_chain_equals_one_run_whoever_computes_it() {
        let data: [u8; 100] = core::array::from_fn(|i| (i * 7) as u8);
        for cut in 0..data.len() {
            assert_eq!(crc32c(by_tables(!0, &data[..cut]), &data[cut..]), by_tables(!0, &data));
        }
    }
}
