//! A14, as far as it is built: truncate and plain allocation.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::caller::KernelCaller;
use fs::iomap::IomapKind;
use fs::vfs::{self, FallocMode, OpenFlags};

/// TRC-1, TRC-2, SIZE-5: lock, drain, size; i_size does not change before the drain has returned. The write has its full count, and the
/// file is empty.
#[test]
fn trc1_trc2_the_order_of_a_truncate() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let (locked, sized) = (stop("trunc.after_lock", &file), stop("trunc.after_isize", &file));
    locked.release();
    let (event, truncating) = stage.truncate_against(&file, 0, || aio_wt(&file, 0, &[1; BLOCK]));
    assert!(inode(&file).lock.try_read().is_none());
    assert_eq!(inode(&file).size(), BLOCK as u64);
    truncating.sleep();
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.until(|| truncating.is_drained());
    assert_eq!((inode(&file).size(), inode(&file).mapping.nr_pages()), (BLOCK as u64, 1));
    truncating.pass_drain();
    sized.wait_reached();
    assert_eq!((inode(&file).size(), inode(&file).mapping.nr_pages(), disk_size(&file)), (0, 1, BLOCK as u64));
    sized.release();
    truncating.join();
    assert_eq!((disk_size(&file), inode(&file).mapping.nr_pages()), (0, 0));
    assert_eq!((mapped(&file, 0), vfs::stat(&inode(&file)).blocks_512), (IomapKind::Hole, 0));
    stage.end([file]);
}

/// TRC-3: the tail of the last block is zero in the cache and on the device before the smaller size is.
#[test]
fn trc3_the_tail_is_zero_on_the_device() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 2 * BLOCK]), Ok(2 * BLOCK));
    truncate(&file, 5000).expect("truncate");
    let kept = 5000 - BLOCK;
    let expected = [vec![b'o'; kept], vec![0; BLOCK - kept]].concat();
    assert_eq!(stage.on_disk(&file, BLOCK as u64, BLOCK), expected);
    truncate(&file, 2 * BLOCK as u64).expect("a longer file");
    assert_eq!(read(&file, BLOCK as u64, BLOCK), expected);
    stage.end([file]);
}

/// TRC-3: where the device does not take the zeros, the truncate fails and the file is as it was; else a later growth could bring the
/// bytes back after a cut.
#[test]
fn trc3_a_tail_that_cannot_be_written_is_an_error() {
    for block_size in [4096, 1024] {
        let stage = Stage::new(block_size);
        let file = stage.create("f");
        assert_eq!(sync_wt(&file, 0, &[b'o'; 2 * BLOCK]), Ok(2 * BLOCK));
        assert_eq!(write(&file, BLOCK as u64 + 3000, b"dirty"), Ok(5));
        let before = read(&file, 0, 2 * BLOCK);
        // The first write is the folio as it is; the second one brings the zeros.
        stage.gate.fail(Filter::any().op(BioOp::Write).nth(2), EIO);
        assert_eq!(truncate(&file, 5000), Err(EIO));
        assert_eq!((inode(&file).size(), disk_size(&file)), (2 * BLOCK as u64, 2 * BLOCK as u64));
        assert_eq!(read(&file, 0, 2 * BLOCK), before);
        assert_eq!(fsync(&file), Err(EIO), "whoever has the file open hears of the write that failed");
        truncate(&file, 5000).expect("a device that works again");
        truncate(&file, 2 * BLOCK as u64).expect("a longer file");
        assert_eq!(fsync(&file), Ok(()));
        let found = stage.cut().read("f");
        assert_eq!(found[..5000], before[..5000]);
        assert!(found[5000..].iter().all(|byte| *byte == 0), "bytes from behind the end came back");
        stage.end([file]);
    }
}

