//! A24: requests that must not sleep, write-throughs above all. Each test is one sleep of an ordinary write-through: here it is `EAGAIN`, and nothing
//! has changed. Debug builds prove more: they stop at whatever might sleep on the way.
use crate::source::{NotRoot, Pieces};
use crate::stage::*;
use base::block::{BioOp, BlockDevice, Durability, Filter, Gate, Limits, Promise, SubmittedBio};
use base::{Errno, Result, sched};
use fs::caller::{Caller, KernelCaller};
use fs::ext4::Ext4Inode;
use fs::io::{IoSource, SliceSink, SliceSource};
use fs::iomap::{DrainKind, RangeGuard};
use fs::kiocb::{Completion, Kiocb, Outcome};
use fs::page_cache::CacheLimits;
use fs::vfs::{self, FallocMode, File, OpenFlags, Request, SyncKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const DSYNC: u32 = 0x2;
const NOWAIT: u32 = 0x8;
const APPEND: u32 = 0x10;
const DONTCACHE: u32 = 0x80;
const AGAIN: Errno = Errno::EAGAIN;
const PS: u64 = BLOCK as u64;

/// A file of `blocks` blocks `o`, written and cached, on a file system whose completion queues are made.
fn file_of(stage: &Stage, blocks: usize) -> Arc<File> {
    let file = stage.create("f");
    assert_eq!(aio_wt(&file, 0, &vec![b'o'; blocks * BLOCK]).wait(), Ok(blocks * BLOCK));
    fsync(&file).expect("fsync");
    file
}

fn now(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    aio_write(file, pos, bytes, WT | NOWAIT).wait()
}

/// Everything that a request which does nothing leaves alone.
fn dump(stage: &Stage, file: &Arc<File>) -> String {
    let node = inode(file);
    let own = Ext4Inode::of(&node);
    let drain = (node.drain.count(DrainKind::Direct), node.drain.count(DrainKind::Writethrough));
    let sizes = (node.size(), disk_size(file), node.mapping.nr_pages(), node.mapping.nr_dirty(), node.mapping.stamp());
    let owed = (node.written.ticket().is_some(), own.attr_dirty(), own.pending.tid(SyncKind::All), own.seq());
    let states: Vec<_> = (0..8).map(|index| node.mapping.get(index).map(|folio| folio.state())).collect();
    let ranges = node.ranges.try_acquire(0..u64::MAX).map(|ticket| node.ranges.release(ticket)).is_some();
    let system = (stage.cache.figures(), stage.free_blocks(), stage.sb.freeze_holders(), stage.gate.log().len());
    format!("{:?} {drain:?} {sizes:?} {owed:?} {states:?} {ranges} {system:?}", node.attr())
}

/// `write` answers `EAGAIN` and changes nothing.
fn refused(stage: &Stage, file: &Arc<File>, why: &str, write: impl FnOnce() -> Result<usize>) {
    let before = dump(stage, file);
    assert_eq!(write(), Err(AGAIN), "{why}");
    assert_eq!(dump(stage, file), before, "{why}");
}

/// NOW-1: what needs no sleep is done, as any other write-through.
#[test]
fn now1_an_overwrite_of_cached_blocks_succeeds() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 4);
    let before = inode(&file).attr().mtime;
    assert_eq!(now(&file, 0, &[1; 2 * BLOCK]), Ok(2 * BLOCK));
    assert!(inode(&file).attr().mtime > before, "the times are set");
    assert_eq!(now(&file, 2 * PS + 100, &[2; 10]), Ok(10), "a part of a block that is valid");
    assert_eq!(aio_write(&file, 3 * PS, &[3; BLOCK], WT | NOWAIT | DSYNC | DONTCACHE).wait(), Ok(BLOCK));
    let expected = [&[1; 2 * BLOCK][..], &[b'o'; 100], &[2; 10], &[b'o'; BLOCK - 110], &[3; BLOCK]].concat();
    assert_eq!(read(&file, 0, 4 * BLOCK), expected);
    for block in 0..4 {
        assert_eq!(stage.on_disk(&file, block * PS, BLOCK), expected[block as usize * BLOCK..][..BLOCK]);
    }
    stage.drop_caches();
    assert_eq!(now(&file, 0, &[4; BLOCK]), Ok(BLOCK), "a whole block that is not cached");
    stage.end([file]);
}

