//! Memory that is shared: without a name, in files of tmpfs, in segments; moved, locked, and waited on.
use super::fork_tests::{anonymous, get, set};
use super::resident::Origin;
use super::segments::{SegmentRequest, Segments};
use super::tests::{AT, PS, RO, RW, file_of, map_at, space};
use super::{Access, AddressSpace, Backing, FaultError, Locked, MapRequest, PAGE, Placement, RemapRequest, UserSink};
use crate::ipc::{IPC_CREAT, IPC_EXCL};
use crate::process::FutexKey;
use base::memory::fail_allocation;
use base::sync::Arc;
use base::{Errno, Result};
use fs::caller::{Caller, KernelCaller};
use fs::io::{IoSink, Pinned, SliceSource};
use fs::testing::User;
use fs::tmpfs;
use fs::vfs::{self, File, Inode, OpenFlags, Site, Vfs};

fn memory(pages: u64) -> Arc<Inode> {
    tmpfs::new(1, 0o700, pages, 100)
}
fn unnamed(pages: u64) -> Arc<File> {
    tmpfs::unnamed(&memory(1000), pages * PAGE, 0o600, &KernelCaller).unwrap()
}
fn map(mm: &AddressSpace, at: u64, file: &Arc<File>, pages: u64) {
    let backing = Backing::File { file: file.clone(), offset: 0 };
    let placement = Placement::Fixed(at);
    mm.map(MapRequest { placement, len: pages * PAGE, prot: RW, shared: true, backing }).unwrap();
}
fn frames(file: &File) -> u64 {
    file.inode.as_ref().unwrap().ops().frames().unwrap().count()
}

#[test]
fn memory_without_a_name_is_shared_with_a_child() {
    let file = unnamed(3);
    let parent = space();
    map(&parent, AT, &file, 3);
    assert_eq!(get(&parent, AT), 0);
    let child = parent.fork().unwrap();
    set(&child, AT, 60);
    set(&parent, AT + PAGE, 50);
    assert_eq!((get(&parent, AT), get(&child, AT + PAGE)), (60, 50));
    assert_eq!(frames(&file), 2, "a frame comes with the first touch");
    child.discard(AT, PAGE).unwrap();
    assert_eq!(get(&child, AT), 60, "advice does not take shared content away");
    child.protect(AT, PAGE, RO).unwrap();
    assert_eq!(child.write(AT, &1u8), Err(Errno::EFAULT));
    child.protect(AT, PAGE, RW).unwrap();
    set(&child, AT, 61);
    drop(parent);
    assert_eq!(get(&child, AT), 61);
    let inode = Arc::downgrade(file.inode.as_ref().unwrap());
    drop((file, child));
    assert!(inode.upgrade().is_none(), "it goes with its last mapping");
}

#[test]
fn a_file_of_tmpfs_and_its_shared_mappings_are_one() {
    let tree = Vfs::new(memory(64), b"tmpfs", None).unwrap();
    let root = tree.root();
    let site = Site { cwd: &root, caller: &KernelCaller };
    let file = tree.open(site, b"/f", OpenFlags::RDWR | OpenFlags::CREAT, 0o600).unwrap();
    vfs::write_at(&file, 0, 0, &mut SliceSource::new(&[1; 2 * PS]), &KernelCaller).unwrap();
    let mm = space();
    map(&mm, AT, &file, 3);
    assert_eq!(get(&mm, AT + PAGE), 1);
    set(&mm, AT + PAGE, 70);
    vfs::write_at(&file, PAGE + 1, 0, &mut SliceSource::new(&[71]), &KernelCaller).unwrap();
    let mut bytes = [0; 3];
    vfs::read_at(&file, PAGE, 0, &mut fs::io::SliceSink::new(&mut bytes), &KernelCaller).unwrap();
    assert_eq!((bytes, get(&mm, AT + PAGE + 1)), ([70, 71, 1], 71));
    assert_eq!(mm.fault(AT + 2 * PAGE, Access::Write), Err(FaultError::Bus), "past the end (MM-6)");
    vfs::ftruncate(&file, PAGE, &KernelCaller).unwrap();
    assert_eq!(mm.resident().origin(AT + PAGE), None);
    assert_eq!(mm.fault(AT + PAGE, Access::Read), Err(FaultError::Bus));
    vfs::ftruncate(&file, 3 * PAGE, &KernelCaller).unwrap();
    assert_eq!((get(&mm, AT), get(&mm, AT + PAGE)), (1, 0), "what was cut off does not come back");
    set(&mm, AT + 2 * PAGE, 9);
    assert_eq!(frames(&file), 3);
}

