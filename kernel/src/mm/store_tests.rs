//! Stores through shared mappings against everything that writes, cleans, zeroes or removes the pages of a file. A store that needs no
//! fault is played by the copy that stops where user code would fault.
use super::resident::Origin;
use super::tests::{AT, PS, RO, RW, WAYS, Way, byte, map_at, mapped, space, write};
use super::{Access, AddressSpace, Backing, FaultError, MapRequest, PAGE, Placement, UserSink, UserSource};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::{BioOp, Filter, Gate, RamDisk};
use base::lab::{Stop, stop_at};
use base::sched::{self, Task};
use base::sync::Arc;
use base::{Errno, Result};
use fs::caller::KernelCaller;
use fs::io::SliceSource;
use fs::kiocb::{IoFlags, Kiocb};
use fs::testing::MemFile;
use fs::vfs::{File, FileOps, OpenFlags};
use std::sync::Mutex;

/// A file on a gated disk, page `i` full of `i + 1`, clean and cached.
struct Stage {
    file: Arc<MemFile>,
    gate: Arc<Gate>,
}

impl Stage {
    fn new(block_size: u32, pages: u64) -> Stage {
        let disk = RamDisk::new(32 * 1024);
        let gate = Gate::new(disk.clone());
        let file = MemFile::on(disk, gate.clone(), block_size, 64);
        for index in 0..pages {
            file.write(index * PAGE, &[index as u8 + 1; PS]).unwrap();
        }
        file.fsync().unwrap();
        Stage { file: Arc::new(file), gate }
    }
    fn map(&self, pages: u64) -> Arc<AddressSpace> {
        Arc::new(mapped(&self.file, pages, RW, true))
    }
    /// A write-through that another task has at the gate when this returns.
    fn held_write(&self, pos: u64, bytes: &[u8]) -> Player<Result<usize>> {
        self.gate.hold(Filter::any().op(BioOp::Write).nth(1));
        let writing = self.through(pos, bytes);
        self.gate.wait_held(1);
        writing
    }
    fn through(&self, pos: u64, bytes: &[u8]) -> Player<Result<usize>> {
        let (file, bytes) = (self.file.clone(), Vec::from(bytes));
        Player::new("write", move || write(&file, Way::Through, pos, &mut SliceSource::new(&bytes)))
    }
    /// A store by another task, and a stop just before it waits for a folio.
    fn store(&self, mm: &Arc<AddressSpace>, at: u64, byte: u8) -> (Player<core::result::Result<(), Errno>>, Stop) {
        let waiting = stop_at("fault.before_wait").id(self.file.inode.ino).arm();
        let mm = mm.clone();
        let storing = Player::new("store", move || {
            mm.activate();
            mm.write(at, &byte)
        });
        (storing, waiting)
    }
    /// The byte that the folio has.
    fn cached(&self, pos: u64) -> u8 {
        let mut byte = [0];
        let folio = self.file.inode.mapping.get(pos / PAGE).expect("cached");
        folio.page().read_into((pos % PAGE) as usize, &mut byte);
        byte[0]
    }
    fn on_disk(&self, pos: u64) -> u8 {
        self.file.on_disk(pos, 1)[0]
    }
    /// Everything agrees once all is written: the file, its mapping, the disk.
    fn settle(&self, mm: &AddressSpace, pos: u64, expected: u8) {
        self.file.fsync().unwrap();
        assert_eq!(self.on_disk(pos), expected, "the disk");
        self.gate.settle();
        self.file.drop_caches();
        mm.activate();
        assert_eq!((self.file.read(pos, 1).unwrap()[0], byte(mm, AT + pos)), (expected, expected));
    }
}

/// A task with a result.
struct Player<T> {
    task: Task,
    result: Arc<Mutex<Option<T>>>,
}

impl<T: Send + 'static> Player<T> {
    fn new(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Player<T> {
        let result = Arc::new(Mutex::new(None));
        let told = result.clone();
        let task = sched::spawn(name, Box::new(move || *told.lock().unwrap() = Some(work()))).unwrap();
        Player { task, result }
    }
    fn join(self) -> T {
        self.task.join();
        self.result.lock().unwrap().take().expect("the task did not fail")
    }
}

