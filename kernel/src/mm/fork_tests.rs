//! Fork's copy on write: what parent and child see, who owns a page, and what a failure leaves behind.
use super::resident::Origin;
use super::tests::{AT, PS, RO, RW, file_of, map_at, space};
use super::{Access, AddressSpace, Backing, FaultError, MapRequest, PAGE, Placement, UserSink};
use base::memory::fail_allocation;
use base::{Errno, Page};
use fs::io::{IoSink, Pinned};
use hal::user::Prot;

/// Private memory of `pages` pages, page `i` full of `i + 1`.
fn filled(pages: u64) -> AddressSpace {
    let mm = space();
    anonymous(&mm, AT, pages);
    (0..pages).for_each(|page| mm.write_bytes(AT + page * PAGE, &[page as u8 + 1; PS]).unwrap());
    mm
}

pub(super) fn anonymous(mm: &AddressSpace, at: u64, pages: u64) {
    let (placement, backing) = (Placement::Fixed(at), Backing::Anonymous);
    mm.map(MapRequest { placement, len: pages * PAGE, prot: RW, shared: false, backing }).unwrap();
}

/// A byte as the program of `mm` sees it.
pub(super) fn get(mm: &AddressSpace, at: u64) -> u8 {
    mm.activate();
    mm.read(at).unwrap()
}
pub(super) fn set(mm: &AddressSpace, at: u64, byte: u8) {
    mm.activate();
    mm.write(at, &byte).unwrap();
}
/// Whether a store goes through without a fault.
fn store_through(mm: &AddressSpace, at: u64, byte: u8) -> bool {
    mm.activate();
    hal::user::copy_to_user(at, &[byte]) == 1
}
fn frame(mm: &AddressSpace, at: u64) -> u64 {
    mm.resident().page(at).unwrap().0.phys()
}

#[test]
fn a_fork_has_the_same_content_and_stores_stay_private() {
    let parent = filled(3);
    let child = parent.fork().unwrap();
    assert_eq!(frame(&parent, AT), frame(&child, AT), "nothing is copied before somebody stores");
    assert_eq!([0, 1, 2].map(|page| get(&child, AT + page * PAGE)), [1, 2, 3]);
    assert!(!store_through(&parent, AT, 9) && !store_through(&child, AT, 9));
    set(&parent, AT, 50);
    set(&child, AT + PAGE + 7, 60);
    assert_eq!((get(&parent, AT), get(&child, AT)), (50, 1));
    assert_eq!((get(&parent, AT + PAGE + 7), get(&child, AT + PAGE + 7)), (2, 60));
    assert_eq!((get(&child, AT + PAGE), get(&child, AT + PAGE + 8)), (2, 2), "the rest of the page is copied");
    assert_eq!(frame(&parent, AT + 2 * PAGE), frame(&child, AT + 2 * PAGE));
}

#[test]
fn the_last_one_left_owns_its_page_again_without_a_copy() {
    let parent = filled(2);
    let before = frame(&parent, AT);
    let child = parent.fork().unwrap();
    let grandchild = child.fork().unwrap();
    drop(child);
    set(&parent, AT + PAGE, 9);
    assert_ne!(frame(&parent, AT + PAGE), frame(&grandchild, AT + PAGE), "two are left");
    drop(grandchild);
    set(&parent, AT, 9);
    assert_eq!((frame(&parent, AT), parent.resident().origin(AT)), (before, Some(Origin::Owned)));
    assert!(store_through(&parent, AT + 1, 9));
}

#[test]
fn a_fork_of_a_fork_copies_once_for_each_that_stores() {
    let parent = filled(1);
    let child = parent.fork().unwrap();
    let grandchild = child.fork().unwrap();
    set(&child, AT, 20);
    set(&grandchild, AT, 30);
    set(&parent, AT, 10);
    assert_eq!([&parent, &child, &grandchild].map(|mm| get(mm, AT)), [10, 20, 30]);
}