#[test]
fn mm_6_a_fault_of_shared_memory_that_races_with_a_truncate_leaves_no_page_behind() {
    for _ in 0..20 {
        let file = unnamed(2);
        let inode = file.inode.clone().unwrap();
        let mm = space();
        map(&mm, AT, &file, 2);
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(matches!(mm.fault(AT + PAGE, Access::Write), Ok(()) | Err(FaultError::Bus))));
            inode.ops().truncate(&inode, PAGE, &KernelCaller).unwrap();
        });
        assert_eq!((mm.resident().origin(AT + PAGE), frames(&file)), (None, 0));
    }
}

/// A full file system is a bus error; no memory is none.
#[test]
fn frames_that_cannot_be_had() {
    let file = tmpfs::unnamed(&memory(1), 2 * PAGE, 0o600, &KernelCaller).unwrap();
    let mm = space();
    map(&mm, AT, &file, 2);
    let plan = fail_allocation(1, 1);
    assert_eq!(mm.fault(AT, Access::Write), Err(FaultError::NoMemory));
    drop(plan);
    set(&mm, AT, 1);
    assert_eq!(mm.fault(AT + PAGE, Access::Write), Err(FaultError::Bus));
}

/// R71: a device may store to a frame that is shared: nobody copies it away.
#[test]
fn r71_shared_memory_is_pinned_as_it_is() {
    let file = unnamed(1);
    let parent = space();
    map(&parent, AT, &file, 1);
    let mut pinned = Pinned::new();
    let mut sink = UserSink::single(&parent, AT, PAGE).unwrap();
    assert_eq!(sink.pin(PS, &mut pinned), Ok(PS));
    let child = parent.fork().unwrap();
    set(&child, AT + 1, 60);
    pinned[0].page.write_from(0, &[77]);
    assert_eq!([&parent, &child].map(|mm| (get(mm, AT), get(mm, AT + 1))), [(77, 60); 2]);
}

#[test]
fn a_futex_in_shared_memory_is_the_same_everywhere() {
    let file = unnamed(2);
    let parent = space();
    map(&parent, AT, &file, 2);
    anonymous(&parent, AT + 16 * PAGE, 1);
    let child = parent.fork().unwrap();
    map(&child, AT + 32 * PAGE, &file, 2);
    let key = |mm: &AddressSpace, at, private| FutexKey::new(mm, at, private).unwrap();
    assert_eq!(key(&parent, AT + 8, false), key(&child, AT + 8, false));
    assert_eq!(key(&parent, AT + PAGE, false), key(&child, AT + 33 * PAGE, false));
    assert_ne!(key(&parent, AT + 8, false), key(&parent, AT + 12, false));
    assert_ne!(key(&parent, AT + 8, true), key(&child, AT + 8, true), "who says private means it");
    let own = AT + 16 * PAGE;
    assert_ne!(key(&parent, own, false), key(&child, own, false));
    assert_eq!(key(&parent, own, false), key(&parent, own, true));
    let disk = file_of(1);
    map_at(&parent, AT + 48 * PAGE, &disk, 0, 1, RW, true);
    map_at(&child, AT + 64 * PAGE, &disk, 0, 1, RO, true);
    assert_eq!(key(&parent, AT + 48 * PAGE, false), key(&child, AT + 64 * PAGE, false));
    map_at(&child, AT + 65 * PAGE, &disk, 0, 1, RW, false);
    assert_ne!(key(&parent, AT + 48 * PAGE, false), key(&child, AT + 65 * PAGE, false), "a private mapping");
}

