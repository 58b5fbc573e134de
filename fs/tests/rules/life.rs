//! A19: freezing, remounting and shutting down a file system with write-throughs on their way.
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter};
use fs::ext4::Ext4Fs;

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

/// SHD-1: after a forced shutdown new writes end with `EIO`; what is on its way may reach the device, is not converted, ends with `EIO`, and
/// leaves nothing counted. Unmount works, and says that something was lost.
#[test]
fn shd1_a_shutdown_ends_what_is_on_its_way() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    fsync(&file).expect("fsync");
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    stage.gate.wait_held(1);
    Ext4Fs::of(&stage.sb).shut_down();
    assert_eq!(sync_wt(&file, 0, &[2; BLOCK]), Err(EIO));
    stage.gate.open();
    assert_eq!(event.wait(), Err(EIO));
    assert_eq!(fsync(&file), Err(EIO));
    assert_eq!(disk_size(&file), 0);
    assert!(stage.cut().read("f").is_empty());
    stage.abandon([file]);
}
