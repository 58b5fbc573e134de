//! The kick and interrupt handshakes under every interleaving of the C11 memory model (R40's argument, at the ring).
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p drivers --test loom_kick`
#![cfg(loom)]

use drivers::virtio::queue::{Kick, KickGate, SharedWords, UsedCursor};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU16, Ordering, fence};
use loom::thread;

/// The shared words of a ring, and the two bells.
struct Words {
    avail_idx: AtomicU16,
    avail_event: AtomicU16,
    used_flags: AtomicU16,
    used_idx: AtomicU16,
    used_event: AtomicU16,
    /// What a request says, written before its index is published.
    request: AtomicU16,
    doorbell: AtomicBool,
    interrupt: AtomicBool,
}

/// An event index long past: its owner is awake, and wants no bell until it says that it sleeps.
const AWAKE: u16 = 0u16.wrapping_sub(100);

impl Words {
    /// An empty ring whose two sides are awake. A bell that is rung at all is therefore one that was needed.
    fn new() -> Arc<Words> {
        Arc::new(Words {
            avail_idx: AtomicU16::new(0),
            avail_event: AtomicU16::new(AWAKE),
            used_flags: AtomicU16::new(1),
            used_idx: AtomicU16::new(0),
            used_event: AtomicU16::new(AWAKE),
            request: AtomicU16::new(0),
            doorbell: AtomicBool::new(false),
            interrupt: AtomicBool::new(false),
        })
    }
}

impl SharedWords for Words {
    fn store_avail_idx(&self, index: u16) {
        self.avail_idx.store(index, Ordering::Release);
    }
    fn load_avail_event(&self) -> u16 {
        self.avail_event.load(Ordering::Relaxed)
    }
    fn kick_unwanted(&self) -> bool {
        self.used_flags.load(Ordering::Relaxed) & 1 != 0
    }
    fn load_used_idx(&self) -> u16 {
        self.used_idx.load(Ordering::Acquire)
    }
    fn store_used_event(&self, index: u16) {
        self.used_event.store(index, Ordering::Relaxed);
    }
}

/// The same words with the sides exchanged: the device publishes used entries and asks whether the driver sleeps, by the
/// same protocol.
struct DeviceSide(Arc<Words>);

impl SharedWords for DeviceSide {
    fn store_avail_idx(&self, index: u16) {
        self.0.used_idx.store(index, Ordering::Release);
    }
    fn load_avail_event(&self) -> u16 {
        self.0.used_event.load(Ordering::Relaxed)
    }
    fn kick_unwanted(&self) -> bool {
        false
    }
    fn load_used_idx(&self) -> u16 {
        self.0.avail_idx.load(Ordering::Acquire)
    }
    fn store_used_event(&self, index: u16) {
        self.0.avail_event.store(index, Ordering::Relaxed);
    }
}

/// A device that has fetched nothing yet: fetches until it finds nothing new after it declared that it sleeps; how many.
fn device_sleeps(words: &Words, event_idx: bool) -> u16 {
    let mut seen = 0u16;
    loop {
        while words.avail_idx.load(Ordering::Acquire) != seen {
            seen += 1;
            assert!(words.request.load(Ordering::Relaxed) >= seen, "an index before its request");
        }
        if event_idx {
            words.avail_event.store(seen, Ordering::Relaxed);
        } else {
            words.used_flags.store(0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        if words.avail_idx.load(Ordering::Relaxed) == seen {
            return seen;
        }
    }
}

fn no_lost_kick(event_idx: bool, requests: u16) {
    loom::model(move || {
        let words = Words::new();
        let device = {
            let words = words.clone();
            thread::spawn(move || device_sleeps(&words, event_idx))
        };
        let mut gate = KickGate::new(event_idx);
        for n in 1..=requests {
            words.request.store(n, Ordering::Relaxed);
            gate.publish(&*words);
            if gate.kick(&*words) == Kick::Notify {
                words.doorbell.store(true, Ordering::Relaxed);
            }
        }
        let seen = device.join().unwrap();
        let woken = words.doorbell.load(Ordering::Relaxed);
        // One bell may have rung for an earlier request than the one it misses; the loop of two covers the bell that comes
        // between, the one of one the bell that must come.
        assert!(seen == requests || woken, "the device sleeps on request {seen} of {requests} and nobody kicked it");
    });
}

#[test]
fn r40_no_kick_is_lost_with_event_index() {
    no_lost_kick(true, 1);
    no_lost_kick(true, 2);
}

#[test]
fn r40_no_kick_is_lost_with_the_flag() {
    no_lost_kick(false, 1);
    no_lost_kick(false, 2);
}

/// The device returns requests while the driver drains and arms: whatever the driver does not see, an interrupt announces.
#[test]
fn r40_no_interrupt_is_lost() {
    loom::model(|| {
        let words = Words::new();
        let device = {
            let words = words.clone();
            thread::spawn(move || {
                let side = DeviceSide(words.clone());
                let mut gate = KickGate::new(true);
                for _ in 0..2 {
                    gate.publish(&side);
                    if gate.kick(&side) == Kick::Notify {
                        words.interrupt.store(true, Ordering::Relaxed);
                    }
                }
            })
        };
        let mut cursor = UsedCursor::new(true);
        loop {
            let pending = cursor.pending(&*words, 2).expect("two are in flight");
            for _ in 0..pending {
                cursor.advance();
            }
            if pending == 0 && cursor.arm(&*words) {
                break;
            }
        }
        device.join().unwrap();
        let announced = words.interrupt.load(Ordering::Relaxed);
        assert!(cursor.seen() == 2 || announced, "the driver waits at {} and no interrupt comes", cursor.seen());
    });
}
