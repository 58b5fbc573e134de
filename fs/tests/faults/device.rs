//! Disks that stop, reset, shrink, or take no more writes.
use crate::image::{Kind, assert_clean, fresh, judge};
use crate::ledger::Ledger;
use crate::stage::*;
use crate::workload::run;
use base::Errno;
use base::block::{BioOp, BlockDevice, Durability, Filter, Gate, Limits, RamDisk, SubmittedBio};
use fs::ext4::{self, Ext4Fs, MountOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A disk that stops, at each of its requests in turn: whoever needs it waits, however long; nothing ends early, and when it goes on
/// nothing is lost and nobody hears of it. The requests are held, not timed: nothing in Sluice has a clock for them.
#[test]
fn a_disk_that_stops_loses_nothing() {
    for n in (1..200).step_by(7) {
        let stage = Stage::of(fresh(Kind::Journal), |gate| gate);
        let gate = stage.gate.clone();
        let before = gate.log().len();
        gate.hold(Filter::any().nth(n));
        gate.hold(Filter::any().op(BioOp::Flush));
        let releasing = stage.spawn("disk", {
            let gate = gate.clone();
            move || {
                gate.wait_held(1);
                // It stands still: what is held has not ended, and nobody has been told anything.
                assert!(gate.held().iter().all(|request| request.completion.is_none()));
                gate.open();
            }
        });
        let outcome = run(stage, false);
        releasing.join();
        assert_eq!(outcome.heard, [], "request {n}");
        assert!(gate.log().len() > before);
        outcome.judge(&format!("a stop at request {n}"), Kind::Journal);
    }
}

/// A disk that resets: what is in flight ends with `EIO`, what comes later is done. All of it is told, and what was lost is written again
/// by the next fsync.
#[test]
fn a_disk_that_resets_is_used_again() {
    let stage = Stage::of(fresh(Kind::Journal), |gate| gate);
    let (file, other) = (stage.create("f"), stage.create("g"));
    for file in [&file, &other] {
        assert_eq!(sync_wt(file, 0, &[1; 4096]), Ok(4096));
        assert_eq!(fsync(file), Ok(()));
    }
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let events: Vec<_> =
        (0..6).map(|n| aio_wt(if n % 2 == 0 { &file } else { &other }, n * 4096, &[2; 4096])).collect();
    stage.gate.wait_held(6);
    stage.gate.clear_rules();
    for request in stage.gate.held() {
        stage.gate.fail_held(request.number, EIO);
    }
    assert!(events.iter().all(|event| event.wait() == Err(EIO)));
    assert!(!Ext4Fs::of(&stage.sb).has_errors(), "lost data is no damage");
    for file in [&file, &other] {
        assert_eq!([fsync(file), fsync(file)], [Err(EIO), Ok(())]);
    }
    let mut ledger = Ledger::default();
    ledger.change("f", Some([vec![2; 4096], vec![0; 4096], vec![2; 4096], vec![0; 4096], vec![2; 4096]].concat()));
    ledger.change(
        "g",
        Some([vec![1; 4096], vec![2; 4096], vec![0; 4096], vec![2; 4096], vec![0; 4096], vec![2; 4096]].concat()),
    );
    ledger.promise_all();
    let disk = stage.disk.clone();
    judge("a power cut after the reset", Kind::Journal, disk.durable_image(), false, &ledger);
    stage.end([file, other]);
}

/// A disk whose limits tell of fewer sectors than it had.
struct Shrunk {
    gate: Arc<Gate>,
    sectors: AtomicU64,
}

impl BlockDevice for Shrunk {
    fn name(&self) -> &str {
        self.gate.name()
    }
    fn limits(&self) -> Limits {
        Limits { capacity_sectors: self.sectors.load(Ordering::Relaxed), ..self.gate.limits() }
    }
    fn durability(&self) -> Durability {
        self.gate.durability()
    }
    fn submit(&self, bio: SubmittedBio) {
        self.gate.submit(bio);
    }
    fn kick(&self) {
        self.gate.kick();
    }
}

/// A disk that shrinks while it is in use: what lies behind its end fails with `EIO` and no panic; what lies before it can be read.
#[test]
fn a_disk_that_shrinks_gives_errors_only() {
    for kind in [Kind::Journal, Kind::Plain] {
        let whole = fresh(kind).len() as u64 / 512;
        for left in [whole / 2, whole / 8, 64, 8, 0] {
            let mut shrunk = None;
            let stage = Stage::of(fresh(kind), |gate| {
                let device = Arc::new(Shrunk { gate, sectors: AtomicU64::new(whole) });
                shrunk = Some(device.clone());
                device
            });
            let file = stage.create("before");
            assert_eq!(sync_wt(&file, 0, &[1; 4096]), Ok(4096));
            assert_eq!(fsync(&file), Ok(()));
            fs::vfs::fput(file);
            shrunk.expect("the stage was set").sectors.store(left, Ordering::Relaxed);
            stage.gate.fail(Filter::any().sectors(left..u64::MAX), EIO);
            let outcome = run(stage, false);
            assert!(left > 64 || !outcome.heard.is_empty(), "{left} of {whole} sectors");
            assert!(
                outcome.heard.iter().all(|(_, error)| matches!(*error, Errno::EIO | Errno::EROFS)),
                "{:?}",
                outcome.heard
            );
        }
    }
}

/// A read-only disk: a mount for writing is refused, one for reading never writes, whatever is called.
#[test]
fn a_read_only_disk_is_never_written() {
    for kind in [Kind::Journal, Kind::Plain] {
        let contents = fresh(kind);
        let sectors = contents.len() as u64 / 512;
        let disk = RamDisk::builder(sectors).contents(contents).limits(|limits| limits.read_only = true).build();
        let gate = Gate::new(disk.expect("a RAM disk"));
        assert_eq!(ext4::mount(gate.clone(), 1, MountOptions::default()).err(), Some(Errno::EROFS));
        let options = MountOptions { read_only: true, ..MountOptions::default() };
        let sb = ext4::mount(gate.clone(), 1, options).expect("it mounts for reading");
        let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root");
        let vfs = fs::vfs::Vfs::new(root.clone(), b"/dev/ram", None).expect("a directory");
        let site = fs::vfs::Site { cwd: &root, caller: &fs::caller::KernelCaller };
        assert_eq!(vfs.mkdir(site, b"d", 0o755), Err(Errno::EROFS));
        assert_eq!(vfs.remount(&root, false), Err(Errno::EROFS));
        assert!(vfs.lookup(site, b"lost+found", true).is_ok());
        drop(root);
        vfs.unmount_all().expect("unmount");
        assert!(gate.log().iter().all(|request| request.op == BioOp::Read));
    }
}

/// A disk that takes no more writes while it is in use, as one that has turned read-only by itself.
#[test]
fn a_disk_that_turns_read_only_keeps_what_it_has() {
    for kind in [Kind::Journal, Kind::Plain] {
        let stage = Stage::of(fresh(kind), |gate| gate);
        let file = stage.create("f");
        assert_eq!(write(&file, 0, &[1; 5000]), Ok(5000));
        assert_eq!(fsync(&file), Ok(()));
        let durable = stage.disk.durable_image();
        stage.gate.fail(Filter::any().op(BioOp::Write), Errno::EROFS);
        assert_eq!(write(&file, 0, &[2; 9000]), Ok(9000));
        assert!(fsync(&file).is_err());
        assert_eq!(read(&file, 0, 5000).len(), 5000);
        fs::vfs::fput(file);
        assert!(stage.vfs.unmount_all().is_err(), "what is lost is told");
        let mut ledger = Ledger::default();
        ledger.change("f", Some(vec![1; 5000]));
        ledger.promise_all();
        assert!(stage.disk.durable_image() == durable);
        judge("a disk that has turned read-only", kind, durable, kind == Kind::Plain, &ledger);
        drop(stage);
    }
    assert_clean("a fresh image", &fresh(Kind::Journal));
}
