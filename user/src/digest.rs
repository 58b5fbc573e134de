//! A quick digest of a file's bytes: the guest computes it through its page cache, the host from the disk image.

/// The digest of everything given to it so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0x9e37_79b9_7f4a_7c15)
    }
}

impl Digest {
    /// Takes `bytes`, whose length is a multiple of 8 but for the last piece.
    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            let mixed = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x2127_599b_f432_5c37);
            self.0 = mixed.rotate_left(29);
        }
    }
    /// The value.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn pieces_and_order_matter_as_they_should() {
        let digest = |pieces: &[&[u8]]| {
            let mut d = Digest::default();
            pieces.iter().for_each(|p| d.update(p));
            d.value()
        };
        assert_eq!(digest(&[b"01234567", b"89"]), digest(&[b"0123456789"]));
        assert_ne!(digest(&[b"0123456789"]), digest(&[b"0123456798"]));
        assert_ne!(digest(&[&[0; 8]]), digest(&[&[0; 16]]));
    }
}
