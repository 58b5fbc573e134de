//! Mounting real images: what is accepted, what is refused by name, what an orderly end leaves behind.
mod common;
use base::Errno;
use common::{FileDisk, Image};
use fs::ext4::{self, MountOptions, ROOT_INO};
use fs::vfs::FileType;

#[test]
fn every_block_size_mounts_and_stays_clean() {
    for block in [1024, 2048, 4096] {
        for extra in [
            &[][..],
            &["-I", "128"],
            &["-O", "^64bit"],
            &["-O", "^metadata_csum"],
            &["-O", "metadata_csum_seed"],
            &["-O", "^has_journal"],
        ] {
            let image = Image::make("48M", block, extra);
            let (sb, _disk) = image.mount();
            let root = ext4::iget(&sb, ROOT_INO).expect("the root directory");
            assert_eq!(root.kind, FileType::Directory);
            assert_eq!(root.nlink(), 3);
            drop(root);
            sb.ops().sync().expect("sync");
            sb.ops().unmount().expect("unmount");
            image.check();
        }
    }
}

#[test]
fn features_are_refused_by_name() {
    let cases: [(&[&str], Errno); 2] =
        [(&["-O", "inline_data"], Errno::EOPNOTSUPP), (&["-O", "encrypt"], Errno::EOPNOTSUPP)];
    for (extra, errno) in cases {
        let image = Image::make("64M", 4096, extra);
        for read_only in [false, true] {
            let options = MountOptions { read_only, ..MountOptions::default() };
            let mounted = ext4::mount(FileDisk::open(&image.path), 1, options);
            assert_eq!(mounted.err(), Some(errno), "{extra:?}, read-only: {read_only}");
        }
    }
}

#[test]
fn an_unknown_read_only_feature_allows_reading() {
    let image = Image::make("64M", 4096, &["-O", "quota"]);
    let (sb, disk) = image.mount();
    assert!(sb.is_read_only());
    sb.ops().unmount().expect("unmount");
    assert_eq!(disk.writes.load(std::sync::atomic::Ordering::Relaxed), 0);
    image.check();
}

#[test]
fn no_ext4_is_einval_and_a_bad_checksum_euclean() {
    let image = Image::make("16M", 1024, &[]);
    let mut bytes = std::fs::read(&image.path).expect("read");
    bytes[1024 + 0x78] ^= 1; // a byte of the volume name: only the checksum knows
    std::fs::write(&image.path, &bytes).expect("write");
    let mount = || ext4::mount(FileDisk::open(&image.path), 1, MountOptions::default()).err();
    assert_eq!(mount(), Some(Errno::EUCLEAN));
    std::fs::write(&image.path, vec![0; 1 << 20]).expect("write");
    assert_eq!(mount(), Some(Errno::EINVAL));
}

#[test]
fn a_mount_is_visible_on_the_disk_until_unmount() {
    for (extra, mark) in [(&[][..], "needs_recovery"), (&["-O", "^has_journal"], "state:         not clean")] {
        let image = Image::make("16M", 4096, extra);
        let marked = || String::from_utf8_lossy(&image.debugfs("show_super_stats -h")).contains(mark);
        assert!(!marked());
        let (sb, _disk) = image.mount();
        assert!(marked());
        sb.ops().remount(true).expect("read-only");
        assert!(!marked());
        image.check();
        sb.ops().remount(false).expect("writable again");
        assert!(marked());
        sb.ops().unmount().expect("unmount");
        assert!(!marked());
        image.check();
    }
}

#[test]
fn nothing_keeps_a_super_block_alive_after_unmount() {
    let image = Image::make("16M", 1024, &[]);
    let (sb, _disk) = image.mount();
    let root = ext4::iget(&sb, ROOT_INO).expect("root");
    let made = root.ops().create(&root, b"f", FileType::Regular, 0o644, 0, &fs::caller::KernelCaller).expect("created");
    drop((made, root));
    sb.ops().unmount().expect("unmount");
    assert_eq!(std::sync::Arc::strong_count(&sb), 1);
    image.check();
}
