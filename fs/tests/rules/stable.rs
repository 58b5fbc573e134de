//! A9: from the start of its writeback to F2 no byte of a write-through changes.
use crate::source::WriteProtected;
use crate::stage::*;
use base::block::{BioOp, Filter};
use std::sync::Arc;

/// Starts `rival` while a write-through of the first block is at the device; sees that it waits and that the bytes on their way are
/// what they were, and lets both end.
fn waits_for_write_through(file_is: usize, rival: impl FnOnce(&Arc<fs::vfs::File>) + Send + 'static) -> Vec<u8> {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &vec![b'o'; file_is]), Ok(file_is));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'a'; 100]);
    let held = stage.gate.held()[0].clone();
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let task = stage.spawn("rival", {
        let file = file.clone();
        move || rival(&file)
    });
    stage.until(|| waiting.is_reached() || task.has_exited());
    assert!(waiting.is_reached(), "it does not wait");
    waiting.release();
    let mut in_flight = vec![0; BLOCK];
    inode(&file).mapping.get(0).expect("cached").page().read_into(0, &mut in_flight);
    let mut sent = vec![b'o'; file_is];
    sent[..100].fill(b'a');
    sent.resize(BLOCK, 0);
    assert_eq!(in_flight, sent, "bytes in flight were changed (STB-1)");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(100));
    task.join();
    assert_eq!(stage.gate.log()[held.number].completion.map(|(_, status)| status), Some(Ok(())));
    let content = read(&file, 0, BLOCK);
    fsync(&file).expect("fsync");
    stage.drop_caches();
    assert_eq!(read(&file, 0, BLOCK), content);
    stage.end([file]);
    content
}

/// STB-1, STB-5, FS-6, BUF-4: a buffered write waits, and is written later.
#[test]
fn stb1_stb5_a_buffered_write_waits() {
    let content = waits_for_write_through(BLOCK, |file| assert_eq!(write(file, 50, b"m"), Ok(1)));
    assert_eq!((content[49], content[50]), (b'a', b'm'));
}

/// STB-1, STB-5, FS-6: another write-through waits.
#[test]
fn stb1_stb5_a_second_write_through_waits() {
    let content = waits_for_write_through(BLOCK, |file| assert_eq!(sync_wt(file, 50, b"w"), Ok(1)));
    assert_eq!((content[49], content[50]), (b'a', b'w'));
}

/// STB-1, STB-5: the zeroing behind the old end, before a write further on, waits.
#[test]
fn stb1_stb5_zeroing_the_gap_waits() {
    // In another folio, so that nothing else waits for this one.
    let content = waits_for_write_through(200, |file| assert_eq!(write(file, 5000, b"e"), Ok(1)));
    assert_eq!((content.len(), content[199], content[200]), (BLOCK, b'o', 0));
}

/// STB-2, R74: a write to another folio of the file waits neither for the folio nor for the count.
#[test]
fn r74_mixed_wait_queue() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 10 * BLOCK]), Ok(10 * BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'a'; BLOCK]);
    let waits = [base::lab::stop_at("folio.wait_writeback").arm(), stop("drain.before_sleep", &file)];
    assert_eq!(write(&file, 9 * BLOCK as u64, &[b'b'; 100]), Ok(100));
    assert!(waits.iter().all(|wait| !wait.is_reached()));
    drop(waits);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// STB-3, R21: the device's own need for stable pages outlives a write-through.
#[test]
fn r21_stable_permanent_cleared() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    inode(&file).mapping.set_always_stable();
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    assert_eq!(write(&file, 0, &[b'a'; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    fs::iomap::write_range(&inode(&file), 0..u64::MAX, false).expect("writeback");
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(write(&file, 0, b"m"), Ok(1))
    });
    stage.until(|| waiting.is_reached() || writing.has_exited());
    assert!(waiting.is_reached(), "the page of a device that needs it stable was changed");
    waiting.release();
    stage.gate.open();
    writing.join();
    stage.end([file]);
}

/// STB-4 as far as the cache goes: write protection is given before the dirty bits are cleared, so that the next store has to fault;
/// and STB-6, BUF-1: readers wait for nothing.
#[test]
fn stb4_stb6_mappings_are_write_protected_and_readers_do_not_wait() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let mappings = Arc::new(WriteProtected::default());
    inode(&file).mapping.update_reverse_map(|slot| *slot = Some(mappings.clone()));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'a'; BLOCK]);
    assert_eq!(mappings.indices(), [0]);
    assert_eq!(read(&file, 0, BLOCK), [b'a'; BLOCK]);
    let mut seen = vec![0; BLOCK];
    let found = fs::iomap::with_valid_folio(&inode(&file), 0, |folio| folio.page().read_into(0, &mut seen));
    assert_eq!((found, seen), (fs::iomap::FolioLookup::Valid(()), vec![b'a'; BLOCK]));
    inode(&file).mapping.update_reverse_map(|slot| *slot = None);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// MM-2, R22, R23: what a mapping has stored in other blocks of the folio is dirty after the write-through and reaches the disk.
#[test]
fn r23_pte_dirty_other_block() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let folio = inode(&file).mapping.get(0).expect("cached");
    folio.page().write_from(3072, b"m");
    inode(&file).mapping.update_reverse_map(|slot| *slot = Some(Arc::new(WriteProtected::dirty())));
    assert_eq!(sync_wt(&file, 0, &[b'n'; 1024]), Ok(1024));
    inode(&file).mapping.update_reverse_map(|slot| *slot = None);
    assert!(!folio.state().dirty_in(0, 1024) && folio.state().dirty_in(3072, 1024));
    drop(folio);
    fsync(&file).expect("fsync");
    stage.drop_caches();
    assert_eq!(read(&file, 3072, 2), b"mo");
    stage.end([file]);
}

/// STB-8: a device that reads into a pinned page of the file changes bytes in flight without a fault. They may reach the disk; the
/// write ends as it should, and what was stored is written once whoever pinned the page says that it is dirty.
#[test]
fn stb8_bytes_changed_through_a_pin_break_nothing() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'a'; BLOCK]);
    let pinned = inode(&file).mapping.get(0).expect("cached");
    pinned.page().write_from(7, b"p");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    inode(&file).mapping.find_locked(0).expect("cached").mark_dirty(0, BLOCK);
    drop(pinned);
    fsync(&file).expect("fsync");
    assert_eq!(stage.on_disk(&file, 6, 3), b"apa");
    stage.end([file]);
}
