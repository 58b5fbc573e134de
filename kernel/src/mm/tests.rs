//! Mappings of files over the page cache: coherence, copy on write, truncates, evictions, and writes from a mapping of the file
//! that they change. Debug builds check the order of locks on the way.
use super::resident::Origin;
use super::{Access, AddressSpace, Backing, FaultError, MapRequest, PAGE, Placement, UserSink, UserSource};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use base::{Errno, Page, Result};
use fs::caller::KernelCaller;
use fs::io::{IoSink, IoSource, PinAccount, Pinned};
use fs::iomap::{InodeLock, WriteRequest, buffered_write, direct_write, writethrough_write};
use fs::kiocb::{IoFlags, Kiocb, Outcome};
use fs::testing::MemFile;
use fs::vfs::{FreezeGuard, FreezeLevel};
use hal::user::Prot;

pub(super) const AT: u64 = 0x40_0000;
pub(super) const PS: usize = PAGE as usize;
pub(super) const RO: Prot = Prot { read: true, write: false, exec: false };
pub(super) const RW: Prot = Prot { read: true, write: true, exec: false };

/// A file whose page `i` is full of `i + 1`, clean and out of the cache.
pub(super) fn file_of(pages: u64) -> MemFile {
    let file = MemFile::new(1024, 64);
    for index in 0..pages {
        file.write(index * PAGE, &[index as u8 + 1; PS]).unwrap();
    }
    file.fsync().unwrap();
    file.drop_caches();
    assert_eq!(file.inode.mapping.nr_pages(), 0);
    file
}

pub(super) fn space() -> AddressSpace {
    let mm = AddressSpace::new().unwrap();
    mm.activate();
    mm
}

pub(super) fn map_at(mm: &AddressSpace, at: u64, file: &MemFile, first: u64, pages: u64, prot: Prot, shared: bool) {
    let backing = Backing::File { file: file.file.clone(), offset: first * PAGE };
    let (placement, len) = (Placement::Fixed(at), pages * PAGE);
    mm.map(MapRequest { placement, len, prot, shared, backing }).unwrap();
}

pub(super) fn mapped(file: &MemFile, pages: u64, prot: Prot, shared: bool) -> AddressSpace {
    let mm = space();
    map_at(&mm, AT, file, 0, pages, prot, shared);
    mm
}

pub(super) fn byte(mm: &AddressSpace, at: u64) -> u8 {
    mm.read(at).unwrap()
}

/// How a write goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Way {
    Buffered,
    Through,
    Direct,
}
pub(super) const WAYS: [Way; 3] = [Way::Buffered, Way::Through, Way::Direct];

/// A write with the locks of a file system, from any source.
pub(super) fn write(file: &MemFile, way: Way, pos: u64, source: &mut dyn IoSource) -> Result<usize> {
    let flags = if way == Way::Direct { IoFlags::DIRECT } else { IoFlags::empty() };
    let mut kiocb = Kiocb::sync(&file.file, pos, flags, &KernelCaller);
    let (inode, len) = (&file.inode, source.remaining());
    let freeze = FreezeGuard::enter(&inode.sb, FreezeLevel::Write);
    let lock = inode.lock.write();
    if way == Way::Buffered {
        return buffered_write(inode, &mut kiocb, source);
    }
    let request = WriteRequest { inode, freeze, lock: InodeLock::Exclusive(lock), pos, len };
    let outcome = match way {
        Way::Direct => direct_write(request, &mut kiocb, source),
        _ => writethrough_write(request, &mut kiocb, source),
    };
    match outcome? {
        Outcome::Done(n) => Ok(n),
        Outcome::Queued => panic!("a synchronous write is not queued"),
    }
}

#[test]
fn mm_5_a_write_shows_in_every_mapping_at_once() {
    let file = file_of(2);
    for shared in [true, false] {
        let mm = mapped(&file, 2, RO, shared);
        assert_eq!(byte(&mm, AT + PAGE), 2);
        for (way, new) in WAYS.into_iter().zip([70, 71, 72]) {
            let other = space();
            let (placement, backing) = (Placement::Fixed(AT), Backing::Anonymous);
            other.map(MapRequest { placement, len: PAGE, prot: RW, shared: false, backing }).unwrap();
            other.write_bytes(AT, &[new; PS]).unwrap();
            let mut source = UserSource::single(&other, AT, PAGE).unwrap();
            assert_eq!(write(&file, way, PAGE, &mut source), Ok(PS), "{way:?}");
            mm.activate();
            assert_eq!(byte(&mm, AT + PAGE), new, "{way:?}, shared {shared}");
        }
        file.write(PAGE, &[2; PS]).unwrap();
        assert_eq!(byte(&mm, AT + PAGE), 2);
    }
}

