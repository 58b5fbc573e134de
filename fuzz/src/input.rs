//! What the bytes of an input mean.

/// One change of an image: the place is a number of the block among those that may be patched, and an offset in it.
pub struct Patch<'a> {
    pub place: usize,
    pub offset: usize,
    pub bytes: &'a [u8],
}

/// An input: a byte of choices, then patches.
pub struct Input<'a> {
    pub choices: u8,
    rest: &'a [u8],
}

/// Patches of one input at most.
const MOST_PATCHES: usize = 64;

impl<'a> Input<'a> {
    /// Never fails: every sequence of bytes means something, so that mutations are not wasted.
    pub fn parse(data: &'a [u8]) -> Input<'a> {
        match data.split_first() {
            Some((&choices, rest)) => Input { choices, rest },
            None => Input { choices: 0, rest: &[] },
        }
    }

    /// The patches: place and offset as little-endian words, the length as a byte, then the bytes.
    pub fn patches(&self) -> impl Iterator<Item = Patch<'a>> {
        let mut rest = self.rest;
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<5>()?;
            let len = (usize::from(head[4]) % 16 + 1).min(tail.len());
            let (bytes, tail) = tail.split_at(len);
            rest = tail;
            let word = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
            Some(Patch { place: word(0), offset: word(2), bytes })
        })
        .take(MOST_PATCHES)
    }
}

/// Inputs for the tests that have no fuzzer: a seed gives the same ones each time.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % n.max(1) as u64) as usize
    }
    /// An input with one to six patches, most of them one field wide.
    pub fn input(&mut self) -> Vec<u8> {
        let mut data = vec![self.below(256) as u8];
        for _ in 0..1 + self.below(6) {
            // Structures begin at the start of a block, and at multiples of the size of an inode or a descriptor.
            let offset = [self.below(64), self.below(64) * 32 + self.below(32), self.below(1024)][self.below(3)];
            let width = [1, 2, 2, 4, 4, 8][self.below(6)];
            data.extend_from_slice(&(self.below(65536) as u16).to_le_bytes());
            data.extend_from_slice(&(offset as u16).to_le_bytes());
            data.push(width as u8 - 1);
            let value = [0, 1, self.below(16) as u64, self.below(2000) as u64, u64::MAX, self.0, 0x8000][self.below(7)];
            data.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        data
    }
    /// A variation of an input of the corpus.
    pub fn mutate(&mut self, mut data: Vec<u8>) -> Vec<u8> {
        for _ in 0..1 + self.below(4) {
            let at = self.below(data.len());
            match (self.below(3), data.get_mut(at)) {
                (0, Some(byte)) => *byte ^= 1 << self.below(8),
                (1, Some(byte)) => *byte = self.below(256) as u8,
                _ => data.extend_from_slice(&self.input()[1..]),
            }
        }
        data
    }
}
