//! A6: which locks are held where, and who waits for what.
use crate::source::{NotRoot, Pieces};
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::caller::KernelCaller;
use fs::io::SliceSource;
use fs::iomap::{DrainKind, IomapOps};
use fs::page_cache::CacheLimits;
use fs::vfs::{self, FallocMode, OpenFlags};

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

/// LOCK-2, LOCK-9: whatever may extend the file or allocate in it holds the inode lock exclusively; a write-through to blocks that are there,
/// a direct write inside the file and a direct read share it.
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
    assert_eq!(modes("S-9", Box::new(move || _ = sync_wt(&f, 0, &[2; 10]))), shared);
    let f = file.clone();
    assert_eq!(modes("S-9", Box::new(move || _ = sync_wt(&f, 2 * BLOCK as u64 - 1, &[2; 2]))), exclusive);
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

/// LOCK-9: what a write-through needs so that it may share the inode lock.
#[test]
fn lock9_what_may_share_the_inode_lock() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    // Blocks 0 to 3 hold data, 4 to 7 are a hole, 8 to 11 unwritten.
    assert_eq!(sync_wt(&file, 0, &[1; 4096]), Ok(4096));
    truncate(&file, 16384).expect("a longer file");
    vfs::fallocate(&file, FallocMode::Allocate { keep_size: false }, 8192, 4096, &KernelCaller).expect("fallocate");
    let shares = |pos: u64, len: usize, rwf: u32| {
        stage.drop_caches();
        let stop = stop("S-7", &file);
        let task = stage.spawn("writer", {
            let file = file.clone();
            move || assert_eq!(aio_write(&file, pos, &vec![9; len], rwf).wait(), Ok(len))
        });
        stop.wait_reached();
        let shared = inode(&file).lock.try_read().is_some();
        stop.release();
        task.join();
        shared
    };
    const DSYNC: u32 = 2;
    assert!(shares(0, 4096, WT) && shares(0, 4096, DSYNC) && shares(100, 10, WT), "blocks with data");
    assert!(!shares(3 * 1024, 1025, WT), "a hole");
    assert!(!shares(8192 + 100, 10, WT), "a part of an unwritten block that is not cached");
    // That has made block 8 one with data, and block 4 by the write before.
    assert!(shares(8192, 2 * 1024, WT), "whole unwritten blocks");
    assert_eq!(read(&file, 10 * 1024 + 5, 1), [0]);
    let cached = stop("S-7", &file);
    let task = stage.spawn("writer", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 10 * 1024 + 5, &[9; 10]), Ok(10))
    });
    cached.wait_reached();
    assert!(inode(&file).lock.try_read().is_some(), "a part of an unwritten block that is cached");
    cached.release();
    task.join();
    assert!(!shares(16384 - 10, 20, WT), "past the end");
    inode(&file).update_attr(|attr| attr.mode |= 0o4000);
    for (mode, shared) in [(0o4644, false), (0o644, true)] {
        let stop = stop("S-7", &file);
        assert_eq!(inode(&file).with_attr(|attr| attr.mode), mode);
        let task = stage.spawn("writer", {
            let file = file.clone();
            move || assert_eq!(vfs::write_at(&file, 0, WT, &mut SliceSource::new(&[9; 10]), &NotRoot), Ok(10))
        });
        stop.wait_reached();
        assert_eq!(inode(&file).lock.try_read().is_some(), shared, "a privilege to be taken off");
        stop.release();
        task.join();
    }
    stage.end([file]);
}

/// LOCK-9, S-11: a write-through that reads the block it covers in part holds up no other of the same file.
#[test]
fn lock9_reading_a_block_holds_up_no_other_writer() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 2 * BLOCK]), Ok(2 * BLOCK));
    fsync(&file).expect("fsync");
    stage.drop_caches();
    stage.gate.hold(Filter::any().op(BioOp::Read).nth(1));
    let reading = stage.spawn("part of a block", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 100, &[b'a'; 10]), Ok(10))
    });
    stage.gate.wait_held(1);
    let locked = stop("S-3", &file);
    let other = stage.spawn("another block", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, BLOCK as u64, &[b'b'; BLOCK]), Ok(BLOCK))
    });
    // Past the inode lock while the first still reads.
    locked.wait_reached();
    locked.release();
    other.join();
    assert!(!reading.has_exited());
    stage.gate.open();
    reading.join();
    let expected = [&[b'o'; 100][..], &[b'a'; 10], &[b'o'; BLOCK - 110], &[b'b'; BLOCK]].concat();
    assert_eq!(read(&file, 0, 2 * BLOCK), expected);
    stage.end([file]);
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
