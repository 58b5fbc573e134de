//! A13, A18: what survives a power cut, who flushes, and when.
use crate::stage::*;
use base::block::{BioOp, Filter};
use fs::page_cache::Tag;
use fs::vfs::{self, SyncKind};

const WT_DSYNC: u32 = WT | 2;
const WT_SYNC: u32 = WT | 4;

/// DUR-1, DUR-2: with `DSYNC` the bytes and the size are there after a cut; with `SYNC` the times too. A plain write promises nothing.
#[test]
fn dur1_dur2_what_a_cut_leaves() {
    let stage = Stage::new(4096);
    let files = ["plain", "dsync", "sync"].map(|name| stage.create(name));
    stage.sync();
    let flags = [WT, WT_DSYNC, WT_SYNC];
    // The durable ones last: a commit of theirs would take the plain one along.
    for (file, rwf) in files.iter().zip(flags).skip(1) {
        assert_eq!(aio_write(file, 0, &[b'n'; 5000], rwf).wait(), Ok(5000));
    }
    assert_eq!(aio_write(&files[0], 0, &[b'n'; 5000], WT).wait(), Ok(5000));
    let written = inode(&files[2]).attr().mtime;
    let after = stage.cut();
    assert!(after.read("plain").is_empty(), "nobody has asked for a commit");
    assert_eq!((after.read("dsync"), after.read("sync")), (vec![b'n'; 5000], vec![b'n'; 5000]));
    assert_eq!(after.mtime("sync"), written);
    stage.end(files);
}

/// DUR-4, DUR-10: a plain write flushes and commits nothing; a pure overwrite with `DSYNC` flushes once and commits nothing, with `SYNC` it
/// commits the times.
#[test]
fn dur4_dur10_flushes_of_an_overwrite() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    fsync(&file).expect("fsync");
    for (rwf, flushes, commits) in [(WT, 0, 0), (WT_DSYNC, 1, 0), (WT_SYNC, 2, 1)] {
        let (before, committed) = (stage.flushes(), stage.commits());
        assert_eq!(aio_write(&file, 0, &[b'n'; BLOCK], rwf).wait(), Ok(BLOCK));
        assert_eq!(stage.flushes() - before, flushes, "flags {rwf:#x}");
        assert_eq!(stage.commits() - committed, commits, "flags {rwf:#x}");
    }
    stage.end([file]);
}

