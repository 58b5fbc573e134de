//! Overlapping writers, appends, direct I/O beside write-through, depth.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::vfs::OpenFlags;
use std::sync::{Arc, Mutex};

/// R29, FS-6: the second of two overlapping write-throughs waits for the first; the device ends with what the cache has.
#[test]
fn r29_overlap_two_aio() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let first = aio_wt(&file, 0, &[b'1'; 2 * BLOCK]);
    stage.gate.wait_held(1);
    let sector = stage.gate.held()[0].sector.0;
    let waiting = base::lab::stop_at("folio.wait_writeback").id(1).arm();
    let second = stage.spawn("second", {
        let file = file.clone();
        move || assert_eq!(aio_wt(&file, BLOCK as u64, &[b'2'; 2 * BLOCK]).wait(), Ok(2 * BLOCK))
    });
    stage.until(|| waiting.is_reached() || second.has_exited());
    waiting.release();
    assert_eq!(read(&file, BLOCK as u64, BLOCK), [b'1'; BLOCK], "the second changed bytes in flight");
    stage.gate.open();
    assert_eq!(first.wait(), Ok(2 * BLOCK));
    second.join();
    let expected = [[b'1'; BLOCK], [b'2'; BLOCK], [b'2'; BLOCK]].concat();
    assert_eq!(read(&file, 0, 3 * BLOCK), expected);
    assert_eq!(stage.disk.peek((sector + 8) * 512, BLOCK), [b'2'; BLOCK], "the device has the older bytes");
    stage.drop_caches();
    assert_eq!(read(&file, 0, 3 * BLOCK), expected);
    stage.end([file]);
}

/// R37, LOCK-9, ORD-1: two writers that share the inode lock overlap. The second finds the range locked before it has touched a folio,
/// and comes after the first as a whole.
#[test]
fn r37_shared_writers_torn() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 6 * BLOCK]), Ok(6 * BLOCK));
    // The third folio of the first writer is copied; two are marked, one is to come.
    let between = base::lab::stop_at("S-8").id(inode(&file).ino).nth(3).arm();
    let first = stage.spawn("first", {
        let file = file.clone();
        move || assert_eq!(aio_wt(&file, 0, &[b'a'; 4 * BLOCK]).wait(), Ok(4 * BLOCK))
    });
    between.wait_reached();
    let (waiting, inside) = (stop("range.before_sleep", &file), stop("S-7", &file));
    let second = stage.spawn("second", {
        let file = file.clone();
        move || assert_eq!(aio_wt(&file, 2 * BLOCK as u64, &[b'b'; 4 * BLOCK]).wait(), Ok(4 * BLOCK))
    });
    stage.until(|| waiting.is_reached() || inside.is_reached());
    assert!(waiting.is_reached(), "the second writer is between the folios of the first");
    waiting.release();
    inside.release();
    between.release();
    first.join();
    second.join();
    let expected = [[b'a'; 2 * BLOCK], [b'b'; 2 * BLOCK], [b'b'; 2 * BLOCK]].concat();
    assert_eq!(read(&file, 0, 6 * BLOCK), expected);
    stage.drop_caches();
    assert_eq!(read(&file, 0, 6 * BLOCK), expected, "the device has something else");
    stage.end([file]);
}

/// R32: appends in flight stand one behind the other in the order of submission, whichever ends first.
#[test]
fn r32_append_pipeline() {
    let stage = Stage::new(4096);
    let file = stage.open("f", OpenFlags::CREAT | OpenFlags::APPEND);
    // Whole blocks, so that the second need not wait for the first's folio; and an odd tail that must.
    stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
    let a = aio_wt(&file, 0, &[b'a'; BLOCK]);
    assert_eq!(inode(&file).size(), BLOCK as u64, "the next append would overwrite this one");
    let b = aio_wt(&file, 0, &[b'b'; BLOCK]);
    stage.gate.wait_held(2);
    assert_eq!(inode(&file).size(), 2 * BLOCK as u64);
    let held = stage.gate.held();
    stage.gate.release(held[1].number);
    assert_eq!(b.wait(), Ok(BLOCK));
    assert!(!a.is_posted());
    stage.gate.release(held[0].number);
    assert_eq!(a.wait(), Ok(BLOCK));
    let c = aio_wt(&file, 0, &[b'c'; 3000]);
    let d = aio_wt(&file, 0, &[b'd'; 3000]);
    assert_eq!((c.wait(), d.wait()), (Ok(3000), Ok(3000)));
    stage.drop_caches();
    let expected = [&[b'a'; BLOCK][..], &[b'b'; BLOCK], &[b'c'; 3000], &[b'd'; 3000]].concat();
    assert_eq!(inode(&file).size(), expected.len() as u64);
    assert_eq!(read(&file, 0, 4 * BLOCK), expected);
    stage.end([file]);
}

