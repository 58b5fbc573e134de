//! A6: which locks are held where, and who waits for what.
use crate::source::Pieces;
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::iomap::{DrainKind, IomapOps};
use fs::page_cache::CacheLimits;
use fs::vfs::OpenFlags;

/// LOCK-1: blocks are allocated with no folio locked. Debug builds stop at the beginning of the handle.
#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "lock order")]
fn lock1_no_handle_begins_with_a_folio_locked() {
    let stage = Stage::new(4096);
    let node = inode(&stage.create("f"));
    let _folio = node.mapping.find_or_create(0).expect("memory");
    let _ = node.ops().iomap().map(|ops: &dyn IomapOps| ops.map_write(&node, 0, BLOCK as u64));
}

/// LOCK-2: whatever may extend the file holds the inode lock exclusively, a direct write inside it and a direct read share it.
#[test]
fn lock2_modes_of_the_inode_lock() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let direct = stage.open("f", OpenFlags::DIRECT);
    assert_eq!(sync_wt(&file, 0, &[1; 2 * BLOCK]), Ok(2 * BLOCK));
    let modes = |anchor, work: Box<dyn FnOnce() + Send>| {
        let stop = stop(anchor, &file);
        let task = stage.spawn("rival", work);
        stop.wait_reached();
        let node = inode(&file);
        let seen = (node.lock.try_read().is_some(), node.lock.try_write().is_some());
        stop.release();
        task.join();
        seen
    };
    let (exclusive, shared) = ((false, false), (true, false));
    let f = file.clone();
    assert_eq!(modes("S-9", Box::new(move || _ = sync_wt(&f, 0, &[2; 10]))), exclusive);
    let f = file.clone();
    assert_eq!(modes("bw.after_map", Box::new(move || _ = write(&f, 0, &[3; 10]))), exclusive);
    let f = file.clone();
    assert_eq!(modes("trunc.after_drain", Box::new(move || truncate(&f, 8000).expect("truncate"))), exclusive);
    let d = direct.clone();
    assert_eq!(modes("S-7", Box::new(move || _ = direct_write(&d, 2 * BLOCK as u64, &[4; BLOCK]))), exclusive);
    // Uncached, or it would go through the cache (DIO-5).
    fsync(&file).expect("fsync");
    stage.drop_caches();
    let d = direct.clone();
    assert_eq!(modes("S-7", Box::new(move || _ = direct_write(&d, 0, &[5; BLOCK]))), shared);
    let d = direct.clone();
    assert_eq!(modes("S-7", Box::new(move || _ = direct_read(&d, 0, BLOCK))), shared);
    stage.end([file, direct]);
}

/// LOCK-3: a truncate holds the invalidate lock around the change of cache and extents; a write-through does not take it.
#[test]
fn lock3_the_invalidate_lock() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let sending = stop("S-9", &file);
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[1; BLOCK]), Ok(BLOCK))
    });
    sending.wait_reached();
    assert!(inode(&file).mapping.invalidate.try_write().is_some());
    sending.release();
    writing.join();
    let cutting = stop("trunc.after_isize", &file);
    let truncating = stage.spawn("truncate", {
        let file = file.clone();
        move || truncate(&file, 0).expect("truncate")
    });
    cutting.wait_reached();
    assert!(inode(&file).mapping.invalidate.try_read().is_none());
    cutting.release();
    truncating.join();
    stage.end([file]);
}

