//! Commits against writes and their finishes: the journal waits for no data, and no finish waits for the journal.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::caller::KernelCaller;
use fs::ext4::Ext4Fs;
use fs::iomap::DrainKind;
use fs::vfs::{self, FallocMode, File, Site, SyncKind, Vfs};
use std::sync::Arc;

const WT_DSYNC: u32 = WT | 2;
/// What a change of names asks for.
const MKDIR_CREDITS: u32 = 40;

fn make_directory(vfs: &Vfs, n: u32) {
    let root = vfs.root();
    let site = Site { cwd: &root, caller: &KernelCaller };
    vfs.mkdir(site, format!("d{n}").as_bytes(), 0o755).expect("a directory");
}

fn fsync(file: &Arc<File>) -> base::Result<()> {
    file.ops().fsync(file, SyncKind::All)
}

fn flushes(stage: &Stage) -> usize {
    stage.gate.log().iter().filter(|request| request.op == BioOp::Flush).count()
}

/// Waits until F4 of everything on `file` is done.
fn wait_drained(stage: &Stage, file: &Arc<File>) {
    stage.until(|| inode(file).drain.count(DrainKind::Writethrough) == 0);
}

/// R47: a commit stands still at the device and the running transaction is full, so that nobody can begin an ordinary change. The
/// finish of a write-through that was submitted before converts, posts its event, and lets a truncate go.
#[test]
fn r47_commit_waits_finish() {
    let stage = Stage::new(4096);
    let (file, other) = (stage.create("f"), stage.create("g"));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[b'n'; BLOCK]);
    stage.gate.wait_held(1);
    let data = stage.gate.held()[0].number;
    // A commit, held at its first write to the log.
    stage.gate.hold(stage.log_blocks().op(BioOp::Write).nth(1));
    let committing = stage.spawn("fsync", {
        let other = other.clone();
        move || assert_eq!(fsync(&other), Ok(()))
    });
    stage.gate.wait_held(2);
    // Changes until the next transaction has no room: the last one waits for the commit.
    let filling = stage.spawn("fill", {
        let vfs = stage.vfs.clone();
        move || (0..500).for_each(|n| make_directory(&vfs, n))
    });
    let txn = &Ext4Fs::of(&stage.sb).txn;
    stage.until(|| txn.room() < MKDIR_CREDITS);
    stage.gate.release(data);
    assert_eq!(event.wait(), Ok(BLOCK), "the finish waited for the log");
    assert!(!committing.has_exited());
    wait_drained(&stage, &file);
    stage.gate.open();
    committing.join();
    filling.join();
    stage.end([file, other]);
}

/// CMP-10, QUE-5: F1 to F4 of a plain write-through end while the F5 of another waits for the device; so does a truncate's drain.
#[test]
fn r46_worker_self_deadlock() {
    let stage = Stage::new(4096);
    let (durable, plain) = (stage.create("durable"), stage.create("plain"));
    stage.gate.hold(stage.log_blocks().op(BioOp::Write).nth(1));
    let first = aio_write(&durable, 0, &[b'd'; BLOCK], WT_DSYNC);
    stage.gate.wait_held(1);
    let second = aio_wt(&plain, 0, &[b'p'; BLOCK]);
    assert_eq!(second.wait(), Ok(BLOCK), "a finish waited behind a commit");
    let third = aio_wt(&durable, BLOCK as u64, &[b'p'; BLOCK]);
    assert_eq!(third.wait(), Ok(BLOCK), "on the same inode");
    assert!(!first.is_posted());
    stage.gate.open();
    assert_eq!(first.wait(), Ok(BLOCK));
    stage.end([durable, plain]);
}

/// R54: the event of an extending WT+DSYNC comes after its commit block and the flush behind that, not before.
#[test]
fn r54_dsync_event_before_commit() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(fsync(&file), Ok(()));
    let before = flushes(&stage);
    stage.gate.hold(stage.log_blocks().op(BioOp::Write).nth(2));
    stage.gate.hold(Filter::any().op(BioOp::Flush).nth(2));
    let event = aio_write(&file, 0, &[b'n'; BLOCK], WT_DSYNC);
    stage.gate.wait_held(1);
    assert_eq!(flushes(&stage), before + 1, "the commit block goes out after a flush");
    assert!(!event.is_posted(), "posted before the commit block");
    stage.gate.release(stage.gate.held()[0].number);
    stage.gate.wait_held(1);
    assert_eq!(stage.gate.held()[0].op, BioOp::Flush);
    assert!(!event.is_posted(), "posted before the flush behind the commit block");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// R53: the block is mapped by now, but the transaction that made it so is not durable: a flush alone would not do. Once it is, the flush
