//! The images of the sweeps, and the judgement on what a fault has left of one.
use crate::ledger::Ledger;
use crate::stage::e2fsprogs;
use base::block::RamDisk;
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions};
use fs::io::SliceSink;
use fs::vfs::{self, OpenFlags, Site, Vfs};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Which image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Journal,
    Plain,
}

/// A fresh file system, small because each run copies it: blocks of 1 KiB, of which 1024 are the journal's.
pub fn fresh(kind: Kind) -> Vec<u8> {
    static IMAGES: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
    let image = match kind {
        Kind::Journal => IMAGES[0].get_or_init(|| make(2560, &["-J", "size=1"])),
        Kind::Plain => IMAGES[1].get_or_init(|| make(1024, &["-O", "^has_journal"])),
    };
    image.clone()
}

/// What `mke2fs` makes of so many KiB.
pub fn make(kib: u64, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("fresh.img");
    std::fs::File::create(&path).and_then(|file| file.set_len(kib << 10)).expect("an image file");
    let common = ["-q", "-F", "-t", "ext4", "-b", "1024", "-N", "64", "-O", "^resize_inode"];
    let out = e2fsprogs("mke2fs").args(common).args(options).arg(&path).output().expect("mke2fs is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(&path).expect("the image")
}

fn e2fsck(flags: &str, image: &Path) -> (i32, String) {
    let out = e2fsprogs("e2fsck").arg(flags).arg(image).output().expect("e2fsck is installed");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Fails the test unless `e2fsck` finds nothing.
pub fn assert_clean(what: &str, image: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("after.img");
    std::fs::write(&path, image).expect("the image is written");
    let (code, text) = e2fsck("-fn", &path);
    assert!(code == 0, "{what}: {text}");
}

/// Judges what is left on a disk whose file system had an error of its own if `failed`. With a journal a mount on a healthy disk
/// recovers it, and `e2fsck` finds nothing but the note of the error. Without one, after an error, it may repair, and only what was promised counts.
pub fn judge(what: &str, kind: Kind, image: Vec<u8>, failed: bool, ledger: &Ledger) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("after.img");
    if kind == Kind::Plain && failed {
        std::fs::write(&path, image).expect("the image is written");
        let (code, text) = e2fsck("-fy", &path);
        assert!(code == 0 || code == 1, "{what}: {text}");
        recover(what, std::fs::read(&path).expect("the image"), true, ledger);
        return;
    }
    std::fs::write(&path, recover(what, image, false, ledger)).expect("the image is written");
    if !failed {
        let (code, text) = e2fsck("-fn", &path);
        assert!(code == 0, "{what}: {text}");
        return;
    }
    let (code, text) = e2fsck("-fy", &path);
    assert!((code == 0 || code == 1) && !text.contains("? yes"), "{what}: {text}");
}

/// Mounts an image, compares its files with the ledger, and unmounts; what is there then.
fn recover(what: &str, image: Vec<u8>, only_promised: bool, ledger: &Ledger) -> Vec<u8> {
    let disk = RamDisk::builder(image.len() as u64 / 512).contents(image).build().expect("a RAM disk");
    let sb = ext4::mount(disk.clone(), 2, MountOptions::default()).unwrap_or_else(|e| panic!("{what}: mount: {e}"));
    let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root directory");
    let vfs = Vfs::new(root, b"/dev/ram", None).expect("the root is a directory");
    ledger.check(what, only_promised, |name| read_file(&vfs, name));
    vfs.unmount_all().unwrap_or_else(|e| panic!("{what}: unmount after recovery: {e}"));
    disk.image()
}

/// The content of a file, if it is there; a directory has none.
pub fn read_file(vfs: &Arc<Vfs>, name: &str) -> Option<Vec<u8>> {
    let root = vfs.root();
    let site = Site { cwd: &root, caller: &KernelCaller };
    let inode = vfs.lookup(site, name.as_bytes(), false).ok()?;
    if inode.kind == vfs::FileType::Directory {
        return Some(Vec::new());
    }
    let file = vfs.open(site, name.as_bytes(), OpenFlags::empty(), 0).expect("the file opens");
    let mut bytes = vec![0xee; inode.size() as usize];
    let read = vfs::read_at(&file, 0, 0, &mut SliceSink::new(&mut bytes), &KernelCaller).expect("the file is read");
    bytes.truncate(read);
    Some(bytes)
}
