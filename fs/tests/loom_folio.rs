//! Model M5, the flags of a folio, on the real page cache, all orders under the weak memory of C11.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p fs --test loom_folio`
#![cfg(loom)]
use fs::page_cache::{CacheLimits, Folio, Mapping, PageCache, Tag};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

const PAGE: usize = base::PAGE_SIZE;
const HALF: usize = PAGE / 2;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn mapping() -> std::sync::Arc<Mapping> {
    Mapping::new(1, std::sync::Weak::new(), PageCache::new(CacheLimits::for_pages(16)), 1024)
}

/// The tags say what the flags say (FOL-3), and nothing is left of the writeback.
fn assert_at_rest(mapping: &Mapping, folio: &Folio) {
    let state = folio.state();
    assert!(!state.writeback() && !state.wt() && !state.locked(), "{state:?}");
    assert!(mapping.next_tagged(0..1, Tag::Writeback).is_none(), "a tag without its flag");
    assert_eq!(mapping.next_tagged(0..1, Tag::Dirty).is_some(), state.dirty(), "{state:?}");
    let figures = mapping.cache().figures();
    assert_eq!((figures.writeback, figures.wt, figures.dirty), (0, 0, usize::from(state.dirty())));
}

/// M5, R75, FOL-2, STB-1: a folio under two bios of one write-through, which end on two CPUs, and a store that waits until it is
/// stable. The writeback ends once and with the last of them: who gets by the wait sees that both are over.
#[test]
fn m5_r75_a_store_waits_for_both_halves() {
    explore(|| {
        let mapping = mapping();
        let guard = mapping.find_or_create(0).unwrap();
        guard.begin_writeback(0, HALF, true);
        guard.begin_writeback(HALF, HALF, true);
        let folio = guard.folio().clone();
        drop(guard);
        let in_flight = Arc::new(AtomicU32::new(2));
        let ends: Vec<_> = (0..2)
            .map(|_| {
                let (mapping, folio, in_flight) = (mapping.clone(), folio.clone(), in_flight.clone());
                thread::spawn(move || {
                    in_flight.fetch_sub(1, Ordering::Relaxed);
                    mapping.end_writeback(&folio, HALF);
                })
            })
            .collect();
        let guard = mapping.find_locked(0).unwrap();
        guard.wait_stable();
        assert_eq!(in_flight.load(Ordering::Relaxed), 0, "bytes in flight are changed");
        guard.mark_dirty(0, 1);
        drop(guard);
        ends.into_iter().for_each(|end| end.join().unwrap());
        assert!(folio.state().dirty(), "the store is lost");
        assert_at_rest(&mapping, &folio);
    });
}

/// M5, R20, R22, STB-1: a write-through, its finish, and a store by another task at any time. Either the store comes first, and its
/// byte goes out with the write; or it waits for the finish, and its block is dirty afterwards. Never is it clean and unwritten.
#[test]
fn m5_r22_a_store_is_written_or_dirty() {
    explore(|| {
        let mapping = mapping();
        drop(mapping.find_or_create(0).unwrap());
        // What the page holds, what the device was given, and whether that is on its way.
        let [page, sent, flying] = [0, 0, 0].map(|n| Arc::new(AtomicU32::new(n)));
        let storing = {
            let (mapping, page, flying) = (mapping.clone(), page.clone(), flying.clone());
            thread::spawn(move || {
                let guard = mapping.find_locked(0).unwrap();
                guard.wait_stable();
                assert_eq!(flying.load(Ordering::Relaxed), 0, "bytes in flight are changed");
                page.store(7, Ordering::Relaxed);
                guard.mark_dirty(0, 1);
            })
        };
        let guard = mapping.find_locked(0).unwrap();
        guard.wait_writeback();
        sent.store(page.load(Ordering::Relaxed), Ordering::Relaxed);
        guard.begin_writeback(0, PAGE, true);
        flying.store(1, Ordering::Relaxed);
        let folio = guard.folio().clone();
        drop(guard);
        let finish = {
            let (mapping, folio) = (mapping.clone(), folio.clone());
            thread::spawn(move || {
                flying.store(0, Ordering::Relaxed);
                mapping.end_writeback(&folio, PAGE);
            })
        };
        finish.join().unwrap();
        storing.join().unwrap();
        let clean = !folio.state().dirty();
        assert!(!clean || sent.load(Ordering::Relaxed) == 7, "clean, and not what was sent");
        assert_at_rest(&mapping, &folio);
    });
}

/// M5, ERR-3, FS-10, FOL-4: a failed write makes its blocks dirty before its writeback ends. Whoever finds the folio at rest finds it
/// dirty, or would take old bytes on the disk for the file's.
#[test]
fn m5_a_failed_write_is_never_clean() {
    explore(|| {
        let mapping = mapping();
        let guard = mapping.find_or_create(0).unwrap();
        guard.begin_writeback(0, PAGE, true);
        let folio = guard.folio().clone();
        drop(guard);
        let finish = {
            let (mapping, folio) = (mapping.clone(), folio.clone());
            thread::spawn(move || {
                mapping.redirty(&folio, 0, PAGE);
                mapping.end_writeback(&folio, PAGE);
            })
        };
        let state = folio.state();
        assert!(state.writeback() || state.dirty(), "clean, and never written");
        // Eviction takes nothing of it at any moment (BUF-7).
        assert!(!mapping.invalidate_range_clean(0..PAGE as u64), "dropped");
        finish.join().unwrap();
        assert!(folio.state().dirty());
        assert_at_rest(&mapping, &folio);
    });
}