#[test]
fn mm_8_a_store_copies_and_isolates() {
    let file = file_of(1);
    let mm = mapped(&file, 1, RW, false);
    assert_eq!(byte(&mm, AT), 1);
    assert!(matches!(mm.resident().origin(AT), Some(Origin::Borrowed(_))), "a load borrows the folio's page");
    mm.write(AT + 8, &9u8).unwrap();
    assert_eq!(mm.resident().origin(AT), Some(Origin::Owned));
    assert_eq!((byte(&mm, AT), byte(&mm, AT + 8)), (1, 9));
    assert_eq!(file.read(0, 16).unwrap(), [1; 16], "the file does not see the store");
    file.write(0, &[7; 16]).unwrap();
    assert_eq!((byte(&mm, AT), byte(&mm, AT + 8)), (1, 9), "nor the copy the write");
    mm.discard(AT, PAGE).unwrap();
    assert_eq!((byte(&mm, AT), byte(&mm, AT + 8)), (7, 7));
}

#[test]
fn a_first_store_copies_without_borrowing() {
    let file = file_of(1);
    let mm = mapped(&file, 1, RW, false);
    mm.write(AT, &9u8).unwrap();
    assert_eq!((byte(&mm, AT), byte(&mm, AT + 1)), (9, 1));
    assert_eq!(file.read(0, 2).unwrap(), [1, 1]);
}

/// The pages of `range` that are there, by number.
fn present(mm: &AddressSpace, pages: u64) -> Vec<u64> {
    (0..pages).filter(|page| mm.resident().origin(AT + page * PAGE).is_some()).collect()
}

#[test]
fn a_load_maps_what_is_cached_around_it() {
    let file = file_of_cached(40);
    let folio = file.inode.mapping.find_locked(3).unwrap().into_locked();
    let mm = mapped(&file, 40, RW, false);
    mm.write(AT + 7 * PAGE, &9u8).unwrap();
    assert_eq!(present(&mm, 40), [7], "a store maps its own page only");
    assert_eq!(byte(&mm, AT + 5 * PAGE), 6);
    let run: Vec<u64> = (0..16).filter(|page| *page != 3).collect();
    assert_eq!(present(&mm, 40), run, "an aligned run, but for what is locked");
    assert_eq!(
        (byte(&mm, AT + 7 * PAGE), byte(&mm, AT + 8 * PAGE)),
        (9, 9),
        "the copy of page 7 stays; page 8 is full of 9"
    );
    assert_eq!(mm.resident().origin(AT + 7 * PAGE), Some(Origin::Owned));
    mm.write(AT + 8 * PAGE, &1u8).unwrap();
    assert_eq!(file.read(8 * PAGE, 1).unwrap(), [9], "a page that came along is copied by a store");
    drop(folio);
    // MM-6: a truncate finds them all, and nothing past the end comes along.
    file.truncate(2 * PAGE).unwrap();
    assert_eq!(present(&mm, 40), [0, 1, 7, 8]);
    mm.discard(AT, 40 * PAGE).unwrap();
    assert_eq!((byte(&mm, AT), present(&mm, 40)), (1, vec![0, 1]));
    // An area in the middle of a run, and of the file.
    let part = space();
    map_at(&part, AT + 6 * PAGE, &file_of_cached(12), 1, 3, RO, true);
    assert_eq!((byte(&part, AT + 7 * PAGE), present(&part, 40)), (3, vec![6, 7, 8]));
}

fn file_of_cached(pages: u64) -> MemFile {
    let file = file_of(pages);
    file.read(0, pages as usize * PS).unwrap();
    file
}

#[test]
fn mm_6_past_the_end_is_a_bus_error_also_after_a_truncate() {
    let file = file_of(3);
    file.truncate(2 * PAGE + 1).unwrap();
    let mm = mapped(&file, 4, RO, true);
    assert_eq!((byte(&mm, AT + 2 * PAGE), byte(&mm, AT + 2 * PAGE + 1)), (3, 0), "the last page ends in zeros");
    assert_eq!(mm.fault(AT + 3 * PAGE, Access::Read), Err(FaultError::Bus));
    assert_eq!(byte(&mm, AT + PAGE), 2);
    file.truncate(PAGE + 1).unwrap();
    assert_eq!(mm.fault(AT + 2 * PAGE, Access::Read), Err(FaultError::Bus));
    assert_eq!((byte(&mm, AT + PAGE), byte(&mm, AT + PAGE + 1)), (2, 0), "the tail that was cut is zero");
    file.truncate(3 * PAGE).unwrap();
    assert_eq!((byte(&mm, AT), byte(&mm, AT + 2 * PAGE)), (1, 0));
}

