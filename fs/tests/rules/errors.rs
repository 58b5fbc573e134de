//! A11: what the outcome is, and what is left behind.
use crate::source::Pieces;
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use fs::caller::KernelCaller;
use fs::ext4::Ext4Fs;
use fs::iomap::IomapKind;
use fs::vfs::{self, File, OpenFlags};
use std::sync::Arc;

const DSYNC: u32 = 0x2;

/// A file system whose free blocks are full of the `S` of a deleted file.
fn stale_stage() -> Stage {
    let stage = Stage::new(4096);
    let file = stage.create("stale");
    let chunk = vec![b'S'; 1 << 20];
    let mut pos = 0;
    while let Ok(n) = write(&file, pos, &chunk) {
        pos += n as u64;
    }
    fsync(&file).expect("fsync");
    let root = stage.vfs.root();
    let site = vfs::Site { cwd: &root, caller: &KernelCaller };
    stage.vfs.unlink(site, b"stale").expect("unlink");
    vfs::fput(file);
    stage
}

fn is_dirty(file: &Arc<File>, index: u64) -> bool {
    inode(file).mapping.get(index).is_some_and(|folio| folio.state().dirty())
}

/// ERR-1, ERR-2: bytes before the bad address are written, to the byte; with none it is `EFAULT`, and no fsync hears of that.
#[test]
fn err1_err2_a_bad_address_is_a_short_count() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let bytes = [7; 3 * BLOCK];
    for (pos, readable) in [(0, 0), (100, 0), (0, 1), (4000, 5000), (1, BLOCK), (0, 2 * BLOCK)] {
        let expected = if readable == 0 { Err(Errno::EFAULT) } else { Ok(readable) };
        assert_eq!(aio_from(&file, pos, &mut Pieces::new(&bytes, readable), WT).wait(), expected);
        assert!(inode(&file).mapping.nr_dirty() == 0);
        stage.drop_caches();
        assert!(read(&file, pos, readable).iter().all(|byte| *byte == 7));
    }
    assert_eq!(inode(&file).size(), 9000);
    assert_eq!(fsync(&file), Ok(()));
    stage.end([file]);
}

/// ERR-1: an error of any bio wins over what other bios have written and over a short count.
#[test]
fn err1_an_error_of_the_device_wins_over_a_short_count() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let bytes = [7; 3 * BLOCK];
    let event = aio_from(&file, 0, &mut Pieces::new(&bytes, BLOCK + 10), WT);
    stage.gate.fail_held(stage.gate.held()[0].number, Errno::ENOSPC);
    assert_eq!(event.wait(), Err(Errno::ENOSPC));
    stage.end([file]);
}

/// ERR-1, R61: no space midway is a short count; every block that the extents do not explain is free again (ERR-9).
#[test]
fn r61_enospc_midway() {
    let stage = Stage::new(4096);
    let free = stage.free_blocks();
    let (filler, file) = (stage.create("filler"), stage.create("f"));
    while stage.free_blocks() > 75 {
        let pos = inode(&filler).size();
        assert_eq!(sync_wt(&filler, pos, &[1; 16 * BLOCK]), Ok(16 * BLOCK));
    }
    let written = sync_wt(&file, 0, &vec![2; 1 << 20]).expect("a short count");
    assert!(written > 0 && written < 1 << 20);
    assert_eq!((inode(&file).size(), disk_size(&file)), (written as u64, written as u64));
    // Less may fit where much did not: a smaller write needs less set aside for its conversion.
    let full = (0..).map(|_| sync_wt(&file, inode(&file).size(), &[3; BLOCK])).find(|outcome| *outcome != Ok(BLOCK));
    assert_eq!(full, Some(Err(Errno::ENOSPC)));
    assert_eq!(inode(&file).size(), disk_size(&file));
    assert_eq!(fsync(&file), Ok(()), "a full disk is no failed write");
    for file in [&filler, &file] {
        truncate(file, 0).expect("truncate");
    }
    assert_eq!(stage.free_blocks(), free);
    stage.end([filler, file]);
}

