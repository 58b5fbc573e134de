//! Whose page each resident page is: a map from addresses of pages to origins.
//!
//! Pages come in runs, so they are kept in chunks of 64: a page costs a bit and a word, and to go on to the next one is no search.
use super::PAGE;
use super::resident::Origin;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Pages of a chunk.
const PAGES: usize = 64;
const CHUNK: u64 = PAGES as u64 * PAGE;

/// An origin in a word: its kind in the low bits, and a number above.
#[derive(Clone, Copy)]
struct Word(u64);

/// The pages of one aligned run of addresses; never none.
struct Chunk {
    /// A bit for each page that is there.
    present: u64,
    words: Box<[Word; PAGES]>,
}

/// The map.
#[derive(Default)]
pub(super) struct Origins {
    /// By the first address.
    chunks: BTreeMap<u64, Chunk>,
    len: usize,
}

impl Origins {
    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whose page is at `va`, if there is one.
    pub fn get(&self, va: u64) -> Option<Origin> {
        self.chunks.get(&floor(va))?.get(slot(va))
    }

    /// Notes the page at `va`, in the place of what was there.
    pub fn insert(&mut self, va: u64, origin: Origin) {
        let new = || Chunk { present: 0, words: Box::new([Word(0); PAGES]) };
        let chunk = self.chunks.entry(floor(va)).or_insert_with(new);
        let bit = 1 << slot(va);
        self.len += usize::from(chunk.present & bit == 0);
        chunk.present |= bit;
        chunk.words[slot(va)] = origin.into();
    }

    /// Takes the page at `va` out.
    pub fn remove(&mut self, va: u64) -> Option<Origin> {
        let chunk = self.chunks.get_mut(&floor(va))?;
        let origin = chunk.get(slot(va))?;
        self.len -= 1;
        chunk.present &= !(1 << slot(va));
        if chunk.present == 0 {
            self.chunks.remove(&floor(va));
        }
        Some(origin)
    }

    /// The pages of `range` in order of address.
    pub fn range(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Origin)> {
        let chunks = self.chunks.range(floor(range.start)..range.end.max(floor(range.start)));
        chunks.flat_map(move |(&start, chunk)| {
            let mut left = chunk.present & mask(start, &range);
            core::iter::from_fn(move || {
                let slot = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                chunk.words.get(slot).map(|&word| (start + slot as u64 * PAGE, word.into()))
            })
        })
    }
}

impl Chunk {
    fn get(&self, slot: usize) -> Option<Origin> {
        (self.present & 1 << slot != 0).then(|| self.words[slot].into())
    }
}

fn floor(va: u64) -> u64 {
    va & !(CHUNK - 1)
}

fn slot(va: u64) -> usize {
    (va % CHUNK / PAGE) as usize
}

/// The pages of the chunk at `start` that lie in `range`: those whose first byte does.
fn mask(start: u64, range: &Range<u64>) -> u64 {
    let first = range.start.saturating_sub(start).div_ceil(PAGE).min(PAGES as u64) as u32;
    let end = range.end.saturating_sub(start).div_ceil(PAGE).min(PAGES as u64) as u32;
    let below = |slot: u32| 1u64.checked_shl(slot).map_or(u64::MAX, |bit| bit - 1);
    below(end) & !below(first)
}

impl From<Origin> for Word {
    fn from(origin: Origin) -> Word {
        Word(match origin {
            Origin::Owned => 0,
            Origin::Forked => 1,
            Origin::Borrowed(area) => area << 2 | 2,
            Origin::Shared(area) => area << 2 | 3,
        })
    }
}

impl From<Word> for Origin {
    fn from(Word(word): Word) -> Origin {
        match (word & 3, word >> 2) {
            (0, _) => Origin::Owned,
            (1, _) => Origin::Forked,
            (2, area) => Origin::Borrowed(area),
            (_, area) => Origin::Shared(area),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// The map does what one of single pages does.
    #[test]
    fn chunks_are_not_seen_from_outside() {
        let (mut map, mut model) = (Origins::default(), BTreeMap::new());
        let mut random = 1u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        for _ in 0..20_000 {
            let va = 0x7fff_0000_0000 + next(300) * PAGE;
            let origin = [Origin::Owned, Origin::Forked, Origin::Borrowed(va), Origin::Shared(7)][next(4) as usize];
            match next(5) {
                0 | 1 => {
                    map.insert(va, origin);
                    model.insert(va, origin);
                }
                2 | 3 => assert_eq!(map.remove(va), model.remove(&va)),
                _ => {
                    let (from, to) = (va + next(2), va + next(150 * PAGE));
                    let seen: Vec<_> = map.range(from..to).collect();
                    let all = if from < to { model.range(from..to).map(|(&va, &o)| (va, o)).collect() } else { Vec::new() };
                    assert_eq!(seen, all, "{from:#x}..{to:#x}");
                }
            }
            assert_eq!((map.len(), map.get(va)), (model.len(), model.get(&va).copied()));
        }
        assert_eq!(map.range(0..u64::MAX).count(), model.len());
        model.keys().for_each(|va| assert!(map.remove(*va).is_some()));
        assert!(map.len() == 0 && map.chunks.is_empty() && map.range(0..u64::MAX).next().is_none());
    }
}