#[test]
fn mm_6_a_fault_that_races_with_a_truncate_leaves_no_page_behind() {
    for _ in 0..4 {
        let file = file_of(2);
        let mm = mapped(&file, 2, RO, true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Before: mapped, and unmapped by the truncate. After: refused.
                assert!(matches!(mm.fault(AT + PAGE, Access::Read), Ok(()) | Err(FaultError::Bus)));
            });
            file.truncate(PAGE).unwrap();
        });
        assert_eq!(mm.resident().origin(AT + PAGE), None);
        assert_eq!(mm.fault(AT + PAGE, Access::Read), Err(FaultError::Bus));
    }
}

#[test]
fn eviction_takes_mapped_folios_back_but_no_pinned_ones() {
    let file = file_of(3);
    let mm = mapped(&file, 3, RO, true);
    let seen: Vec<u8> = (0..3).map(|i| byte(&mm, AT + i * PAGE)).collect();
    let pin = mm.pin_page(AT + PAGE, Access::Read).unwrap();
    file.drop_caches();
    assert_eq!(file.drop_caches(), 0, "the first round takes what it can");
    assert!(file.inode.mapping.get(0).is_none() && file.inode.mapping.get(1).is_some());
    assert_eq!(mm.resident().origin(AT), None, "an evicted folio is in no page table");
    file.write(PAGE, &[77]).unwrap();
    let mut pinned = [0];
    pin.read_into(0, &mut pinned);
    assert_eq!((pinned, byte(&mm, AT + PAGE)), ([77], 77), "the pinned folio is still the file's");
    let again: Vec<u8> = (0..3).map(|i| byte(&mm, AT + i * PAGE)).collect();
    assert_eq!((seen, again), (vec![1, 2, 3], vec![1, 77, 3]));
}

#[test]
fn pieces_stay_known_to_the_file_and_what_replaced_others_is_left_alone() {
    let file = file_of(4);
    let mm = mapped(&file, 4, RO, false);
    (0..4).for_each(|i| assert_eq!(byte(&mm, AT + i * PAGE), i as u8 + 1));
    mm.protect(AT + 3 * PAGE, PAGE, RW).unwrap();
    mm.unmap(AT + PAGE, PAGE).unwrap();
    map_at(&mm, AT + PAGE, &file, 0, 1, RO, false);
    assert_eq!(byte(&mm, AT + PAGE), 1);
    file.truncate(PAGE).unwrap();
    assert_eq!((byte(&mm, AT), byte(&mm, AT + PAGE)), (1, 1));
    assert!(matches!(mm.resident().origin(AT + PAGE), Some(Origin::Borrowed(_))));
    assert_eq!(mm.fault(AT + 3 * PAGE, Access::Write), Err(FaultError::Bus));
    mm.unmap(AT, 2 * PAGE).unwrap();
    mm.unmap(AT + 2 * PAGE, PAGE).unwrap();
    assert!(file.inode.mapping.is_mapped(), "one piece is left");
    mm.clear();
    assert!(!file.inode.mapping.is_mapped(), "the last piece takes the mapping along");
}

#[test]
fn r27_1_a_write_from_a_mapping_of_its_own_page() {
    for way in WAYS {
        let file = file_of(2);
        let mm = mapped(&file, 2, RO, true);
        let mut source = UserSource::single(&mm, AT, PAGE).unwrap();
        assert_eq!(write(&file, way, 0, &mut source), Ok(PS), "{way:?}");
        file.fsync().unwrap();
        assert_eq!(file.on_disk(0, PS), [1; PS], "{way:?}");
        assert_eq!(byte(&mm, AT), 1);
    }
}

#[test]
fn r27_2_a_write_from_a_mapping_that_overlaps_it() {
    for way in WAYS {
        let file = file_of(4);
        let mm = mapped(&file, 4, RO, true);
        let mut source = UserSource::single(&mm, AT, 2 * PAGE).unwrap();
        assert_eq!(write(&file, way, PAGE, &mut source), Ok(2 * PS), "{way:?}");
        file.fsync().unwrap();
        // Page 1 was the source of page 2, before the write or after page 0 had been copied there.
        let disk = file.on_disk(0, 4 * PS);
        let pages: Vec<u8> = disk.chunks(PS).map(|page| page[0]).collect();
        assert!(disk.chunks(PS).all(|page| page.iter().all(|b| *b == page[0])), "{way:?}: no page is a mixture");
        assert!(pages == [1, 1, 2, 4] || pages == [1, 1, 1, 4], "{way:?}: {pages:?}");
        let seen: Vec<u8> = (0..4).map(|i| byte(&mm, AT + i * PAGE)).collect();
        assert_eq!(seen, pages, "{way:?}");
    }
}

