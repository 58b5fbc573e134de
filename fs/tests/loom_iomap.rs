//! Models of the shared words of an I/O context, on the real types, exhaustive under weak memory (M1, M2, M4, M10).
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p fs --test loom_iomap`
#![cfg(loom)]
use base::Errno;
use fs::iomap::{CtxRefs, Done, DrainCount, DrainKind, FirstError, RangeLock};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// What the bios of one context touch.
struct Shared {
    refs: CtxRefs,
    error: FirstError,
    finishes: AtomicU32,
    /// Bios that ended; the last one must see all of them.
    ended: AtomicU32,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared {
            refs: CtxRefs::new(),
            error: FirstError::new(),
            finishes: AtomicU32::new(0),
            ended: AtomicU32::new(0),
        })
    }
}

/// M1, R38, CTX-2, CTX-3, CMP-1: submitter and two bio ends in every order; the finish runs once, after both.
#[test]
fn r38_last_drop_exactly_once() {
    loom::model(|| {
        let shared = Shared::new();
        let ends: Vec<_> = (0..2)
            .map(|_| {
                shared.refs.get();
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.ended.fetch_add(1, Ordering::Relaxed);
                    drop_reference(&shared);
                })
            })
            .collect();
        drop_reference(&shared);
        ends.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(shared.finishes.load(Ordering::Relaxed), 1, "the finish ran not once");
    });
}

fn drop_reference(shared: &Shared) {
    if shared.refs.put() {
        shared.finishes.fetch_add(1, Ordering::Relaxed);
        assert_eq!(shared.ended.load(Ordering::Relaxed), 2, "finished before the last bio");
    }
}

/// M1, R41, CTX-5: two bios fail and the submitter too; the outcome is one of the three and does not change.
#[test]
fn r41_first_error_wins() {
    loom::model(|| {
        let shared = Shared::new();
        let ends: Vec<_> = [Errno::EIO, Errno::ENOSPC]
            .into_iter()
            .map(|error| {
                shared.refs.get();
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.error.set(error);
                    let seen = shared.error.get();
                    assert!(seen.is_some(), "an error that was set is gone");
                    let last = shared.refs.put();
                    if last {
                        shared.finishes.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(shared.error.get(), seen, "the outcome changed");
                    }
                })
            })
            .collect();
        shared.error.set(Errno::EFAULT);
        let seen = shared.error.get();
        if shared.refs.put() {
            shared.finishes.fetch_add(1, Ordering::Relaxed);
            assert_eq!(shared.error.get(), seen, "the outcome changed");
        }
        ends.into_iter().for_each(|t| t.join().unwrap());
        let outcome = shared.error.get();
        assert!([Some(Errno::EIO), Some(Errno::ENOSPC), Some(Errno::EFAULT)].contains(&outcome));
        assert_eq!(shared.finishes.load(Ordering::Relaxed), 1);
    });
}

/// M2, R40, CMP-4, CMP-5: the waiter tests, the last dropper signals, in every order; nobody sleeps for ever (loom reports the deadlock).
#[test]
fn r40_waiter_lost_wake() {
    loom::model(|| {
        let done = Arc::new(Done::new());
        let signaller = {
            let done = done.clone();
            thread::spawn(move || done.signal())
        };
        done.wait();
        signaller.join().unwrap();
    });
}

/// M2, R39, CMP-4, CTX-7: the waiter sees the flag before it sleeps and lets go of its reference while the waker still wakes.
#[test]
fn r39_waiter_uaf() {
    loom::model(|| {
        let done = Arc::new(Done::new());
        let signaller = {
            let done = done.clone();
            thread::spawn(move || done.signal())
        };
        done.wait();
        drop(done);
        signaller.join().unwrap();
    });
}

/// M4, R08, LOCK-8: a drainer and two finishers; the drainer returns, and only at zero.
#[test]
fn r08_drain_lost_wake() {
    loom::model(|| {
        let drain = Arc::new(DrainCount::new(1));
        drain.raise(DrainKind::Writethrough);
        drain.raise(DrainKind::Direct);
        let finishers: Vec<_> = [DrainKind::Writethrough, DrainKind::Direct]
            .into_iter()
            .map(|kind| {
                let drain = drain.clone();
                thread::spawn(move || drain.lower(kind))
            })
            .collect();
        drain.drain();
        assert_eq!(drain.count(DrainKind::Writethrough) + drain.count(DrainKind::Direct), 0, "drained above zero");
        finishers.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// M10, R37, LOCK-9: three writers, of whom the middle one overlaps both others. No two that overlap are inside at once, and all of
/// them come to their end.
#[test]
fn r37_range_lock_keeps_overlapping_writers_apart() {
    loom::model(|| {
        let lock = Arc::new(RangeLock::new(1));
        // Who is inside, by the halves that a range touches.
        let inside = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let write = |range: core::ops::Range<u64>, halves: &'static [usize]| {
            let (lock, inside) = (lock.clone(), inside.clone());
            move || {
                let ticket = lock.acquire(range);
                for half in halves {
                    assert_eq!(inside[*half].fetch_add(1, Ordering::Relaxed), 0, "two writers of one half");
                }
                for half in halves {
                    inside[*half].fetch_sub(1, Ordering::Relaxed);
                }
                lock.release(ticket);
            }
        };
        let others = [thread::spawn(write(0..8, &[0])), thread::spawn(write(8..16, &[1]))];
        write(4..12, &[0, 1])();
        others.into_iter().for_each(|t| t.join().unwrap());
    });
}