/// ERR-9, ERR-10: a write that fails before its first byte leaves no folio, no size, and nothing set aside; the blocks it was given
/// stay UNWRITTEN.
#[test]
fn err9_err10_a_failure_before_the_first_byte_leaves_nothing() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let free = stage.free_blocks();
    let bytes = [7; 4 * BLOCK];
    assert_eq!(aio_from(&file, 0, &mut Pieces::new(&bytes, 0), WT).wait(), Err(Errno::EFAULT));
    assert_eq!((inode(&file).size(), inode(&file).mapping.nr_pages()), (0, 0));
    let allocated = vfs::stat(&inode(&file)).blocks_512 / 8;
    assert_eq!(stage.free_blocks() + allocated, free, "blocks are set aside for a conversion that will not come");
    assert!((0..allocated).all(|b| matches!(mapped(&file, b * BLOCK as u64), IomapKind::Unwritten(_))));
    assert_eq!(vfs::write_at(&file, 0, 0, &mut Pieces::new(&bytes, 0), &KernelCaller), Err(Errno::EFAULT));
    assert_eq!(stage.free_blocks() + allocated, free, "the same for a buffered write");
    stage.end([file]);
}

/// WT-4, ERR-3, FS-10: the blocks are dirty again before writeback ends, and readers keep the new bytes. ERR-6: the issuer and one fsync
/// hear of it. ERR-7, ERR-8: nothing is converted, d_size stays, i_size stays. And then ordinary writeback makes all of it good.
#[test]
fn err3_err7_err8_a_failed_write_is_dirty_again() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let redirtied = stop("F2.redirtied", &file);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'n'; BLOCK]);
    stage.gate.fail_held(stage.gate.held()[0].number, EIO);
    redirtied.wait_reached();
    let state = inode(&file).mapping.get(0).expect("cached").state();
    assert!(state.dirty() && state.writeback(), "not dirty before writeback ends");
    redirtied.release();
    assert_eq!(event.wait(), Err(EIO));
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), [b'n'; BLOCK]);
    assert!(matches!(mapped(&file, 0), IomapKind::Unwritten(_)));
    assert_eq!((inode(&file).size(), disk_size(&file)), (BLOCK as u64, 0));
    assert_eq!(fsync(&file), Err(EIO));
    assert_eq!(fsync(&file), Ok(()));
    assert_eq!((stage.on_disk(&file, 0, BLOCK), disk_size(&file)), (vec![b'n'; BLOCK], BLOCK as u64));
    stage.end([file]);
}

/// ERR-4, ERR-12, R60: when writeback of the blocks fails too they become clean, nobody tries again, and what is read then is zeros
/// and never what the blocks held before.
#[test]
fn err4_r60_fail_then_stale() {
    let stage = stale_stage();
    let file = stage.create("f");
    stage.gate.fail(Filter::any().op(BioOp::Write).times(2), EIO);
    assert_eq!(aio_wt(&file, 0, &[b'n'; BLOCK]).wait(), Err(EIO));
    assert!(is_dirty(&file, 0));
    fs::iomap::write_and_wait(&inode(&file), 0..u64::MAX).expect("errors come to fsync");
    assert!(!is_dirty(&file, 0), "an endless retry");
    let before = stage.requests(BioOp::Write);
    fs::iomap::write_and_wait(&inode(&file), 0..u64::MAX).expect("nothing to write");
    assert_eq!(stage.requests(BioOp::Write), before);
    assert_eq!(fsync(&file), Err(EIO));
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), [0; BLOCK]);
    stage.end([file]);
}

/// ERR-12, R59: over data of this file a failed write leaves the old data on the disk, and the cache says what was written.
#[test]
fn err12_a_failed_overwrite_keeps_the_old_data_on_the_disk() {
    let stage = stale_stage();
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 2 * BLOCK]), Ok(2 * BLOCK));
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
    assert_eq!(sync_wt(&file, BLOCK as u64, &[b'n'; 2 * BLOCK]), Err(EIO));
    assert_eq!(stage.on_disk(&file, BLOCK as u64, BLOCK), [b'o'; BLOCK]);
    let expected = [vec![b'o'; BLOCK], vec![b'n'; 2 * BLOCK]].concat();
    assert_eq!(read(&file, 0, 3 * BLOCK), expected);
    assert_eq!(fsync(&file), Err(EIO));
    stage.drop_caches();
    assert_eq!(read(&file, 0, 3 * BLOCK), expected);
    stage.end([file]);
}