/// Stores without a fault, as a running program does; whether that went through.
fn store_through(mm: &AddressSpace, at: u64, byte: u8) -> bool {
    mm.activate();
    hal::user::copy_to_user(at, &[byte]) == 1
}

fn until(happened: impl Fn() -> bool) {
    while !happened() {
        sched::yield_now();
    }
}

#[test]
fn a_store_is_one_to_the_file() {
    for block_size in [4096, 1024] {
        let stage = Stage::new(block_size, 2);
        let mm = stage.map(2);
        assert!(!store_through(&mm, AT, 9), "a page is not writable before a fault");
        mm.write(AT + 5, &77u8).unwrap();
        assert!(store_through(&mm, AT + 6, 78));
        assert_eq!(stage.file.read(5, 2).unwrap(), [77, 78]);
        assert_eq!(stage.file.inode.mapping.nr_dirty(), 1);
        stage.file.fsync().unwrap();
        assert_eq!(stage.file.on_disk(4, 4), [1, 77, 78, 1]);
        assert!(!store_through(&mm, AT + 6, 79), "what is on its way or written takes a fault to be stored to");
        stage.settle(&mm, 6, 78);
    }
}

/// MM-1, STB-4, STB-1: the store waits until F2, is not in the I/O, and is not lost.
#[test]
fn mm_1_stb_4_a_store_waits_for_the_write_through() {
    let stage = Stage::new(4096, 2);
    let mm = stage.map(2);
    mm.write(AT, &50u8).unwrap();
    let writing = stage.held_write(0, &[60; PS]);
    assert!(!store_through(&mm, AT + 7, 70), "write-protected before it went on its way");
    let (storing, waiting) = stage.store(&mm, AT + 7, 70);
    until(|| waiting.is_reached() || storing.task.has_exited());
    assert!(waiting.is_reached() && stage.cached(7) == 60, "bytes in flight were changed");
    // MM-5, STB-6: who only looks waits for nothing, while somebody waits to store.
    assert_eq!(byte(&mm, AT + 7), 60);
    waiting.release();
    stage.gate.open();
    assert_eq!((writing.join(), storing.join()), (Ok(PS), Ok(())));
    assert_eq!(stage.on_disk(7), 60);
    stage.settle(&mm, 7, 70);
}

/// R20: the end of one write-through does not let a store into the folio of another.
#[test]
fn r20_stable_first_finisher() {
    let stage = Stage::new(4096, 2);
    let mm = stage.map(2);
    mm.write(AT, &50u8).unwrap();
    let first = stage.held_write(0, &[60; PS]);
    assert_eq!(stage.through(PAGE, &[61; PS]).join(), Ok(PS));
    let (storing, waiting) = stage.store(&mm, AT, 70);
    until(|| waiting.is_reached() || storing.task.has_exited());
    assert!(waiting.is_reached() && stage.cached(0) == 60);
    waiting.release();
    stage.gate.open();
    assert_eq!((first.join(), storing.join()), (Ok(PS), Ok(())));
    stage.settle(&mm, 0, 70);
}

/// MM-2, R22: a store between the copy and the write protection is in the I/O; one after it takes a fault, and waits.
#[test]
fn r22_mkclean_window() {
    let stage = Stage::new(4096, 1);
    let mm = stage.map(1);
    mm.write(AT, &50u8).unwrap();
    let copied = stop_at("S-8").id(stage.file.inode.ino).arm();
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let writing = stage.through(100, &[60; 100]);
    copied.wait_reached();
    assert!(store_through(&mm, AT + 7, 71), "no fault before the write protection");
    copied.release();
    stage.gate.wait_held(1);
    assert!(!store_through(&mm, AT + 8, 72), "a store reached bytes in flight");
    let (storing, waiting) = stage.store(&mm, AT + 8, 72);
    waiting.wait_reached();
    waiting.release();
    stage.gate.open();
    assert_eq!((writing.join(), storing.join()), (Ok(100), Ok(())));
    assert_eq!(stage.file.on_disk(6, 4), [1, 71, 1, 1], "the first store is in the I/O, the second is not");
    stage.settle(&mm, 7, 71);
    assert_eq!(stage.file.on_disk(8, 1), [72]);
}

