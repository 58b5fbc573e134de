//! A4 and A5: what is sent, when, and what is zero around it.
use crate::source::{Doomed, Pieces, WriteProtected};
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use fs::io::SliceSource;
use fs::iomap::IomapKind;
use fs::vfs::{self, OpenFlags};

/// SUB-1, EOF-1, R15: until the bytes are marked for the device nobody sees them through the size; from then on they are under writeback.
#[test]
fn sub1_bytes_are_published_and_marked_in_one_hold_of_the_folio_lock() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let (copied, sending) = (stop("S-8", &file), stop("S-9", &file));
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[1; 100]), Ok(100))
    });
    copied.wait_reached();
    let folio = inode(&file).mapping.get(0).expect("the folio is there");
    assert!(folio.state().locked() && !folio.state().writeback());
    assert_eq!((inode(&file).size(), read(&file, 0, BLOCK)), (0, vec![]));
    copied.release();
    sending.wait_reached();
    let state = folio.state();
    assert!(state.writeback() && state.wt() && !state.dirty() && !state.locked());
    assert_eq!((inode(&file).size(), read(&file, 0, BLOCK)), (100, vec![1; 100]));
    sending.release();
    writing.join();
    stage.end([file]);
}

/// SUB-2, WT-7: what others have stored in the block before goes along, and the block is clean after.
#[test]
fn sub2_what_the_cache_holds_is_sent() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'b'; 1000]), Ok(1000));
    assert_eq!(sync_wt(&file, 500, &[b'w'; 100]), Ok(100));
    let expected = [vec![b'b'; 500], vec![b'w'; 100], vec![b'b'; 400]].concat();
    assert_eq!(stage.on_disk(&file, 0, 1000), expected);
    assert_eq!(inode(&file).mapping.nr_dirty(), 0);
    stage.end([file]);
}

/// SUB-3, SUB-4: bios keep to the extents they were mapped with and to the limits of the device (which the disk checks).
#[test]
fn sub3_sub4_bios_keep_to_extents_and_limits() {
    const BLOCKS: usize = 700;
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 100 * 1024, &[1; 10 * 1024]), Ok(10 * 1024));
    let before = stage.gate.log().len();
    assert_eq!(sync_wt(&file, 0, &[2; BLOCKS * 1024]), Ok(BLOCKS * 1024));
    let writes: Vec<_> = stage.gate.log()[before..].iter().filter(|r| r.op == BioOp::Write).cloned().collect();
    assert_eq!(writes.iter().map(|r| r.len_bytes).sum::<u64>(), BLOCKS as u64 * 1024);
    let mine = |sector: u64| (0..BLOCKS).any(|b| mapped(&file, b as u64 * 1024) == at_sector(sector));
    assert!(writes.iter().all(|r| mine(r.sector.0) && mine(r.end_sector().0 - 2)), "{writes:?}");
    stage.end([file]);
}

fn at_sector(sector: u64) -> IomapKind {
    IomapKind::Mapped(base::block::Sector(sector))
}

/// SUB-6: a fatal signal ends the write between folios: what was done counts, nothing done is `EINTR`.
#[test]
fn sub6_a_fatal_signal_ends_between_folios() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let write = |caller: &Doomed| vfs::write_at(&file, 0, WT, &mut SliceSource::new(&[1; 4 * BLOCK]), caller);
    assert_eq!(write(&Doomed::after(0)), Err(Errno::EINTR));
    assert_eq!(inode(&file).size(), 0);
    assert_eq!(write(&Doomed::after(2)), Ok(2 * BLOCK));
    assert_eq!(stage.on_disk(&file, BLOCK as u64, BLOCK), [1; BLOCK]);
    stage.end([file]);
}

