//! Who must wake whom: notification of the device, and interrupts of the driver.
//!
//! Both directions are the same handshake. One side publishes work and then asks whether the other sleeps; the other
//! declares that it sleeps and then looks for work once more:
//!
//! ```text
//!   producer                                consumer
//!   P1  index := new      (release)         C1  event := seen     ("wake me when the index passes this")
//!   P2  fence(SeqCst)                       C2  fence(SeqCst)
//!   P3  read event, decide to notify        C3  read index; new work? go on; none: sleep
//! ```
//!
//! The fences are the point. On x86 too a store may pass a later load, and then both sides read the old value: the
//! producer sees a consumer that is awake, the consumer sees no work, and the request waits for ever. With them one of
//! two things holds:
//! * P2 comes before C2 in the order of fences: C3 sees the new index, the consumer does not sleep;
//! * C2 comes before P2: P3 sees the new event, and the producer notifies.
//!
//! `tests/loom_kick.rs` checks these very functions under every interleaving of the C11 memory model.
//!
//! The two races with a new entry, by name:
//! * *entry during the drain*: a request that completes while the interrupt handler drains is either seen by the drain
//!   or lies behind [`UsedCursor::arm`], whose last look finds it. It may also have raised an interrupt already; that one
//!   then finds an empty ring, which is harmless.
//! * *entry before the kick*: the device may fetch a published request before it is kicked for it (it was still awake for
//!   an older one). The kick is then suppressed or spurious; the request is in both cases complete in memory, because the
//!   index was published last.
use super::index::{need_event, pending};
use base::sync::atomic::{Ordering, fence};

/// The words of a ring that one side writes while the other reads. Implemented by the ring's DMA memory, and by model
/// memory in tests. Each access is atomic; the order is given with each.
pub trait SharedWords {
    /// Publishes the available index. Release.
    fn store_avail_idx(&self, index: u16);
    /// Where the device wants to be notified next (`avail_event`). Relaxed.
    fn load_avail_event(&self) -> u16;
    /// Whether the device asked not to be notified at all (`used.flags`); only without `VIRTIO_F_EVENT_IDX`. Relaxed.
    fn kick_unwanted(&self) -> bool;
    /// The used index. Acquire.
    fn load_used_idx(&self) -> u16;
    /// Where the driver wants its next interrupt (`used_event`). Relaxed.
    fn store_used_event(&self, index: u16);
}

/// What a kick has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a device that is not notified may sleep for ever"]
pub enum Kick {
    /// Nothing was published since the last kick.
    Nothing,
    /// The device is awake and will see the new entries by itself.
    Suppressed,
    /// The doorbell must be written.
    Notify,
}

/// The producer's side of the available ring.
///
/// # Invariants
/// `next` is what the ring's index says; `told` is `next` at the last kick; `next - told` is at most the ring's size.
pub struct KickGate {
    event_idx: bool,
    next: u16,
    told: u16,
}

impl KickGate {
    /// For a fresh ring; `event_idx` says whether `VIRTIO_F_EVENT_IDX` was negotiated.
    pub fn new(event_idx: bool) -> KickGate {
        KickGate { event_idx, next: 0, told: 0 }
    }

    /// The index the next entry gets.
    #[inline]
    pub fn next(&self) -> u16 {
        self.next
    }

    /// Whether something was published since the last kick.
    #[inline]
    pub fn unkicked(&self) -> bool {
        self.next != self.told
    }

    /// Publishes one entry that is complete in memory (P1).
    #[inline]
    pub fn publish(&mut self, words: &impl SharedWords) {
        self.next = self.next.wrapping_add(1);
        words.store_avail_idx(self.next);
    }