/// NOW-1: behind dirty bytes whose blocks are still unwritten: their conversion is provided for.
#[test]
fn now1_dirty_blocks_are_there() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    assert_eq!(write(&file, PS, &[b'd'; BLOCK]), Ok(BLOCK));
    assert_eq!(now(&file, PS + 10, &[1; 10]), Ok(10));
    assert_eq!((inode(&file).mapping.nr_dirty(), disk_size(&file)), (0, 2 * PS));
    assert_eq!(stage.on_disk(&file, PS, 30), [&[b'd'; 10][..], &[1; 10], &[b'd'; 10]].concat());
    stage.end([file]);
}

/// NOW-1: the locks of the way in, busy.
#[test]
fn now1_freeze_inode_lock_range_lock_and_extent_lock() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 2);
    let node = inode(&file);
    stage.sb.freeze().expect("freeze");
    refused(&stage, &file, "frozen", || now(&file, 0, &[1; BLOCK]));
    stage.sb.thaw().expect("thaw");
    let lock = node.lock.write();
    refused(&stage, &file, "the inode lock", || now(&file, 0, &[1; BLOCK]));
    drop(lock);
    let range = RangeGuard::new(&node, PS..PS + 1, BLOCK as u32);
    refused(&stage, &file, "a range that overlaps", || now(&file, 100, &[1; BLOCK]));
    assert_eq!(now(&file, 0, &[1; BLOCK]), Ok(BLOCK), "another range");
    drop(range);
    let before = dump(&stage, &file);
    let extents = Ext4Inode::of(&node).core.write();
    assert_eq!(now(&file, 0, &[1; BLOCK]), Err(AGAIN), "the extent lock");
    drop(extents);
    assert_eq!(dump(&stage, &file), before, "the extent lock");
    drop(node);
    assert_eq!(read(&file, 0, 2 * BLOCK), [[1; BLOCK], [b'o'; BLOCK]].concat());
    stage.end([file]);
}

/// NOW-1, STB-1: a folio that is on its way to the device, by a write-through or by writeback.
#[test]
fn now1_stable_wait() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    stage.gate.hold(Filter::any().op(BioOp::Write));
    let event = aio_wt(&file, 0, &[1; BLOCK]);
    stage.gate.wait_held(1);
    refused(&stage, &file, "a write-through", || now(&file, 0, &[2; BLOCK]));
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert_eq!(write(&file, 0, &[3; BLOCK]), Ok(BLOCK));
    stage.gate.hold(Filter::any().op(BioOp::Write));
    fs::iomap::write_range(&inode(&file), 0..u64::MAX, false).expect("writeback");
    stage.gate.wait_held(1);
    refused(&stage, &file, "writeback", || now(&file, 0, &[2; BLOCK]));
    stage.gate.open();
    fsync(&file).expect("fsync");
    assert_eq!(stage.on_disk(&file, 0, BLOCK), [3; BLOCK]);
    stage.end([file]);
}

/// NOW-1: the lock of a folio.
#[test]
fn now1_folio_lock() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    let node = inode(&file);
    let folio = node.mapping.find_locked(0).expect("cached");
    refused(&stage, &file, "locked", || now(&file, 0, &[1; BLOCK]));
    drop(folio);
    drop(node);
    stage.end([file]);
}

