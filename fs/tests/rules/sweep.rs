//! ERR-11: each bio fails in turn, each allocation fails in turn; after any of it nothing is in flight, the file can be cut, and the
//! file system unmounts clean (CTX-9).
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use fs::vfs::{File, OpenFlags};
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

fn each_request_fails(op: BioOp) {
    for n in 1.. {
        let stage = Stage::new(4096);
        let file = checkered(&stage);
        stage.gate.fail(Filter::any().op(op).nth(n), Errno::EIO);
        write_in_every_way(&stage, &file, Errno::EIO);
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
    each_request_fails(BioOp::Write);
}

/// ERR-11 for each read of a block that is filled.
#[test]
fn err11_each_read_fails_in_turn() {
    each_request_fails(BioOp::Read);
}

/// ERR-11, CHK-8, R62: each fallible allocation fails in turn: pages of the cache, metadata blocks, queues, tasks.
#[test]
fn err11_r62_each_allocation_fails_in_turn() {
    for n in 1.. {
        let stage = Stage::new(4096);
        let file = checkered(&stage);
        let plan = base::memory::fail_allocation(n, 1);
        write_in_every_way(&stage, &file, Errno::ENOMEM);
        let all_passed = !plan.is_spent();
        drop(plan);
        settle(stage, file);
        if all_passed {
            assert!(n > 8, "only {n} allocations");
            return;
        }
    }
}
