//! A7 and A8: the context, the finish and its order, the queues.
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use fs::iomap::{DrainKind, IomapKind};
use fs::vfs::{self, OpenFlags};
use std::sync::Arc;

const DSYNC: u32 = 0x2;

fn in_flight(file: &Arc<fs::vfs::File>) -> u32 {
    inode(file).drain.count(DrainKind::Writethrough)
}

/// CMP-2, CMP-8, CMP-9, CMP-10, SIZE-4: the finish, step by step. What each step has done is there at the next, and nothing more.
#[test]
fn cmp8_the_order_of_the_finish() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let steps = ["F1", "F2", "F4", "F5", "F6", "F6.posted"].map(|name| stop(name, &file));
    let before = stage.flushes();
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_write(&file, 0, &[1; BLOCK], WT | DSYNC);
    stage.gate.open();
    let folio = inode(&file).mapping.get(0).expect("cached");
    let state = || {
        let converted = matches!(mapped(&file, 0), IomapKind::Mapped(_));
        (converted, disk_size(&file) != 0, !folio.state().writeback(), in_flight(&file) == 0, event.is_posted())
    };
    let expected = [
        ("F1", (false, false, false, false, false)),
        ("F2", (true, true, false, false, false)),
        ("F4", (true, true, true, false, false)),
        ("F5", (true, true, true, true, false)),
        ("F6", (true, true, true, true, false)),
        ("F6.posted", (true, true, true, true, true)),
    ];
    for (step, (name, expected)) in steps.iter().zip(expected) {
        step.wait_reached();
        assert_eq!(state(), expected, "at {name}: converted, size, writeback ended, drained, posted");
        let flushed = stage.flushes() > before;
        assert_eq!(flushed, name.starts_with("F6"), "the commit belongs between F5 and F6, at {name}");
        step.release();
    }
    assert_eq!(event.wait(), Ok(BLOCK));
    drop(folio);
    stage.end([file]);
}

/// CTX-8, FRZ-1: the file outlives the event by way of another task, and a freeze waits for the last step.
#[test]
fn ctx8_frz1_the_file_goes_after_the_event_and_before_the_freeze_protection() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let posted = stop("F6.posted", &file);
    let event = stage.worker_wt(&file, 0, &[1; BLOCK]);
    posted.wait_reached();
    assert!(event.is_posted());
    assert_eq!((Arc::strong_count(&file), stage.sb.freeze_holders()), (2, 1));
    let freezing = stage.spawn("freeze", {
        let (sb, file) = (stage.sb.clone(), file.clone());
        move || {
            sb.freeze().expect("freeze");
            assert_eq!(Arc::strong_count(&file), 2, "a request holds its file in a frozen file system");
            sb.thaw().expect("thaw");
        }
    });
    assert!(!freezing.has_exited());
    posted.release();
    freezing.join();
    stage.end([file]);
}

/// R64, UMT-1: with a write in flight unmount is `EBUSY`, though the file is closed; from the moment the event is seen it succeeds. It
/// waits for what the worker still has to do.
#[test]
fn r64_unmount_right_after_the_event() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let posted = stop("F6.posted", &file);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    vfs::fput(file);
    assert_eq!(stage.vfs.unmount_all(), Err(Errno::EBUSY));
    assert_eq!(stage.vfs.remount(&stage.vfs.root(), true), Err(Errno::EBUSY));
    stage.gate.open();
    posted.wait_reached();
    assert_eq!(event.wait(), Ok(BLOCK));
    let waiting = base::lab::stop_at("release.before_sleep").arm();
    let unmounting = stage.spawn("remount and unmount", {
        let vfs = stage.vfs.clone();
        move || {
            assert_eq!(vfs.remount(&vfs.root(), true), Ok(()));
            assert_eq!(vfs.remount(&vfs.root(), false), Ok(()));
            assert_eq!(vfs.unmount_all(), Ok(()));
        }
    });
    stage.until(|| waiting.is_reached() || unmounting.has_exited());
    waiting.release();
    posted.release();
    unmounting.join();
}