/// NOW-1, ALN-3: a block covered in part that would have to be read. No folio is left behind.
#[test]
fn now1_partial_block_read() {
    let stage = Stage::new(1024);
    let file = file_of(&stage, 2);
    stage.drop_caches();
    assert_eq!(inode(&file).mapping.nr_pages(), 0);
    refused(&stage, &file, "the head", || now(&file, 100, &[1; 1024 - 100]));
    refused(&stage, &file, "the tail", || now(&file, 0, &[1; 1025]));
    assert_eq!(now(&file, 1024, &[1; 1024]), Ok(1024), "a whole block");
    refused(&stage, &file, "beside a block that is valid", || now(&file, 0, &[2; 1023]));
    assert_eq!(read(&file, 0, BLOCK), [vec![b'o'; 1024], vec![1; 1024], vec![b'o'; 2048]].concat());
    stage.end([file]);
}

/// NOW-1, CHK-7, EOF-3, APP-1: what allocates, converts or makes the file longer, with a gap or without.
#[test]
fn now1_allocation_and_gap_zeroing() {
    let stage = Stage::new(1024);
    let file = file_of(&stage, 1);
    truncate(&file, 4 * PS).expect("a longer file");
    fallocate(&file, FallocMode::Allocate { keep_size: false }, 2 * PS..3 * PS).expect("fallocate");
    refused(&stage, &file, "a hole", || now(&file, PS, &[1; 1024]));
    refused(&stage, &file, "unwritten blocks", || now(&file, 2 * PS, &[1; 1024]));
    refused(&stage, &file, "at the end", || now(&file, 4 * PS, &[1; 1024]));
    refused(&stage, &file, "behind the end", || now(&file, 4 * PS + 100, &[1; 1024]));
    refused(&stage, &file, "an append", || aio_write(&file, 0, &[1; 10], WT | NOWAIT | APPEND).wait());
    truncate(&file, 100).expect("a shorter file");
    refused(&stage, &file, "zeros between", || now(&file, 2000, &[1; 10]));
    stage.end([file]);
}

/// NOW-1: an extent node that is not in memory. The file has more extents than its inode holds.
#[test]
fn now1_mapping_that_needs_io() {
    let first = Stage::new(4096);
    let file = first.create("f");
    for block in (0..20).step_by(2) {
        assert_eq!(sync_wt(&file, block * PS, &[b'o'; BLOCK]), Ok(BLOCK));
    }
    truncate(&file, 20 * PS).expect("a longer file");
    first.sync();
    let image = first.disk.image();
    first.end([file]);
    let stage = Stage::of(image, |gate| gate);
    let (file, other) = (stage.open("f", OpenFlags::empty()), stage.create("other"));
    assert_eq!(aio_wt(&other, 0, &[1; 10]).wait(), Ok(10));
    stage.sync();
    let log = stage.gate.log().len();
    refused(&stage, &file, "the leaf is on the disk", || now(&file, 2 * PS, &[1; BLOCK]));
    assert_eq!(stage.gate.log().len(), log);
    assert_eq!(read(&file, 2 * PS, 1), [b'o']);
    assert_eq!(now(&file, 2 * PS, &[1; BLOCK]), Ok(BLOCK), "somebody has read it");
    stage.end([file, other]);
}

/// NOW-1, QUE-1: the queues of the completions, which the first asynchronous request makes.
#[test]
fn now1_completion_queue_creation() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(sync_wt(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    refused(&stage, &file, "no queue", || now(&file, 0, &[1; BLOCK]));
    assert_eq!(aio_wt(&file, 0, &[2; BLOCK]).wait(), Ok(BLOCK));
    assert_eq!(now(&file, 0, &[3; BLOCK]), Ok(BLOCK));
    stage.end([file]);
}

/// NOW-1: memory that is not free. The cache keeps to its limit all the same, which needs no sleep.
#[test]
fn now1_memory_reclaim() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 4);
    stage.drop_caches();
    let plan = base::memory::fail_allocation(1, 1);
    refused(&stage, &file, "no frame", || now(&file, 0, &[1; BLOCK]));
    assert!(plan.is_spent());
    drop(plan);
    stage.cache.set_limits(CacheLimits::for_pages(2));
    for block in 0..4 {
        assert_eq!(now(&file, block * PS, &[1; BLOCK]), Ok(BLOCK));
        stage.gate.settle();
    }
    stage.end([file]);
}

