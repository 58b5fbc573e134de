//! A17, A18: stores through shared mappings as far as the file system goes, and ranges of files synced. What a mapping stores is
//! written by the test, with the folio locked as a fault has it.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::iomap::{FolioLookup, IomapKind, RangeSync, StorePermit, prepare_store};
use fs::vfs::{self, File};
use std::sync::Arc;

const ALL: RangeSync = RangeSync { wait_before: true, write: true, wait_after: true };

fn prepare(file: &Arc<File>, index: u64) -> StorePermit {
    prepare_store(&inode(file), index).expect("there is room").expect("inside the file")
}

/// A store of one byte.
fn store(file: &Arc<File>, pos: usize, byte: u8) {
    let permit = prepare(file, (pos / BLOCK) as u64);
    let stored = permit.apply(|folio| folio.page().write_from(pos % BLOCK, &[byte]));
    assert_eq!(stored, FolioLookup::Valid(()));
}

/// MM-9, EXT-1, EXT-2, ERR-9: the holes of the page become unwritten blocks, the store makes them dirty; a store that never comes gives
/// back what was set aside for their conversion.
#[test]
fn mm_9_err_9_a_store_to_a_hole() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    truncate(&file, 2 * BLOCK as u64 + 100).expect("truncate");
    fsync(&file).expect("fsync");
    let free = stage.free_blocks();
    drop(prepare(&file, 0));
    assert!(matches!(mapped(&file, 1024), IomapKind::Unwritten(_)));
    assert_eq!(free - stage.free_blocks(), 4, "four blocks, and nothing set aside");
    store(&file, BLOCK + 1, 7);
    let node = inode(&file);
    let state = || node.mapping.get(1).expect("cached").state();
    assert!(state().dirty_in(0, 1) && state().dirty_in(3072, 1));
    store(&file, 2 * BLOCK, 8);
    assert!(matches!(mapped(&file, 2 * BLOCK as u64 + 1024), IomapKind::Hole), "no block past the end");
    assert!(!node.mapping.get(2).expect("cached").state().dirty_in(1024, 3072));
    drop(node);
    fsync(&file).expect("fsync");
    assert!(matches!(mapped(&file, BLOCK as u64), IomapKind::Mapped(_)));
    assert_eq!(read(&file, BLOCK as u64, 3), [0, 7, 0]);
    stage.end([file]);
}

/// MM-9, MAP-1: what was allocated for a store and is gone before it is looked at again is allocated again; past the new end there is
/// no store (MM-6).
#[test]
fn mm_9_map_1_a_truncate_between_the_steps() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    truncate(&file, 4 * BLOCK as u64).expect("truncate");
    let (first, last) = (prepare(&file, 0), prepare(&file, 3));
    truncate(&file, 0).expect("truncate");
    assert_eq!(first.apply(|_| ()), FolioLookup::PastEnd);
    truncate(&file, BLOCK as u64).expect("truncate");
    assert_eq!((first.apply(|_| ()), last.apply(|_| ())), (FolioLookup::Missing, FolioLookup::PastEnd));
    drop((first, last));
    assert!(prepare_store(&inode(&file), 1).expect("no error").is_none());
    store(&file, 0, 7);
    fsync(&file).expect("fsync");
    stage.drop_caches();
    assert_eq!(read(&file, 0, 2), [7, 0]);
    stage.end([file]);
}

/// STB-4: what was stable when the store was prepared is looked at again with the folio locked.
#[test]
fn stb4_a_write_through_between_the_steps() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let permit = prepare(&file, 0);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'a'; BLOCK]);
    assert_eq!(permit.apply(|_| ()), FolioLookup::Missing, "a store reached bytes in flight");
    drop(permit);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    store(&file, 0, b'm');
    fsync(&file).expect("fsync");
    assert_eq!(stage.on_disk(&file, 0, 2), b"ma");
    stage.end([file]);
}

