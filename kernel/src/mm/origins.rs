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

/// Some pages of one chunk.
#[derive(Default)]
pub(super) struct Run {
    /// The chunk's first address.
    start: u64,
    pages: u64,
}

impl Run {
    /// Adds the page at `va`. If it lies in another chunk the run begins anew with it, and what it was so far is given back.
    pub fn add(&mut self, va: u64) -> Option<Run> {
        let elsewhere = self.start != floor(va) && self.pages != 0;
        let before = elsewhere.then(|| core::mem::take(self));
        self.start = floor(va);
        self.pages |= 1 << slot(va);
        before
    }
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
        self.len += usize::from(self.chunk(va).insert(slot(va), origin));
    }

    /// Notes a run of pages of one origin, in the place of what was there.
    pub fn insert_run(&mut self, run: &Run, origin: Origin) {
        if run.pages != 0 {
            let chunk = self.chunk(run.start);
            let new = slots(run.pages).filter(|&slot| chunk.insert(slot, origin)).count();
            self.len += new;
        }
    }

    /// The chunk of `va`, which is about to have a page.
    fn chunk(&mut self, va: u64) -> &mut Chunk {
        let new = || Chunk { present: 0, words: Box::new([Word(0); PAGES]) };
        self.chunks.entry(floor(va)).or_insert_with(new)
    }

    /// Takes the page at `va` out, if there is one.
    pub fn remove(&mut self, va: u64) {
        self.remove_run(&Run { start: floor(va), pages: 1 << slot(va) });
    }

    /// Takes the pages at `vas` out, those of them that there are. Neighbours cost next to nothing.
    pub fn remove_all(&mut self, vas: impl Iterator<Item = u64>) {
        let mut run = Run::default();
        for va in vas {
            if let Some(before) = run.add(va) {
                self.remove_run(&before);
            }
        }
        self.remove_run(&run);
    }

    fn remove_run(&mut self, run: &Run) {
        let Some(chunk) = self.chunks.get_mut(&run.start) else { return };
        self.len -= (chunk.present & run.pages).count_ones() as usize;
        chunk.present &= !run.pages;
        if chunk.present == 0 {
            self.chunks.remove(&run.start);
        }
    }

    /// The pages of `range` in order of address.
    pub fn range(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Origin)> {
        let chunks = self.chunks.range(floor(range.start)..range.end.max(floor(range.start)));
        chunks.flat_map(move |(&start, chunk)| {
            slots(chunk.present & mask(start, &range))
                .map(move |slot| (start + slot as u64 * PAGE, chunk.words[slot].into()))
        })
    }
}

impl Chunk {
    /// Says whether nothing was there.
    fn insert(&mut self, slot: usize, origin: Origin) -> bool {
        let before = self.present;
        self.present |= 1 << slot;
        self.words[slot] = origin.into();
        self.present != before
    }
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

/// The slots whose bits are set, ascending.
fn slots(mut pages: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let slot = pages.trailing_zeros() as usize;
        pages &= pages.wrapping_sub(1);
        (slot < PAGES).then_some(slot)
    })
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
                0 => {
                    map.insert(va, origin);
                    model.insert(va, origin);
                }
                1 => {
                    let mut run = Run::default();
                    for va in (va..).step_by(PAGE as usize).take(next(100) as usize) {
                        if let Some(run) = run.add(va) {
                            map.insert_run(&run, origin);
                        }
                        model.insert(va, origin);
                    }
                    map.insert_run(&run, origin);
                }
                2 => {
                    map.remove(va);
                    model.remove(&va);
                }
                3 => {
                    let vas = || (va..).step_by(2 * PAGE as usize).take(90);
                    map.remove_all(vas());
                    vas().for_each(|va| _ = model.remove(&va));
                }
                _ => {
                    let (from, to) = (va + next(2), va + next(150 * PAGE));
                    let seen: Vec<_> = map.range(from..to).collect();
                    let all =
                        if from < to { model.range(from..to).map(|(&va, &o)| (va, o)).collect() } else { Vec::new() };
                    assert_eq!(seen, all, "{from:#x}..{to:#x}");
                }
            }
            assert_eq!((map.len(), map.get(va)), (model.len(), model.get(&va).copied()));
        }
        assert_eq!(map.range(0..u64::MAX).count(), model.len());
        model.keys().for_each(|va| map.remove(*va));
        assert!(map.len() == 0 && map.chunks.is_empty() && map.range(0..u64::MAX).next().is_none());
    }
}
