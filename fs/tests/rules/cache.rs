//! A10 and A16: the states of a folio, readers, writeback, eviction.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::iomap::{self, IomapKind};
use fs::vfs::{self, SyncKind, Whence};

/// FS-3, FS-9, FS-12: a clean folio goes under writeback and comes back clean; while it is on its way nothing takes it away.
#[test]
fn fs3_fs9_fs12_clean_to_writeback_and_back() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'n'; BLOCK]);
    let node = inode(&file);
    let state = || node.mapping.get(0).expect("cached").state();
    assert!(state().uptodate() && !state().dirty() && state().writeback());
    stage.drop_caches();
    assert!(!node.mapping.invalidate_range_clean(0..BLOCK as u64));
    assert!(state().writeback());
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert!(state().uptodate() && !state().dirty() && !state().writeback());
    drop(node);
    stage.end([file]);
}

/// FS-4, FS-9, FOL-1: dirty blocks beside the range stay dirty, and those that become dirty meanwhile survive the finish.
#[test]
fn fs4_fs9_other_blocks_stay_dirty() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'd'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 1024, &[b'n'; 1024]);
    let node = inode(&file);
    let folio = node.mapping.get(0).expect("cached");
    assert_eq!((folio.state().dirty_run(0), folio.state().dirty_run(1024)), (Some((0, 1024)), Some((2048, 2048))));
    stage.gate.open();
    assert_eq!(event.wait(), Ok(1024));
    assert!(folio.state().dirty() && !folio.state().dirty_in(1024, 1024) && !folio.state().writeback());
    drop((node, folio));
    fsync(&file).expect("fsync");
    stage.end([file]);
}

/// FS-7, FS-8, BUF-5: a folio under a write-through whose other blocks are dirty is skipped by background writeback; an fsync waits
/// for it and writes them.
#[test]
fn fs7_fs8_background_skips_and_integrity_waits() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'd'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'n'; 1024]);
    let before = stage.requests(BioOp::Write);
    iomap::write_range(&inode(&file), 0..u64::MAX, false).expect("writeback");
    assert_eq!(stage.requests(BioOp::Write), before, "written while it was under writeback");
    let waiting = base::lab::stop_at("folio.wait_writeback").arm();
    let syncing = stage.spawn("fsync", {
        let file = file.clone();
        move || fsync(&file).expect("fsync")
    });
    waiting.wait_reached();
    assert_eq!(stage.requests(BioOp::Write), before);
    waiting.release();
    stage.gate.open();
    assert_eq!(event.wait(), Ok(1024));
    syncing.join();
    assert_eq!(stage.on_disk(&file, 3072, 1024), [b'd'; 1024]);
    stage.end([file]);
}

/// FS-5, BUF-6, R19: a write-through of a block that writeback has on its way waits: the block is never twice at the device, and the
/// newer bytes stay.
#[test]
fn r19_writeback_collision() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    iomap::write_range(&inode(&file), 0..u64::MAX, false).expect("writeback");
    let before = stage.requests(BioOp::Write);
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[b'n'; BLOCK]), Ok(BLOCK))
    });
    stage.until(|| waiting.is_reached() || writing.has_exited());
    assert!(waiting.is_reached() && stage.requests(BioOp::Write) == before, "two writes of one block in flight");
    waiting.release();
    stage.gate.open();
    writing.join();
    assert_eq!(stage.on_disk(&file, 0, BLOCK), [b'n'; BLOCK]);
    stage.end([file]);
}

/// FS-13, PRC-1: close and unlink change nothing for what is in flight.
#[test]
fn fs13_unlink_and_close_change_nothing() {
    let stage = Stage::new(4096);
    let (file, root) = (stage.create("f"), stage.vfs.root());
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    let node = inode(&file);
    let site = vfs::Site { cwd: &root, caller: &fs::caller::KernelCaller };
    stage.vfs.unlink(site, b"f").expect("unlink");
    vfs::fput(file);
    assert!(node.mapping.get(0).expect("cached").state().writeback());
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert!(!node.mapping.get(0).expect("cached").state().writeback());
    vfs::iput(node);
    drop(root);
    stage.end([]);
}

