//! Eviction by the clock: every folio stands on a dial, the hand passes, and who was not touched since it last passed goes.
use super::Folio;
use super::state::REFERENCED;
use alloc::vec::Vec;
use base::stats::{self, Counter};
use base::sync::{Arc, SpinLock};

/// The dial. A removed folio leaves its place free for a new one, so that adding and removing cost the same however many there are.
pub(super) struct Clock {
    places: Vec<Option<Arc<Folio>>>,
    free: Vec<u32>,
    hand: usize,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { places: Vec::new(), free: Vec::new(), hand: 0 }
    }
    /// Folios on the dial.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
    /// Puts a folio on the dial; `None` when memory is short.
    pub(super) fn add(&mut self, folio: Arc<Folio>) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.places[slot as usize] = Some(folio);
            return Some(slot);
        }
        self.places.try_reserve(1).ok()?;
        // Room for every place to become free, so that removal never allocates.
        self.free.try_reserve(self.places.len() + 1).ok()?;
        self.places.push(Some(folio));
        u32::try_from(self.places.len() - 1).ok()
    }
    /// Takes the folio at `slot` off the dial; the caller drops it without the lock.
    pub(super) fn take(&mut self, slot: u32) -> Option<Arc<Folio>> {
        let folio = self.places.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(folio)
    }
    /// The next folio under the hand that may go, or `None` after a step that found none.
    fn step(&mut self) -> Option<Arc<Folio>> {
        self.hand = if self.hand + 1 < self.places.len() { self.hand + 1 } else { 0 };
        let folio = self.places.get(self.hand)?.as_ref()?;
        let state = folio.state();
        if state.dirty() || state.writeback() || state.locked() {
            return None;
        }
        // A second chance for what was touched since the hand last came by.
        if folio.clear(REFERENCED).0 & REFERENCED != 0 {
            return None;
        }
        Some(folio.clone())
    }
}

/// Evicts up to `want` folios; looks at each at most twice. The removal itself runs without the clock's lock.
pub(super) fn evict(clock: &SpinLock<Clock>, want: usize) -> usize {
    let mut steps = 2 * clock.lock().places.len();
    let mut evicted = 0;
    while evicted < want && steps > 0 {
        let candidate = next_candidate(clock, &mut steps);
        let Some(folio) = candidate else { break };
        if let Some(mapping) = folio.mapping.upgrade()
            && mapping.remove_if_clean(folio)
        {
            stats::count(Counter::Evictions);
            evicted += 1;
        }
    }
    evicted
}

fn next_candidate(clock: &SpinLock<Clock>, steps: &mut usize) -> Option<Arc<Folio>> {
    let mut clock = clock.lock();
    while *steps > 0 {
        *steps -= 1;
        if let Some(folio) = clock.step() {
            return Some(folio);
        }
    }
    None
}