/// R49, PRC-4, TRC-13: the last reference of an unlinked file falls on the worker: the file is evicted elsewhere, and its blocks are
/// free again.
#[test]
fn r49_unlinked_last_ref() {
    let stage = Stage::new(4096);
    let free = stage.free_blocks();
    let file = stage.create("f");
    let evicting = stop("vfs.evict", &file);
    let root = stage.vfs.root();
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    let site = vfs::Site { cwd: &root, caller: &fs::caller::KernelCaller };
    stage.vfs.unlink(site, b"f").expect("unlink");
    vfs::fput(file);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    let settling = stage.spawn("sync", {
        let sb = stage.sb.clone();
        move || sb.freeze().and_then(|()| sb.thaw()).expect("freeze")
    });
    evicting.wait_reached();
    assert_ne!(evicting.task().expect("it stands there").id(), event.poster(), "evicted on the completion queue");
    evicting.release();
    settling.join();
    assert_eq!(stage.free_blocks(), free);
    drop(root);
    stage.end([]);
}

/// CMP-3, CMP-6: events come from a worker, be there something to convert or not.
#[test]
fn cmp3_events_come_from_a_worker() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let extending = stage.worker_wt(&file, 0, &[1; BLOCK]);
    assert_eq!(extending.wait(), Ok(BLOCK));
    let overwriting = stage.worker_wt(&file, 0, &[2; BLOCK]);
    assert_eq!(overwriting.wait(), Ok(BLOCK));
    assert_ne!(overwriting.poster(), base::sched::current_id());
    assert_eq!(overwriting.poster(), extending.poster());
    stage.end([file]);
}

/// CMP-7: every bio has ended before the submitter lets go, and durability is owed: F1 to F4 run inline, F5 on the second queue, and
/// the answer is "queued".
#[test]
fn cmp7_an_inline_finish_leaves_f5_to_the_second_queue() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let (at_s10, at_f5) = (stop("S-10", &file), stop("F5", &file));
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || {
            let event = aio_write(&file, 0, &[b'n'; BLOCK], WT | DSYNC);
            assert_eq!(event.wait(), Ok(BLOCK));
            assert_ne!(event.poster(), base::sched::current_id());
        }
    });
    at_s10.wait_reached();
    stage.gate.wait_completed(stage.gate.log().len());
    at_s10.release();
    at_f5.wait_reached();
    assert_eq!(in_flight(&file), 0);
    assert!(inode(&file).lock.try_write().is_some(), "F5 runs under the inode lock");
    at_f5.release();
    writing.join();
    stage.end([file]);
}

/// CMP-10, DUR-6: a truncate beside a write that waits for its flush does not wait for it, and neither did `io_submit`.
#[test]
fn cmp10_a_truncate_does_not_wait_for_a_flush() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Flush));
    let event = aio_write(&file, 0, &[1; BLOCK], WT | DSYNC);
    stage.gate.wait_held(1);
    truncate(&file, 0).expect("truncate");
    assert!(!event.is_posted());
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!(inode(&file).size(), 0);
    stage.end([file]);
}

/// QUE-5, R46: the flush of one request stands before the finish of no other, of this inode or another, with one worker to a queue.
#[test]
fn r46_worker_self_deadlock() {
    let stage = Stage::new(4096);
    let (file, elsewhere) = (stage.create("f"), stage.create("g"));
    stage.gate.hold(Filter::any().op(BioOp::Flush));
    let durable = aio_write(&file, 0, &[1; BLOCK], WT | DSYNC);
    stage.gate.wait_held(1);
    assert_eq!(stage.worker_wt_beside(&file, BLOCK as u64).wait(), Ok(BLOCK));
    assert_eq!(stage.worker_wt_beside(&elsewhere, 0).wait(), Ok(BLOCK));
    assert!(!durable.is_posted());
    stage.gate.open();
    assert_eq!(durable.wait(), Ok(BLOCK));
    stage.end([file, elsewhere]);
}

/// QUE-1: the queue is there before anything is sent, and before a byte is copied.
#[test]
fn que1_the_queue_comes_before_the_first_bio() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let making = base::lab::stop_at("que.create.before_publish").arm();
    let before = stage.gate.log().len();
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(aio_wt(&file, 0, &[1; BLOCK]).wait(), Ok(BLOCK))
    });
    making.wait_reached();
    assert_eq!((stage.gate.log().len(), inode(&file).mapping.nr_pages()), (before, 0));
    making.release();
    writing.join();
    stage.end([file]);
}