/// R72, DIO-6, PERF-4: write-throughs to different folios of one file are in flight together; io_submit waits for none of them.
#[test]
fn r72_depth_collapse() {
    const DEPTH: usize = 32;
    // Over data the writes share the inode lock; over holes each of them has it to itself, and looks at the counts.
    for over_data in [true, false] {
        let stage = Stage::new(4096);
        let file = stage.create("f");
        if over_data {
            assert_eq!(sync_wt(&file, 0, &[0; DEPTH * BLOCK]), Ok(DEPTH * BLOCK));
        }
        stage.gate.hold(Filter::any().op(BioOp::Write));
        let waiting = stop("drain.before_sleep", &file);
        let events: Arc<Mutex<Vec<_>>> = Arc::default();
        let submitting = stage.spawn("submit", {
            let (file, events) = (file.clone(), events.clone());
            move || {
                for i in 0..DEPTH {
                    let event = aio_wt(&file, (i * BLOCK) as u64, &[i as u8; BLOCK]);
                    events.lock().expect("no panic holds it").push(event);
                }
            }
        });
        stage.until(|| submitting.has_exited() || waiting.is_reached());
        assert!(!waiting.is_reached(), "a write-through waits for earlier ones: the depth is one");
        submitting.join();
        assert_eq!(stage.gate.held().len(), DEPTH);
        let events = std::mem::take(&mut *events.lock().expect("no panic holds it"));
        assert!(events.iter().all(|e| !e.is_posted()));
        stage.gate.open();
        assert!(events.iter().all(|e| e.wait() == Ok(BLOCK)));
        stage.end([file]);
    }
}

/// R30: three writes into one block of a hole, none on a boundary: each of them stands, and the rest is zero.
#[test]
fn r30_subblock_neighbours() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    truncate(&file, BLOCK as u64).expect("a hole");
    let writers = [(0, 512, b'a'), (512, 512, b'b'), (3000, 100, b'c')].map(|(pos, len, byte)| {
        let file = file.clone();
        stage.spawn("writer", move || assert_eq!(aio_wt(&file, pos, &vec![byte; len]).wait(), Ok(len)))
    });
    writers.iter().for_each(|w| w.join());
    stage.drop_caches();
    let mut expected = [0; BLOCK];
    expected[..512].fill(b'a');
    expected[512..1024].fill(b'b');
    expected[3000..3100].fill(b'c');
    assert_eq!(read(&file, 0, BLOCK), expected);
    stage.end([file]);
}

/// R31: four writes past the end into one block, submitted together: none is lost, the size is the end of the last, and what stands
/// behind it is zero.
#[test]
fn r31_eof_subblock_race() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 100]), Ok(100));
    let bytes = [b'a', b'b', b'c', b'd'];
    let events = [0, 1, 2, 3].map(|i| aio_wt(&file, 100 + 512 * i, &[bytes[i as usize]; 512]));
    assert!(events.iter().all(|event| event.wait() == Ok(512)));
    let expected = [vec![b'o'; 100], bytes.map(|byte| [byte; 512]).concat()].concat();
    assert_eq!((inode(&file).size(), disk_size(&file)), (2148, 2148));
    let padding = vec![0; BLOCK - expected.len()];
    assert_eq!(stage.on_disk(&file, 0, BLOCK), [expected, padding].concat());
    stage.end([file]);
}

/// R33, DIO-2: a direct write that arrives behind a write-through wins, in the cache and on the device.
#[test]
fn r33_dwrite_after_wt() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let direct = stage.open("f", OpenFlags::DIRECT);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'1'; BLOCK]);
    stage.gate.wait_held(1);
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let writing = stage.spawn("direct write", {
        let direct = direct.clone();
        move || assert_eq!(direct_write(&direct, 0, &[b'2'; BLOCK]), Ok(BLOCK))
    });
    waiting.wait_reached();
    waiting.release();
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    writing.join();
    assert_eq!(read(&file, 0, BLOCK), [b'2'; BLOCK]);
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), [b'2'; BLOCK]);
    stage.end([file, direct]);
}