/// NOW-1, LOCK-7: write-throughs are not throttled, however much is dirty.
#[test]
fn now1_dirty_throttling() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    let other = stage.create("other");
    assert_eq!(write(&other, 0, &[1; 8 * BLOCK]), Ok(8 * BLOCK));
    stage.cache.set_limits(CacheLimits { pages: 100, background_dirty: 1, dirty: 2 });
    assert!(stage.cache.over_dirty_limit());
    assert_eq!(now(&file, 0, &[1; BLOCK]), Ok(BLOCK));
    assert!(stage.cache.over_dirty_limit());
    stage.end([file, other]);
}

/// NOW-1: a commit that stands still holds up neither the times nor the finish of an overwrite.
#[test]
fn now1_times_wait_for_no_commit() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    let other = stage.create("other");
    stage.gate.hold(stage.log_blocks());
    let syncing = stage.spawn("fsync", {
        let other = other.clone();
        move || fsync(&other).expect("fsync")
    });
    stage.gate.wait_held(1);
    let before = inode(&file).attr().mtime;
    assert_eq!(now(&file, 0, &[1; BLOCK]), Ok(BLOCK));
    assert!(inode(&file).attr().mtime > before);
    stage.gate.open();
    syncing.join();
    stage.end([file, other]);
}

/// A disk that has room for so many requests of those that must not sleep, and may be without room for a while.
struct Narrow {
    gate: Arc<Gate>,
    full: AtomicBool,
    reserved: AtomicUsize,
}

impl BlockDevice for Narrow {
    fn name(&self) -> &str {
        self.gate.name()
    }
    fn limits(&self) -> Limits {
        // Two bios for two blocks.
        Limits { max_bytes: BLOCK as u32, ..self.gate.limits() }
    }
    fn durability(&self) -> Durability {
        self.gate.durability()
    }
    fn submit(&self, bio: SubmittedBio) {
        self.gate.submit(bio);
    }
    fn reserve(&self) -> Option<Promise> {
        let room = !self.full.load(Ordering::Relaxed);
        self.reserved.fetch_add(usize::from(room), Ordering::Relaxed);
        room.then_some(Promise { queue: 0 })
    }
    fn submit_reserved(&self, bio: SubmittedBio, promise: Promise) {
        self.unreserve(promise);
        self.gate.submit(bio);
        // That was the last room.
        self.full.store(true, Ordering::Relaxed);
    }
    fn unreserve(&self, _promise: Promise) {
        self.reserved.fetch_sub(1, Ordering::Relaxed);
    }
    fn kick(&self) {
        self.gate.kick();
    }
}

/// NOW-1: room on the device, which is set aside before a byte is copied: for each bio of the write.
#[test]
fn now1_a_full_device() {
    let image = Stage::new(4096).disk.image();
    let mut front = None;
    let stage = Stage::of(image, |gate| {
        let narrow = Narrow { gate, full: AtomicBool::new(true), reserved: AtomicUsize::new(0) };
        front.insert(Arc::new(narrow)).clone()
    });
    let narrow = front.expect("mounted");
    let file = file_of(&stage, 2);
    refused(&stage, &file, "no room", || now(&file, 0, &[1; BLOCK]));
    narrow.full.store(false, Ordering::Relaxed);
    assert_eq!(now(&file, 0, &[2; 2 * BLOCK]), Ok(BLOCK), "room for the first of two bios");
    assert_eq!(read(&file, 0, 2 * BLOCK), [[2; BLOCK], [b'o'; BLOCK]].concat());
    narrow.full.store(false, Ordering::Relaxed);
    let folio = inode(&file).mapping.get(0).expect("cached");
    stage.until(|| !folio.state().writeback());
    let none = Pieces::new(&[3; BLOCK], BLOCK);
    refused(&stage, &file, "no source", || aio_from(&file, 0, &mut { none }, WT | NOWAIT).wait());
    assert_eq!(narrow.reserved.load(Ordering::Relaxed), 0, "room that is not used is given back");
    drop(folio);
    stage.end([file]);
}