fn remap(mm: &AddressSpace, addr: u64, old: u64, new: u64, may_move: bool, fixed: Option<u64>) -> Result<u64> {
    mm.activate();
    mm.remap(RemapRequest { addr, old_len: old * PAGE, new_len: new * PAGE, may_move, fixed })
}

#[test]
fn anonymous_memory_grows_shrinks_and_moves() {
    let mm = space();
    anonymous(&mm, AT, 2);
    set(&mm, AT, 1);
    set(&mm, AT + PAGE, 2);
    assert_eq!(remap(&mm, AT, 2, 4, false, None), Ok(AT), "there is room behind it");
    assert_eq!((get(&mm, AT + PAGE), get(&mm, AT + 3 * PAGE)), (2, 0));
    anonymous(&mm, AT + 4 * PAGE, 1);
    mm.protect(AT + 4 * PAGE, PAGE, RO).unwrap();
    assert_eq!(remap(&mm, AT, 4, 5, false, None), Err(Errno::ENOMEM));
    let frame = mm.resident().page(AT).unwrap().0.phys();
    let at = remap(&mm, AT, 4, 6, true, None).unwrap();
    assert_ne!(at, AT);
    assert_eq!((get(&mm, at), get(&mm, at + PAGE), get(&mm, at + 5 * PAGE)), (1, 2, 0));
    assert_eq!(mm.resident().page(at).unwrap().0.phys(), frame, "pages move, bytes do not");
    assert_eq!(mm.read::<u8>(AT), Err(Errno::EFAULT));
    assert_eq!(remap(&mm, at, 6, 1, false, None), Ok(at));
    assert_eq!(mm.read::<u8>(at + PAGE), Err(Errno::EFAULT));
    assert_eq!(remap(&mm, at, 1, 1, true, Some(AT + 4 * PAGE)), Ok(AT + 4 * PAGE), "what is there is replaced");
    set(&mm, AT + 4 * PAGE, 3);
    for (addr, old, new, fixed, error) in [
        (AT + 4 * PAGE, 2, 3, None, Errno::EFAULT),
        (AT, 1, 1, None, Errno::EFAULT),
        (AT + 4 * PAGE, 1, 2, Some(AT + 3 * PAGE), Errno::EINVAL),
        (AT + 4 * PAGE, 0, 1, None, Errno::EINVAL),
        (AT + 4 * PAGE, 1, 0, None, Errno::EINVAL),
        (AT + 4 * PAGE, 1, 1, Some(0), Errno::EINVAL),
        (AT + 4 * PAGE, 1, hal::user::USER_END / PAGE, None, Errno::ENOMEM),
    ] {
        assert_eq!(remap(&mm, addr, old, new, true, fixed), Err(error), "{addr:#x} {old} {new} {fixed:?}");
    }
    assert_eq!(remap(&mm, AT + 4 * PAGE, 1, 1, false, Some(AT)), Err(Errno::EINVAL), "a place, but it may not move");
}

#[test]
fn pages_of_a_fork_move_and_stay_shared() {
    let parent = space();
    anonymous(&parent, AT, 1);
    set(&parent, AT, 1);
    let child = parent.fork().unwrap();
    let at = remap(&child, AT, 1, 2, true, Some(AT + 64 * PAGE)).unwrap();
    assert_eq!(child.resident().origin(at), Some(Origin::Forked));
    set(&child, at, 2);
    assert_eq!((get(&parent, AT), get(&child, at)), (1, 2));
}

/// MM-2, MM-5, MM-6: the page cache knows an area where it is, not where it was.
#[test]
fn mappings_of_files_grow_and_move() {
    let file = file_of(4);
    let mm = space();
    map_at(&mm, AT, &file, 0, 2, RW, true);
    set(&mm, AT + 5, 70);
    assert_eq!(remap(&mm, AT, 2, 3, false, None), Ok(AT));
    assert_eq!((get(&mm, AT + 5), get(&mm, AT + 2 * PAGE)), (70, 3));
    let to = AT + 64 * PAGE;
    assert_eq!(remap(&mm, AT, 3, 4, true, Some(to)), Ok(to));
    assert_eq!([0, 1, 2, 3].map(|page| get(&mm, to + page * PAGE)), [1, 2, 3, 4]);
    set(&mm, to + 6, 71);
    file.fsync().unwrap();
    assert_eq!(file.on_disk(4, 4), [1, 70, 71, 1]);
    mm.activate();
    assert_eq!(hal::user::copy_to_user(to, &[1]), 0, "write-protected at the new place");
    map_at(&mm, AT, &file, 0, 1, RW, true);
    assert_eq!(get(&mm, AT), 1);
    file.truncate(PAGE).unwrap();
    assert_eq!(mm.resident().origin(to + PAGE), None);
    assert_eq!(mm.fault(to + 3 * PAGE, Access::Read), Err(FaultError::Bus));
    assert!(mm.resident().origin(AT).is_some());
    mm.clear();
    assert!(!file.inode.mapping.is_mapped());
}

