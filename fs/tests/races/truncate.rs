//! Truncate and plain fallocate against write-through in flight.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::caller::KernelCaller;
use fs::vfs::{self, FallocMode};

/// R01: the completion of a write-through must not give a truncated file its size back. The truncate waits for the finish, not
/// only for the device.
#[test]
fn r01_trunc0_resurrect() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let at_f1 = stop("F1", &file);
    let (event, truncating) = stage.truncate_against(&file, 0, || aio_wt(&file, 0, &[1; BLOCK]));
    truncating.sleep();
    stage.gate.open();
    at_f1.wait_reached();
    assert!(!truncating.is_drained(), "the truncate went on before the finish");
    at_f1.release();
    truncating.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    let stat = vfs::stat(&inode(&file));
    assert_eq!((stat.size, stat.blocks_512), (0, 0), "the size came back");
    assert_eq!(read(&file, 0, BLOCK), []);
    stage.end([file]);
}

/// SIZE-1, TRC-2: once the count is dropped a truncate may go by. What the finish still does then touches no size, or the size of a write
/// that a truncate has followed would come back.
#[test]
fn size1_a_finish_raises_no_size_behind_a_truncate() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let (drained, at_f6) = (stop("F4.drained", &file), stop("F6", &file));
    let event = stage.worker_wt(&file, 0, &[1; BLOCK]);
    drained.wait_reached();
    truncate(&file, 0).expect("truncate");
    drained.release();
    at_f6.wait_reached();
    assert_eq!((inode(&file).size(), vfs::stat(&inode(&file)).blocks_512), (0, 0), "the size came back");
    at_f6.release();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!(inode(&file).size(), 0);
    stage.end([file]);
}

/// R03: no freed block is written by an I/O submitted before it was freed. Another file gets the block only afterwards.
#[test]
fn r03_write_after_free_block() {
    let stage = Stage::new(4096);
    let (x, y) = (stage.create("x"), stage.create("y"));
    let (event, truncating) = stage.truncate_against(&x, 0, || aio_wt(&x, 0, &[b'x'; BLOCK]));
    let held = stage.gate.held()[0].clone();
    truncating.sleep();
    // What another file writes now goes elsewhere: the block is not free.
    for i in 0..8 {
        assert_eq!(sync_wt(&y, i * BLOCK as u64, &[b'y'; BLOCK]), Ok(BLOCK));
    }
    let reused = stage.gate.log()[held.number + 1..]
        .iter()
        .any(|r| r.op == BioOp::Write && r.sector <= held.sector && held.sector < r.end_sector());
    assert!(!reused, "a block with a write in flight was given away");
    assert!(!truncating.is_drained());
    stage.gate.open();
    truncating.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!(sync_wt(&y, 0, &[b'z'; 8 * BLOCK]), Ok(8 * BLOCK));
    stage.drop_caches();
    assert!(read(&y, 0, 8 * BLOCK).iter().all(|b| *b == b'z'));
    stage.end([x, y]);
}

/// R08: the count falls to zero between the drainer's look at it and its sleep; it must not sleep for ever.
#[test]
fn r08_drain_lost_wake() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let (event, truncating) = stage.truncate_against(&file, 0, || aio_wt(&file, 0, &[1; BLOCK]));
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK), "the finish needs nothing of the drainer");
    truncating.join();
    stage.end([file]);
}

/// R09: an allocation beside an append in flight takes no size away and makes nothing readable.
#[test]
fn r09_falloc_vs_append() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, BLOCK as u64, &[7; BLOCK]);
    stage.gate.wait_held(1);
    vfs::fallocate(&file, FallocMode::Allocate { keep_size: false }, 0, BLOCK as u64, &KernelCaller)
        .expect("fallocate");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.drop_caches();
    assert_eq!(inode(&file).size(), 2 * BLOCK as u64);
    assert_eq!(read(&file, 0, 2 * BLOCK), [[0; BLOCK], [7; BLOCK]].concat());
    stage.end([file]);
}

/// R10: a synchronous write-through lets go of the inode lock while it waits; truncate still waits for its finish.
#[test]
fn r10_trunc_vs_sync_wt() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let at_f1 = stop("F1", &file);
    let (writing, truncating) = stage.truncate_against(&file, 0, || {
        let file = file.clone();
        stage.spawn("write", move || assert_eq!(sync_wt(&file, 0, &[1; BLOCK]), Ok(BLOCK)))
    });
    truncating.sleep();
    stage.gate.open();
    at_f1.wait_reached();
    assert!(!truncating.is_drained(), "the truncate passed the drain before the finish");
    at_f1.release();
    writing.join();
    truncating.join();
    assert_eq!(inode(&file).size(), 0);
    stage.end([file]);
}

/// R02: bytes of a write-through behind a new, smaller size never come back.
#[test]
fn r02_shrink_midblock() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 2 * BLOCK]), Ok(2 * BLOCK));
    let write = || aio_wt(&file, BLOCK as u64, &[b'n'; BLOCK]);
    let (event, truncating) = stage.truncate_against(&file, 5000, write);
    truncating.sleep();
    stage.gate.open();
    truncating.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    truncate(&file, 2 * BLOCK as u64).expect("extend");
    assert_eq!(read(&file, 5000, BLOCK), [0; 2 * BLOCK - 5000]);
    fsync(&file).expect("fsync");
    stage.drop_caches();
    assert_eq!(read(&file, 5000, BLOCK), [0; 2 * BLOCK - 5000], "old bytes on the device");
    stage.end([file]);
}

/// R04: a finish beside an extending truncate neither lowers nor replaces the size.
#[test]
fn r04_trunc_extend_vs_finish() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let (event, truncating) = stage.truncate_against(&file, 1 << 20, || aio_wt(&file, 0, &[1; BLOCK]));
    truncating.sleep();
    stage.gate.open();
    truncating.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    fsync(&file).expect("fsync");
    let node = inode(&file);
    assert_eq!((node.size(), node.ops().iomap().map(|i| i.disk_size())), (1 << 20, Some(1 << 20)));
    assert!(read(&file, BLOCK as u64, (1 << 20) - BLOCK).iter().all(|b| *b == 0));
    drop(node);
    stage.end([file]);
}