/// NOW-1: a source that is not in memory is not faulted in; a part that is there counts in whole folios.
#[test]
fn now1_source_not_resident() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 3);
    let bytes = [1; 3 * BLOCK];
    let piece = |resident| {
        let tell = |_| panic!("the source is faulted in");
        let mut source = Pieces::new(&bytes, bytes.len()).resident(resident).on_fault(tell);
        aio_from(&file, 0, &mut source, WT | NOWAIT).wait()
    };
    refused(&stage, &file, "nothing", || piece(0));
    refused(&stage, &file, "a part of the first", || piece(BLOCK - 1));
    assert_eq!(piece(2 * BLOCK + 5), Ok(2 * BLOCK));
    assert_eq!(read(&file, 0, 3 * BLOCK), [&[1; 2 * BLOCK][..], &[b'o'; BLOCK]].concat());
    stage.end([file]);
}

/// CHK-6: to take privileges off a file is a change of its inode.
#[test]
fn now1_privileges() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    inode(&file).update_attr(|attr| attr.mode |= 0o4000);
    let by = |caller: &dyn Caller, len: usize| {
        let event = Event::new();
        let flags = vfs::request_flags(&file, WT | NOWAIT, Request::AioWrite).expect("allowed");
        let mut kiocb = Kiocb::aio(&file, 0, flags, caller, Completion::new(event.clone()));
        let result = vfs::write(&mut kiocb, &mut SliceSource::new(&vec![1; len]));
        match kiocb.into_result(result)? {
            Outcome::Queued => event.wait(),
            Outcome::Done(n) => Ok(n),
        }
    };
    refused(&stage, &file, "a privilege", || by(&NotRoot, BLOCK));
    assert_eq!(by(&KernelCaller, BLOCK), Ok(BLOCK));
    inode(&file).update_attr(|attr| attr.mode &= 0o777);
    // Who is not root has to leave some blocks free: that is not looked at, since none is allocated.
    assert_eq!(by(&NotRoot, 10 * BLOCK), Ok(BLOCK));
    stage.end([file]);
}

/// NOW-1: bytes that were copied before the first need to sleep are a short count, and are written.
#[test]
fn now1_short_counts() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 4);
    let node = inode(&file);
    let folio = node.mapping.find_locked(2).expect("cached");
    assert_eq!(now(&file, 0, &[1; 4 * BLOCK]), Ok(2 * BLOCK), "a locked folio");
    drop(folio);
    assert_eq!(stage.on_disk(&file, PS, BLOCK), [1; BLOCK]);
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 3 * PS, &[2; BLOCK]);
    stage.gate.wait_held(1);
    assert_eq!(now(&file, 2 * PS, &[3; 2 * BLOCK]), Ok(BLOCK), "a folio on its way to the device");
    stage.gate.open();
    assert_eq!(event.wait(), Ok(BLOCK));
    truncate(&file, 3 * PS + 10).expect("a shorter file");
    assert_eq!(now(&file, 3 * PS, &[4; BLOCK]), Ok(10), "the end of the file");
    fallocate(&file, FallocMode::PunchHole, PS..2 * PS).expect("punch");
    assert_eq!(now(&file, 0, &[5; 3 * BLOCK]), Ok(BLOCK), "a hole");
    drop(node);
    let expected = [&[5; BLOCK][..], &[0; BLOCK], &[3; BLOCK], &[4; 10]].concat();
    assert_eq!(read(&file, 0, 4 * BLOCK), expected);
    fsync(&file).expect("fsync");
    stage.drop_caches();
    assert_eq!(read(&file, 0, 4 * BLOCK), expected);
    stage.end([file]);
}

