//! Reads, reclaim and conversion.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::vfs::OpenFlags;

/// R12: between the end of the I/O and the conversion the data is only in the cache; reclaim must not take it. Were writeback ended
/// before the conversion, the folio would be clean here and go (CMP-9, BUF-7).
#[test]
fn r12_reclaim_before_convert() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let at_f1 = stop("F1", &file);
    let event = stage.worker_wt(&file, 0, &[b'n'; BLOCK]);
    at_f1.wait_reached();
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), [b'n'; BLOCK], "zeros of an unwritten block");
    at_f1.release();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), [b'n'; BLOCK]);
    stage.end([file]);
}

/// R13: a direct read between the end of the I/O and the conversion waits, or it would find an unwritten block.
#[test]
fn r13_dread_zeroes() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let direct = stage.open("f", OpenFlags::DIRECT);
    let at_f1 = stop("F1", &file);
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let event = stage.worker_wt(&file, 0, &[b'n'; BLOCK]);
    at_f1.wait_reached();
    let reading = stage.spawn("direct read", {
        let direct = direct.clone();
        move || assert_eq!(direct_read(&direct, 0, BLOCK), [b'n'; BLOCK], "zeros of an unwritten block")
    });
    stage.until(|| waiting.is_reached() || reading.has_exited());
    waiting.release();
    at_f1.release();
    reading.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file, direct]);
}

/// R14, BUF-3: a read in flight into a folio does not bring back what a later write-through replaced.
#[test]
fn r14_read_in_flight_overwrite() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.drop_caches();
    assert_eq!(inode(&file).mapping.nr_pages(), 0, "the read would not go to the device");
    stage.gate.hold(Filter::any().op(BioOp::Read).nth(1));
    let reading = stage.spawn("read", {
        let file = file.clone();
        move || assert_eq!(read(&file, 1024, 1024), [b'o'; 1024])
    });
    stage.gate.wait_held(1);
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[b'n'; 1024]), Ok(1024))
    });
    stage.gate.open();
    reading.join();
    writing.join();
    assert_eq!(read(&file, 0, 1024), [b'n'; 1024]);
    stage.drop_caches();
    assert_eq!(read(&file, 0, 2048), [[b'n'; 1024], [b'o'; 1024]].concat());
    stage.end([file]);
}

/// R20: the finish of one write-through does not release another's folio.
#[test]
fn r20_stable_first_finisher() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 2 * BLOCK]), Ok(2 * BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
    let first = aio_wt(&file, 0, &[b'a'; BLOCK]);
    let second = aio_wt(&file, BLOCK as u64, &[b'b'; BLOCK]);
    stage.gate.wait_held(2);
    let held = stage.gate.held();
    stage.gate.release(held[1].number);
    assert_eq!(second.wait(), Ok(BLOCK));
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let storing = stage.spawn("store", {
        let file = file.clone();
        move || assert_eq!(write(&file, 10, b"m"), Ok(1))
    });
    // Whichever comes first: a store that does not wait must fail below, not hang here.
    while !waiting.is_reached() && !storing.has_exited() {
        base::sched::yield_now();
    }
    waiting.release();
    assert!(!first.is_posted() && !storing.has_exited(), "bytes in flight were changed");
    let offset = held[0].sector.0 * 512;
    stage.gate.release(held[0].number);
    assert_eq!(first.wait(), Ok(BLOCK));
    assert_eq!(stage.disk.peek(offset, BLOCK), [b'a'; BLOCK]);
    storing.join();
    stage.end([file]);
}

/// R18: other dirty blocks of the same folio are neither lost nor cleaned.
#[test]
fn r18_dirty_neighbour_lost() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    assert_eq!(write(&file, 2048, &[b'd'; 1024]), Ok(1024));
    assert_eq!(sync_wt(&file, 0, &[b'n'; 1024]), Ok(1024));
    assert_eq!(inode(&file).mapping.nr_dirty(), 1, "the neighbour's block was taken for written");
    fsync(&file).expect("fsync");
    stage.drop_caches();
    let expected = [[b'n'; 1024], [b'o'; 1024], [b'd'; 1024], [b'o'; 1024]].concat();
    assert_eq!(read(&file, 0, BLOCK), expected);
    stage.end([file]);
}

/// R73, S-11: nothing that does not need the device waits for a synchronous write-through in flight.
#[test]
fn r73_lock_across_device() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 4 * BLOCK]), Ok(4 * BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[b'a'; BLOCK]), Ok(BLOCK))
    });
    stage.gate.wait_held(1);
    assert_eq!(fs::vfs::stat(&inode(&file)).size, 4 * BLOCK as u64);
    assert_eq!(read(&file, 2 * BLOCK as u64, BLOCK), [b'o'; BLOCK]);
    assert_eq!(read(&file, 0, BLOCK), [b'a'; BLOCK], "readers see the new bytes before the device does (BUF-1)");
    assert_eq!(sync_wt(&file, 3 * BLOCK as u64, &[b'b'; BLOCK]), Ok(BLOCK));
    assert_eq!(write(&file, 2 * BLOCK as u64, &[b'c'; 10]), Ok(10), "an ordinary write to another folio (R74)");
    assert!(!writing.has_exited());
    stage.gate.open();
    writing.join();
    stage.end([file]);
}
