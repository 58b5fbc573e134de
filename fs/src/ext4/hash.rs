//! The hashes of directory names: legacy, half MD4 and TEA, each with `char` taken as signed or unsigned.
//!
//! The result is 32 bits with bit 0 clear: in an index that bit says that names with the hash of an entry may also stand in
//! the block before.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use base::{Errno, Result};

/// Values of `s_def_hash_version` and of the index root.
const LEGACY: u8 = 0;
const HALF_MD4: u8 = 1;
const TEA: u8 = 2;
/// What is added to a version for unsigned characters.
const UNSIGNED: u8 = 3;
/// The hash that marks the end of a directory for readers; no name has it.
const END_MARK: u32 = 0xffff_fffe;
/// The start of MD4 where the superblock has no seed.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// How the names of one directory are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameHash {
    version: u8,
    unsigned: bool,
    seed: [u32; 4],
}

impl NameHash {
    /// From a version of the disk, `unsigned` of the superblock (for the versions 0 to 2) and the superblock's seed.
    /// Errors: `EUCLEAN` for an unknown version.
    pub fn new(version: u8, unsigned: bool, seed: [u32; 4]) -> Result<NameHash> {
        let seed = if seed == [0; 4] { DEFAULT_SEED } else { seed };
        match version {
            LEGACY..=TEA => Ok(NameHash { version, unsigned, seed }),
            3..=5 => Ok(NameHash { version: version.saturating_sub(UNSIGNED), unsigned: true, seed }),
            _ => Err(Errno::EUCLEAN),
        }
    }

    /// The hash of a name, bit 0 clear.
    pub fn of(&self, name: &[u8]) -> u32 {
        let hash = match self.version {
            LEGACY => self.legacy(name),
            HALF_MD4 => self.half_md4(name),
            _ => self.tea(name),
        } & !1;
        if hash == END_MARK { END_MARK - 2 } else { hash }
    }

    fn widen(&self, c: u8) -> u32 {
        if self.unsigned { u32::from(c) } else { i32::from(c.cast_signed()).cast_unsigned() }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for &c in name {
            let mut next = before.wrapping_add(last ^ self.widen(c).wrapping_mul(7_152_373));
            if next & 0x8000_0000 != 0 {
                next = next.wrapping_sub(0x7fff_ffff);
            }
            (before, last) = (last, next);
        }
        last << 1
    }

    fn half_md4(&self, name: &[u8]) -> u32 {
        let mut state = self.seed;
        let mut rest = name;
        while !rest.is_empty() {
            half_md4_round(&mut state, &self.words::<8>(rest));
            rest = rest.get(32..).unwrap_or_default();
        }
        state[1]
    }

    fn tea(&self, name: &[u8]) -> u32 {
        let mut state = self.seed;
        let mut rest = name;
        while !rest.is_empty() {
            tea_round(&mut state, &self.words::<4>(rest));
            rest = rest.get(16..).unwrap_or_default();
        }
        state[0]
    }

    /// The first `4 * N` bytes of what is left of a name as big-endian words; what is missing is filled with its length.
    fn words<const N: usize>(&self, rest: &[u8]) -> [u32; N] {
        let fill = (rest.len() as u32 & 0xff).wrapping_mul(0x0101_0101);
        let mut words = [fill; N];
        for (word, chunk) in words.iter_mut().zip(rest.chunks(4)) {
            *word = chunk.iter().fold(fill, |word, &c| (word << 8).wrapping_add(self.widen(c)));
        }
        words
    }
}

/// Three rounds of eight steps: MD4 cut in half.
fn half_md4_round(state: &mut [u32; 4], input: &[u32; 8]) {
    const K2: u32 = 0x5a82_7999;
    const K3: u32 = 0x6ed9_eba1;
    let choose = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let majority = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let [mut a, mut b, mut c, mut d] = *state;
    let mut step = |f: &dyn Fn(u32, u32, u32) -> u32, word: u32, shift: u32| {
        let next = a.wrapping_add(f(b, c, d)).wrapping_add(word).rotate_left(shift);
        (a, b, c, d) = (d, next, b, c);
    };
    let i = input;
    for (word, shift) in i.iter().zip([3, 7, 11, 19].into_iter().cycle()) {
        step(&choose, *word, shift);
    }
    let second = [i[1], i[3], i[5], i[7], i[0], i[2], i[4], i[6]];
    for (word, shift) in second.into_iter().zip([3, 5, 9, 13].into_iter().cycle()) {
        step(&majority, word.wrapping_add(K2), shift);
    }
    let third = [i[3], i[7], i[2], i[6], i[1], i[5], i[0], i[4]];
    for (word, shift) in third.into_iter().zip([3, 9, 11, 15].into_iter().cycle()) {
        step(&parity, word.wrapping_add(K3), shift);
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d]) {
        *sum = sum.wrapping_add(word);
    }
}

/// Sixteen rounds of the Tiny Encryption Algorithm, with the name as its key.
fn tea_round(state: &mut [u32; 4], key: &[u32; 4]) {
    let [k0, k1, k2, k3] = *key;
    let [mut x, mut y, _, _] = *state;
    let mut sum = 0u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        x = x.wrapping_add((y << 4).wrapping_add(k0) ^ y.wrapping_add(sum) ^ (y >> 5).wrapping_add(k1));
        y = y.wrapping_add((x << 4).wrapping_add(k2) ^ x.wrapping_add(sum) ^ (x >> 5).wrapping_add(k3));
    }
    state[0] = state[0].wrapping_add(x);
    state[1] = state[1].wrapping_add(y);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `debugfs -R "dx_hash -h ALGORITHM -s SEED NAME"` says.
    #[test]
    fn hashes_are_those_of_debugfs() {
        let seed = [0x0403_0201, 0x0605_0807, 0x0a09_0807, 0x100f_0e0d];
        let seed = [seed[0], 0x0807_0605, 0x0c0b_0a09, seed[3]];
        let long = "a_rather_long_name_that_has_more_than_thirty_two_bytes_in_it";
        let cases = [
            (".", [0x71d7_3e48, 0xf385_5c2e, 0x54eb_197a]),
            ("a", [0xe74b_53e2, 0x8d08_ec4c, 0xf535_28f0]),
            ("hello", [0x3225_2546, 0xe2dd_f968, 0x1a56_92b6]),
            ("file00001", [0x88eb_32d6, 0xb020_c920, 0x5c2c_838e]),
            (long, [0xf033_d5ac, 0xe3c9_6f9a, 0x4dcb_5db0]),
            ("naïve-ümläut-Ω", [0x5bd4_0a60, 0x3974_1014, 0x1b8b_b1da]),
        ];
        for (name, hashes) in cases {
            for (version, hash) in (0u8..).zip(hashes) {
                let hashing = NameHash::new(version, false, seed).unwrap();
                assert_eq!(hashing.of(name.as_bytes()), hash, "{name} with version {version}");
            }
        }
    }
}