/// R71: what a direct read that is in flight stores after the fork is the parent's, whatever the parent stores beside it.
#[test]
fn r71_a_frame_that_a_device_stores_to_stays_the_parents() {
    let parent = filled(2);
    let mut pinned = Pinned::new();
    let mut sink = UserSink::single(&parent, AT, PAGE).unwrap();
    assert_eq!(sink.pin(PS, &mut pinned), Ok(PS));
    let child = parent.fork().unwrap();
    set(&parent, AT + 9, 70);
    pinned[0].page.write_from(0, b"from the");
    assert_eq!((get(&parent, AT), get(&parent, AT + 9)), (b'f', 70), "the device's bytes are lost");
    assert_eq!((get(&child, AT), get(&child, AT + 9)), (1, 1), "a copy of before");
    assert_eq!(child.resident().origin(AT), Some(Origin::Owned));
    assert_eq!(parent.resident().origin(AT + PAGE), Some(Origin::Forked), "the others are shared as ever");
    drop(pinned);
    set(&child, AT, 5);
    assert_eq!((get(&parent, AT), get(&child, AT)), (b'f', 5));
}

/// A direct read that begins after the fork gets a frame of its own.
#[test]
fn r71_a_pin_after_the_fork_breaks_the_sharing_first() {
    let parent = filled(1);
    let child = parent.fork().unwrap();
    parent.activate();
    let page = parent.pin_page(AT, Access::Write).unwrap();
    page.write_from(0, &[77]);
    assert_eq!((get(&parent, AT), get(&child, AT)), (77, 1));
    let mut seen = [0];
    child.pin_page(AT, Access::Read).unwrap().read_into(0, &mut seen);
    assert_eq!(seen, [1]);
}

#[test]
fn mm_8_private_mappings_of_files_after_a_fork() {
    let file = file_of(3);
    let parent = space();
    map_at(&parent, AT, &file, 0, 3, RW, false);
    assert_eq!(get(&parent, AT), 1);
    set(&parent, AT + PAGE, 50);
    let child = parent.fork().unwrap();
    assert_eq!([0, 1, 2].map(|page| get(&child, AT + page * PAGE)), [1, 50, 3]);
    set(&child, AT + PAGE, 60);
    set(&child, AT, 61);
    assert_eq!((get(&parent, AT), get(&parent, AT + PAGE)), (1, 50));
    file.write(0, &[7; 16]).unwrap();
    assert_eq!((get(&parent, AT), get(&child, AT)), (7, 61), "what was not copied shows the file (MM-5)");
    assert_eq!(file.read(PAGE, 1).unwrap(), [2]);
}

/// STB-4, MM-5: a shared mapping is one and the same on both sides, and the page cache finds both.
#[test]
fn stb_4_shared_mappings_are_write_protected_on_both_sides() {
    let file = file_of(1);
    let parent = space();
    map_at(&parent, AT, &file, 0, 1, RW, true);
    set(&parent, AT, 50);
    let child = parent.fork().unwrap();
    assert_eq!(get(&child, AT), 50);
    set(&child, AT + 1, 60);
    assert!(store_through(&parent, AT + 2, 51) && store_through(&child, AT + 3, 61));
    assert_eq!(file.read(0, 4).unwrap(), [50, 60, 51, 61]);
    file.fsync().unwrap();
    assert_eq!(file.on_disk(0, 4), [50, 60, 51, 61]);
    assert!(!store_through(&parent, AT, 1) && !store_through(&child, AT, 1), "both take a fault for the next store");
    drop(parent);
    assert!(file.inode.mapping.is_mapped(), "the child's mapping is its own");
    set(&child, AT, 62);
    assert_eq!(file.read(0, 1).unwrap(), [62]);
    drop(child);
    assert!(!file.inode.mapping.is_mapped());
}