/// MM-2, R23: what was stored to other blocks of the folio stays dirty, also where only the page table knows of it.
#[test]
fn r23_pte_dirty_other_block() {
    let stage = Stage::new(1024, 1);
    let mm = stage.map(1);
    mm.write(AT + 3072, &70u8).unwrap();
    let folio = stage.file.inode.mapping.get(0).unwrap();
    stage.file.inode.mapping.find_locked(0).unwrap().clear_dirty(0, PS);
    assert_eq!(stage.through(0, &[60; 1024]).join(), Ok(1024));
    assert!(!folio.state().dirty_in(0, 1024) && folio.state().dirty_in(3072, 1024));
    drop(folio);
    stage.settle(&mm, 3072, 70);
}

/// EOF-4, R24: what was stored past the end never reaches the disk and never becomes content; the next store there faults.
#[test]
fn r24_eof_pollution() {
    for block_size in [4096, 1024] {
        let stage = Stage::new(block_size, 0);
        stage.file.write(0, &[1; 100]).unwrap();
        stage.file.fsync().unwrap();
        let mm = stage.map(1);
        mm.write(AT + 200, &b'z').unwrap();
        assert!(store_through(&mm, AT + 2000, b'z'));
        assert_eq!(stage.through(50, &[60; 10]).join(), Ok(10));
        assert_eq!(
            stage.file.disk.peek(stage.file.fs.block_at(0).unwrap().physical * u64::from(block_size), 300)[200],
            0
        );
        assert!(!store_through(&mm, AT + 201, b'z'), "a store followed the zeroing");
        mm.write(AT + 201, &b'z').unwrap();
        stage.file.fsync().unwrap();
        assert_eq!(stage.cached(201), 0, "writeback zeroes it before it sends the block");
        mm.write(AT + 202, &b'z').unwrap();
        stage.file.truncate(PAGE).unwrap();
        assert_eq!(stage.file.read(100, PS).unwrap(), [0; PS - 100]);
        // EOF-5: its block has to be allocated first.
        assert!(!store_through(&mm, AT + 2000, b'y'));
        mm.write(AT + 2000, &b'y').unwrap();
        stage.settle(&mm, 2000, b'y');
        assert_eq!(stage.file.on_disk(100, 300), [0; 300]);
    }
}

/// EOF-4: a store past the end waits for any I/O of the page that the file ends in; elsewhere ordinary writeback is not waited for.
#[test]
fn eof_4_a_store_past_the_end_waits_for_writeback() {
    let stage = Stage::new(4096, 1);
    stage.file.write(PAGE, &[2; 100]).unwrap();
    let mm = stage.map(2);
    mm.write(AT, &70u8).unwrap();
    stage.gate.hold(Filter::any().op(BioOp::Write).times(2));
    fs::iomap::write_range(&stage.file.inode, 0..u64::MAX, false).unwrap();
    mm.activate();
    mm.write(AT, &71u8).unwrap();
    let (storing, waiting) = stage.store(&mm, AT + PAGE + 200, b'z');
    until(|| waiting.is_reached() || storing.task.has_exited());
    assert!(waiting.is_reached(), "a store past the end came into the I/O");
    waiting.release();
    stage.gate.open();
    assert_eq!(storing.join(), Ok(()));
    stage.settle(&mm, 0, 71);
}