/// FOL-2, R75: a folio over two extents is two bios of one write: writeback ends once, with the last of them, in whatever order; and the
/// submitter does not wait for its own first half.
#[test]
fn r75_split_extent_folio() {
    for first in [0, 1] {
        let stage = Stage::new(1024);
        let file = stage.create("f");
        assert_eq!(sync_wt(&file, 2048, &[b'o'; 2048]), Ok(2048));
        stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
        let event = aio_wt(&file, 0, &[b'n'; BLOCK]);
        let held = stage.gate.held();
        assert_eq!(held.iter().map(|r| r.len_bytes).collect::<Vec<_>>(), [2048, 2048]);
        let folio = inode(&file).mapping.get(0).expect("cached");
        stage.gate.release(held[first].number);
        stage.gate.wait_completed(held[0].number + 1);
        assert!(folio.state().writeback() && !event.is_posted(), "writeback ended after the first of two");
        stage.gate.release(held[1 - first].number);
        assert_eq!(event.wait(), Ok(BLOCK));
        assert!(!folio.state().writeback());
        drop(folio);
        stage.drop_caches();
        assert_eq!(read(&file, 0, BLOCK), [b'n'; BLOCK]);
        stage.end([file]);
    }
}

/// R75: between the two halves of such a folio an fsync comes by. It waits for the writeback of the first half without the folio locked, or
/// the write could not mark the second, and the writeback never end.
#[test]
fn r75_fsync_between_the_halves_of_a_folio() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 2048, &[b'o'; 2048]), Ok(2048));
    assert_eq!(sync_wt(&file, 0, &[b'o'; 2048]), Ok(2048));
    // A block of the folio that is dirty, and not in the range of the write.
    assert_eq!(sync_wt(&file, 4096, &[b'o'; 1024]), Ok(1024));
    assert_eq!(write(&file, 1024 * 3, &[b'd'; 1024]), Ok(1024));
    let second = base::lab::stop_at("S-7").id(inode(&file).ino).nth(2).arm();
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 1024, &[b'n'; 1536]), Ok(1536))
    });
    second.wait_reached();
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let syncing = stage.spawn("fsync", {
        let file = file.clone();
        move || assert_eq!(fsync(&file), Ok(()))
    });
    waiting.wait_reached();
    waiting.release();
    // Asleep by now or not: the write goes on, and both come to their end.
    second.release();
    writing.join();
    syncing.join();
    let expected = [[b'o'; 1024].as_slice(), &[b'n'; 1536], &[b'o'; 512], &[b'd'; 1024]].concat();
    assert_eq!(read(&file, 0, BLOCK), expected);
    stage.end([file]);
}

/// FOL-5, BUF-1: a copy that ends short inside a block that was not valid publishes nothing of that block.
#[test]
fn fol5_a_short_copy_marks_nothing_that_is_not_valid() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    let bytes = [7; 1024];
    let mut source = crate::source::Pieces::new(&bytes, 0);
    assert_eq!(aio_from(&file, 0, &mut source, WT).wait(), Err(base::Errno::EFAULT));
    assert_eq!((inode(&file).size(), inode(&file).mapping.nr_pages()), (0, 0));
    // Over data that is not cached: the block would go out with what is not the file's behind the bytes that were copied.
    assert_eq!(sync_wt(&file, 0, &[b'o'; 1024]), Ok(1024));
    stage.drop_caches();
    let mut source = crate::source::Pieces::new(&bytes, 100).resident(100);
    assert_eq!(aio_from(&file, 0, &mut source, WT).wait(), Ok(100));
    assert_eq!(stage.on_disk(&file, 0, 1024), [vec![7; 100], vec![b'o'; 924]].concat());
    stage.end([file]);
}

