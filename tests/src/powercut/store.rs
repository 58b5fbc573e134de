//! The bytes of a disk: an image that many share, and what was changed since.
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Bytes that are changed together.
pub const CHUNK: usize = 1024;

/// An image with changes. A clone is cheap: chunks are shared until they are written.
#[derive(Clone)]
pub struct Store {
    base: Arc<Vec<u8>>,
    changed: BTreeMap<usize, Arc<Vec<u8>>>,
}

impl Store {
    /// An unchanged image. Its length is a multiple of [`CHUNK`].
    pub fn new(base: Arc<Vec<u8>>) -> Store {
        Store { base, changed: BTreeMap::new() }
    }

    /// Bytes of the disk.
    pub fn len(&self) -> usize {
        self.base.len()
    }

    /// Whether the disk has no bytes.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty()
    }

    /// Reads from byte `at` on.
    pub fn read(&self, at: usize, out: &mut [u8]) {
        for (chunk, from, part) in parts(at, out.len()) {
            let bytes = match self.changed.get(&chunk) {
                Some(bytes) => &bytes[from..from + part.len()],
                None => &self.base[chunk * CHUNK + from..][..part.len()],
            };
            out[part].copy_from_slice(bytes);
        }
    }

    /// Writes from byte `at` on.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        for (chunk, from, part) in parts(at, bytes.len()) {
            let base = &self.base;
            let own = self.changed.entry(chunk).or_insert_with(|| Arc::new(base[chunk * CHUNK..][..CHUNK].to_vec()));
            Arc::make_mut(own)[from..from + part.len()].copy_from_slice(&bytes[part]);
        }
    }

    /// The changed chunks: number and bytes.
    pub fn changes(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.changed.iter().map(|(chunk, bytes)| (*chunk, bytes.as_slice()))
    }

    /// The unchanged image.
    pub fn base(&self) -> &Arc<Vec<u8>> {
        &self.base
    }

    /// A number that two stores of one image share only if their bytes are the same, as far as hashes go.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (chunk, bytes) in self.changes() {
            if bytes != &self.base[chunk * CHUNK..][..CHUNK] {
                (chunk, bytes).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// The whole image.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = self.base.to_vec();
        self.changes().for_each(|(chunk, own)| bytes[chunk * CHUNK..][..CHUNK].copy_from_slice(own));
        bytes
    }
}

/// The chunks of a range: number, first byte in the chunk, and which bytes of the range.
fn parts(at: usize, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (chunk, from) = ((at + done) / CHUNK, (at + done) % CHUNK);
        let part = done..len.min(done + CHUNK - from);
        done = part.end;
        (!part.is_empty()).then_some((chunk, from, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_across_chunks_is_read_back_and_shared_with_no_clone() {
        let mut store = Store::new(Arc::new(vec![7; 4 * CHUNK]));
        let before = store.clone();
        store.write(CHUNK - 3, &[1, 2, 3, 4, 5]);
        let mut bytes = [0; 7];
        store.read(CHUNK - 4, &mut bytes);
        assert_eq!(bytes, [7, 1, 2, 3, 4, 5, 7]);
        before.read(CHUNK - 4, &mut bytes);
        assert_eq!(bytes, [7; 7]);
        assert_eq!(store.to_vec()[CHUNK], 4);
        assert_ne!(store.fingerprint(), before.fingerprint());
    }
}