/// MM-6, R25: the store waits, then the truncate takes the page away. No deadlock, and no store in a page that is the file's no more.
#[test]
fn r25_fault_vs_truncate() {
    let stage = Stage::new(4096, 2);
    let mm = stage.map(2);
    let writing = stage.held_write(0, &[60; PS]);
    let (storing, waiting) = stage.store(&mm, AT, 70);
    waiting.wait_reached();
    let draining = stop_at("drain.before_sleep").id(stage.file.inode.ino).arm();
    let truncating = {
        let file = stage.file.clone();
        Player::new("truncate", move || file.truncate(0))
    };
    draining.wait_reached();
    draining.release();
    waiting.release();
    stage.gate.open();
    assert_eq!((writing.join(), truncating.join()), (Ok(PS), Ok(())));
    // Before the truncate, and gone with its page; or after it: SIGBUS, which a call sees as EFAULT.
    assert!(matches!(storing.join(), Ok(()) | Err(Errno::EFAULT)));
    assert_eq!((mm.resident().origin(AT), stage.file.inode.mapping.nr_dirty()), (None, 0));
    assert_eq!(mm.fault(AT, Access::Write), Err(FaultError::Bus));
    stage.file.truncate(PAGE).unwrap();
    stage.settle(&mm, 0, 0);
}

/// MM-6: a store past the end is a bus error.
#[test]
fn mm_6_a_store_past_the_end() {
    let stage = Stage::new(1024, 2);
    let mm = stage.map(3);
    assert_eq!(mm.fault(AT + 2 * PAGE, Access::Write), Err(FaultError::Bus));
    mm.write(AT + PAGE, &70u8).unwrap();
    stage.file.truncate(PAGE).unwrap();
    assert!(!store_through(&mm, AT + PAGE, 71));
    assert_eq!(mm.fault(AT + PAGE, Access::Write), Err(FaultError::Bus));
    assert_eq!(stage.file.inode.mapping.nr_dirty(), 0);
}

/// MM-9, EXT-1: a store to a hole allocates the blocks of the page inside the file, unwritten; they are written with it.
#[test]
fn mm_9_a_store_to_a_hole_allocates() {
    let stage = Stage::new(1024, 0);
    stage.file.truncate(2 * PAGE + 1500).unwrap();
    let mm = stage.map(3);
    assert_eq!(byte(&mm, AT + PAGE), 0);
    mm.write(AT + PAGE, &70u8).unwrap();
    mm.write(AT + 2 * PAGE, &71u8).unwrap();
    let block = |pos: u64| stage.file.fs.block_at(pos).map(|block| block.written);
    assert_eq!([0, 1, 2, 3].map(|n| block(PAGE + n * 1024)), [Some(false); 4]);
    assert_eq!([0, 1, 2, 3].map(|n| block(2 * PAGE + n * 1024)), [Some(false), Some(false), None, None]);
    assert_eq!(block(0), None, "loads allocate nothing");
    stage.settle(&mm, PAGE, 70);
    assert_eq!((block(PAGE), stage.on_disk(2 * PAGE)), (Some(true), 71));
}

/// MM-9: no room is a bus error at the store, not a loss later.
#[test]
fn mm_9_a_full_disk_is_a_bus_error() {
    let disk = RamDisk::new(16 * 8);
    let file = MemFile::on(disk.clone(), disk, 4096, 64);
    file.truncate(32 * PAGE).unwrap();
    let mm = mapped(&file, 32, RW, true);
    let stored = (0..32).take_while(|page| mm.fault(AT + page * PAGE, Access::Write).is_ok()).count() as u64;
    assert!((1..16).contains(&stored), "{stored}");
    assert_eq!(mm.fault(AT + stored * PAGE, Access::Write), Err(FaultError::Bus));
    assert_eq!(byte(&mm, AT + stored * PAGE), 0, "it can be looked at");
    file.fsync().unwrap();
}

