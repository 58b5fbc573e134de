//! A15: direct I/O beside the cache and beside write-throughs.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::vfs::{File, OpenFlags};
use std::sync::Arc;

/// A file of two blocks `o`, open twice, and uncached.
fn two_blocks(stage: &Stage) -> (Arc<File>, Arc<File>) {
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 2 * BLOCK]), Ok(2 * BLOCK));
    stage.drop_caches();
    (file, stage.open("f", OpenFlags::DIRECT))
}

/// DIO-1: a direct read finds what the cache has and the disk does not: dirty bytes, and a write-through in flight.
#[test]
fn dio1_a_direct_read_sees_the_cache() {
    let stage = Stage::new(4096);
    let (file, direct) = two_blocks(&stage);
    assert_eq!(write(&file, 0, &[b'd'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, BLOCK as u64, &[b'w'; BLOCK]);
    let waiting = base::lab::stop_at("folio.wait_writeback").id(1).arm();
    let reading = stage.spawn("direct read", {
        let direct = direct.clone();
        move || assert_eq!(direct_read(&direct, 0, 2 * BLOCK), [[b'd'; BLOCK], [b'w'; BLOCK]].concat())
    });
    waiting.wait_reached();
    waiting.release();
    stage.gate.open();
    reading.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file, direct]);
}

/// DIO-2: a direct write writes back what is dirty around it, drops what is cached of its range, and wins there.
#[test]
fn dio2_a_direct_write_replaces_what_is_cached() {
    let stage = Stage::new(1024);
    let (file, direct) = two_blocks(&stage);
    assert_eq!(write(&file, 0, &[b'd'; BLOCK]), Ok(BLOCK));
    assert_eq!(direct_write(&direct, 1024, &[b'2'; 1024]), Ok(1024));
    let expected = [[b'd'; 1024], [b'2'; 1024], [b'd'; 1024], [b'd'; 1024]].concat();
    assert_eq!(read(&file, 0, BLOCK), expected);
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), expected);
    stage.end([file, direct]);
}

/// DIO-3, R34: a write-through that comes behind a direct write in flight waits for it, and so does a buffered write. The first shares the
/// inode lock and waits for the range, the second waits for all direct I/O.
#[test]
fn r34_wt_after_dwrite() {
    for through in [true, false] {
        let stage = Stage::new(4096);
        let (file, direct) = two_blocks(&stage);
        stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
        let event = aio_direct_write(&direct, 0, &[b'2'; BLOCK]);
        assert!(!event.is_posted());
        let waiting = stop(if through { "range.before_sleep" } else { "drain.before_sleep" }, &file);
        let writing = stage.spawn("write", {
            let file = file.clone();
            let put = if through { sync_wt } else { write };
            move || assert_eq!(put(&file, 0, &[b'1'; BLOCK]), Ok(BLOCK))
        });
        stage.until(|| waiting.is_reached() || writing.has_exited());
        assert!(waiting.is_reached(), "it does not wait");
        assert_eq!(inode(&file).mapping.nr_pages(), 0, "copied beside a direct write in flight");
        waiting.release();
        stage.gate.open();
        assert_eq!(event.wait(), Ok(BLOCK));
        writing.join();
        assert_eq!(read(&file, 0, BLOCK), [b'1'; BLOCK]);
        fsync(&file).expect("fsync");
        assert_eq!(stage.on_disk(&file, 0, BLOCK), [b'1'; BLOCK]);
        stage.end([file, direct]);
    }
}

/// DIO-4, R35, LOCK-5: a reader has cached old bytes meanwhile and holds the folio: the worker does not wait for it, the second queue
/// does, and then the old bytes are gone. Dirty bytes are newer and stay.
#[test]
fn r35_invalidate_in_worker() {
    let stage = Stage::new(4096);
    let ((file, direct), other) = (two_blocks(&stage), stage.create("other"));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_direct_write(&direct, 0, &[b'2'; 2 * BLOCK]);
    assert_eq!(read(&file, 0, 2 * BLOCK), [b'o'; 2 * BLOCK]);
    let node = inode(&file);
    let newer = node.mapping.find_locked(1).expect("cached");
    newer.folio().page().write_from(0, &[b'm'; BLOCK]);
    newer.mark_dirty(0, BLOCK);
    drop(newer);
    let busy = node.mapping.find_locked(0).expect("cached").into_locked();
    let drained = stop("F4", &file);
    stage.gate.open();
    drained.wait_reached();
    drained.release();
    stage.until(|| node.drain.count(fs::iomap::DrainKind::Direct) == 0);
    assert!(!event.is_posted(), "the outcome is told while old bytes are cached");
    assert_eq!(stage.worker_wt(&other, 0, &[1; BLOCK]).wait(), Ok(BLOCK), "the worker waits");
    drop(busy);
    assert_eq!(event.wait(), Ok(2 * BLOCK));
    assert_eq!(read(&file, 0, 2 * BLOCK), [[b'2'; BLOCK], [b'm'; BLOCK]].concat());
    drop(node);
    fsync(&file).expect("fsync");
    stage.end([file, direct, other]);
}

/// DIO-5: a folio that cannot be dropped, because somebody has a handle to its page, makes the write go through the cache: no old
/// bytes stay behind.
#[test]
fn dio5_what_cannot_be_dropped_is_written_through_the_cache() {
    let stage = Stage::new(4096);
    let (file, direct) = two_blocks(&stage);
    assert_eq!(read(&file, 0, 10), [b'o'; 10]);
    let handle = inode(&file).mapping.get(0).expect("cached").page().clone();
    assert_eq!(direct_write(&direct, 0, &[b'2'; BLOCK]), Ok(BLOCK));
    let mut seen = [0; BLOCK];
    handle.read_into(0, &mut seen);
    assert_eq!((seen, stage.on_disk(&file, 0, BLOCK)), ([b'2'; BLOCK], vec![b'2'; BLOCK]));
    assert_eq!(read(&file, 0, BLOCK), [b'2'; BLOCK]);
    drop(handle);
    stage.end([file, direct]);
}

/// DIO-7: a direct write of a part of a block waits for the direct write of the block that is in flight, and both stand.
#[test]
fn dio7_parts_of_blocks_are_exclusive() {
    let stage = Stage::new(4096);
    let (file, direct) = two_blocks(&stage);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_direct_write(&direct, 0, &[b'2'; BLOCK]);
    let waiting = stop("drain.before_sleep", &file);
    let writing = stage.spawn("part", {
        let direct = direct.clone();
        move || assert_eq!(direct_write(&direct, 512, &[b'3'; 512]), Ok(512))
    });
    stage.until(|| waiting.is_reached() || writing.has_exited());
    assert!(waiting.is_reached(), "it does not wait");
    waiting.release();
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    writing.join();
    let mut expected = [b'2'; BLOCK];
    expected[512..1024].fill(b'3');
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), expected);
    stage.end([file, direct]);
}

/// DIO-6 from the other side: a truncate waits for direct I/O too.
#[test]
fn dio6_a_truncate_waits_for_direct_io() {
    let stage = Stage::new(4096);
    let (file, direct) = two_blocks(&stage);
    let (event, truncating) = stage.truncate_against(&file, 0, || aio_direct_write(&direct, 0, &[b'2'; BLOCK]));
    truncating.sleep();
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    truncating.join();
    assert_eq!((inode(&file).size(), read(&file, 0, BLOCK)), (0, vec![]));
    stage.end([file, direct]);
}
