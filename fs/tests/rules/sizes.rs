//! A12: extents and the two sizes.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::caller::KernelCaller;
use fs::ext4::Ext4Inode;
use fs::iomap::IomapKind;
use fs::vfs::{self, FallocMode, File, OpenFlags};
use std::sync::Arc;

fn is_unwritten(file: &Arc<File>, block: usize) -> bool {
    matches!(mapped(file, (block * BLOCK) as u64), IomapKind::Unwritten(_))
}
fn is_mapped(file: &Arc<File>, block: usize) -> bool {
    matches!(mapped(file, (block * BLOCK) as u64), IomapKind::Mapped(_))
}
fn allocate(file: &Arc<File>, blocks: usize, keep_size: bool) {
    let mode = FallocMode::Allocate { keep_size };
    vfs::fallocate(file, mode, 0, (blocks * BLOCK) as u64, &KernelCaller).expect("fallocate");
}
fn seq(file: &Arc<File>) -> u64 {
    inode(file).ops().iomap().expect("a file").extent_seq()
}

/// EXT-1: new blocks are UNWRITTEN until their data is on the device, whatever way it goes.
#[test]
fn ext1_blocks_are_unwritten_until_their_data_is_there() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let direct = stage.open("f", OpenFlags::DIRECT);
    assert_eq!(write(&file, 0, &[1; BLOCK]), Ok(BLOCK));
    assert!(is_unwritten(&file, 0), "buffered");
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let event = aio_wt(&file, BLOCK as u64, &[2; BLOCK]);
    assert!(is_unwritten(&file, 1), "write-through");
    let writing = stage.spawn("direct write", {
        let direct = direct.clone();
        move || assert_eq!(direct_write(&direct, 2 * BLOCK as u64, &[3; BLOCK]), Ok(BLOCK))
    });
    stage.gate.wait_held(2);
    assert!(is_unwritten(&file, 2), "direct");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    writing.join();
    fsync(&file).expect("fsync");
    assert!((0..3).all(|block| is_mapped(&file, block)));
    stage.end([file, direct]);
}

/// EXT-3: a conversion touches the blocks of its range only. EXT-5, MAP-1: it bumps the sequence number. EXT-4: of a range that is
/// MAPPED it changes nothing.
#[test]
fn ext3_ext4_ext5_a_conversion_is_exact() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    allocate(&file, 4, false);
    let before = seq(&file);
    assert_eq!(sync_wt(&file, BLOCK as u64 + 17, &[1; 1]), Ok(1));
    assert!(is_unwritten(&file, 0) && is_mapped(&file, 1) && is_unwritten(&file, 2) && is_unwritten(&file, 3));
    let after = seq(&file);
    assert!(after > before);
    let node = inode(&file);
    node.ops().iomap().expect("a file").finish_write(&node, BLOCK as u64, BLOCK as u64).expect("nothing to do");
    assert_eq!(seq(&file), after);
    drop(node);
    stage.end([file]);
}

/// EXT-5: so does every other change of the map.
#[test]
fn ext5_each_change_of_the_map_bumps_the_sequence_number() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let mut last = seq(&file);
    let mut bumped = |what: &str| {
        let now = seq(&file);
        assert!(now > last, "{what}");
        last = now;
    };
    allocate(&file, 2, false);
    bumped("allocation");
    assert_eq!(sync_wt(&file, 0, &[1; BLOCK]), Ok(BLOCK));
    bumped("conversion");
    truncate(&file, 0).expect("truncate");
    bumped("removal");
    stage.end([file]);
}

/// EXT-6: on the disk UNWRITTEN is a length above 32,768.
#[test]
fn ext6_unwritten_on_the_disk_is_a_large_length() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    // Behind the header of twelve bytes: block (4), length (2).
    let length = || {
        let node = inode(&file);
        let root = Ext4Inode::of(&node).core.read().root;
        u16::from_le_bytes([root[16], root[17]])
    };
    allocate(&file, 3, false);
    assert_eq!(length(), 32768 + 3);
    assert_eq!(sync_wt(&file, 0, &[1; 3 * BLOCK]), Ok(3 * BLOCK));
    assert_eq!(length(), 3);
    stage.end([file]);
}