/// DUR-7: the second stage touches no data: what others have dirtied in the file is neither written nor waited for.
#[test]
fn dur7_a_commit_touches_no_data() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    assert_eq!(write(&file, 8 * BLOCK as u64, &[b'd'; BLOCK]), Ok(BLOCK));
    // A write-through that the device keeps to itself.
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let stuck = aio_wt(&file, 4 * BLOCK as u64, &[b's'; BLOCK]);
    stage.gate.wait_held(1);
    assert_eq!(aio_write(&file, BLOCK as u64, &[b'n'; BLOCK], WT_DSYNC).wait(), Ok(BLOCK));
    assert!(inode(&file).mapping.next_tagged(8..9, Tag::Dirty).is_some(), "it wrote what was not its own");
    assert!(!stuck.is_posted());
    stage.gate.open();
    assert_eq!(stuck.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// R52, DUR-8: a flush that was sent before the data had completed does not count.
#[test]
fn r52_flush_before_completion() {
    let stage = Stage::new(4096);
    let (file, other) = (stage.create("f"), stage.create("g"));
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    assert_eq!(sync_wt(&other, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    stage.sync();
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_write(&file, 0, &[b'n'; BLOCK], WT_DSYNC);
    stage.gate.wait_held(1);
    let data = stage.gate.held()[0].number;
    // Somebody else's flush is on its way when the data completes.
    stage.gate.hold(Filter::any().op(BioOp::Flush).nth(1));
    let flushing = aio_write(&other, 0, &[b'n'; BLOCK], WT_DSYNC);
    stage.gate.wait_held(2);
    let flush = stage.gate.held().into_iter().find(|request| request.op == BioOp::Flush).expect("a flush").number;
    let before = stage.flushes();
    stage.gate.hold(Filter::any().op(BioOp::Flush).nth(1));
    stage.gate.release(data);
    stage.until(|| inode(&file).drain.count(fs::iomap::DrainKind::Writethrough) == 0);
    stage.gate.release(flush);
    assert_eq!(flushing.wait(), Ok(BLOCK));
    stage.until(|| event.is_posted() || !stage.gate.held().is_empty());
    assert!(!event.is_posted(), "the older flush counted");
    assert_eq!(stage.flushes(), before + 1);
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file, other]);
}

/// SYN-3: fsync waits for neither the second stage of a write-through nor its event, and what it has covered is durable.
#[test]
fn syn3_fsync_needs_no_event() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let stuck = stop("F6", &file);
    let event = stage.worker_wt(&file, 0, &[b'n'; BLOCK]);
    stuck.wait_reached();
    fsync(&file).expect("fsync");
    assert!(!event.is_posted());
    assert_eq!(stage.cut().read("f"), [b'n'; BLOCK]);
    stuck.release();
    assert_eq!(event.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// SYN-4: any number of fsyncs and of durable writes of one inode beside one another: each comes to its end and keeps its promise.
#[test]
fn syn4_fsync_beside_durable_writes() {
    const TASKS: usize = 6;
    let stage = Stage::new(4096);
    let file = stage.create("f");
    let tasks: Vec<_> = (0..TASKS)
        .map(|n| {
            let file = file.clone();
            stage.spawn("writer", move || {
                for round in 0..10 {
                    let pos = ((round * TASKS + n) * BLOCK) as u64;
                    match n % 3 {
                        0 => assert_eq!(aio_write(&file, pos, &[1; BLOCK], WT_DSYNC).wait(), Ok(BLOCK)),
                        1 => assert_eq!(sync_wt(&file, pos, &[1; BLOCK]), Ok(BLOCK)),
                        _ => assert_eq!(write(&file, pos, &[1; BLOCK]), Ok(BLOCK)),
                    }
                    assert_eq!(fsync(&file), Ok(()));
                }
            })
        })
        .collect();
    tasks.iter().for_each(|task| task.join());
    assert_eq!(stage.cut().read("f"), vec![1; 10 * TASKS * BLOCK]);
    stage.end([file]);
}

/// SYN-5, ERR-6: syncfs covers all inodes, and tells each description of an error once.
#[test]
fn syn5_syncfs_covers_all_inodes() {
    let stage = Stage::new(4096);
    let files = ["a", "b", "c"].map(|name| stage.create(name));
    for (file, put) in files.iter().zip([write, sync_wt, write]) {
        assert_eq!(put(file, 0, &[b'n'; 3000]), Ok(3000));
    }
    vfs::syncfs(&files[0]).expect("syncfs");
    let after = stage.cut();
    assert!(["a", "b", "c"].iter().all(|name| after.read(name) == [b'n'; 3000]));
    assert_eq!(write(&files[1], 0, &[b'm'; 3000]), Ok(3000));
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
    let told = [&files[0], &files[0], &files[2], &files[2]].map(|file| vfs::syncfs(file));
    assert_eq!(told, [Err(EIO), Ok(()), Err(EIO), Ok(())]);
    // ERR-4: what was refused is clean by now; it is written once more.
    assert_eq!(write(&files[1], 0, &[b'm'; 3000]), Ok(3000));
    stage.end(files);
}

/// ORD-4, ORD-5: of two writes to different blocks either may come to the device first, also where the later one asks for durability.
#[test]
fn ord4_ord5_no_order_between_blocks() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; 3 * BLOCK]), Ok(3 * BLOCK));
    vfs::fsync(&file, SyncKind::All).expect("fsync");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let first = aio_wt(&file, 0, &[b'1'; BLOCK]);
    stage.gate.wait_held(1);
    assert_eq!(aio_wt(&file, BLOCK as u64, &[b'2'; BLOCK]).wait(), Ok(BLOCK));
    assert_eq!(aio_write(&file, 2 * BLOCK as u64, &[b'3'; BLOCK], WT_DSYNC).wait(), Ok(BLOCK));
    assert!(!first.is_posted());
    let found = stage.cut().read("f");
    assert_eq!((found[0], found[2 * BLOCK]), (b'o', b'3'), "a durable write says nothing of an earlier one");
    stage.gate.open();
    assert_eq!(first.wait(), Ok(BLOCK));
    stage.end([file]);
}

/// R70, SIZE-6: whoever has seen the event sees the size and the blocks that it implies.
#[test]
fn r70_stat_after_event() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    for n in 1..=20u64 {
        let event = aio_wt(&file, (n - 1) * BLOCK as u64, &[b'n'; BLOCK]);
        assert_eq!(inode(&file).size(), n * BLOCK as u64, "in memory at submission");
        assert_eq!(event.wait(), Ok(BLOCK));
        let seen = vfs::stat(&inode(&file));
        assert_eq!((seen.size, seen.blocks_512, disk_size(&file)), (n * BLOCK as u64, 8 * n, n * BLOCK as u64));
    }
    stage.end([file]);
}

/// APP-3: an append that the device refuses leaves its place to nobody: a later one stands behind it, and between them is what the
/// cache has, which goes to the device with the next fsync.
#[test]
fn app3_a_failed_append_keeps_its_place() {
    let stage = Stage::new(4096);
    let file = stage.open("f", fs::vfs::OpenFlags::CREAT | fs::vfs::OpenFlags::APPEND);
    stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
    let (first, second) = (aio_wt(&file, 0, &[b'1'; BLOCK]), aio_wt(&file, 0, &[b'2'; BLOCK]));
    stage.gate.wait_held(2);
    stage.gate.fail_held(stage.gate.held()[0].number, EIO);
    stage.gate.open();
    assert_eq!((first.wait(), second.wait()), (Err(EIO), Ok(BLOCK)));
    let expected = [[b'1'; BLOCK], [b'2'; BLOCK]].concat();
    assert_eq!(read(&file, 0, 2 * BLOCK), expected);
    assert_eq!([fsync(&file), fsync(&file)], [Err(EIO), Ok(())]);
    assert_eq!(stage.cut().read("f"), expected);
    stage.end([file]);
}
