//! A19: freezing, remounting and shutting down a file system with write-throughs on their way.
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use fs::vfs::Shutdown;

/// R63, FRZ-1 to FRZ-5: a freeze waits for a write-through whose device is stuck, however long; its finish enters no freeze; a new write
/// waits for the thaw, and then runs as ever. Frozen, nothing comes to the device.
#[test]
fn frz3_frz4_frz5_a_freeze_waits_for_a_stuck_device() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    stage.gate.wait_held(1);
    let freezing = stage.spawn("freeze", {
        let sb = stage.sb.clone();
        move || sb.freeze().expect("the file system freezes")
    });
    stage.until(|| fs::vfs::FreezeGuard::try_enter(&stage.sb, fs::vfs::FreezeLevel::Write).is_none());
    assert!(!freezing.has_exited() && !event.is_posted());
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK), "the finish waited for the freeze");
    freezing.join();
    let before = stage.gate.log().len();
    let past = stop("S-2", &file);
    let writing = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, BLOCK as u64, &[2; BLOCK]), Ok(BLOCK))
    });
    for _ in 0..1000 {
        assert!(!past.is_reached(), "a write begins in a frozen file system");
        base::sched::yield_now();
    }
    assert_eq!(stage.gate.log().len(), before, "something came to the device");
    stage.sb.thaw().expect("the file system thaws");
    past.wait_reached();
    past.release();
    writing.join();
    stage.end([file]);
}

/// RO-1, UMT-1: with a write-through on its way the file system is busy, also where the program has closed its file; after the event it is
/// not.
#[test]
fn ro1_umt1_busy_until_the_event() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    stage.gate.wait_held(1);
    fs::vfs::fput(file);
    let remount = |read_only| stage.vfs.remount(&stage.vfs.root(), read_only);
    assert_eq!(remount(true), Err(Errno::EBUSY));
    assert_eq!(stage.vfs.unmount_all(), Err(Errno::EBUSY));
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!(remount(true), Ok(()));
    assert_eq!(stage.try_open("f", fs::vfs::OpenFlags::CREAT).err(), Some(Errno::EROFS));
    assert_eq!(remount(false), Ok(()));
    assert_eq!(stage.cut().read("f"), [1; BLOCK], "a read-only file system is a synced one");
    stage.end([]);
}

/// SHD-1: after a forced shutdown new writes end with `EIO`, and so does what is on its way: it may reach the device, is not converted, and
/// leaves nothing counted. Nothing else goes to the device any more, and unmount works.
#[test]
fn shd1_a_shutdown_ends_what_is_on_its_way() {
    let stage = Stage::new(4096);
    let (file, old, gone) = (stage.create("f"), stage.create("old"), stage.create("gone"));
    assert_eq!(write(&old, 0, &[1; 3 * BLOCK]), Ok(3 * BLOCK));
    stage.sync();
    stage.gate.hold(Filter::any().op(BioOp::Write));
    // One that needs a conversion, one that needs none, one of each other kind; a page that is dirty, and a file without a name.
    assert_eq!(write(&old, BLOCK as u64, &[2; BLOCK]), Ok(BLOCK));
    let events = [aio_wt(&file, 0, &[2; BLOCK]), aio_wt(&old, 0, &[2; BLOCK])];
    let around = stage.open("old", fs::vfs::OpenFlags::DIRECT);
    let direct = aio_direct_write(&around, 2 * BLOCK as u64, &[2; BLOCK]);
    assert_eq!(write(&gone, 0, &[2; BLOCK]), Ok(BLOCK));
    fs::iomap::write_range(&inode(&gone), 0..u64::MAX, false).expect("writeback starts");
    stage.with_names(|vfs, site| vfs.unlink(site, b"gone")).expect("unlink");
    stage.gate.wait_held(4);

    assert_eq!(stage.sb.force_shut_down(Shutdown::Cut), Ok(()));
    assert_eq!(stage.sb.force_shut_down(Shutdown::Sync), Ok(()), "once more");
    let sent = stage.gate.log().len();
    assert_eq!(sync_wt(&file, 0, &[3; BLOCK]), Err(EIO));
    assert_eq!(write(&file, 0, &[3; BLOCK]), Err(EIO));
    assert_eq!(direct_write(&around, 0, &[3; BLOCK]), Err(EIO));
    assert_eq!(truncate(&old, 0), Err(EIO));
    assert_eq!(stage.try_open("new", fs::vfs::OpenFlags::CREAT).err(), Some(EIO));
    assert_eq!(stage.with_names(|vfs, site| vfs.mkdir(site, b"d", 0o755)), Err(EIO));
    assert_eq!(fs::vfs::syncfs(&old), Err(EIO));
    assert_eq!(stage.vfs.remount(&stage.vfs.root(), false), Err(Errno::EROFS));
    stage.gate.open();
    for event in events.into_iter().chain([direct]) {
        assert_eq!(event.wait(), Err(EIO));
    }
    for file in [&file, &old] {
        assert_eq!(fsync(file), Err(EIO));
    }
    assert_eq!(stage.gate.log().len(), sent, "something was sent after the shutdown");
    assert_eq!(disk_size(&file), 0);
    stage.wait_quiet();
    assert!(inode(&gone).errors_recorded() > 0, "background writeback was called a success");
    assert!(stage.cut().read("f").is_empty());
    let vfs = stage.vfs.clone();
    stage.abandon([file, old, around, gone]);
    assert_eq!(vfs.unmount_all(), Ok(()), "it was unmounted");
}