/// The part of an area moves; a private copy goes along, and the rest stays.
#[test]
fn a_piece_of_a_private_mapping_moves() {
    let file = file_of(3);
    let mm = space();
    map_at(&mm, AT, &file, 0, 3, RW, false);
    set(&mm, AT + PAGE, 70);
    let to = AT + 64 * PAGE;
    assert_eq!(remap(&mm, AT + PAGE, 1, 2, true, Some(to)), Ok(to));
    assert_eq!((get(&mm, to), get(&mm, to + 1), get(&mm, to + PAGE)), (70, 2, 3));
    assert_eq!((get(&mm, AT), get(&mm, AT + 2 * PAGE)), (1, 3));
    assert_eq!(mm.read::<u8>(AT + PAGE), Err(Errno::EFAULT));
    file.write(0, &[9]).unwrap();
    assert_eq!(get(&mm, AT), 9);
}

#[test]
fn locked_memory_is_present_and_counted() {
    let mm = space();
    anonymous(&mm, AT, 4);
    let limit = 3 * PAGE;
    mm.lock_memory(&Locked::Range(AT + 1, PAGE), limit, false).unwrap();
    assert_eq!(mm.resident_map(AT, 4 * PAGE).unwrap(), [1, 1, 0, 0]);
    assert_eq!(mm.lock_memory(&Locked::Range(AT, 4 * PAGE), limit, false), Err(Errno::ENOMEM));
    mm.lock_memory(&Locked::Range(AT, 3 * PAGE), limit, true).unwrap();
    assert_eq!(mm.resident_map(AT, 4 * PAGE).unwrap(), [1, 1, 0, 0], "present at the first touch, as asked");
    mm.unlock_memory(&Locked::Range(AT, PAGE)).unwrap();
    mm.lock_memory(&Locked::Range(AT + 3 * PAGE, PAGE), limit, false).unwrap();
    mm.lock_memory(&Locked::All { now: false, future: true }, limit, false).unwrap();
    anonymous(&mm, AT + 8 * PAGE, 1);
    assert_eq!(mm.resident_map(AT + 8 * PAGE, PAGE).unwrap(), [1]);
    mm.unlock_memory(&Locked::All { now: true, future: true }).unwrap();
    mm.lock_memory(&Locked::Range(AT, 3 * PAGE), limit, false).unwrap();
    assert_eq!(mm.lock_memory(&Locked::Range(AT + 4 * PAGE, 1), u64::MAX, false), Err(Errno::ENOMEM), "not mapped");
    assert_eq!(mm.resident_map(AT + 1, PAGE), Err(Errno::EINVAL));
    assert_eq!(mm.resident_map(AT + 3 * PAGE, 2 * PAGE), Err(Errno::ENOMEM));
    let child = mm.fork().unwrap();
    child.lock_memory(&Locked::Range(AT, 3 * PAGE), limit, false).unwrap();
}

fn attach(all: &Arc<Segments>, mm: &AddressSpace, id: u32, at: u64, read_only: bool, who: &dyn Caller) -> Result<u64> {
    all.attach((mm, 7), id, Placement::FixedNoReplace(at), (read_only, false), who)
}

