//! The life of inodes, over a file system that only counts.
use crate::vfs::*;
use alloc::boxed::Box;
use base::sync::Arc;
use base::sync::atomic::{AtomicUsize, Ordering};
use base::{Errno, Result};

struct CountingOps(Arc<AtomicUsize>);

impl InodeOps for CountingOps {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn open(&self, _: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::ENXIO)
    }
    fn evict(&self, inode: &Arc<Inode>) -> Result<()> {
        assert_eq!(inode.nlink(), 0);
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct NoFs;
impl SuperOps for NoFs {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn type_name(&self) -> &'static str {
        "none"
    }
    fn statfs(&self) -> StatFs {
        StatFs::default()
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    fn unmount(&self) -> Result<()> {
        Ok(())
    }
}

struct NoOps;
impl FileOps for NoOps {}

struct Fixture {
    sb: Arc<SuperBlock>,
    evictions: Arc<AtomicUsize>,
}

impl Fixture {
    fn new() -> Self {
        Fixture { sb: SuperBlock::new(9, Box::new(NoFs)), evictions: Arc::new(AtomicUsize::new(0)) }
    }
    fn make(&self, ino: u64, nlink: u32) -> Arc<Inode> {
        let attr = Attr { nlink, ..Attr::new(0, Timespec::default()) };
        let ops = Box::new(CountingOps(self.evictions.clone()));
        Inode::new(self.sb.clone(), ino, FileType::Regular, attr, 0, ops)
    }
    fn load(&self, ino: u64, nlink: u32) -> Arc<Inode> {
        self.sb.inodes().get_or_load(ino, || Ok(self.make(ino, nlink))).unwrap()
    }
    fn evictions(&self) -> usize {
        self.evictions.load(Ordering::Relaxed)
    }
}

#[test]
fn one_inode_for_a_number() {
    let f = Fixture::new();
    let a = f.load(5, 1);
    let b = f.sb.inodes().get_or_load(5, || panic!("it is in memory")).unwrap();
    assert!(Arc::ptr_eq(&a, &b));
    drop((a, b));
    assert!(f.sb.inodes().get(5).is_none());
    assert_eq!(f.sb.inodes().get_or_load(5, || Err(Errno::EIO)).err(), Some(Errno::EIO));
    f.load(5, 1);
}

#[test]
fn several_loaders_load_once() {
    let f = Fixture::new();
    let loads = AtomicUsize::new(0);
    let start = std::sync::Barrier::new(4);
    let found: std::vec::Vec<_> = std::thread::scope(|scope| {
        let load = || {
            start.wait();
            f.sb.inodes()
                .get_or_load(5, || {
                    loads.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                    Ok(f.make(5, 1))
                })
                .unwrap()
        };
        let threads: std::vec::Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert!(found.iter().all(|i| Arc::ptr_eq(i, &found[0])));
}

#[test]
fn the_last_iput_of_an_unlinked_inode_evicts_once() {
    let f = Fixture::new();
    let a = f.load(5, 1);
    let b = a.clone();
    f.sb.inodes().mark_dirty(&a);
    a.update_attr(|attr| attr.nlink = 0);
    iput(a);
    assert_eq!(f.evictions(), 0);
    assert_eq!(f.sb.inodes().dirty().len(), 1, "somebody still uses it: it stays on the dirty list");
    iput(b);
    assert_eq!(f.evictions(), 1);
    assert!(f.sb.inodes().dirty().is_empty() && f.sb.inodes().get(5).is_none());
}

#[test]
fn a_linked_inode_is_not_evicted() {
    let f = Fixture::new();
    iput(f.load(5, 1));
    assert_eq!(f.evictions(), 0);
}

#[test]
fn a_plain_drop_loses_no_eviction() {
    let f = Fixture::new();
    let inode = f.load(5, 1);
    inode.update_attr(|attr| attr.nlink = 0);
    drop(inode);
    assert_eq!(f.evictions(), 0, "not inline: this might be a worker");
    f.sb.run_releases();
    assert_eq!(f.evictions(), 1);
    f.load(5, 1);
}

#[test]
fn r49_the_last_reference_on_a_worker_is_handed_over() {
    let f = Fixture::new();
    let inode = f.load(5, 1);
    let file = File::new(Some(inode.clone()), OpenFlags::RDWR, Arc::new(NoOps));
    inode.update_attr(|attr| attr.nlink = 0);
    iput(inode);
    fput_deferred(file);
    assert_eq!((f.evictions(), f.sb.open_files()), (0, 1), "nothing of it ran here");
    f.sb.run_releases();
    assert_eq!((f.evictions(), f.sb.open_files()), (1, 0));
}

#[test]
fn a_reference_that_is_not_the_last_is_just_dropped() {
    let f = Fixture::new();
    let file = File::new(Some(f.load(5, 1)), OpenFlags::RDWR, Arc::new(NoOps));
    fput_deferred(file.clone());
    f.sb.run_releases();
    assert_eq!(f.sb.open_files(), 1);
    fput(file);
    assert_eq!(f.sb.open_files(), 0);
}

#[test]
fn each_description_reports_an_error_once() {
    let f = Fixture::new();
    let inode = f.load(5, 1);
    let open = || File::new(Some(inode.clone()), OpenFlags::RDWR, Arc::new(NoOps));
    let (a, b) = (open(), open());
    f.sb.record_error(&inode, Errno::EIO);
    assert_eq!((a.report_error(), a.report_error()), (Err(Errno::EIO), Ok(())));
    assert_eq!((b.report_error(), open().report_error()), (Err(Errno::EIO), Ok(())));
    assert_eq!(a.report_super_block_error(), Err(Errno::EIO));
}

#[test]
fn noappend_on_an_append_only_inode() {
    let f = Fixture::new();
    let inode = f.load(5, 1);
    inode.update_attr(|attr| attr.append_only = true);
    let file = File::new(Some(inode), OpenFlags::RDWR, Arc::new(NoOps));
    assert_eq!(request_flags(&file, 0x20, Request::Write), Err(Errno::EPERM));
    assert_eq!(request_flags(&file, 0x30, Request::Write), Err(Errno::EINVAL));
}
