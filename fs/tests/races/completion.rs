//! Contexts, completion, the queue, errors.
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use base::stats::{self, Counter};
use fs::iomap::DrainKind;
use fs::vfs::{self, SyncKind};

/// R38, CTX-2 on the whole path: a write of many bios ends once, after the last of them, in whatever order they end.
#[test]
fn r38_last_drop_exactly_once() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    // Every other block allocated: the range is several extents and so several bios.
    for i in (0..8).step_by(2) {
        assert_eq!(sync_wt(&file, i * BLOCK as u64, &[b'o'; BLOCK]), Ok(BLOCK));
    }
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let event = aio_wt(&file, 0, &[b'n'; 8 * BLOCK]);
    let held = stage.gate.held();
    assert!(held.len() > 1, "the range is one bio: {held:?}");
    for request in held.iter().rev() {
        assert!(!event.is_posted(), "finished before the last bio");
        stage.gate.release(request.number);
    }
    assert_eq!(event.wait(), Ok(8 * BLOCK));
    stage.drop_caches();
    assert_eq!(read(&file, 0, 8 * BLOCK), [b'n'; 8 * BLOCK]);
    stage.end([file]);
}

/// R39, CTX-6, CTX-7: the waiter must not pull the context from under the interrupt that wakes it: while the interrupt handler still holds its
/// reference the waiter does not let go of its own, so that the last one falls in a task.
#[test]
fn r39_waiter_uaf() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let in_interrupt = base::lab::stop_at("bio.end.after_drop").arm();
    let at_f6 = stop("F6", &file);
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[b'n'; BLOCK]), Ok(BLOCK))
    });
    in_interrupt.wait_reached();
    // The waiter is woken and may do all of F1 to F4; it has come to settle when only the handler is missing.
    stage.until(|| inode(&file).drain.count(DrainKind::Writethrough) == 0);
    for _ in 0..1000 {
        assert!(!at_f6.is_reached(), "the waiter let go while the interrupt handler held the context");
        base::sched::yield_now();
    }
    at_f6.release();
    in_interrupt.release();
    writing.join();
    stage.end([file]);
}

/// R39, QUE-4: the same for ordinary writeback, whose interrupt handler has queued its work and still holds on to the queue. What an
/// unmount waits for is not over before that: else the queue would end in the handler, which cannot wait for its workers.
#[test]
fn r39_queue_ends_in_interrupt() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'n'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let syncing = stage.spawn("fsync", {
        let file = file.clone();
        move || assert_eq!(fsync(&file), Ok(()))
    });
    stage.gate.wait_held(1);
    let number = stage.gate.held()[0].number;
    stage.gate.pass();
    stage.until(|| stage.gate.held_completions() == [number]);
    let in_handler = stop("bio.end.after_queue", &file);
    let interrupt = stage.spawn("interrupt", {
        let gate = stage.gate.clone();
        move || gate.release(number)
    });
    in_handler.wait_reached();
    syncing.join();
    let settling = stage.spawn("settle", {
        let sb = stage.sb.clone();
        move || sb.ops().settle()
    });
    for _ in 0..50_000 {
        assert!(!settling.has_exited(), "the work ended while the interrupt handler held the queue");
        base::sched::yield_now();
    }
    in_handler.release();
    interrupt.join();
    settling.join();
    stage.end([file]);
}

/// R44, CMP-7, CTX-4: every bio has ended before the submitter drops its reference: one outcome, by one way.
#[test]
fn r44_inline_vs_queued() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let at_s10 = stop("S-10", &file);
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(aio_wt(&file, 0, &[b'n'; BLOCK]).wait(), Ok(BLOCK))
    });
    at_s10.wait_reached();
    let submitted = stage.gate.log().len();
    stage.gate.wait_completed(submitted);
    at_s10.release();
    writing.join();
    stage.end([file]);
}

/// R45, LOCK-5, LOCK-8: a truncate holds the inode lock and waits for the count; the worker must need neither.
#[test]
fn r45_worker_wants_inode_lock() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let at_f1 = stop("F1", &file);
    let event = stage.worker_wt(&file, 0, &[1; BLOCK]);
    at_f1.wait_reached();
    let waiting = stop("drain.before_sleep", &file);
    let truncating = stage.spawn("truncate", {
        let file = file.clone();
        move || truncate(&file, 0).expect("truncate")
    });
    waiting.wait_reached();
    assert!(inode(&file).lock.try_read().is_none(), "the truncate does not hold the inode lock");
    waiting.release();
    at_f1.release();
    assert_eq!(event.wait(), Ok(BLOCK));
    truncating.join();
    stage.end([file]);
}