/// MM-6
#[test]
fn mm_6_a_truncate_after_the_fork_unmaps_in_both() {
    for shared in [true, false] {
        let file = file_of(2);
        let parent = space();
        map_at(&parent, AT, &file, 0, 2, RW, shared);
        assert_eq!(get(&parent, AT + PAGE), 2);
        let child = parent.fork().unwrap();
        assert_eq!(get(&child, AT + PAGE), 2);
        file.truncate(PAGE).unwrap();
        for mm in [&parent, &child] {
            assert_eq!(mm.resident().origin(AT + PAGE), None);
            assert_eq!(mm.fault(AT + PAGE, Access::Read), Err(FaultError::Bus));
            assert_eq!(get(mm, AT), 1);
        }
    }
}

#[test]
fn the_heap_and_the_place_for_mappings_go_along() {
    let parent = space();
    parent.set_brk_start(0x20_0000);
    parent.set_mmap_top(0x7000_0000);
    parent.brk(0x20_1800);
    let child = parent.fork().unwrap();
    assert_eq!((child.heap(), child.brk(0)), (0x20_0000..0x20_1800, 0x20_1800));
    assert_eq!(child.brk(0x20_4000), 0x20_4000);
    assert_eq!(parent.brk(0), 0x20_1800, "and each goes its way");
    let request =
        MapRequest { placement: Placement::Hint(0), len: PAGE, prot: RW, shared: false, backing: Backing::Anonymous };
    assert_eq!(child.map(request), Ok(0x7000_0000 - PAGE));
}

#[test]
fn protection_unmap_and_advice_after_a_fork_are_for_one_side() {
    let parent = filled(4);
    let child = parent.fork().unwrap();
    child.protect(AT, PAGE, RO).unwrap();
    child.protect(AT, PAGE, RW).unwrap();
    assert!(!store_through(&child, AT, 9), "rights that come back are none to the other's page");
    set(&child, AT, 9);
    child.unmap(AT + PAGE, PAGE).unwrap();
    child.discard(AT + 2 * PAGE, PAGE).unwrap();
    parent.protect(AT + 3 * PAGE, PAGE, Prot { read: false, write: false, exec: false }).unwrap();
    assert_eq!([0, 1, 2].map(|page| get(&parent, AT + page * PAGE)), [1, 2, 3]);
    assert_eq!([0, 2, 3].map(|page| get(&child, AT + page * PAGE)), [9, 0, 4]);
    child.activate();
    assert_eq!(child.read::<u8>(AT + PAGE), Err(Errno::EFAULT));
    parent.activate();
    assert_eq!(parent.read::<u8>(AT + 3 * PAGE), Err(Errno::EFAULT));
    drop(child);
    assert!((0..3).all(|page| parent.pin_page(AT + page * PAGE, Access::Write).is_ok()));
}

/// Whatever allocation of it fails: the parent is as before, and nothing is kept.
#[test]
fn a_failed_fork_leaves_the_parent_as_it_was() {
    let file = file_of(1);
    let parent = filled(3);
    map_at(&parent, AT + 16 * PAGE, &file, 0, 1, RW, true);
    map_at(&parent, AT + 17 * PAGE, &file, 0, 1, RW, false);
    set(&parent, AT + 17 * PAGE, 70);
    let pin = parent.pin_page(AT + 2 * PAGE, Access::Write).unwrap();
    let counts = || [0, 1, 2].map(|page| parent.resident().page(AT + page * PAGE).unwrap().0.ref_count());
    let mut failures = 0;
    for n in 1.. {
        let before = counts();
        let plan = fail_allocation(n, 1);
        let forked = parent.fork().map(drop);
        let spent = plan.is_spent();
        drop(plan);
        assert_eq!(counts(), before, "a handle is left of allocation {n}");
        if !spent {
            assert_eq!(forked, Ok(()));
            break;
        }
        assert_eq!(forked, Err(Errno::ENOMEM));
        failures += 1;
        for page in 0..3 {
            set(&parent, AT + page * PAGE, page as u8 + 20);
        }
    }
    assert!(failures >= 5, "{failures}: each page that is shared or copied takes memory");
    let mut byte = [0];
    Page::read_into(&pin, 0, &mut byte);
    assert_eq!((byte, get(&parent, AT + 17 * PAGE)), ([22], 70));
    drop(parent);
    assert!(!file.inode.mapping.is_mapped());
}