/// ALN-2, ALN-4, FS-1: a block written wholly is not read before, and the other blocks of its folio are left alone.
#[test]
fn aln2_aln4_only_the_blocks_of_the_range_are_touched() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.drop_caches();
    let before = stage.gate.log().len();
    assert_eq!(sync_wt(&file, 1024, &[b'n'; 1024]), Ok(1024));
    let log: Vec<_> = stage.gate.log()[before..].iter().map(|r| (r.op, r.len_bytes)).collect();
    assert_eq!(log, [(BioOp::Write, 1024)]);
    let state = inode(&file).mapping.get(0).expect("cached").state();
    assert!(state.uptodate_in(1024, 1024) && !state.uptodate_in(0, 1) && !state.uptodate_in(2048, 1) && !state.dirty());
    stage.end([file]);
}

/// ALN-1, ALN-3, FS-2: the rest of a block covered in part is read if it has data in the file, else zero; an unreadable one fails
/// the write before anything is changed.
#[test]
fn aln1_aln3_partial_blocks_are_read_or_zeroed() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.drop_caches();
    stage.gate.fail(Filter::any().op(BioOp::Read).nth(1), EIO);
    assert_eq!(sync_wt(&file, 101, &[b'n'; 7]), Err(EIO));
    stage.gate.clear_rules();
    assert_eq!(stage.on_disk(&file, 0, BLOCK), [b'o'; BLOCK]);
    assert_eq!(fsync(&file), Ok(()), "nothing was written, so no write has failed (ERR-6)");
    assert_eq!(sync_wt(&file, 101, &[b'n'; 7]), Ok(7));
    assert_eq!(sync_wt(&file, 2 * BLOCK as u64 + 33, &[b'n'; 5]), Ok(5));
    let mut expected = vec![b'o'; BLOCK];
    expected[101..108].fill(b'n');
    expected.resize(2 * BLOCK + 33, 0);
    expected.extend([b'n'; 5]);
    stage.drop_caches();
    assert_eq!(read(&file, 0, 3 * BLOCK), expected);
    stage.end([file]);
}

/// ALN-5, EOF-1, EOF-2: a size is where the bytes end and not where the block does; what stands behind is zero on the device.
#[test]
fn aln5_eof1_eof2_the_end_is_where_the_bytes_end() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 5000, &[7; 1]), Ok(1));
    assert_eq!((inode(&file).size(), disk_size(&file)), (5001, 5001));
    let mut expected = [0; BLOCK];
    expected[5000 - BLOCK] = 7;
    assert_eq!(stage.on_disk(&file, BLOCK as u64, BLOCK), expected);
    stage.end([file]);
}

/// EOF-3, CHK-7: the gap of a write behind the end reads as zeros, and whole blocks of it stay holes.
#[test]
fn eof3_the_gap_is_zeros_and_holes() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[1; 100]), Ok(100));
    // A mapping has stored behind the end meanwhile.
    inode(&file).mapping.get(0).expect("cached").page().write_from(200, b"zzz");
    assert_eq!(sync_wt(&file, 3 * BLOCK as u64, &[2; 10]), Ok(10));
    let expected = [vec![1; 100], vec![0; 3 * BLOCK - 100], vec![2; 10]].concat();
    assert_eq!(read(&file, 0, 4 * BLOCK), expected);
    assert_eq!(mapped(&file, BLOCK as u64), IomapKind::Hole);
    fsync(&file).expect("fsync");
    stage.drop_caches();
    assert_eq!(read(&file, 0, 4 * BLOCK), expected);
    stage.end([file]);
}

/// EOF-4, R24: what a mapping stored behind the end reaches neither the device nor the file when it grows.
#[test]
fn r24_eof_pollution() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[1; 100]), Ok(100));
    inode(&file).mapping.get(0).expect("cached").page().write_from(200, b"z");
    assert_eq!(sync_wt(&file, 50, &[2; 10]), Ok(10));
    assert_eq!(stage.on_disk(&file, 100, BLOCK - 100), vec![0; BLOCK - 100]);
    inode(&file).mapping.get(0).expect("cached").page().write_from(300, b"z");
    truncate(&file, BLOCK as u64).expect("a longer file");
    assert_eq!(read(&file, 100, BLOCK), vec![0; BLOCK - 100]);
    fsync(&file).expect("fsync");
    assert_eq!(stage.on_disk(&file, 100, BLOCK - 100), vec![0; BLOCK - 100]);
    stage.end([file]);
}