/// LOCK-4, DIO-8: when `io_submit` has returned no lock is held: what remains is the mark on the folio, the drain count, the freeze
/// protection and the file.
#[test]
fn lock4_nothing_but_marks_and_counts_in_flight() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    let node = inode(&file);
    let folio = node.mapping.get(0).expect("cached");
    assert!(node.lock.try_write().is_some() && node.mapping.invalidate.try_write().is_some());
    assert!(node.mapping.try_lock(folio.clone()).is_some());
    assert!(folio.state().writeback() && folio.state().wt());
    assert_eq!((node.drain.count(DrainKind::Writethrough), stage.sb.freeze_holders()), (1, 1));
    assert_eq!(std::sync::Arc::strong_count(&file), 2);
    drop((node, folio));
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// LOCK-5, MM-4: the finish of a write-through comes to its event while somebody holds the inode lock, the invalidate lock and the
/// folio, waits for a freeze, and another write-through of the file is still in flight.
#[test]
fn lock5_a_finish_waits_for_no_lock_and_no_other() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    let other = aio_wt(&file, BLOCK as u64, &[2; BLOCK]);
    let held = stage.gate.held();
    let freezing = stage.spawn("freeze", {
        let sb = stage.sb.clone();
        move || sb.freeze().and_then(|()| sb.thaw()).expect("freeze")
    });
    let node = inode(&file);
    {
        let _inode = node.lock.write();
        let _cache = node.mapping.invalidate.write();
        let _folio = node.mapping.find_locked(0).expect("cached");
        stage.gate.release(held[0].number);
        assert_eq!(event.wait(), Ok(BLOCK));
        assert!(!node.mapping.get(0).expect("cached").state().writeback());
    }
    assert!(!other.is_posted() && !freezing.has_exited());
    stage.gate.open();
    assert_eq!(other.wait(), Ok(BLOCK));
    freezing.join();
    drop(node);
    stage.end([file]);
}

/// LOCK-6 for the last bytes too, and CHK-8: when the caller is told, everything is at the device.
#[test]
fn lock6_everything_is_sent_before_the_submitter_returns() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let bytes = [1; 2 * BLOCK + 10];
    let event = aio_from(&file, 0, &mut Pieces::new(&bytes, bytes.len()), WT);
    let sent: u64 = stage.gate.held().iter().map(|r| r.len_bytes).sum();
    assert_eq!(sent, 3 * BLOCK as u64);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(bytes.len()));
    stage.end([file]);
}

/// LOCK-7: a writer that is throttled holds no inode lock, and folios of write-throughs in flight throttle nobody.
#[test]
fn lock7_throttling_keeps_no_lock_and_counts_no_write_through() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.cache.set_limits(CacheLimits { pages: 1024, background_dirty: 0, dirty: 1 });
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let events: Vec<_> = (8..16).map(|i| aio_wt(&file, i * BLOCK as u64, &[1; BLOCK])).collect();
    assert!(!stage.cache.over_dirty_limit(), "write-throughs are taken for dirty");
    let throttled = base::lab::stop_at("folio.wait_writeback").arm();
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(write(&file, 0, &[2; 4 * BLOCK]), Ok(4 * BLOCK))
    });
    throttled.wait_reached();
    assert!(inode(&file).lock.try_write().is_some(), "the throttled writer keeps others out");
    throttled.release();
    stage.gate.open();
    writing.join();
    assert!(events.iter().all(|event| event.wait() == Ok(BLOCK)));
    stage.end([file]);
}

/// LOCK-8, TRC-10: a drain waits for what was submitted before, and for nothing that comes later, because that waits for the lock.
#[test]
fn lock8_trc10_a_drain_is_not_kept_up_by_newcomers() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let (event, truncating) = stage.truncate_against(&file, 0, || aio_wt(&file, 0, &[1; BLOCK]));
    let (asking, got) = (stop("S-2", &file), stop("S-3", &file));
    let newcomer = stage.spawn("newcomer", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[2; 10]), Ok(10))
    });
    asking.wait_reached();
    asking.release();
    assert!(inode(&file).lock.try_read().is_none(), "the drain is waited for without the lock");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    truncating.sleep();
    stage.until(|| truncating.is_drained());
    assert!(!got.is_reached(), "a newcomer got in before the truncate was done");
    got.release();
    truncating.join();
    newcomer.join();
    assert_eq!((inode(&file).size(), read(&file, 0, 100)), (10, vec![2; 10]));
    stage.end([file]);
}