/// R43, QUE-3, CHK-8: the completion queue cannot be made; nothing of the request is left behind, and the next try succeeds.
#[test]
fn r43_queue_create_fail() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let fail = base::memory::fail_allocation(1, 1);
    let event = aio_wt(&file, 0, &[b'n'; BLOCK]);
    assert_eq!(event.wait(), Err(Errno::ENOMEM));
    drop(fail);
    assert_eq!(stage.sb.freeze_holders(), 0);
    assert_eq!(inode(&file).drain.count(DrainKind::Writethrough), 0, "the drain count leaked");
    truncate(&file, 0).expect("a leaked drain count would hang here");
    assert_eq!(aio_wt(&file, 0, &[b'n'; BLOCK]).wait(), Ok(BLOCK));
    stage.end([file]);
}

/// R59 and R60: one of two bios fails: the outcome is the error, nothing is converted, and the cache keeps the new bytes dirty.
#[test]
fn r59_partial_bio_fail() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    for i in (0..4).step_by(2) {
        assert_eq!(sync_wt(&file, i * BLOCK as u64, &[b'o'; BLOCK]), Ok(BLOCK));
    }
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(2), Errno::EIO);
    assert_eq!(aio_wt(&file, 0, &[b'n'; 4 * BLOCK]).wait(), Err(Errno::EIO));
    stage.gate.clear_rules();
    assert_eq!(read(&file, 0, 4 * BLOCK), [b'n'; 4 * BLOCK], "the cache went back (ERR-3)");
    assert!(inode(&file).mapping.nr_dirty() > 0, "the failed blocks are clean");
    assert_eq!(fsync(&file), Err(EIO), "the error is reported once (ERR-6)");
    assert_eq!(fsync(&file), Ok(()));
    stage.drop_caches();
    assert_eq!(read(&file, 0, 4 * BLOCK), [b'n'; 4 * BLOCK]);
    stage.end([file]);
}

/// R51: nothing is dirty after a write-through, but its bytes are in the device's volatile cache: fsync flushes.
#[test]
fn r51_fsync_no_flush() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    fsync(&file).expect("fsync");
    assert_eq!(sync_wt(&file, 0, &[b'n'; BLOCK]), Ok(BLOCK));
    let flushes = |stage: &Stage| stage.gate.log().iter().filter(|r| r.op == BioOp::Flush).count();
    let before = flushes(&stage);
    fsync(&file).expect("fsync");
    assert!(flushes(&stage) > before, "no flush reached the device");
    let before = flushes(&stage);
    fsync(&file).expect("fsync");
    assert_eq!(flushes(&stage), before, "a flush for nothing (DUR-11)");
    stage.end([file]);
}

/// R51 in a narrower place: an fdatasync comes when a write-through has ended writeback and is not done yet. It waits for nothing, and the
/// bytes are in the device's volatile cache: it must know of them.
#[test]
fn r51_fdatasync_between_writeback_and_outcome() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    fsync(&file).expect("fsync");
    let at_f4 = stop("F4", &file);
    let event = stage.worker_wt(&file, 0, &[b'n'; BLOCK]);
    at_f4.wait_reached();
    let flushes = |stage: &Stage| stage.gate.log().iter().filter(|r| r.op == BioOp::Flush).count();
    let before = flushes(&stage);
    vfs::fsync(&file, SyncKind::Data).expect("fdatasync");
    assert!(flushes(&stage) > before, "no flush reached the device");
    at_f4.release();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// DUR-5 without a journal: what an inode points to is durable before the inode is. A device may keep the later of two writes and lose
/// the earlier one, so their order alone is worth nothing.
#[test]
fn dur5_a_flush_stands_between_blocks_of_extents_and_inodes() {
    let stage = Stage::without_journal();
    let file = stage.create("f");
    // The fifth extent does not fit into the inode: the tree gets its first block.
    for i in 0..5 {
        assert_eq!(sync_wt(&file, 2 * i * BLOCK as u64, &[1; BLOCK]), Ok(BLOCK));
    }
    let before = stage.gate.log().len();
    fsync(&file).expect("fsync");
    let ops: Vec<BioOp> = stage.gate.log()[before..].iter().map(|r| r.op).collect();
    let groups: Vec<&[BioOp]> = ops.split(|op| *op == BioOp::Flush).filter(|writes| !writes.is_empty()).collect();
    assert_eq!(groups.len(), 2, "blocks, then inodes: {ops:?}");
    assert_eq!(ops.last(), Some(&BioOp::Flush));
    stage.end([file]);
}

/// CTX-1, CTX-9: zero allocations and frees in interrupts (LOCK-10) are counted in the booted kernel; here the contexts are.
#[test]
fn every_context_that_starts_finishes() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let before = stats::get(Counter::WtFinished);
    for i in 0..16 {
        assert_eq!(sync_wt(&file, i * 1000, &[1; 1000]), Ok(1000));
    }
    assert!(stats::get(Counter::WtFinished) >= before + 16);
    stage.end([file]);
}