/// does (DUR-4).
#[test]
fn r53_fua_with_pending_metadata() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'1'; BLOCK]), Ok(BLOCK));
    let log = stage.log_blocks();
    let before = flushes(&stage);
    stage.gate.hold(log.clone().op(BioOp::Write).nth(1));
    let event = aio_write(&file, 0, &[b'2'; BLOCK], WT_DSYNC);
    stage.until(|| event.is_posted() || !stage.gate.held().is_empty());
    assert!(!event.is_posted(), "a flush alone was taken for enough");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!(flushes(&stage), before + 2, "a commit has two flushes");
    stage.gate.hold(log.op(BioOp::Write));
    assert_eq!(aio_write(&file, 0, &[b'3'; BLOCK], WT_DSYNC).wait(), Ok(BLOCK), "nothing to commit any more");
    assert_eq!(flushes(&stage), before + 3, "one flush for a pure overwrite");
    stage.gate.open();
    stage.end([file]);
}

/// R53: what is pending is the size. A plain write makes the file longer; an overwrite in the same block, mapped while all was durable,
/// waits for its writeback and so for its finish, which raises d_size. The overwrite's last byte is reached only when that is committed.
#[test]
fn r53_size_pending_of_the_write_that_was_waited_for() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'1'; 1000]), Ok(1000));
    assert_eq!(fsync(&file), Ok(()));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let longer = aio_wt(&file, 1000, &[b'2'; 1000]);
    stage.gate.wait_held(1);
    let waiting = base::lab::stop_at("folio.wait_writeback").id(0).arm();
    let overwriting = stage.spawn("overwrite", {
        let file = file.clone();
        move || assert_eq!(aio_write(&file, 1000, &[b'3'; 900], WT_DSYNC).wait(), Ok(900))
    });
    waiting.wait_reached();
    stage.gate.open();
    assert_eq!(longer.wait(), Ok(1000));
    waiting.release();
    overwriting.join();
    let expected = [[b'1'; 1000].as_slice(), &[b'3'; 900]].concat();
    let found = stage.cut().read("f");
    assert!(found.starts_with(&expected), "told as durable, and {} bytes are there", found.len());
    stage.end([file]);
}

/// R55: half of the range is mapped, half is not: the whole call takes the full way.
#[test]
fn r55_dsync_mixed_extents() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'1'; BLOCK]), Ok(BLOCK));
    assert_eq!(fsync(&file), Ok(()));
    stage.gate.hold(stage.log_blocks().op(BioOp::Write).nth(1));
    let event = aio_write(&file, 0, &[b'2'; 2 * BLOCK], WT_DSYNC);
    stage.gate.wait_held(1);
    assert!(!event.is_posted());
    stage.gate.open();
    assert_eq!(event.wait(), Ok(2 * BLOCK));
    stage.end([file]);
}

/// DUR-8: those who wait while a commit is under way share the next one.
#[test]
fn dur8_waiters_share_a_commit() {
    let stage = Stage::new(4096);
    let files: Vec<_> = (0..9).map(|n| stage.create(&format!("f{n}"))).collect();
    assert_eq!(fsync(&files[0]), Ok(()));
    let before = flushes(&stage);
    stage.gate.hold(stage.log_blocks().op(BioOp::Write).nth(1));
    let first = aio_write(&files[0], 0, &[b'n'; BLOCK], WT_DSYNC);
    stage.gate.wait_held(1);
    let events: Vec<_> = files[1..].iter().map(|file| aio_write(file, 0, &[b'n'; BLOCK], WT_DSYNC)).collect();
    files[1..].iter().for_each(|file| wait_drained(&stage, file));
    stage.gate.open();
    assert_eq!(first.wait(), Ok(BLOCK));
    events.iter().for_each(|event| assert_eq!(event.wait(), Ok(BLOCK)));
    assert_eq!(flushes(&stage), before + 4, "eight writers have one commit");
    stage.end(files);
}

/// R50: the bio has ended, the conversion has not happened: an fsync in between waits for it, and commits it.
#[test]
fn r50_fsync_between_bio_and_convert() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let at_f1 = stop("F1", &file);
    let event = stage.worker_wt(&file, 0, &[b'n'; BLOCK]);
    at_f1.wait_reached();
    let syncing = stage.spawn("fsync", {
        let file = file.clone();
        move || assert_eq!(fsync(&file), Ok(()))
    });
    for _ in 0..1000 {
        assert!(!syncing.has_exited(), "returned before the data could be read back");
        base::sched::yield_now();
    }
    at_f1.release();
    syncing.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    let after = stage.cut();
    assert_eq!(after.read("f"), [b'n'; BLOCK], "lost by a cut after the fsync");
    stage.end([file]);
}