/// NOW-1, CMP-3: a finish may sleep, so the submitter never runs it, even if its last bio has ended before it leaves.
#[test]
fn now1_the_submitter_never_finishes() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    let leaving = stop("S-10", &file);
    let submitter = Arc::new(std::sync::Mutex::new(None));
    let task = stage.spawn("submitter", {
        let (file, submitter) = (file.clone(), submitter.clone());
        move || {
            let event = aio_write(&file, 0, &[1; BLOCK], WT | NOWAIT);
            assert_eq!(event.wait(), Ok(BLOCK));
            *submitter.lock().expect("one writer") = Some((sched::current_id(), event.poster()));
        }
    });
    leaving.wait_reached();
    // The stop is behind the kick.
    stage.gate.wait_completed(stage.gate.log().len());
    leaving.release();
    task.join();
    let (submitter, poster) = submitter.lock().expect("one writer").take().expect("told");
    assert_ne!(submitter, poster, "the submitter has finished");
    stage.end([file]);
}

/// NOW-1, ERR-1, SUB-5: what the device says of bytes that were sent comes before the reason why there are not more.
#[test]
fn now1_an_error_of_the_device_is_the_outcome() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 2);
    let node = inode(&file);
    let folio = node.mapping.find_locked(1).expect("cached");
    stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
    assert_eq!(now(&file, 0, &[1; 2 * BLOCK]), Err(EIO));
    drop(folio);
    drop(node);
    assert_eq!(fsync(&file), Err(EIO));
    assert_eq!(stage.on_disk(&file, 0, BLOCK), [1; BLOCK], "written again by the fsync");
    stage.end([file]);
}

/// FLAG-5: a read with `NOWAIT` gives what is cached, and neither reads nor reads ahead.
#[test]
fn flag5_a_read_that_must_not_wait() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 40);
    let look = |pos, len| {
        let mut bytes = vec![0; len];
        vfs::read_at(&file, pos, NOWAIT, &mut SliceSink::new(&mut bytes), &KernelCaller)
    };
    assert_eq!(look(39 * PS + 5, 2 * BLOCK), Ok(BLOCK - 5), "up to the end");
    stage.drop_caches();
    refused(&stage, &file, "nothing is cached", || look(0, 10));
    assert_eq!(read(&file, 0, 1), [b'o']);
    let before = stage.gate.log().len();
    let cached = inode(&file).mapping.nr_pages();
    assert!(0 < cached && cached < 40, "a window was read");
    assert_eq!(look(5, 40 * BLOCK), Ok(cached * BLOCK - 5), "over the mark, which asks nobody for the next window");
    assert_eq!((stage.gate.log().len(), inode(&file).mapping.nr_pages()), (before, cached));
    let node = inode(&file);
    let folio = node.mapping.find_locked(0).expect("cached");
    assert_eq!(look(0, 10), Ok(10), "a lock on a folio that is valid is no matter");
    drop(folio);
    drop(node);
    stage.end([file]);
}

/// NOW-2: a synchronous one would have to wait for its own I/O. It does not even wait for the file position.
#[test]
fn now2_a_synchronous_call() {
    let stage = Stage::new(4096);
    let file = file_of(&stage, 1);
    let source = || SliceSource::new(&[1; BLOCK]);
    refused(&stage, &file, "at a position", || vfs::write_at(&file, 0, WT | NOWAIT, &mut source(), &KernelCaller));
    let position = file.pos.lock();
    refused(&stage, &file, "at the position", || vfs::write_current(&file, WT | NOWAIT, &mut source(), &KernelCaller));
    assert_eq!(*position, 0);
    drop(position);
    assert_eq!(vfs::write_at(&file, 0, WT | NOWAIT, &mut SliceSource::new(&[]), &KernelCaller), Ok(0), "CHK-1");
    assert_eq!(SliceSource::new(&[1]).resident(5), 1);
    stage.end([file]);
}