    /// Decides whether the device must be notified of all that was published since the last call (P2, P3).
    #[inline]
    pub fn kick(&mut self, words: &impl SharedWords) -> Kick {
        if !self.unkicked() {
            return Kick::Nothing;
        }
        let old = core::mem::replace(&mut self.told, self.next);
        fence(Ordering::SeqCst);
        let wanted =
            if self.event_idx { need_event(words.load_avail_event(), old, self.next) } else { !words.kick_unwanted() };
        if wanted { Kick::Notify } else { Kick::Suppressed }
    }
}

/// The consumer's side of the used ring.
///
/// # Invariants
/// `seen` is how many entries were taken, modulo 65536; it never passes the device's index.
pub struct UsedCursor {
    event_idx: bool,
    seen: u16,
}

impl UsedCursor {
    /// For a fresh ring.
    pub fn new(event_idx: bool) -> UsedCursor {
        UsedCursor { event_idx, seen: 0 }
    }

    /// The index of the next entry to take.
    #[inline]
    pub fn seen(&self) -> u16 {
        self.seen
    }

    /// How many entries can be taken, or `None` if the device claims more than the `in_flight` it has.
    #[inline]
    pub fn pending(&self, words: &impl SharedWords, in_flight: u16) -> Option<u16> {
        pending(words.load_used_idx(), self.seen, in_flight)
    }

    /// One entry was taken.
    #[inline]
    pub fn advance(&mut self) {
        self.seen = self.seen.wrapping_add(1);
    }

    /// Asks for an interrupt at the next entry (C1, C2) and looks once more (C3): true if the ring is still empty and the
    /// driver may wait for the interrupt; false if there is more to drain.
    #[inline]
    #[must_use = "entries that came meanwhile raise no interrupt"]
    pub fn arm(&self, words: &impl SharedWords) -> bool {
        if self.event_idx {
            words.store_used_event(self.seen);
        }
        fence(Ordering::SeqCst);
        words.load_used_idx() == self.seen
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[derive(Default)]
    struct Words {
        avail: Cell<u16>,
        avail_event: Cell<u16>,
        no_kick: Cell<bool>,
        used: Cell<u16>,
        used_event: Cell<u16>,
    }
    impl SharedWords for Words {
        fn store_avail_idx(&self, index: u16) {
            self.avail.set(index);
        }
        fn load_avail_event(&self) -> u16 {
            self.avail_event.get()
        }
        fn kick_unwanted(&self) -> bool {
            self.no_kick.get()
        }
        fn load_used_idx(&self) -> u16 {
            self.used.get()
        }
        fn store_used_event(&self, index: u16) {
            self.used_event.set(index);
        }
    }

    #[test]
    fn one_kick_tells_of_everything_published() {
        let words = Words::default();
        let mut gate = KickGate::new(true);
        assert_eq!(gate.kick(&words), Kick::Nothing);
        for _ in 0..3 {
            gate.publish(&words);
        }
        assert_eq!(words.avail.get(), 3);
        assert_eq!(gate.kick(&words), Kick::Notify);
        assert_eq!(gate.kick(&words), Kick::Nothing);
        // The device has not said that it sleeps again: it is awake.
        gate.publish(&words);
        assert_eq!(gate.kick(&words), Kick::Suppressed);
        words.avail_event.set(4);
        gate.publish(&words);
        assert_eq!(gate.kick(&words), Kick::Notify);
    }

    #[test]
    fn without_event_index_the_flag_decides() {
        let words = Words::default();
        let mut gate = KickGate::new(false);
        words.no_kick.set(true);
        gate.publish(&words);
        assert_eq!(gate.kick(&words), Kick::Suppressed);
        words.no_kick.set(false);
        gate.publish(&words);
        assert_eq!(gate.kick(&words), Kick::Notify);
    }

    #[test]
    fn arming_finds_an_entry_that_came_during_the_drain() {
        let words = Words::default();
        let mut cursor = UsedCursor::new(true);
        words.used.set(1);
        assert!(!cursor.arm(&words));
        cursor.advance();
        assert!(cursor.arm(&words));
        assert_eq!(words.used_event.get(), 1);
    }
}
