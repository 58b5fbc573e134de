//! Punch, zero, collapse and insert against write-through in flight.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::iomap::IomapKind;
use fs::vfs::{FallocMode, OpenFlags};
use std::sync::Arc;

const B: u64 = BLOCK as u64;

/// Blocks of the bytes `content`.
fn blocks(content: &[u8]) -> Vec<u8> {
    content.iter().flat_map(|byte| [*byte; BLOCK]).collect()
}

/// A file of these blocks, on the device and out of the cache.
fn file_of(stage: &Stage, content: &[u8]) -> Arc<fs::vfs::File> {
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &blocks(content)), Ok(content.len() * BLOCK));
    stage.drop_caches();
    file
}

/// What the file holds: in the cache, then on the device, then if the power fails.
fn expect(stage: &Stage, file: &Arc<fs::vfs::File>, content: &[u8]) {
    let expected = blocks(content);
    assert!(read(file, 0, 1 << 20) == expected, "in the cache");
    fsync(file).expect("fsync");
    stage.drop_caches();
    assert!(read(file, 0, 1 << 20) == expected, "on the device");
    assert!(stage.cut().read("f") == expected, "after a power cut");
}

/// `mode` on the first block of 8 KiB that are UNWRITTEN, beside a write of it that is held before its finish. Gives the stage with all
/// done.
fn resurrect(mode: FallocMode) -> (Stage, Arc<fs::vfs::File>) {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    fallocate(&file, FallocMode::Allocate { keep_size: false }, 0..2 * B).expect("fallocate");
    let at_f1 = stop("F1", &file);
    let (event, changing) = stage.fallocate_against(&file, mode, 0..B, || aio_wt(&file, 0, &[b'n'; BLOCK]));
    changing.sleep();
    stage.gate.open();
    at_f1.wait_reached();
    assert!(!changing.is_drained(), "the range was changed before the finish");
    at_f1.release();
    changing.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    (stage, file)
}

/// R05: a write that was in flight when its block was punched happened before: its finish brings no block back.
#[test]
fn r05_punch_resurrect() {
    let (stage, file) = resurrect(FallocMode::PunchHole);
    assert_eq!(mapped(&file, 0), IomapKind::Hole);
    assert!(matches!(mapped(&file, B), IomapKind::Unwritten(_)));
    expect(&stage, &file, &[0, 0]);
    stage.end([file]);
}

/// R05 where no folio stands in for the count: a direct write.
#[test]
fn r05_punch_beside_a_direct_write() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let direct = stage.open("f", OpenFlags::DIRECT);
    fallocate(&file, FallocMode::Allocate { keep_size: false }, 0..2 * B).expect("fallocate");
    let write = || aio_direct_write(&direct, 0, &[b'n'; BLOCK]);
    let (event, changing) = stage.fallocate_against(&file, FallocMode::PunchHole, 0..B, write);
    changing.sleep();
    stage.gate.open();
    changing.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!(mapped(&file, 0), IomapKind::Hole);
    expect(&stage, &file, &[0, 0]);
    stage.end([file, direct]);
}

/// R06: nor does the finish convert what was zeroed, and show what the write, or somebody before it, has left in the block.
#[test]
fn r06_zerorange_resurrect() {
    let (stage, file) = resurrect(FallocMode::ZeroRange { keep_size: true });
    assert!(matches!(mapped(&file, 0), IomapKind::Unwritten(_)));
    expect(&stage, &file, &[0, 0]);
    stage.end([file]);
}

/// R07: a write at [8K, 12K) when the first block is collapsed: its bytes are at 4K afterwards, and its conversion has met the blocks they
/// are in.
#[test]
fn r07_collapse_shift() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, b"abcd");
    let write = || aio_wt(&file, 2 * B, &[b'n'; BLOCK]);
    let (event, changing) = stage.fallocate_against(&file, FallocMode::CollapseRange, 0..B, write);
    changing.sleep();
    stage.gate.open();
    changing.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    expect(&stage, &file, b"bnd");
    stage.end([file]);
}