/// EOF-5: when the end moves out of a page that is mapped, the mapping loses write access, so that the next store asks for its block.
#[test]
fn eof5_the_old_last_page_loses_write_access() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[1; 1024]), Ok(1024));
    // What a fault does: only a page that is valid as a whole is mapped.
    assert!(fs::iomap::fault_folio(&inode(&file), 0).expect("no device is asked").is_some());
    let mappings = std::sync::Arc::new(WriteProtected::default());
    inode(&file).mapping.update_reverse_map(|slot| *slot = Some(mappings.clone()));
    assert_eq!(sync_wt(&file, 3 * BLOCK as u64, &[2; 1024]), Ok(1024));
    assert_eq!(mappings.indices()[0], 0, "the page at the old end comes first");
    inode(&file).mapping.update_reverse_map(|slot| *slot = None);
    stage.end([file]);
}

/// EOF-6: a dirty folio wholly behind the end, the rest of an extension that failed, is dropped and not written.
#[test]
fn eof6_a_folio_past_the_end_is_dropped() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[1; BLOCK]), Ok(BLOCK));
    inode(&file).mapping.find_or_create(5).expect("memory").mark_dirty(0, BLOCK);
    let before = stage.requests(BioOp::Write);
    fs::iomap::write_and_wait(&inode(&file), 0..u64::MAX).expect("writeback");
    assert_eq!(stage.requests(BioOp::Write), before);
    assert_eq!((inode(&file).mapping.nr_pages(), inode(&file).mapping.nr_dirty()), (1, 0));
    assert_eq!(mapped(&file, 5 * BLOCK as u64), IomapKind::Hole);
    stage.end([file]);
}

/// LOCK-6, R26: when the source has to be faulted in, what is marked has been sent: another task may hold the page until then.
#[test]
fn r26_unsubmitted_wb_deadlock() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let bytes = [1; 3 * BLOCK];
    let (mapping, gate) = (inode(&file).mapping.clone(), stage.gate.clone());
    let before = gate.log().len();
    let mut source = Pieces::new(&bytes, bytes.len()).on_fault(|at| {
        let sent: u64 = gate.log()[before..].iter().filter(|r| r.op == BioOp::Write).map(|r| r.len_bytes).sum();
        assert_eq!(sent, at as u64, "bytes are marked and not sent while the source is faulted in");
        let locked = (0..3).filter_map(|i| mapping.get(i)).any(|folio| folio.state().locked());
        assert!(!locked, "a folio is locked while the source is faulted in");
    });
    assert_eq!(aio_from(&file, 0, &mut source, WT).wait(), Ok(bytes.len()));
    drop(source);
    drop(mapping);
    stage.end([file]);
}

/// FLAG-4, S-1: a write whose flags are validated holds nothing yet: the file system freezes and thaws, a truncate comes and goes, and the
/// flags of the description change. It goes on with the flags that it has sampled, on the file as it is then.
#[test]
fn flag4_nothing_is_held_once_the_flags_are_validated() {
    let stage = Stage::new(4096);
    let file = stage.open("f", OpenFlags::CREAT | OpenFlags::APPEND);
    assert_eq!(write(&file, 0, &[1; 2 * BLOCK]), Ok(2 * BLOCK));
    let validated = stop("S-1", &file);
    let appending = stage.spawn("append", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, 0, &[2; BLOCK]), Ok(BLOCK))
    });
    validated.wait_reached();
    assert_eq!(stage.sb.freeze_holders(), 0);
    stage.sb.freeze().and_then(|()| stage.sb.thaw()).expect("the file system freezes");
    truncate(&file, BLOCK as u64).expect("truncate");
    file.set_flags(OpenFlags::empty());
    validated.release();
    appending.join();
    assert_eq!(read(&file, 0, 4 * BLOCK), [[1; BLOCK], [2; BLOCK]].concat());
    stage.end([file]);
}