/// BUF-1, BUF-2: who reads a folio that is being made waits for its lock and then finds it valid.
#[test]
fn buf2_a_reader_of_a_folio_in_the_making_waits_for_its_lock() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.drop_caches();
    let copied = stop("S-8", &file);
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[b'n'; 10]), Ok(10))
    });
    copied.wait_reached();
    let expected = [&[b'n'; 10][..], &[b'o'; BLOCK - 10]].concat();
    let reading = stage.spawn("read", {
        let (file, expected) = (file.clone(), expected.clone());
        move || assert_eq!(read(&file, 0, BLOCK), expected)
    });
    copied.release();
    writing.join();
    reading.join();
    assert_eq!(read(&file, 0, BLOCK), expected);
    stage.end([file]);
}

/// BUF-7: eviction between the end of the I/O and F2, for the whole way there.
#[test]
fn buf7_nothing_is_evicted_before_f2() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let steps = ["F1", "F2"].map(|name| stop(name, &file));
    let event = stage.worker_wt(&file, 0, &[b'n'; BLOCK]);
    for step in &steps {
        step.wait_reached();
        stage.drop_caches();
        assert_eq!(inode(&file).mapping.nr_pages(), 1);
        step.release();
    }
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.drop_caches();
    assert_eq!(inode(&file).mapping.nr_pages(), 0);
    stage.end([file]);
}

/// BUF-8: the blocks of a write-through in flight are data, though the extents say UNWRITTEN.
#[test]
fn buf8_a_write_through_in_flight_is_data() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    truncate(&file, 4 * BLOCK as u64).expect("a hole");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 2 * BLOCK as u64, &[1; BLOCK]);
    assert!(matches!(mapped(&file, 2 * BLOCK as u64), IomapKind::Unwritten(_)));
    assert_eq!(vfs::seek(&file, 0, Whence::Data), Ok(2 * BLOCK as u64));
    assert_eq!(vfs::seek(&file, 2 * BLOCK as i64, Whence::Hole), Ok(3 * BLOCK as u64));
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// BUF-9 (the request's part): many segments in memory are one request with one outcome.
#[test]
fn buf9_many_segments_are_one_request() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let bytes: Vec<u8> = (0..3 * BLOCK + 7).map(|i| (i % 251) as u8).collect();
    let mut source = crate::source::Pieces::new(&bytes, bytes.len());
    assert_eq!(aio_from(&file, 5, &mut source, WT).wait(), Ok(bytes.len()));
    stage.drop_caches();
    assert_eq!(read(&file, 5, bytes.len()), bytes);
    vfs::fsync(&file, SyncKind::Data).expect("fdatasync");
    stage.end([file]);
}

/// DNC-1: what came into the cache with the write leaves it with its end, and not before its conversion; what was cached stays, and what
/// the device has refused.
#[test]
fn dnc1_what_only_passes_through_is_dropped() {
    const WT_DONTCACHE: u32 = WT | 0x80;
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, BLOCK as u64, &[b'o'; BLOCK]), Ok(BLOCK));
    let cached = |index| inode(&file).mapping.get(index).is_some();
    let at_f1 = stop("F1", &file);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_write(&file, 0, &[b'n'; 3 * BLOCK], WT_DONTCACHE);
    stage.gate.wait_held(1);
    stage.gate.open();
    at_f1.wait_reached();
    assert!(cached(0) && cached(1) && cached(2), "dropped before the conversion");
    // The gate has copies of what has ended: references that a disk does not have.
    stage.gate.settle();
    at_f1.release();
    assert_eq!(event.wait(), Ok(3 * BLOCK));
    assert_eq!([cached(0), cached(1), cached(2)], [false, true, false]);
    assert_eq!(read(&file, 0, 3 * BLOCK), [b'n'; 3 * BLOCK]);
    stage.drop_caches();
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
    assert_eq!(aio_write(&file, 0, &[b'q'; 1024], WT_DONTCACHE).wait(), Err(EIO));
    assert!(cached(0), "the only copy of what the device has refused");
    assert_eq!([fsync(&file), fsync(&file)], [Err(EIO), Ok(())]);
    assert_eq!(stage.on_disk(&file, 0, 1024), [b'q'; 1024]);
    stage.end([file]);
}
