//! Mounts, read-only, freeze, unmount.
use super::Tree;
use crate::tmpfs;
use crate::vfs::{FreezeGuard, FreezeLevel, OpenFlags};
use base::Errno;
use base::sync::Arc;
use std::sync::mpsc;

fn with_mount() -> Tree {
    let t = Tree::new();
    t.mkdir("m");
    t.touch("m/under");
    t.vfs.mount(t.site(), b"/m", tmpfs::new(2, 0o755, 8, 100), b"none").unwrap();
    t
}

#[test]
fn a_mount_covers_and_dotdot_crosses_it() {
    let t = with_mount();
    assert_eq!(t.find("m/under").err(), Some(Errno::ENOENT));
    t.mkdir("m/d");
    assert_eq!(t.vfs.path_of(&t.find("m/d").unwrap()).unwrap(), b"/m/d");
    assert!(Arc::ptr_eq(&t.find("m/d/../..").unwrap(), &t.vfs.root()));
    t.touch("f");
    assert_eq!(t.rename("f", "m/f"), Err(Errno::EXDEV));
    assert_eq!(t.vfs.rmdir(t.site(), b"m"), Err(Errno::EBUSY));
    assert_eq!(t.rename("m", "n"), Err(Errno::EBUSY));
    assert_eq!(t.vfs.mount(t.site(), b"m", tmpfs::new(3, 0o755, 8, 8), b"none"), Err(Errno::EBUSY));
    t.vfs.unmount(t.site(), b"m").unwrap();
    assert!(t.find("m/under").is_ok());
    assert_eq!(t.vfs.unmount(t.site(), b"m"), Err(Errno::EINVAL));
}

#[test]
fn everything_is_unmounted_the_innermost_first() {
    let t = with_mount();
    t.mkdir("m/inner");
    t.vfs.mount(t.site(), b"/m/inner", tmpfs::new(3, 0o755, 8, 100), b"none").unwrap();
    assert_eq!(t.vfs.unmount(t.site(), b"/m"), Err(Errno::EBUSY));
    t.vfs.unmount_all().unwrap();
}

#[test]
fn r64_remount_ro_and_umount_are_busy_while_a_file_lives() {
    let t = with_mount();
    let file = t.open("m/f", OpenFlags::WRONLY | OpenFlags::CREAT).unwrap();
    // A request in flight holds the file after its descriptor is closed.
    let request = file.clone();
    drop(file);
    let root = t.find("m").unwrap();
    assert_eq!(t.vfs.remount(&root, true), Err(Errno::EBUSY));
    assert_eq!(t.vfs.unmount(t.site(), b"m"), Err(Errno::EBUSY));
    drop(request);
    t.vfs.remount(&root, true).unwrap();
    assert_eq!(t.open("m/g", OpenFlags::CREAT).err(), Some(Errno::EROFS));
    assert_eq!(t.open("m/f", OpenFlags::RDWR).err(), Some(Errno::EROFS));
    assert_eq!(t.vfs.unlink(t.site(), b"m/f"), Err(Errno::EROFS));
    let reader = t.open("m/f", OpenFlags::empty()).unwrap();
    assert_eq!(t.vfs.unmount(t.site(), b"m"), Err(Errno::EBUSY));
    drop(reader);
    t.vfs.unmount(t.site(), b"m").unwrap();
}

#[test]
fn remount_comes_back() {
    let t = Tree::new();
    let root = t.vfs.root();
    t.vfs.remount(&root, true).unwrap();
    assert_eq!(t.vfs.mkdir(t.site(), b"d", 0o755), Err(Errno::EROFS));
    t.vfs.remount(&root, false).unwrap();
    t.mkdir("d");
}

#[test]
fn r63_freeze_waits_for_holders_and_holds_new_ones() {
    let t = Tree::new();
    let sb = t.vfs.root().sb.clone();
    let request = FreezeGuard::enter(&sb, FreezeLevel::Write);
    let (done, frozen) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sb.freeze().unwrap();
            done.send(()).unwrap();
        });
        // The freezer closes the level before it waits; from then on nobody enters.
        while FreezeGuard::try_enter(&sb, FreezeLevel::Write).is_some() {
            std::thread::yield_now();
        }
        assert!(frozen.try_recv().is_err(), "frozen with a holder");
        // The holder may be released by another thread than the one that took it (FRZ-2).
        scope.spawn(move || drop(request));
        frozen.recv().unwrap();
        assert_eq!(sb.freeze(), Err(Errno::EBUSY));
        let writer = scope.spawn(|| t.mkdir("d"));
        assert!(t.find("d").is_err());
        sb.thaw().unwrap();
        writer.join().unwrap();
    });
    assert!(t.find("d").is_ok());
    assert_eq!(sb.freeze_holders(), 0);
    assert_eq!(sb.thaw(), Err(Errno::EINVAL));
}