/// What is on the disk after a shutdown of this kind: of a file `kept`, which was synced; a file `new`, which was not, with its dirty page;
/// a folder; and the mode that a file was given last.
fn left_by(how: Shutdown) -> (Vec<u8>, Option<Vec<u8>>, bool, u16) {
    let stage = Stage::new(4096);
    let kept = stage.create("kept");
    assert_eq!(sync_wt(&kept, 0, &[1; BLOCK]), Ok(BLOCK));
    stage.sync();
    let new = stage.create("new");
    assert_eq!(write(&new, 0, &[2; BLOCK]), Ok(BLOCK));
    stage.with_names(|vfs, site| vfs.mkdir(site, b"folder", 0o755)).expect("mkdir");
    inode(&kept).update_attr(|attr| attr.mode = 0o600);
    inode(&kept).ops().dirty_inode(&inode(&kept)).expect("noted");
    assert_eq!(stage.sb.force_shut_down(how), Ok(()));
    assert_eq!(sync_wt(&kept, 0, &[3; BLOCK]), Err(EIO));
    let after = stage.cut();
    let has = |name| after.open(name).is_some();
    let left = (after.read("kept"), has("new").then(|| after.read("new")), has("folder"), after.mode("kept"));
    stage.abandon([kept, new]);
    after.end();
    left
}

/// SHD-1: the three ways. With a sync nothing is lost; with the log what has changed in metadata stays, and data that was not written is
/// not there; without, all that was not durable is gone. What was durable is there in each.
#[test]
fn shd1_what_each_way_to_shut_down_keeps() {
    let kept = vec![1; BLOCK];
    assert_eq!(left_by(Shutdown::Sync), (kept.clone(), Some(vec![2; BLOCK]), true, 0o600));
    assert_eq!(left_by(Shutdown::FlushLog), (kept.clone(), Some(vec![]), true, 0o600));
    assert_eq!(left_by(Shutdown::Cut), (kept, None, false, 0o644));
}

/// SHD-1: the log cannot be flushed: the caller is told, and it is shut down all the same. Frozen, it cannot be frozen to be synced.
#[test]
fn shd1_a_shutdown_that_fails() {
    let stage = Stage::new(4096);
    stage.sb.freeze().expect("the file system freezes");
    assert_eq!(stage.sb.force_shut_down(Shutdown::Sync), Err(Errno::EBUSY));
    stage.sb.thaw().expect("the file system thaws");
    let file = stage.create("f");
    stage.gate.fail(stage.log_blocks().op(BioOp::Write).nth(1), EIO);
    assert_eq!(stage.sb.force_shut_down(Shutdown::FlushLog), Err(EIO));
    assert_eq!(sync_wt(&file, 0, &[1; BLOCK]), Err(EIO));
    stage.abandon([file]);
}

/// SHD-1: a shutdown with a sync waits for what is on its way, as a freeze does, and its writer succeeds. Who comes meanwhile gets `EIO`.
#[test]
fn shd1_a_shutdown_with_a_sync_waits() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    stage.gate.wait_held(1);
    let going = stage.spawn("shutdown", {
        let sb = stage.sb.clone();
        move || assert_eq!(sb.force_shut_down(Shutdown::Sync), Ok(()))
    });
    stage.until(|| fs::vfs::FreezeGuard::try_enter(&stage.sb, fs::vfs::FreezeLevel::Write).is_none());
    let late = stage.spawn("write", {
        let file = file.clone();
        move || assert_eq!(sync_wt(&file, BLOCK as u64, &[2; BLOCK]), Err(EIO))
    });
    assert!(!going.has_exited() && !event.is_posted());
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    going.join();
    late.join();
    let after = stage.cut();
    assert_eq!(after.read("f"), [1; BLOCK]);
    stage.abandon([file]);
    after.end();
}
