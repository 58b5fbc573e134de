//! Model M9, the two sizes of a file, on the real inode and the real finish, all orders under the weak memory of C11. The larger one, with
//! a whole ext4, is in `shuttle_io`.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p fs --test loom_sizes`
#![cfg(loom)]
mod loom_common;

use base::block::{BlockDevice, Durability, Limits, SubmittedBio};
use base::sync::{Arc, Rank, RwLock};
use base::workqueue::WorkQueue;
use base::{Errno, Result};
use fs::iomap::{self, DrainGuard, DrainKind, IoKind, Iomap, IomapOps, Owed, SharedFlush};
use fs::vfs::{Attr, FileOps, FileType, Inode, InodeOps, SuperBlock, SyncKind, Timespec};
use loom::thread;
use loom_common::NoFs;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// No test sends it anything.
struct NoDevice;
impl BlockDevice for NoDevice {
    fn name(&self) -> &str {
        "none"
    }
    fn limits(&self) -> Limits {
        unreachable!("nothing is sent")
    }
    fn durability(&self) -> Durability {
        Durability::OnCompletion
    }
    fn submit(&self, _: SubmittedBio) {
        unreachable!("nothing is sent")
    }
    fn kick(&self) {}
}

/// A file of which there is nothing on the disk but its size, behind the lock that ext4 calls the extent lock.
struct Sizes {
    disk_size: RwLock<u64>,
    flush: SharedFlush,
    device: std::sync::Arc<dyn BlockDevice>,
}

impl InodeOps for Sizes {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn open(&self, _: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::EIO)
    }
    fn iomap(&self) -> Option<&dyn IomapOps> {
        Some(self)
    }
}

impl IomapOps for Sizes {
    fn device(&self) -> &std::sync::Arc<dyn BlockDevice> {
        &self.device
    }
    fn block_size(&self) -> u32 {
        4096
    }
    fn max_file_size(&self) -> u64 {
        u64::MAX
    }
    fn extent_seq(&self) -> u64 {
        0
    }
    fn disk_size(&self) -> u64 {
        *self.disk_size.read()
    }
    fn map_read(&self, _: &Inode, _: u64, _: u64) -> Result<Iomap> {
        Err(Errno::EIO)
    }
    fn map_write(&self, _: &Inode, _: u64, _: u64) -> Result<Iomap> {
        Err(Errno::EIO)
    }
    /// The rule of the real one.
    fn finish_write(&self, inode: &Inode, pos: u64, len: u64) -> Result<()> {
        let mut disk_size = self.disk_size.write();
        *disk_size = iomap::raised_disk_size(*disk_size, pos + len, inode.size());
        Ok(())
    }
    fn metadata_pending(&self, _: &Inode, _: SyncKind) -> bool {
        false
    }
    fn commit(&self, _: &Inode, _: SyncKind) -> Result<()> {
        Ok(())
    }
    fn shared_flush(&self) -> &SharedFlush {
        &self.flush
    }
    fn completion_queue(&self) -> Result<std::sync::Arc<WorkQueue>> {
        Err(Errno::ENOMEM)
    }
    fn sync_queue(&self) -> Result<std::sync::Arc<WorkQueue>> {
        Err(Errno::ENOMEM)
    }
}

fn new_file(size: u64) -> Arc<Inode> {
    let device: std::sync::Arc<dyn BlockDevice> = std::sync::Arc::new(NoDevice);
    let flush = SharedFlush::new(device.clone());
    let sizes = Sizes { disk_size: RwLock::new(Rank::Extent, size), flush, device };
    let attr = Attr::new(0o644, Timespec::default());
    Inode::new(SuperBlock::new(1, Box::new(NoFs)), 1, FileType::Regular, attr, size, Box::new(sizes))
}

fn sizes(inode: &Inode) -> (u64, u64) {
    (inode.size(), inode.ops().iomap().expect("a file with two sizes").disk_size())
}

/// The submitter's part of a write-through that makes the file longer: what its finish owes.
fn submit(inode: &Arc<Inode>, pos: u64, len: u64) -> Owed {
    let _lock = inode.lock.write();
    let drain = DrainGuard::new(inode, DrainKind::Writethrough);
    inode.set_size(inode.size().max(pos + len));
    let kind = IoKind::Writethrough(Default::default());
    Owed { len: len as usize, convert: true, drain: Some(drain), ..Owed::bare(inode, pos, kind) }
}

/// A truncate, in the order of TRC-1. Behind the drain no finish is under way, so that the sizes are one (SIZE-5).
fn truncate(inode: &Arc<Inode>, size: u64) {
    let _lock = inode.lock.write();
    inode.drain.drain();
    let (in_memory, on_disk) = sizes(inode);
    assert_eq!(in_memory, on_disk, "a finish is under way");
    inode.set_size(size);
    let own = inode.ops().as_any().downcast_ref::<Sizes>().expect("its own kind");
    *own.disk_size.write() = size;
}

/// A write of `0..4096` whose finish runs on a worker, and a truncate beside them.
fn write_beside_truncate(old: u64, size: u64, expected: [u64; 2]) {
    explore(move || {
        let inode = new_file(old);
        let truncating = thread::spawn({
            let inode = inode.clone();
            move || truncate(&inode, size)
        });
        let owed = submit(&inode, 0, 4096);
        let finishing = thread::spawn(move || drop(owed.finish(None)));
        finishing.join().unwrap();
        truncating.join().unwrap();
        let (in_memory, on_disk) = sizes(&inode);
        assert_eq!(in_memory, on_disk, "d_size is not i_size at rest (SIZE-5)");
        assert!(expected.contains(&in_memory), "{in_memory} bytes");
    });
}

/// M9, R01, SIZE-1, SIZE-5: a truncate to nothing. The file has the size that the later of the two gave it: a finish gives no size back.
#[test]
fn m9_r01_a_finish_does_not_bring_a_size_back() {
    write_beside_truncate(0, 0, [0, 4096]);
}

/// M9, R04, SIZE-2: a truncate that makes the file longer than the write does.
#[test]
fn m9_r04_a_finish_does_not_shorten() {
    write_beside_truncate(0, 10_000, [10_000, 10_000]);
}

/// M9, R57, SIZE-2, SIZE-3: two writes that make the file longer, finished by two tasks in either order. The size on the disk never goes
/// back.
#[test]
fn m9_size3_finishes_in_any_order() {
    explore(|| {
        let inode = new_file(0);
        let [later, earlier] = [4096, 0].map(|pos| submit(&inode, pos, 4096));
        let finishing = thread::spawn(move || drop(later.finish(None)));
        drop(earlier.finish(None));
        let on_disk = sizes(&inode).1;
        assert!([4096, 8192].contains(&on_disk), "{on_disk} bytes on the disk, of 4096 that are done and 8192");
        finishing.join().unwrap();
        assert_eq!(sizes(&inode), (8192, 8192));
    });
}