#[test]
fn r27_an_extending_write_from_a_mapping_of_the_file() {
    for way in WAYS {
        let file = file_of(2);
        let mm = mapped(&file, 3, RO, true);
        assert_eq!(mm.fault(AT + 2 * PAGE, Access::Read), Err(FaultError::Bus));
        let mut source = UserSource::single(&mm, AT + PAGE, PAGE).unwrap();
        assert_eq!(write(&file, way, 2 * PAGE, &mut source), Ok(PS), "{way:?}");
        assert_eq!((byte(&mm, AT + PAGE), byte(&mm, AT + 2 * PAGE)), (2, 2), "{way:?}");
    }
}

#[test]
fn a_read_into_a_private_mapping_of_the_same_file() {
    let file = file_of(2);
    let mm = mapped(&file, 2, RW, false);
    assert_eq!(byte(&mm, AT), 1);
    let mut sink = UserSink::single(&mm, AT, PAGE).unwrap();
    let mut kiocb = Kiocb::sync(&file.file, PAGE, IoFlags::empty(), &KernelCaller);
    assert_eq!(fs::iomap::buffered_read(&file.inode, &mut kiocb, &mut sink), Ok(PS));
    assert_eq!(byte(&mm, AT), 2);
    assert_eq!(file.read(0, 1).unwrap(), [1]);
}

/// A source whose second half is unmapped after the first page was copied.
struct Vanishing<'a> {
    mm: &'a AddressSpace,
    inner: UserSource<'a>,
    copies: usize,
}

impl IoSource for Vanishing<'_> {
    fn remaining(&self) -> usize {
        self.inner.remaining()
    }
    fn fault_in(&mut self, len: usize) -> usize {
        self.inner.fault_in(len)
    }
    fn resident(&self, len: usize) -> usize {
        self.inner.resident(len)
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        self.copies += 1;
        if self.copies == 2 {
            // By another thread, since this one has a folio locked.
            std::thread::scope(|scope| scope.spawn(|| self.mm.unmap(AT + 2 * PAGE, 2 * PAGE)).join().unwrap()).unwrap();
        }
        self.inner.copy_to_page(page, offset, len)
    }
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize {
        self.inner.copy_to_slice(dst)
    }
    fn revert(&mut self, len: usize) {
        self.inner.revert(len);
    }
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        self.inner.pin(len, out)
    }
    fn is_aligned(&self, align: usize) -> bool {
        self.inner.is_aligned(align)
    }
}

#[test]
fn r28_the_source_is_unmapped_midway() {
    for way in [Way::Buffered, Way::Through] {
        let (source, target) = (file_of(4), file_of(4));
        let mm = mapped(&source, 4, RO, true);
        mm.fault_in(AT, 4 * PS, Access::Read);
        let inner = UserSource::single(&mm, AT, 4 * PAGE).unwrap();
        let mut vanishing = Vanishing { mm: &mm, inner, copies: 0 };
        target.write(0, &[50; 4 * PS]).unwrap();
        assert_eq!(write(&target, way, 0, &mut vanishing), Ok(2 * PS), "{way:?}: a short count");
        let pages: Vec<u8> = target.read(0, 4 * PS).unwrap().chunks(PS).map(|page| page[PS - 1]).collect();
        assert_eq!(pages, [1, 2, 50, 50], "{way:?}");
    }
}

#[test]
fn r71_pins_are_limited_over_all_and_given_back() {
    let account: &'static PinAccount = Box::leak(Box::new(PinAccount::new(3)));
    let file = file_of(4);
    let mut mm = space();
    mm.pins = account;
    map_at(&mm, AT, &file, 0, 4, RO, true);
    let (mut first, mut second) = (Pinned::new(), Pinned::new());
    let mut source = UserSource::single(&mm, AT, 4 * PAGE).unwrap();
    assert_eq!(IoSource::pin(&mut source, 2 * PS, &mut first), Ok(2 * PS));
    assert_eq!(IoSource::pin(&mut source, 2 * PS, &mut second), Ok(PS), "the limit ends it short");
    assert_eq!(IoSource::pin(&mut source, PS, &mut Pinned::new()), Err(Errno::ENOMEM));
    drop(first);
    assert_eq!(account.pages(), 1);
    assert_eq!(IoSource::pin(&mut source, PS, &mut second), Ok(PS));
    second.clear();
    assert_eq!((account.pages(), source.remaining()), (0, 0));
    let mut sink = UserSink::single(&mm, AT, PAGE).unwrap();
    assert_eq!(IoSink::pin(&mut sink, PS, &mut second), Err(Errno::EFAULT), "not to be written");
    drop(second);
    assert_eq!(account.pages(), 0);
}