/// EXT-2, R48: on a full disk the conversion of one block in each folio of a large extent, each a split, does not fail for space.
#[test]
fn r48_conversion_enospc() {
    const BLOCKS: usize = 1200;
    let stage = Stage::new(1024);
    let (file, filler) = (stage.create("f"), stage.create("filler"));
    let mode = FallocMode::Allocate { keep_size: false };
    vfs::fallocate(&file, mode, 0, BLOCKS as u64 * 1024, &KernelCaller).expect("fallocate");
    stage.gate.hold(Filter::any().op(BioOp::Write).times(BLOCKS as u64 / 4));
    let events: Vec<_> = (0..BLOCKS / 4).map(|i| aio_wt(&file, 4 * i as u64 * 1024, &[1; 1024])).collect();
    let mut pos = 0;
    while let Ok(n) = write(&filler, pos, &[2; 1 << 16]) {
        pos += n as u64;
    }
    stage.gate.open();
    assert!(events.iter().all(|event| event.wait() == Ok(1024)));
    stage.end([file, filler]);
}

/// R57, SIZE-1, SIZE-2, SIZE-3, SIZE-5: finishes come in any order and raise d_size only, at most to i_size; what is UNWRITTEN below it
/// reads as zeros if the power fails.
#[test]
fn size1_size3_finishes_in_any_order() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let sizes = || (inode(&file).size(), disk_size(&file));
    stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
    let (first, second) = (aio_wt(&file, 0, &[1; BLOCK]), aio_wt(&file, BLOCK as u64, &[2; 100]));
    let end = BLOCK as u64 + 100;
    assert_eq!(sizes(), (end, 0));
    let held = stage.gate.held();
    stage.gate.release(held[1].number);
    assert_eq!(second.wait(), Ok(100));
    assert_eq!(sizes(), (end, end));
    assert!(is_unwritten(&file, 0) && is_mapped(&file, 1));
    assert_eq!(stage.on_disk(&file, 0, BLOCK), [0; BLOCK]);
    stage.gate.release(held[0].number);
    assert_eq!(first.wait(), Ok(BLOCK));
    assert_eq!(sizes(), (end, end));
    stage.end([file]);
}

/// SIZE-2, ALN-5: the finish is given a range and cuts it to i_size, under the metadata lock.
#[test]
fn size2_d_size_is_at_most_i_size() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    allocate(&file, 2, true);
    let node = inode(&file);
    let ops = node.ops().iomap().expect("a file");
    node.set_size(100);
    ops.finish_write(&node, 0, BLOCK as u64).expect("finish");
    assert_eq!((node.size(), ops.disk_size()), (100, 100));
    ops.finish_write(&node, 0, 50).expect("finish");
    assert_eq!(ops.disk_size(), 100, "lowered");
    drop(node);
    stage.drop_caches();
    truncate(&file, 0).expect("truncate");
    stage.end([file]);
}

/// SIZE-6: `stat` shows the size after `io_submit` and the blocks with the event.
#[test]
fn size6_stat_after_submit_and_after_the_event() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; 5000]);
    assert_eq!(vfs::stat(&inode(&file)).size, 5000);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(5000));
    let stat = vfs::stat(&inode(&file));
    assert_eq!((stat.size, stat.blocks_512), (5000, 16));
    stage.end([file]);
}

/// SIZE-7: writeback of a neighbour raises d_size to the end of what it wrote; a write-through in flight below stays UNWRITTEN.
#[test]
fn size7_writeback_beside_a_write_through() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    assert_eq!(write(&file, BLOCK as u64, &[2; 100]), Ok(100));
    let late = aio_wt(&file, 2 * BLOCK as u64, &[3; 100]);
    assert_eq!(late.wait(), Ok(100));
    fs::iomap::write_range(&inode(&file), BLOCK as u64..2 * BLOCK as u64, false).expect("writeback");
    stage.until(|| is_mapped(&file, 1));
    assert!(is_unwritten(&file, 0));
    assert_eq!(disk_size(&file), 2 * BLOCK as u64 + 100);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}