/// MM-2: munmap, the end of a process, madvise and mprotect lose nothing that only the page table knows.
#[test]
fn mm_2_what_was_stored_outlives_the_mapping() {
    let ways: [fn(&AddressSpace); 4] = [
        |mm| mm.unmap(AT, PAGE).unwrap(),
        |mm| mm.clear(),
        |mm| mm.discard(AT, PAGE).unwrap(),
        |mm| {
            mm.protect(AT, PAGE, RO).unwrap();
            mm.unmap(AT, PAGE).unwrap();
        },
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let stage = Stage::new(1024, 1);
        let mm = stage.map(1);
        mm.write(AT + 7, &70u8).unwrap();
        stage.file.inode.mapping.find_locked(0).unwrap().clear_dirty(0, PS);
        way(&mm);
        assert_eq!(stage.file.inode.mapping.nr_dirty(), 1, "way {n}");
        stage.file.fsync().unwrap();
        assert_eq!(stage.on_disk(7), 70, "way {n}");
    }
}

/// BUF-7: an eviction finds what was stored through a mapping, and leaves the folio.
#[test]
fn buf_7_a_folio_that_was_stored_to_is_not_evicted() {
    let stage = Stage::new(4096, 2);
    let mm = stage.map(2);
    mm.write(AT, &70u8).unwrap();
    stage.file.inode.mapping.find_locked(0).unwrap().clear_dirty(0, PS);
    stage.gate.settle();
    stage.file.drop_caches();
    stage.file.drop_caches();
    let mapping = &stage.file.inode.mapping;
    assert_eq!((mapping.nr_dirty(), mapping.get(0).is_some(), mapping.get(1).is_some()), (1, true, false));
    stage.settle(&mm, 0, 70);
}

#[test]
fn stores_need_a_file_that_is_open_for_writing() {
    struct NoOps;
    impl FileOps for NoOps {}
    let stage = Stage::new(4096, 1);
    let read_only = File::new(Some(stage.file.inode.clone()), OpenFlags::empty(), Arc::new(NoOps));
    let mm = space();
    let backing = Backing::File { file: read_only, offset: 0 };
    mm.map(MapRequest { placement: Placement::Fixed(AT), len: PAGE, prot: RO, shared: true, backing }).unwrap();
    assert_eq!(mm.protect(AT, PAGE, RW), Err(Errno::EACCES));
    assert_eq!(mm.write(AT, &1u8), Err(Errno::EFAULT));
    map_at(&mm, AT + PAGE, &stage.file, 0, 1, RO, true);
    assert_eq!(byte(&mm, AT + PAGE), 1);
    assert_eq!(mm.write(AT + PAGE, &2u8), Err(Errno::EFAULT));
    mm.protect(AT + PAGE, PAGE, RW).unwrap();
    mm.write(AT + PAGE, &2u8).unwrap();
    assert_eq!((byte(&mm, AT), stage.file.read(0, 1).unwrap()[0]), (2, 2), "all mappings show the same page");
    mm.protect(AT + PAGE, PAGE, RO).unwrap();
    assert!(!store_through(&mm, AT + PAGE, 3));
    assert_eq!(mm.write(AT + PAGE, &3u8), Err(Errno::EFAULT));
}

/// FRZ-1: a store to a frozen file system waits for the thaw; one that was made before is on the disk, and its page is closed.
#[test]
fn frz_1_a_store_waits_for_the_thaw() {
    let stage = Stage::new(4096, 1);
    let mm = stage.map(1);
    let sb = &stage.file.inode.sb;
    sb.freeze().unwrap();
    let coming = stop_at("fault.before_freeze").id(stage.file.inode.ino).arm();
    let entered = stop_at("fault.allocated").id(stage.file.inode.ino).arm();
    let (storing, _waiting) = stage.store(&mm, AT, 70);
    coming.wait_reached();
    coming.release();
    (0..100).for_each(|_| sched::yield_now());
    assert!(!entered.is_reached() && stage.cached(0) == 1 && stage.file.inode.mapping.nr_dirty() == 0);
    // Nobody needs the mmap lock meanwhile: the address space goes on.
    assert_eq!(byte(&mm, AT), 1);
    map_at(&mm, AT + PAGE, &stage.file, 0, 1, RO, true);
    sb.thaw().unwrap();
    entered.wait_reached();
    assert_eq!(sb.freeze_holders(), 1);
    entered.release();
    assert_eq!(storing.join(), Ok(()));
    assert_eq!(sb.freeze_holders(), 0);
    stage.settle(&mm, 0, 70);
}