/// An error on the log ends all changes, and says so; what was durable before is recovered by the next mount.
#[test]
fn dur9_an_error_on_the_log_keeps_what_was_durable() {
    for op in [BioOp::Write, BioOp::Flush] {
        let stage = Stage::new(4096);
        let file = stage.create("f");
        assert_eq!(sync_wt(&file, 0, &[b'1'; BLOCK]), Ok(BLOCK));
        assert_eq!(fsync(&file), Ok(()));
        assert_eq!(sync_wt(&file, BLOCK as u64, &[b'2'; BLOCK]), Ok(BLOCK));
        let filter = if op == BioOp::Write { stage.log_blocks().op(op) } else { Filter::any().op(op) };
        stage.gate.fail(filter.times(1), EIO);
        assert_eq!(fsync(&file), Err(EIO));
        assert!(stage.sb.is_read_only());
        assert_eq!(sync_wt(&file, 0, &[b'3'; BLOCK]), Err(base::Errno::EROFS));
        let after = stage.cut();
        assert_eq!(after.read("f")[..BLOCK], [b'1'; BLOCK]);
        assert!(after.has_error_state(), "the next mount is told");
        fs::vfs::fput(file);
        assert_eq!(stage.vfs.unmount_all(), Err(EIO), "what was not durable is lost");
    }
}

/// Files of five extents, one more than the inode has room for, so that each conversion has a leaf of its own.
fn files_with_leaves(stage: &Stage, count: usize, block_size: u64) -> Vec<Arc<File>> {
    let files: Vec<_> = (0..count).map(|n| stage.create(&format!("f{n}"))).collect();
    for file in &files {
        for block in (0..10).step_by(2) {
            let mode = FallocMode::Allocate { keep_size: false };
            vfs::fallocate(file, mode, block * block_size, block_size, &KernelCaller).expect("fallocate");
        }
    }
    Ext4Fs::of(&stage.sb).commit_all().expect("a clean start");
    files
}

/// EXT-2, R47: more finishes than the log has blocks, each converting in a leaf of its own, with nobody committing between them. They close
/// transactions before these outgrow the log, and wait for none of it.
#[test]
fn ext2_finishes_never_outgrow_the_log() {
    const FILES: usize = 900;
    const SMALL: u64 = 1024;
    let stage = Stage::new(SMALL as u32);
    let files = files_with_leaves(&stage, FILES, SMALL);
    let commits = Ext4Fs::of(&stage.sb).txn.figures().1;
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let events: Vec<_> = files.iter().map(|file| aio_wt(file, 0, &[b'n'; SMALL as usize])).collect();
    stage.gate.wait_held(FILES);
    for request in stage.gate.held() {
        stage.gate.release(request.number);
    }
    events.iter().for_each(|event| assert_eq!(event.wait(), Ok(SMALL as usize), "a finish waited for the log"));
    assert_eq!(Ext4Fs::of(&stage.sb).txn.figures().1, commits, "the log is held: nothing can have been committed");
    stage.gate.open();
    assert_eq!(fsync(&files[0]), Ok(()), "a transaction is larger than the log");
    assert!(Ext4Fs::of(&stage.sb).txn.figures().1 > commits + 1, "closed by the finishes");
    let after = stage.cut();
    (0..FILES).for_each(|n| assert_eq!(after.read(&format!("f{n}"))[..SMALL as usize], [b'n'; SMALL as usize]));
    stage.end(files);
}

/// EXT-2, R47: the same by finishes that run side by side, as on the workers of several CPUs: each on the task of a synchronous write.
/// Many find the transaction full at once; one closes it, and the others go on in the next.
#[test]
fn ext2_finishes_side_by_side_never_outgrow_the_log() {
    const FILES: usize = 600;
    const SMALL: u64 = 1024;
    let stage = Stage::new(SMALL as u32);
    let files = files_with_leaves(&stage, FILES, SMALL);
    let commits = Ext4Fs::of(&stage.sb).txn.figures().1;
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let write = |file: &Arc<File>| {
        let file = file.clone();
        stage.spawn("writer", move || assert_eq!(sync_wt(&file, 0, &[b'n'; SMALL as usize]), Ok(SMALL as usize)))
    };
    let writers: Vec<_> = files.iter().map(write).collect();
    stage.gate.wait_held(FILES);
    for request in stage.gate.held() {
        stage.gate.release(request.number);
    }
    writers.iter().for_each(Player::join);
    assert_eq!(Ext4Fs::of(&stage.sb).txn.figures().1, commits, "the log is held: nothing can have been committed");
    stage.gate.open();
    assert_eq!(fsync(&files[0]), Ok(()), "a transaction is larger than the log");
    assert!(Ext4Fs::of(&stage.sb).txn.figures().1 > commits + 1, "closed by the finishes");
    let after = stage.cut();
    (0..FILES).for_each(|n| assert_eq!(after.read(&format!("f{n}"))[..SMALL as usize], [b'n'; SMALL as usize]));
    stage.end(files);
}