/// QUE-2, R42: of two first users one makes the queue that both use.
#[test]
fn r42_queue_create_race() {
    let stage = Stage::new(4096);
    let (slow, fast) = (stage.create("slow"), stage.create("fast"));
    let making = base::lab::stop_at("que.create.before_publish").nth(1).arm();
    let writing = stage.spawn("slow", {
        let slow = slow.clone();
        move || {
            let event = aio_wt(&slow, 0, &[1; BLOCK]);
            assert_eq!(event.wait(), Ok(BLOCK));
        }
    });
    making.wait_reached();
    let queue = || inode(&fast).ops().iomap().expect("a file").completion_queue().expect("a queue");
    let survivor = queue();
    assert_eq!(aio_wt(&fast, 0, &[2; BLOCK]).wait(), Ok(BLOCK));
    making.release();
    writing.join();
    assert!(Arc::ptr_eq(&survivor, &queue()), "two queues");
    drop(survivor);
    stage.end([slow, fast]);
}

/// QUE-4: the queues end with the super block, empty; nobody keeps either alive.
#[test]
fn que4_the_queues_end_at_unmount() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(aio_write(&file, 0, &[1; BLOCK], WT | DSYNC).wait(), Ok(BLOCK));
    let queues = {
        let node = inode(&file);
        let ops = node.ops().iomap().expect("a file");
        [ops.completion_queue(), ops.sync_queue()].map(|queue| Arc::downgrade(&queue.expect("made on first use")))
    };
    assert!(queues.iter().all(|queue| queue.strong_count() > 0));
    stage.end([file]);
    assert!(queues.iter().all(|queue| queue.strong_count() == 0), "a queue outlives its super block");
}

/// QUE-7, QUE-6: a finish that fails stalls neither the one behind it nor the next.
#[test]
fn que7_a_failed_finish_stalls_no_other() {
    let stage = Stage::new(4096);
    let (bad, good) = (stage.create("bad"), stage.create("good"));
    stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
    let (first, second) = (aio_wt(&bad, 0, &[1; BLOCK]), aio_wt(&good, 0, &[2; BLOCK]));
    let held = stage.gate.held();
    stage.gate.fail_held(held[0].number, EIO);
    stage.gate.release(held[1].number);
    assert_eq!((first.wait(), second.wait()), (Err(EIO), Ok(BLOCK)));
    assert_eq!(stage.worker_wt(&bad, 0, &[3; BLOCK]).wait(), Ok(BLOCK));
    stage.end([bad, good]);
}

/// R41, CTX-5, CMP-1: of several errors the first to come is the outcome.
#[test]
fn r41_first_error_wins() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    for i in (1..6).step_by(2) {
        assert_eq!(sync_wt(&file, i * BLOCK as u64, &[b'o'; BLOCK]), Ok(BLOCK));
    }
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let event = aio_wt(&file, 0, &[b'n'; 6 * BLOCK]);
    let held = stage.gate.held();
    stage.gate.clear_rules();
    stage.gate.release(held[0].number);
    stage.gate.fail_held(held[3].number, Errno::ENOSPC);
    stage.gate.fail_held(held[1].number, EIO);
    held.iter().skip(4).chain([&held[2]]).for_each(|r| stage.gate.release(r.number));
    assert_eq!(event.wait(), Err(Errno::ENOSPC));
    assert_eq!(fsync(&file), Err(Errno::ENOSPC));
    stage.end([file]);
}

/// R71, WT-2: the buffer is the caller's again when `io_submit` has returned.
#[test]
fn r71_free_buffer_after_submit() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let mut buffer = vec![b'a'; BLOCK];
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &buffer);
    buffer.fill(b'x');
    drop(buffer);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!((read(&file, 0, BLOCK), stage.on_disk(&file, 0, BLOCK)), (vec![b'a'; BLOCK], vec![b'a'; BLOCK]));
    stage.end([file]);
}

/// FLAG-4 where it can be seen on the stage: a request in flight goes on as it began when its description becomes O_DIRECT.
#[test]
fn r36_odirect_toggle_between_requests() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 1, &[1; 512]);
    file.set_flags(OpenFlags::DIRECT);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(512));
    file.set_flags(OpenFlags::empty());
    assert_eq!(read(&file, 1, 512), [1; 512]);
    stage.end([file]);
}