#[test]
fn a_segment_lives_until_it_is_removed_and_nobody_has_it() {
    let all = Segments::new(memory(1000), 100);
    let request = SegmentRequest { key: 5, size: 2 * PAGE + 1, flags: IPC_CREAT | 0o600 };
    let id = all.get(request, &KernelCaller, 7).unwrap();
    assert_eq!(all.get(SegmentRequest { flags: 0, size: 0, ..request }, &KernelCaller, 7), Ok(id));
    let parent = space();
    assert_eq!(attach(&all, &parent, id, AT, false, &KernelCaller), Ok(AT));
    assert_eq!(attach(&all, &parent, id, AT + PAGE, false, &KernelCaller), Err(Errno::EINVAL), "taken");
    set(&parent, AT, 50);
    let segment = all.readable(id, &KernelCaller).unwrap();
    let child = parent.fork().unwrap();
    assert_eq!((get(&child, AT), segment.state().attachments), (50, 2), "a child has what its parent has");
    all.remove(id, &KernelCaller).unwrap();
    assert_eq!(all.get(SegmentRequest { flags: 0, ..request }, &KernelCaller, 7), Err(Errno::ENOENT));
    let other = all.get(request, &KernelCaller, 7).unwrap();
    assert_ne!(other, id, "the key is free again");
    parent.unmap(AT + PAGE, PAGE).unwrap();
    assert_eq!(segment.state().attachments, 2, "pieces are one attachment");
    assert_eq!(parent.detach(AT + PAGE, 7), Err(Errno::EINVAL));
    parent.detach(AT, 7).unwrap();
    assert_eq!(parent.detach(AT, 7), Err(Errno::EINVAL));
    parent.activate();
    assert_eq!(parent.read::<u8>(AT + 2 * PAGE), Err(Errno::EFAULT), "all pieces went");
    assert_eq!((segment.state().attachments, all.all().len()), (1, 2));
    // As execve and exit do.
    child.clear();
    assert_eq!((segment.state().attachments, all.all().len()), (0, 1));
    assert_eq!(attach(&all, &child, id, AT, false, &KernelCaller), Err(Errno::EINVAL));
    all.remove(other, &KernelCaller).unwrap();
    assert!(all.all().is_empty());
}

#[test]
fn segments_have_owners_and_limits() {
    let all = Segments::new(memory(1000), 10);
    let (owner, other) = (User(10), User(20));
    let get = |key, size, flags, who: &User| all.get(SegmentRequest { key, size, flags }, who, 7);
    assert_eq!(get(5, PAGE, 0, &owner), Err(Errno::ENOENT));
    assert_eq!(
        (get(5, 0, IPC_CREAT, &owner), get(5, 11 * PAGE, IPC_CREAT, &owner)),
        (Err(Errno::EINVAL), Err(Errno::EINVAL))
    );
    let id = get(5, 4 * PAGE, IPC_CREAT | 0o640, &owner).unwrap();
    assert_eq!(get(5, 4 * PAGE, IPC_CREAT | IPC_EXCL, &owner), Err(Errno::EEXIST));
    assert_eq!(get(5, 4 * PAGE + 1, 0, &owner), Err(Errno::EINVAL));
    assert_eq!(get(5, PAGE, 0o400, &other), Err(Errno::EACCES));
    assert_eq!(get(0, 7 * PAGE, 0o600, &owner), Err(Errno::ENOSPC), "more than all may have together");
    let private = get(0, 6 * PAGE, 0o600, &owner).unwrap();
    assert_ne!(private, id);
    let mm = space();
    assert_eq!(attach(&all, &mm, id, AT, true, &other), Err(Errno::EACCES));
    assert_eq!(all.remove(id, &other), Err(Errno::EPERM));
    assert_eq!(all.set(id, (20, 20, 0o400), &other), Err(Errno::EPERM));
    all.set(id, (20, 20, 0o400), &owner).unwrap();
    assert_eq!(attach(&all, &mm, id, AT, false, &other), Err(Errno::EACCES));
    assert_eq!(attach(&all, &mm, id, AT, true, &other), Ok(AT));
    assert_eq!(mm.protect(AT, PAGE, RW), Err(Errno::EACCES), "attached for reading");
    all.remove(private, &owner).unwrap();
    assert!(get(0, 6 * PAGE, 0o600, &owner).is_ok(), "what is gone counts no more");
}
