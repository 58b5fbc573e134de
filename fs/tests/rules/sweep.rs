//! ERR-11: each bio fails in turn, each allocation fails in turn; after any of it nothing is in flight, the file can be cut, and the
//! file system unmounts clean (CTX-9).
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use fs::vfs::{FallocMode, File, OpenFlags};
use std::sync::Arc;

/// Writes of every kind, in the middle and past the end, with partial blocks, and a cut. Whatever is refused is refused by `refusal`.
fn write_in_every_way(stage: &Stage, file: &Arc<File>, refusal: Errno) {
    let direct = stage.open("f", OpenFlags::DIRECT);
    let outcomes = [
        sync_wt(file, 100, &[1; 3 * BLOCK]),
        aio_wt(file, 2 * BLOCK as u64 + 5, &[2; 5 * BLOCK]).wait(),
        direct_write(&direct, 0, &[3; 2 * BLOCK]),
        aio_direct_write(&direct, BLOCK as u64, &[4; BLOCK]).wait(),
        direct_write(&direct, 8 * BLOCK as u64, &[5; BLOCK]),
        write(file, 7 * BLOCK as u64 + 9, &[6; BLOCK]),
        sync_wt(file, 20 * BLOCK as u64 + 1, &[7; 10]),
    ];
    for outcome in outcomes {
        assert!(outcome == Err(refusal) || outcome.is_ok_and(|n| n > 0), "{outcome:?}");
    }
    fs::vfs::fput(direct);
    let cut = truncate(file, 5000);
    assert!(cut == Ok(()) || cut == Err(refusal), "{cut:?}");
}

/// Punch, zero, collapse and insert, of blocks on the device and of dirty ones. Whatever is refused is refused by `refusal`.
fn change_in_every_way(_: &Stage, file: &Arc<File>, refusal: Errno) {
    let block = BLOCK as u64;
    let changes = [
        (FallocMode::PunchHole, 100..2 * block + 100),
        (FallocMode::ZeroRange { keep_size: false }, 2 * block + 200..6 * block + 7),
        (FallocMode::InsertRange, block..3 * block),
        (FallocMode::CollapseRange, 0..block),
        (FallocMode::PunchHole, 0..block),
    ];
    for (mode, range) in changes {
        let dirtied = write(file, 3 * block + 9, &[1; 2 * BLOCK]);
        assert!(dirtied == Ok(2 * BLOCK) || dirtied == Err(refusal) || dirtied.is_ok_and(|n| n > 0), "{dirtied:?}");
        let outcome = fallocate(file, mode, range);
        assert!(outcome == Ok(()) || outcome == Err(refusal), "{mode:?}: {outcome:?}");
    }
}

/// What ERR-11 asks for after an error.
fn settle(stage: Stage, file: Arc<File>) {
    stage.gate.clear_rules();
    let size = inode(&file).size() as usize;
    assert_eq!(read(&file, 0, 1 << 20).len(), size, "a size without bytes");
    assert!(disk_size(&file) <= size as u64, "SIZE-5");
    truncate(&file, 0).expect("a count that leaked would hang here");
    stage.wait_quiet();
    stage.end([file]);
}

/// A file whose first blocks are mapped and uncached, every other one, so that writes have several bios and partial blocks are read.
fn checkered(stage: &Stage) -> Arc<File> {
    let file = stage.create("f");
    for i in [0, 2, 4] {
        assert_eq!(sync_wt(&file, i * BLOCK as u64, &[b'o'; BLOCK]), Ok(BLOCK));
    }
    stage.drop_caches();
    file
}

/// Calls in a row.
type Calls = fn(&Stage, &Arc<File>, Errno);

fn each_request_fails(op: BioOp, calls: Calls) {
    for n in 1.. {
        let stage = Stage::new(4096);
        let file = checkered(&stage);
        stage.gate.fail(Filter::any().op(op).nth(n), Errno::EIO);
        calls(&stage, &file, Errno::EIO);
        let all_passed = !stage.gate.log().iter().any(|r| r.completion.is_some_and(|(_, status)| status.is_err()));
        settle(stage, file);
        if all_passed {
            assert!(n > 2, "only {n} requests");
            return;
        }
    }
}

/// ERR-11 for each write.
#[test]
fn err11_each_write_fails_in_turn() {
    each_request_fails(BioOp::Write, write_in_every_way);
}

/// ERR-11 for each read of a block that is filled.
#[test]
fn err11_each_read_fails_in_turn() {
    each_request_fails(BioOp::Read, write_in_every_way);
}

/// ERR-11 for each write of a punch and its kin, the journal's excepted: nothing is committed here.
#[test]
fn err11_each_write_of_a_change_fails_in_turn() {
    each_request_fails(BioOp::Write, change_in_every_way);
}

/// ERR-11 for each block that is read to be zeroed in part.
#[test]
fn err11_each_read_of_a_change_fails_in_turn() {
    each_request_fails(BioOp::Read, change_in_every_way);
}

/// ERR-11, CHK-8, R62: each fallible allocation fails in turn: pages of the cache, metadata blocks, queues, tasks.
#[test]
fn err11_r62_each_allocation_fails_in_turn() {
    for calls in [write_in_every_way as Calls, change_in_every_way] {
        each_allocation_fails(calls);
    }
}

fn each_allocation_fails(calls: Calls) {
    for n in 1.. {
        let stage = Stage::new(4096);
        let file = checkered(&stage);
        let plan = base::memory::fail_allocation(n, 1);
        calls(&stage, &file, Errno::ENOMEM);
        let all_passed = !plan.is_spent();
        drop(plan);
        settle(stage, file);
        if all_passed {
            assert!(n > 8, "only {n} allocations");
            return;
        }
    }
}
