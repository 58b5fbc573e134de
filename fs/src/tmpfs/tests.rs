//! Contents of files, limits and deep trees.
use crate::caller::KernelCaller;
use crate::io::{SliceSink, SliceSource};
use crate::vfs::{self, OpenFlags, Site, Vfs, Whence};
use alloc::sync::Arc;
use alloc::vec;
use base::Errno;

fn tree(max_pages: u64) -> Arc<Vfs> {
    Vfs::new(super::new(1, 0o755, max_pages, 100_000), b"tmpfs", None).unwrap()
}

macro_rules! site {
    ($vfs:expr) => {
        Site { cwd: &$vfs.root(), caller: &KernelCaller }
    };
}

#[test]
fn holes_read_as_zeros_and_truncate_zeroes_the_tail() {
    let vfs = tree(16);
    let file = vfs.open(site!(vfs), b"/f", OpenFlags::RDWR | OpenFlags::CREAT, 0o644).unwrap();
    assert_eq!(vfs::write_at(&file, 10_000, 0, &mut SliceSource::new(b"abc"), &KernelCaller), Ok(3));
    let mut buf = vec![1; 20_000];
    assert_eq!(vfs::read_at(&file, 0, 0, &mut SliceSink::new(&mut buf), &KernelCaller), Ok(10_003));
    assert!(buf[..10_000].iter().all(|&b| b == 0) && buf[10_000..10_003] == *b"abc");
    vfs::ftruncate(&file, 10_001, &KernelCaller).unwrap();
    vfs::ftruncate(&file, 10_003, &KernelCaller).unwrap();
    assert_eq!(vfs::read_at(&file, 10_000, 0, &mut SliceSink::new(&mut buf[..3]), &KernelCaller), Ok(3));
    assert_eq!(&buf[..3], b"a\0\0");
    assert_eq!(vfs::seek(&file, 0, Whence::Data), Ok(8192));
    assert_eq!(vfs::seek(&file, 8192, Whence::Hole), Ok(10_003));
}

#[test]
fn a_full_file_system_writes_short_and_then_refuses() {
    let vfs = tree(2);
    let file = vfs.open(site!(vfs), b"f", OpenFlags::RDWR | OpenFlags::CREAT, 0o644).unwrap();
    let bytes = vec![7; 3 * 4096];
    assert_eq!(vfs::write_current(&file, 0, &mut SliceSource::new(&bytes), &KernelCaller), Ok(8192));
    let more = vfs::write_current(&file, 0, &mut SliceSource::new(&bytes), &KernelCaller);
    assert_eq!(more, Err(Errno::ENOSPC));
    drop(file);
    vfs.unlink(site!(vfs), b"f").unwrap();
    assert_eq!(vfs::statfs(&vfs.root()).blocks_free, 2);
}

#[test]
fn write_through_is_refused() {
    let vfs = tree(2);
    let file = vfs.open(site!(vfs), b"f", OpenFlags::RDWR | OpenFlags::CREAT, 0o644).unwrap();
    let refused = vfs::write_at(&file, 0, 0x200, &mut SliceSource::new(b"x"), &KernelCaller);
    assert_eq!(refused, Err(Errno::EOPNOTSUPP));
    let direct = vfs.open(site!(vfs), b"f", OpenFlags::RDWR | OpenFlags::DIRECT, 0).map(drop);
    assert_eq!(direct, Err(Errno::EINVAL));
}

#[test]
fn a_deep_tree_goes_without_recursion() {
    let vfs = tree(2);
    let mut cwd = vfs.root();
    for _ in 0..5_000 {
        let site = Site { cwd: &cwd, caller: &KernelCaller };
        vfs.mkdir(site, b"d", 0o755).unwrap();
        let next = vfs.lookup(site, b"d", true).unwrap();
        cwd = next;
    }
    drop(cwd);
    vfs.unmount_all().unwrap();
}