/// TRC-4: a truncate that makes the file longer waits too. TRC-11: and so for a drain that no signal ends.
#[test]
fn trc4_trc11_growing_drains_too() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let (event, truncating) = stage.truncate_against(&file, 10_000, || aio_wt(&file, 0, &[1; BLOCK]));
    assert_eq!(inode(&file).size(), BLOCK as u64);
    truncating.sleep();
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    truncating.join();
    assert_eq!((inode(&file).size(), disk_size(&file)), (10_000, 10_000));
    assert_eq!(read(&file, BLOCK as u64, BLOCK), [0; BLOCK]);
    stage.end([file]);
}

/// TRC-5: blocks go only when no I/O to them is in flight, writeback included.
#[test]
fn trc5_blocks_in_writeback_are_not_freed() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[1; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    fs::iomap::write_range(&inode(&file), 0..u64::MAX, false).expect("writeback");
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let truncating = stage.spawn("truncate", {
        let file = file.clone();
        move || truncate(&file, 0).expect("truncate")
    });
    waiting.wait_reached();
    assert!(matches!(mapped(&file, 0), IomapKind::Unwritten(_)), "freed with a write in flight");
    waiting.release();
    stage.gate.open();
    truncating.join();
    assert_eq!(mapped(&file, 0), IomapKind::Hole);
    stage.end([file]);
}

/// TRC-9: allocation makes holes UNWRITTEN, leaves data alone, lowers no size and need not wait for a write in flight.
#[test]
fn trc9_allocation_changes_nothing_that_exists() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, BLOCK as u64, &[1; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 3 * BLOCK as u64, &[2; BLOCK]);
    for (keep_size, len, size) in [(true, 8, 4), (false, 2, 4), (false, 6, 6)] {
        let mode = FallocMode::Allocate { keep_size };
        vfs::fallocate(&file, mode, 0, len * BLOCK as u64, &KernelCaller).expect("fallocate");
        assert_eq!(inode(&file).size(), size * BLOCK as u64);
    }
    let kinds: Vec<_> = (0..8).map(|b| matches!(mapped(&file, b * BLOCK as u64), IomapKind::Mapped(_))).collect();
    assert_eq!(kinds, [false, true, false, false, false, false, false, false]);
    assert!((0..8).all(|b| mapped(&file, b * BLOCK as u64) != IomapKind::Hole));
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    let expected = [0, 1, 0, 2, 0, 0].map(|byte| [byte; BLOCK]).concat();
    stage.drop_caches();
    assert_eq!(read(&file, 0, 8 * BLOCK), expected);
    stage.end([file]);
}

/// TRC-12: `O_TRUNC` is a truncate to 0: it waits for the write in flight.
#[test]
fn trc12_o_trunc_is_a_truncate() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let drained = stop("trunc.after_drain", &file);
    let waiting = stop("drain.before_sleep", &file);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    let opening = stage.spawn("open", {
        let vfs = stage.vfs.clone();
        move || {
            let root = vfs.root();
            let site = vfs::Site { cwd: &root, caller: &KernelCaller };
            vfs::fput(vfs.open(site, b"f", OpenFlags::TRUNC | OpenFlags::RDWR, 0).expect("open"));
        }
    });
    stage.until(|| waiting.is_reached() || drained.is_reached());
    assert!(!drained.is_reached(), "it does not wait");
    drained.release();
    waiting.release();
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    opening.join();
    assert_eq!(inode(&file).size(), 0);
    stage.end([file]);
}

/// R11: a truncate between redirty and the end of writeback leaves no dirty folio on the empty file.
#[test]
fn r11_trunc_error_redirty() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let redirtied = stop("F2.redirtied", &file);
    let (event, truncating) = stage.truncate_against(&file, 0, || aio_wt(&file, 0, &[1; BLOCK]));
    truncating.sleep();
    stage.gate.fail_held(stage.gate.held()[0].number, EIO);
    redirtied.wait_reached();
    assert!(!truncating.is_drained());
    redirtied.release();
    truncating.join();
    assert_eq!(event.wait(), Err(EIO));
    assert_eq!((inode(&file).mapping.nr_dirty(), inode(&file).size(), mapped(&file, 0)), (0, 0, IomapKind::Hole));
    stage.end([file]);
}