/// ERR-5, SUB-5: after the error of an earlier bio nothing more is sent; what is marked and not sent is dirty again and at rest.
#[test]
fn err5_sub5_nothing_is_sent_after_an_error() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 4 * BLOCK]), Ok(4 * BLOCK));
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
    let (gate, before) = (stage.gate.clone(), stage.gate.log().len());
    let bytes = [b'n'; 4 * BLOCK];
    // While the third page is faulted in, the bio of the first fails; the second is marked by then, and sent.
    let mut source = Pieces::new(&bytes, bytes.len()).on_fault(|at| {
        if at == 2 * BLOCK {
            gate.wait_completed(before + 2);
        }
    });
    assert_eq!(aio_from(&file, 0, &mut source, WT).wait(), Err(EIO));
    drop(source);
    assert_eq!(gate.log().len(), before + 2, "sent after an error");
    let marked = (0..3).all(|i| is_dirty(&file, i));
    let at_rest = (0..4).all(|i| !inode(&file).mapping.get(i).expect("cached").state().writeback());
    assert!(marked && at_rest && !is_dirty(&file, 3));
    assert_eq!(fsync(&file), Err(EIO));
    assert_eq!(stage.on_disk(&file, 2 * BLOCK as u64, BLOCK), [b'n'; BLOCK]);
    drop(gate);
    stage.end([file]);
}

/// ERR-6, R58: each description hears of an error once, whoever opened it; one opened after it was told to somebody does not.
#[test]
fn r58_errseq_two_fds() {
    let stage = Stage::new(4096);
    let (first, second, third) = (stage.create("f"), stage.open("f", OpenFlags::empty()), stage.create("f"));
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
    assert_eq!(sync_wt(&third, 0, &[1; BLOCK]), Err(EIO));
    let unheard = stage.open("f", OpenFlags::empty());
    assert_eq!([fsync(&first), fsync(&second), fsync(&first)], [Err(EIO), Err(EIO), Ok(())]);
    assert_eq!(fsync(&unheard), Err(EIO), "opened before anybody had heard of it");
    let late = stage.open("f", OpenFlags::empty());
    assert_eq!(fsync(&late), Ok(()));
    assert_eq!([vfs::syncfs(&third), vfs::syncfs(&third)], [Err(EIO), Ok(())]);
    vfs::fput(unheard);
    vfs::fput(late);
    vfs::fput(second);
    vfs::fput(third);
    stage.end([first]);
}

/// ERR-1, DUR-9: the flush that was owed fails: the outcome is its error, and fsync hears of it.
#[test]
fn err1_a_failed_flush_is_the_outcome() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.gate.fail(Filter::any().op(BioOp::Flush).nth(1), EIO);
    assert_eq!(aio_write(&file, 0, &[b'n'; BLOCK], WT | DSYNC).wait(), Err(EIO));
    assert_eq!(fsync(&file), Err(EIO));
    stage.abandon([file]);
}

/// ERR-1, ERR-7, SHD-2: the device has the bytes and the conversion fails: the outcome is that error, folios are at rest and dirty.
#[test]
fn err1_a_failed_conversion_is_the_outcome() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    Ext4Fs::of(&stage.sb).corrupt("a block that a test names", 7);
    stage.gate.open();
    assert_eq!(event.wait(), Err(Errno::EROFS));
    let state = inode(&file).mapping.get(0).expect("cached").state();
    assert!(state.dirty() && !state.writeback());
    assert_eq!(disk_size(&file), 0);
    stage.abandon([file]);
}

/// R76: a block is redirtied after a failed write, and rewritten before writeback has ended: the newer bytes reach the disk.
#[test]
fn r76_redirty_vs_rewrite() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let redirtied = stop("F2.redirtied", &file);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'a'; BLOCK]);
    stage.gate.fail_held(stage.gate.held()[0].number, EIO);
    redirtied.wait_reached();
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(write(&file, 0, &[b'b'; BLOCK]), Ok(BLOCK))
    });
    waiting.wait_reached();
    waiting.release();
    redirtied.release();
    assert_eq!(event.wait(), Err(EIO));
    writing.join();
    fs::iomap::write_and_wait(&inode(&file), 0..u64::MAX).expect("writeback");
    assert_eq!(stage.on_disk(&file, 0, BLOCK), [b'b'; BLOCK]);
    stage.end([file]);
}