/// FRZ-1, FRZ-2: a freeze waits for a store that has begun, and its sync takes along what was stored; the next one waits for the thaw.
#[test]
fn frz1_a_freeze_waits_for_stores() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let permit = prepare(&file, 0);
    let freezing = stage.spawn("freeze", {
        let sb = stage.sb.clone();
        move || sb.freeze().expect("freeze")
    });
    // Its outermost level is closed: it is under way.
    stage.until(|| vfs::FreezeGuard::try_enter(&stage.sb, vfs::FreezeLevel::Write).is_none());
    assert!(!freezing.has_exited());
    assert_eq!(permit.apply(|folio| folio.page().write_from(0, b"m")), FolioLookup::Valid(()));
    drop(permit);
    freezing.join();
    assert_eq!(stage.on_disk(&file, 0, 2), b"mo");
    let storing = stage.spawn("store", {
        let file = file.clone();
        move || store(&file, 1, b'n')
    });
    let writes = stage.requests(BioOp::Write);
    (0..100).for_each(|_| base::sched::yield_now());
    assert!(!storing.has_exited() && stage.requests(BioOp::Write) == writes);
    stage.sb.thaw().expect("thaw");
    storing.join();
    stage.end([file]);
}

/// MM-7, DUR-1: after a sync of the range what was stored in it survives a power cut.
#[test]
fn mm_7_a_synced_range_survives_a_cut() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    truncate(&file, 3 * BLOCK as u64).expect("truncate");
    (0..3).for_each(|page| store(&file, page * BLOCK + 5, 7));
    vfs::fsync_range(&file, BLOCK as u64..BLOCK as u64 + 1).expect("sync");
    let after = stage.cut().read("f");
    assert_eq!((after.len(), after[BLOCK + 4], after[BLOCK + 5]), (3 * BLOCK, 0, 7));
    assert_eq!((after[5], after[2 * BLOCK + 5]), (0, 0), "only the range was written");
    // Nothing is dirty, but a write-through has come: that takes a flush (DUR-11).
    assert_eq!(sync_wt(&file, BLOCK as u64, &[b'w'; BLOCK]), Ok(BLOCK));
    vfs::fsync_range(&file, BLOCK as u64..2 * BLOCK as u64).expect("sync");
    assert_eq!(stage.cut().read("f")[BLOCK + 5], b'w');
    stage.end([file]);
}

/// SYN-6: waits for the write-through in flight, its conversion included, and for what it writes itself; no flush, no commit.
#[test]
fn syn_6_sync_file_range_waits_and_promises_nothing() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, BLOCK as u64, &[b'd'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'a'; BLOCK]);
    let before = (stage.flushes(), stage.commits());
    vfs::sync_file_range(&file, 0..BLOCK as u64, RangeSync { write: true, ..RangeSync::default() }).expect("no wait");
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let syncing = stage.spawn("sync", {
        let file = file.clone();
        move || vfs::sync_file_range(&file, 0..2 * BLOCK as u64, ALL).expect("sync_file_range")
    });
    stage.until(|| waiting.is_reached() || syncing.has_exited());
    assert!(waiting.is_reached(), "it does not wait");
    waiting.release();
    stage.gate.open();
    syncing.join();
    assert!([0, BLOCK as u64].iter().all(|pos| matches!(mapped(&file, *pos), IomapKind::Mapped(_))));
    assert_eq!(stage.on_disk(&file, BLOCK as u64, 2), b"dd");
    assert_eq!((stage.flushes(), stage.commits()), before, "durability was not asked for");
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// SYN-6, ERR-6: who waited hears of an error, once.
#[test]
fn syn_6_an_error_is_reported_once() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'd'; BLOCK]), Ok(BLOCK));
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
    assert_eq!(vfs::sync_file_range(&file, 0..u64::MAX, ALL), Err(EIO));
    assert_eq!(vfs::sync_file_range(&file, 0..u64::MAX, ALL), Ok(()));
    assert_eq!(fsync(&file), Ok(()));
    stage.drop_caches();
    stage.end([file]);
}
