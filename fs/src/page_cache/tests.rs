//! Tests of the cache without extents or a device.
use super::*;
use base::sync::{Arc, Weak};

fn mapping(pages: usize, block_size: u32) -> Arc<Mapping> {
    Mapping::new(1, Weak::new(), PageCache::new(CacheLimits::for_pages(pages)), block_size)
}

#[test]
fn fs4_write_through_leaves_other_blocks_dirty() {
    let m = mapping(64, 1024);
    let guard = m.find_or_create(3).unwrap();
    assert!(guard.mark_dirty(0, 1) && !guard.mark_dirty(2048, 1024));
    guard.begin_writeback(0, 1024, true);
    let folio = guard.folio().clone();
    assert!(guard.must_wait_stable());
    drop(guard);
    assert!(folio.state().writeback() && folio.state().wt());
    assert_eq!(folio.state().dirty_run(0), Some((2048, 1024)));
    assert!(m.next_tagged(0..u64::MAX, Tag::Dirty).is_some() && m.next_tagged(0..u64::MAX, Tag::Writeback).is_some());
    m.end_writeback(&folio, 1024);
    assert!(!folio.state().writeback() && folio.state().dirty());
    assert_eq!(m.cache().figures(), CacheFigures { pages: 1, dirty: 1, writeback: 0, wt: 0 });
}

#[test]
fn r75_writeback_of_two_bios_ends_once_with_the_last() {
    let m = mapping(64, 1024);
    let guard = m.find_or_create(0).unwrap();
    guard.begin_writeback(0, 2048, true);
    guard.begin_writeback(2048, 2048, true);
    let folio = guard.folio().clone();
    drop(guard);
    m.end_writeback(&folio, 2048);
    assert!(folio.state().writeback());
    m.end_writeback(&folio, 2048);
    assert!(!folio.state().writeback());
    assert!(m.next_tagged(0..u64::MAX, Tag::Writeback).is_none());
    assert_eq!(m.cache().figures().wt, 0);
}

#[test]
fn err3_redirtied_before_writeback_ends() {
    let m = mapping(64, 4096);
    let guard = m.find_or_create(0).unwrap();
    guard.mark_dirty(0, 4096);
    guard.begin_writeback(0, 4096, true);
    assert_eq!(m.nr_dirty(), 0);
    let folio = guard.folio().clone();
    drop(guard);
    m.redirty(&folio, 0, 4096);
    m.end_writeback(&folio, 4096);
    assert!(folio.state().dirty() && m.nr_dirty() == 1 && m.next_tagged(0..u64::MAX, Tag::Dirty).is_some());
}

#[test]
fn buf7_dirty_writeback_and_locked_folios_are_never_evicted() {
    let m = mapping(64, 4096);
    let locked = m.find_or_create(0).unwrap();
    m.find_or_create(1).unwrap().mark_dirty(0, 1);
    m.find_or_create(2).unwrap().begin_writeback(0, 4096, false);
    drop(m.find_or_create(3).unwrap());
    assert_eq!(m.cache().drop_caches(), 1);
    assert_eq!(m.nr_pages(), 3);
    assert!(!m.invalidate_range_clean(0..3 * 4096) && m.invalidate_range_clean(3 * 4096..u64::MAX));
    drop(locked);
    assert_eq!(m.cache().drop_caches(), 1);
}

#[test]
fn the_clock_spares_what_was_touched_and_keeps_the_limit() {
    let m = mapping(32, 4096);
    for i in 0..200 {
        drop(m.find_or_create(i).unwrap());
        if let Some(hot) = m.get(0) {
            hot.touch(hot.state());
        }
    }
    assert!(m.cache().figures().pages <= 32);
    assert!(m.get(0).is_some(), "a folio touched all the time stays");
}

#[test]
fn truncation_takes_folios_and_blocks_at_its_edge() {
    let m = mapping(64, 1024);
    for i in 0..4 {
        m.find_or_create(i).unwrap().mark_dirty(0, 4096);
    }
    let edge = m.get(1).unwrap();
    edge.page().write_from(0, &[7; 4096]);
    m.truncate_range(4096 + 1500..u64::MAX);
    assert_eq!(m.nr_pages(), 2);
    assert_eq!(edge.state().dirty_run(0), Some((0, 2048)));
    let mut bytes = [1; 4096];
    edge.page().read_into(0, &mut bytes);
    assert!(bytes[..2048].iter().all(|b| *b == 7) && bytes[2048..].iter().all(|b| *b == 0));
    assert_eq!(m.nr_dirty(), 2);
    m.truncate_all();
    assert_eq!(m.cache().figures(), CacheFigures::default());
}

#[test]
fn fs11_truncation_waits_for_writeback() {
    let m = mapping(64, 4096);
    let guard = m.find_or_create(0).unwrap();
    guard.begin_writeback(0, 4096, true);
    let folio = guard.folio().clone();
    drop(guard);
    std::thread::scope(|s| {
        let truncating = s.spawn(|| m.truncate_all());
        while !folio.state().locked() {
            std::thread::yield_now();
        }
        assert!(folio.state().attached() && !truncating.is_finished());
        m.end_writeback(&folio, 4096);
    });
    assert!(!folio.state().attached() && m.nr_pages() == 0);
}

#[test]
fn a_removed_folio_is_noticed_under_its_lock() {
    let m = mapping(64, 4096);
    drop(m.find_or_create(0).unwrap());
    let stale = m.get(0).unwrap();
    m.truncate_all();
    assert!(m.lock(stale.clone()).is_none() && !stale.state().locked());
    assert!(m.find_locked(0).is_none());
}

#[test]
fn the_folio_lock_excludes_many_tasks() {
    let m = mapping(64, 4096);
    drop(m.find_or_create(0).unwrap());
    let folio = m.get(0).unwrap();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..500 {
                    let guard = m.find_locked(0).unwrap();
                    let mut n = [0; 4];
                    guard.folio().page().read_into(0, &mut n);
                    guard.folio().page().write_from(0, &(u32::from_le_bytes(n) + 1).to_le_bytes());
                }
            });
        }
    });
    let mut n = [0; 4];
    folio.page().read_into(0, &mut n);
    assert_eq!(u32::from_le_bytes(n), 2000);
}