/// MM-3, R27: the source is a mapping of the target that was just stored to.
#[test]
fn r27_a_write_from_a_mapping_that_was_stored_to() {
    for way in WAYS {
        let stage = Stage::new(4096, 3);
        let mm = stage.map(3);
        mm.write_bytes(AT, &[70; PS]).unwrap();
        let mut source = UserSource::single(&mm, AT, 2 * PAGE).unwrap();
        assert_eq!(write(&stage.file, way, PAGE, &mut source), Ok(2 * PS), "{way:?}");
        stage.file.fsync().unwrap();
        let pages: Vec<u8> = (0..3).map(|page| stage.on_disk(page * PAGE)).collect();
        assert!(pages == [70, 70, 2] || pages == [70, 70, 70], "{way:?}: {pages:?}");
        stage.settle(&mm, PAGE, 70);
    }
}

/// MM-3: a read of a file into a mapping of it, buffered and direct. A device is never given the page of a file to store to (STB-8).
#[test]
fn mm_3_a_read_into_a_mapping_of_the_file() {
    for flags in [IoFlags::empty(), IoFlags::DIRECT] {
        let stage = Stage::new(4096, 2);
        let mm = stage.map(2);
        let mut kiocb = Kiocb::sync(&stage.file.file, PAGE, flags, &KernelCaller);
        let mut sink = UserSink::single(&mm, AT, PAGE).unwrap();
        let read = if flags.is_empty() {
            fs::iomap::buffered_read(&stage.file.inode, &mut kiocb, &mut sink)
        } else {
            match fs::iomap::direct_read(&stage.file.inode, &mut kiocb, &mut sink) {
                Ok(fs::kiocb::Outcome::Done(n)) => Ok(n),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read, Ok(PS));
        assert_eq!(stage.file.inode.mapping.nr_dirty(), 1);
        stage.settle(&mm, 17, 2);
    }
}

/// MM-8: a private mapping of the file is told nothing and tells nothing.
#[test]
fn mm_8_private_pages_beside_stores() {
    let stage = Stage::new(4096, 1);
    let mm = stage.map(1);
    map_at(&mm, AT + PAGE, &stage.file, 0, 1, RW, false);
    assert_eq!(byte(&mm, AT + PAGE), 1);
    mm.write(AT, &70u8).unwrap();
    assert_eq!(byte(&mm, AT + PAGE), 70, "not yet copied");
    mm.write(AT + PAGE + 1, &80u8).unwrap();
    mm.write(AT, &71u8).unwrap();
    assert_eq!((byte(&mm, AT + PAGE), byte(&mm, AT + 1)), (70, 1));
    assert_eq!(mm.resident().origin(AT + PAGE), Some(Origin::Owned));
    stage.settle(&mm, 1, 1);
}

/// MM-7, MM-5: msync of a range writes what was stored in it and leaves the rest.
#[test]
fn mm_7_a_range_is_synced() {
    let stage = Stage::new(4096, 3);
    let mm = stage.map(3);
    (0..3).for_each(|page| mm.write(AT + page * PAGE, &70u8).unwrap());
    let (files, covered) = mm.shared_files(AT + PAGE, PAGE).unwrap();
    assert!(covered && files.len() == 1 && files[0].bytes == (PAGE..2 * PAGE));
    let flushes = || stage.gate.log().iter().filter(|request| request.op == BioOp::Flush).count();
    let before = flushes();
    fs::vfs::fsync_range(&files[0].file, files[0].bytes.clone()).unwrap();
    assert_eq!([0, 1, 2].map(|page| stage.on_disk(page * PAGE)), [1, 70, 3]);
    assert!(flushes() > before, "what was synced is durable");
    assert_eq!(mm.shared_files(AT + 1, PAGE).err(), Some(Errno::EINVAL));
    assert!(!mm.shared_files(AT + 2 * PAGE, 2 * PAGE).unwrap().1);
    stage.settle(&mm, 0, 70);
}