/// R07 with a write that has to be converted, held before its finish: it is not its neighbour that is.
#[test]
fn r07_collapse_waits_for_a_conversion() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, b"a");
    fallocate(&file, FallocMode::Allocate { keep_size: false }, 0..4 * B).expect("fallocate");
    let at_f1 = stop("F1", &file);
    let write = || aio_wt(&file, 2 * B, &[b'n'; BLOCK]);
    let (event, changing) = stage.fallocate_against(&file, FallocMode::CollapseRange, 0..B, write);
    changing.sleep();
    stage.gate.open();
    at_f1.wait_reached();
    assert!(!changing.is_drained(), "blocks were moved before the finish");
    at_f1.release();
    changing.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    let kinds: Vec<_> = (0..3).map(|i| matches!(mapped(&file, i * B), IomapKind::Mapped(_))).collect();
    assert_eq!(kinds, [false, true, false]);
    expect(&stage, &file, &[0, b'n', 0]);
    stage.end([file]);
}

/// R07 with insert.
#[test]
fn r07_insert_shift() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, b"abcd");
    let write = || aio_wt(&file, 2 * B, &[b'n'; BLOCK]);
    let (event, changing) = stage.fallocate_against(&file, FallocMode::InsertRange, B..3 * B, write);
    changing.sleep();
    stage.gate.open();
    changing.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    expect(&stage, &file, b"a\0\0bnd");
    stage.end([file]);
}

/// R07 beside a writeback in the background, which takes no lock that an insertion holds: it converts the block before the change and joins
/// it with the one behind. What is to move moves nevertheless, and no more than that.
#[test]
fn r07_insert_beside_a_conversion() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    fallocate(&file, FallocMode::Allocate { keep_size: false }, 0..3 * B).expect("fallocate");
    assert_eq!(sync_wt(&file, B, &blocks(b"bc")), Ok(2 * BLOCK));
    assert_eq!(write(&file, 0, &blocks(b"a")), Ok(BLOCK));
    stage.gate.hold_completions(Filter::any().op(BioOp::Write).nth(1));
    fs::iomap::write_range(&inode(&file), 0..u64::MAX, false).expect("writeback");
    stage.gate.wait_held(1);
    let dropped = stop("falloc.after_drop", &file);
    let inserting = stage.spawn("insert", {
        let file = file.clone();
        move || fallocate(&file, FallocMode::InsertRange, B..2 * B).expect("insert")
    });
    dropped.wait_reached();
    assert!(matches!(mapped(&file, 0), IomapKind::Unwritten(_)));
    stage.gate.open();
    stage.wait_quiet();
    assert!(matches!(mapped(&file, 0), IomapKind::Mapped(_)));
    dropped.release();
    inserting.join();
    expect(&stage, &file, b"a\0bc");
    stage.end([file]);
}

/// TRC-8: no folio stays at an old position: what is cached from the change on is dropped, what is dirty after it was written.
#[test]
fn r07_no_stale_folio() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, b"abcde");
    assert_eq!(read(&file, 0, 5 * BLOCK), blocks(b"abcde"), "all of it is cached");
    assert_eq!(write(&file, 3 * B, &[b'D'; BLOCK]), Ok(BLOCK));
    fallocate(&file, FallocMode::CollapseRange, B..2 * B).expect("collapse");
    expect(&stage, &file, b"acDe");
    assert_eq!(write(&file, 3 * B, &[b'E'; BLOCK]), Ok(BLOCK));
    fallocate(&file, FallocMode::InsertRange, 2 * B..3 * B).expect("insert");
    expect(&stage, &file, b"ac\0DE");
    stage.end([file]);
}

/// Reads beside a collapse: one that has looked at the extents before finds out that they have changed, and one that needs a folio waits.
#[test]
fn r17_readahead_over_a_collapse() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, b"abcd");
    let mapping = stop("read.after_map", &file);
    let reading = stage.spawn("read", {
        let file = file.clone();
        move || {
            let seen = read(&file, 2 * B, BLOCK);
            assert!(seen == blocks(b"c") || seen == blocks(b"d"), "neither before nor after");
        }
    });
    mapping.wait_reached();
    let waiting = stop("falloc.after_drain", &file);
    let collapsing = stage.spawn("collapse", {
        let file = file.clone();
        move || fallocate(&file, FallocMode::CollapseRange, 0..B).expect("collapse")
    });
    waiting.wait_reached();
    waiting.release();
    mapping.release();
    reading.join();
    collapsing.join();
    expect(&stage, &file, b"bcd");
    stage.end([file]);
}
