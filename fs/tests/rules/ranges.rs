//! A14: punch, zero, collapse and insert; with them what seeks and FIEMAP tell (BUF-8).
use crate::stage::*;
use base::Errno;
use base::block::{BioOp, Filter, RamDisk};
use fs::caller::{Caller, KernelCaller};
use fs::ext4::{self, MountOptions};
use fs::iomap::IomapKind;
use fs::vfs::{self, FallocMode, File, OpenFlags, Site, Vfs, Whence};
use std::ops::Range;
use std::sync::Arc;

const B: u64 = BLOCK as u64;

/// `len` blocks of a letter each, on the device.
fn letters(stage: &Stage, len: usize) -> (Arc<File>, Vec<u8>) {
    let file = stage.create("f");
    let content: Vec<u8> = (0..len * BLOCK).map(|i| b'a' + (i / BLOCK) as u8).collect();
    assert_eq!(sync_wt(&file, 0, &content), Ok(content.len()));
    (file, content)
}

/// What the file holds: in the cache, on the device, and, after an fsync, if the power fails.
fn expect(stage: &Stage, file: &Arc<File>, expected: &[u8]) {
    assert_eq!(inode(file).size(), expected.len() as u64);
    assert!(read(file, 0, 1 << 20) == expected, "in the cache");
    fsync(file).expect("fsync");
    stage.drop_caches();
    assert!(read(file, 0, 1 << 20) == expected, "on the device");
    assert!(stage.cut().read("f") == expected, "after a power cut");
}

fn is_unwritten(file: &Arc<File>, block: u64) -> bool {
    matches!(mapped(file, block * B), IomapKind::Unwritten(_))
}

/// TRC-6: whole blocks go, the edges are zeroed, the size stays, also where it is known from nothing but the dirty bytes that go.
#[test]
fn trc6_a_hole_reads_as_zeros_and_the_size_stays() {
    let stage = Stage::new(4096);
    let (file, mut content) = letters(&stage, 4);
    let blocks = vfs::stat(&inode(&file)).blocks_512;
    fallocate(&file, FallocMode::PunchHole, B - 100..3 * B + 100).expect("punch");
    content[BLOCK - 100..3 * BLOCK + 100].fill(0);
    assert_eq!([mapped(&file, B), mapped(&file, 2 * B)], [IomapKind::Hole; 2]);
    assert_eq!(vfs::stat(&inode(&file)).blocks_512, blocks - 16);
    expect(&stage, &file, &content);
    assert_eq!(write(&file, 4 * B, &[b'z'; 2 * BLOCK]), Ok(2 * BLOCK));
    assert_eq!(disk_size(&file), 4 * B);
    fallocate(&file, FallocMode::PunchHole, 5 * B..9 * B).expect("punch");
    content.extend([b'z'; BLOCK]);
    content.extend([0; BLOCK]);
    expect(&stage, &file, &content);
    stage.end([file]);
}

/// TRC-6 behind the end of the file: what was allocated there goes. Within one block: nothing is freed.
#[test]
fn trc6_a_hole_behind_the_end_and_one_in_a_block() {
    let stage = Stage::new(4096);
    let (file, mut content) = letters(&stage, 1);
    fallocate(&file, FallocMode::Allocate { keep_size: true }, 0..8 * B).expect("fallocate");
    fallocate(&file, FallocMode::PunchHole, 2 * B..u64::from(u32::MAX)).expect("punch");
    assert!(is_unwritten(&file, 1) && mapped(&file, 2 * B) == IomapKind::Hole);
    fallocate(&file, FallocMode::PunchHole, 10..20).expect("punch");
    content[10..20].fill(0);
    assert!(matches!(mapped(&file, 0), IomapKind::Mapped(_)));
    expect(&stage, &file, &content);
    stage.end([file]);
}

/// TRC-6: the edge of a hole in a block whose first writeback is on its way, with the old bytes in it: it becomes mapped when that has ended,
/// and must be written again.
#[test]
fn trc6_an_edge_under_writeback() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    // The device has the bytes, and has not said so.
    stage.gate.hold_completions(Filter::any().op(BioOp::Write).nth(1));
    fs::iomap::write_range(&inode(&file), 0..u64::MAX, false).expect("writeback");
    stage.gate.wait_held(1);
    fallocate(&file, FallocMode::PunchHole, 100..200).expect("punch");
    stage.gate.open();
    let mut content = vec![b'o'; BLOCK];
    content[100..200].fill(0);
    stage.wait_quiet();
    expect(&stage, &file, &content);
    stage.end([file]);
}

/// TRC-6: the same where the writeback begins and ends after the punch has looked at the extents.
#[test]
fn trc6_an_edge_whose_writeback_ends_meanwhile() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    assert_eq!(write(&file, 0, &[b'o'; BLOCK]), Ok(BLOCK));
    let asked = stop("read.after_map", &file);
    let punching = stage.spawn("punch", {
        let file = file.clone();
        move || fallocate(&file, FallocMode::PunchHole, 100..200).expect("punch")
    });
    asked.wait_reached();
    let writing = stage.spawn("writeback", {
        let node = inode(&file);
        move || fs::iomap::write_and_wait(&node, 0..u64::MAX).expect("writeback")
    });
    writing.join();
    assert!(matches!(mapped(&file, 0), IomapKind::Mapped(_)));
    asked.release();
    punching.join();
    let mut content = vec![b'o'; BLOCK];
    content[100..200].fill(0);
    expect(&stage, &file, &content);
    stage.end([file]);
}

/// TRC-7: the range is UNWRITTEN, holes too, on the blocks it had; the file grows unless it is told not to.
#[test]
fn trc7_a_zeroed_range_keeps_its_blocks() {
    let stage = Stage::new(4096);
    let (file, mut content) = letters(&stage, 4);
    let before = extents(&file, false);
    fallocate(&file, FallocMode::ZeroRange { keep_size: false }, B - 100..3 * B + 100).expect("zero");
    content[BLOCK - 100..3 * BLOCK + 100].fill(0);
    let kinds: Vec<bool> = (0..4).map(|block| is_unwritten(&file, block)).collect();
    assert_eq!(kinds, [false, true, true, false]);
    let after = extents(&file, true);
    assert_eq!((after[0].device_pos, after[0].len), (before[0].device_pos, B));
    assert_eq!((after[1].device_pos, after[1].len), (before[0].device_pos + B, 2 * B));
    expect(&stage, &file, &content);
    fallocate(&file, FallocMode::ZeroRange { keep_size: true }, 4 * B..6 * B).expect("zero");
    assert!(is_unwritten(&file, 4) && is_unwritten(&file, 5));
    expect(&stage, &file, &content);
    fallocate(&file, FallocMode::ZeroRange { keep_size: false }, 3 * B + 50..8 * B + 7).expect("zero");
    content[3 * BLOCK + 50..].fill(0);
    content.resize(8 * BLOCK + 7, 0);
    assert!(is_unwritten(&file, 8));
    assert_eq!(disk_size(&file), 8 * B + 7);
    expect(&stage, &file, &content);
    // What was zeroed is written as any other unwritten block is (EXT-2).
    assert_eq!(sync_wt(&file, B + 5, b"new"), Ok(3));
    content[BLOCK + 5..][..3].copy_from_slice(b"new");
    expect(&stage, &file, &content);
    stage.end([file]);
}

/// TRC-7: dirty bytes of the range do not come back with a later writeback. Their blocks owe no conversion any more: nothing stays reserved.
#[test]
fn trc6_trc7_dirty_bytes_are_gone_for_good() {
    for mode in [FallocMode::PunchHole, FallocMode::ZeroRange { keep_size: true }] {
        let stage = Stage::new(1024);
        let file = stage.create("f");
        assert_eq!(write(&file, 0, &[b'd'; 3 * BLOCK]), Ok(3 * BLOCK));
        fallocate(&file, mode, 1024..2 * B + 1024).expect("change");
        let mut content = vec![b'd'; 3 * BLOCK];
        content[1024..2 * BLOCK + 1024].fill(0);
        expect(&stage, &file, &content);
        let node = inode(&file);
        let core = ext4::Ext4Inode::of(&node).core.read();
        assert!(core.unconverted.is_empty() && core.reserved == 0, "{mode:?}");
        drop(core);
        stage.end([file]);
    }
}

/// TRC-8 with blocks smaller than pages, dirty bytes on both sides of the change, and blocks behind the end.
#[test]
fn trc8_blocks_move_with_everything_that_was_cached() {
    let stage = Stage::new(1024);
    let file = stage.create("f");
    let mut content: Vec<u8> = (0..20 * 1024u32).map(|i| (i / 512) as u8 + 1).collect();
    assert_eq!(sync_wt(&file, 0, &content), Ok(content.len()));
    fallocate(&file, FallocMode::Allocate { keep_size: true }, 0..40 * 1024).expect("fallocate");
    for pos in [1000, 5 * 1024 + 7, 13 * 1024] {
        assert_eq!(write(&file, pos as u64, &[0xdd; 900]), Ok(900));
        content[pos..pos + 900].fill(0xdd);
    }
    fallocate(&file, FallocMode::CollapseRange, 3 * 1024..6 * 1024).expect("collapse");
    content.drain(3 * 1024..6 * 1024);
    expect(&stage, &file, &content);
    assert_eq!(extents(&file, true).last().map(|e| e.pos + e.len), Some(37 * 1024), "so do those behind the end");
    assert_eq!(write(&file, 6 * 1024 + 1, &[0xee; 2000]), Ok(2000));
    content[6 * 1024 + 1..][..2000].fill(0xee);
    fallocate(&file, FallocMode::InsertRange, 7 * 1024..12 * 1024).expect("insert");
    content.splice(7 * 1024..7 * 1024, [0; 5 * 1024]);
    expect(&stage, &file, &content);
    assert_eq!(disk_size(&file), content.len() as u64);
    stage.end([file]);
}

/// TRC-8: of what is not allowed nothing is done.
#[test]
fn trc8_what_is_refused() {
    let stage = Stage::new(4096);
    let (file, content) = letters(&stage, 4);
    let most = (u64::from(u32::MAX) - 1) * B;
    let refused = [
        (FallocMode::CollapseRange, 1..B + 1, Errno::EINVAL),
        (FallocMode::CollapseRange, 0..B + 1, Errno::EINVAL),
        (FallocMode::CollapseRange, 3 * B..4 * B, Errno::EINVAL),
        (FallocMode::CollapseRange, 8 * B..9 * B, Errno::EINVAL),
        (FallocMode::InsertRange, 100..B + 100, Errno::EINVAL),
        (FallocMode::InsertRange, 4 * B..5 * B, Errno::EINVAL),
        (FallocMode::InsertRange, B..most, Errno::EFBIG),
        (FallocMode::InsertRange, B..most + B, Errno::EFBIG),
        (FallocMode::PunchHole, 0..most + 1, Errno::EFBIG),
        (FallocMode::PunchHole, 5..5, Errno::EINVAL),
    ];
    for (mode, range, error) in refused {
        assert_eq!(fallocate(&file, mode, range.clone()), Err(error), "{mode:?} {range:?}");
    }
    // Blocks behind the end cannot be moved out of what a file can have.
    fallocate(&file, FallocMode::Allocate { keep_size: true }, most - B..most).expect("fallocate");
    assert_eq!(fallocate(&file, FallocMode::InsertRange, 0..4 * B), Err(Errno::EFBIG));
    expect(&stage, &file, &content);
    let reading = stage.with_names(|vfs, site| vfs.open(site, b"f", OpenFlags::empty(), 0)).expect("open");
    assert_eq!(fallocate(&reading, FallocMode::PunchHole, 0..B), Err(Errno::EBADF));
    inode(&file).update_attr(|attr| attr.append_only = true);
    assert_eq!(fallocate(&file, FallocMode::PunchHole, 0..B), Err(Errno::EPERM));
    assert_eq!(fallocate(&file, FallocMode::Allocate { keep_size: true }, 4 * B..5 * B), Ok(()));
    inode(&file).update_attr(|attr| attr.append_only = false);
    stage.end([file, reading]);
}

/// A user whose files may not be longer than five blocks.
struct Limited;

impl Caller for Limited {
    fn uid(&self) -> u32 {
        1
    }
    fn gid(&self) -> u32 {
        1
    }
    fn in_group(&self, _: u32) -> bool {
        false
    }
    fn umask(&self) -> u16 {
        0
    }
    fn file_size_limit(&self) -> u64 {
        5 * B
    }
    fn file_size_exceeded(&self) {}
    fn fatal_signal_pending(&self) -> bool {
        false
    }
}

/// CHK-3 and CHK-6: the caller's limit holds where a file grows; privileges go and times are set.
#[test]
fn chk3_chk6_limits_privileges_and_times() {
    let stage = Stage::new(4096);
    let (file, _) = letters(&stage, 4);
    let call = |mode, from: u64, to: u64| vfs::fallocate(&file, mode, from * B, (to - from) * B, &Limited);
    assert_eq!(call(FallocMode::InsertRange, 0, 2), Err(Errno::EFBIG));
    assert_eq!(call(FallocMode::ZeroRange { keep_size: false }, 3, 6), Err(Errno::EFBIG));
    let modes = [
        FallocMode::PunchHole,
        FallocMode::ZeroRange { keep_size: false },
        FallocMode::InsertRange,
        FallocMode::CollapseRange,
    ];
    for mode in modes {
        inode(&file).update_attr(|attr| {
            attr.mode |= 0o4000;
            (attr.mtime, attr.ctime) = Default::default();
        });
        assert_eq!(call(mode, 1, 2), Ok(()), "{mode:?}");
        inode(&file).with_attr(|attr| {
            assert_eq!(attr.mode & 0o4000, 0, "{mode:?}");
            assert!(attr.mtime.sec > 0 && attr.ctime.sec > 0, "{mode:?}");
        });
    }
    stage.end([file]);
}

/// TRC-6 to TRC-8: what was dirty and does not come to the device is an error, and the file is as it was.
#[test]
fn trc6_trc8_what_cannot_be_written_is_not_dropped() {
    let modes = [
        FallocMode::PunchHole,
        FallocMode::ZeroRange { keep_size: true },
        FallocMode::CollapseRange,
        FallocMode::InsertRange,
    ];
    for mode in modes {
        let stage = Stage::new(4096);
        let (file, mut content) = letters(&stage, 4);
        assert_eq!(write(&file, B, &[b'n'; BLOCK]), Ok(BLOCK));
        content[BLOCK..2 * BLOCK].fill(b'n');
        stage.gate.fail(Filter::any().op(BioOp::Write).nth(1), EIO);
        assert_eq!(fallocate(&file, mode, B..2 * B), Err(EIO), "{mode:?}");
        assert!(read(&file, 0, 1 << 20) == content, "{mode:?}");
        stage.gate.clear_rules();
        assert_eq!(fsync(&file), Err(EIO), "whoever has it open hears of it");
        // ERR-4: the cache has what the device has not. Written once more, all is well.
        assert_eq!(sync_wt(&file, B, &[b'n'; BLOCK]), Ok(BLOCK));
        expect(&stage, &file, &content);
        stage.end([file]);
    }
}

/// The file `f` on a disk that has lost its power: after recovery, and e2fsck finds nothing.
fn recovered(image: Vec<u8>) -> Vec<u8> {
    let disk = RamDisk::builder(image.len() as u64 / 512).contents(image).build().expect("a RAM disk");
    let sb = ext4::mount(disk.clone(), 2, MountOptions::default()).expect("the file system recovers");
    let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root directory");
    let vfs = Vfs::new(root, b"/dev/ram", None).expect("the root is a directory");
    let root = vfs.root();
    let site = Site { cwd: &root, caller: &KernelCaller };
    let file = vfs.open(site, b"f", OpenFlags::empty(), 0).expect("the file is there");
    let content = read(&file, 0, inode(&file).size() as usize);
    vfs::fput(file);
    drop(root);
    vfs.unmount_all().expect("it unmounts");
    check_image(&disk.image());
    content
}

/// Does `change` and an fsync on the file with the power cut at request `n` of them. Gives the contents that the file may have then: if
/// all is lost that may be, and if nothing is. `None` if there are fewer requests.
fn cut_at(stage: Stage, file: Arc<File>, n: u64, mode: FallocMode, range: Range<u64>) -> Option<[Vec<u8>; 2]> {
    stage.gate.hold(Filter::any().nth(n));
    let changing = stage.spawn("change", {
        let file = file.clone();
        move || {
            fallocate(&file, mode, range).expect("fallocate");
            fsync(&file).expect("fsync");
        }
    });
    stage.until(|| changing.has_exited() || !stage.gate.held().is_empty());
    let is_cut = !stage.gate.held().is_empty();
    let contents = is_cut.then(|| [stage.disk.durable_image(), stage.disk.image()].map(recovered));
    stage.gate.open();
    changing.join();
    stage.end([file]);
    contents
}

/// TRC-6 to TRC-8, CRA-2: a cut at any moment leaves each block of a punched or zeroed range old or zero, and of a collapse or an insertion
/// all or nothing.
#[test]
fn trc8_a_cut_leaves_all_or_nothing() {
    let modes = [
        FallocMode::CollapseRange,
        FallocMode::InsertRange,
        FallocMode::PunchHole,
        FallocMode::ZeroRange { keep_size: true },
    ];
    for mode in modes {
        let (mut cuts, mut seen_old, mut seen_new) = (0, 0, 0);
        let first = Stage::new(4096);
        let (file, old) = letters(&first, 6);
        fsync(&file).expect("fsync");
        let image = first.disk.durable_image();
        fallocate(&file, mode, B..3 * B).expect("fallocate");
        let new = read(&file, 0, 1 << 20);
        first.end([file]);
        for n in 1.. {
            let stage = Stage::of(image.clone(), |gate| gate);
            let file = stage.open("f", OpenFlags::empty());
            assert!(!extents(&file, false).is_empty());
            let Some(contents) = cut_at(stage, file, n, mode, B..3 * B) else { break };
            for content in contents {
                assert!(content == old || content == new, "at request {n}: neither before nor after");
                seen_old += u32::from(content == old);
                seen_new += u32::from(content == new);
            }
            cuts += 1;
        }
        assert!(cuts > 3 && seen_old > 0 && seen_new > 0, "{cuts} cuts, {seen_old} old, {seen_new} new");
    }
}

/// A file of 1 KiB blocks every second of which is there, written from its end: the leaves of its tree are half full, and more than a
/// transaction takes.
fn large_tree(stage: &Stage) -> (Arc<File>, Vec<u8>) {
    const TEETH: usize = 11_000;
    let file = stage.create("f");
    let mut content = vec![0; 2 * TEETH * 1024];
    for tooth in (0..TEETH).rev() {
        let bytes = [(tooth % 255) as u8 + 1; 1024];
        content[2 * tooth * 1024..][..1024].copy_from_slice(&bytes);
        assert_eq!(write(&file, 2 * tooth as u64 * 1024, &bytes), Ok(1024));
    }
    truncate(&file, content.len() as u64).expect("a longer file");
    fsync(&file).expect("fsync");
    (file, content)
}

/// TRC-8 in several transactions: a cut in between leaves a sound file system, all bytes in their order, and the zeros among them.
#[test]
fn trc8_a_cut_in_a_long_shift_loses_nothing() {
    const LEN: usize = 2 * 1024;
    let first = Stage::new(1024);
    let (file, old) = large_tree(&first);
    let image = first.disk.durable_image();
    first.end([file]);
    for mode in [FallocMode::CollapseRange, FallocMode::InsertRange] {
        let (mut between, mut n) = (0, 1);
        loop {
            let stage = Stage::of(image.clone(), |gate| gate);
            let file = stage.open("f", OpenFlags::empty());
            // The extents are read with it: what follows is the change alone.
            assert!(!extents(&file, false).is_empty());
            let Some(contents) = cut_at(stage, file, n, mode, 1024..1024 + LEN as u64) else { break };
            for content in contents {
                between += u32::from(is_between(&old, &content, mode, LEN));
            }
            n += 3;
        }
        assert!(between > 0, "no cut was between two transactions: the tree is too small, {n} requests");
    }
}

/// Whether the zeros stand somewhere on their way. Panics if the content is neither that, nor the old one, nor the new one.
fn is_between(old: &[u8], content: &[u8], mode: FallocMode, len: usize) -> bool {
    let new = match mode {
        FallocMode::CollapseRange => [&old[..1024], &old[1024 + len..]].concat(),
        _ => [&old[..1024], &vec![0; len], &old[1024..]].concat(),
    };
    if content == old || content == new {
        return false;
    }
    let (front, from) = if mode == FallocMode::CollapseRange { (&new[..], len) } else { (old, 0) };
    let same = content.iter().zip(front).take_while(|(a, b)| a == b).count() / 1024 * 1024;
    // Zeros of the file and those that wander look the same: the border is one of a few.
    let wandering = (same.saturating_sub(len + 2048)..=same).step_by(1024).any(|at| {
        content[..at] == front[..at]
            && content[at..at + len].iter().all(|byte| *byte == 0)
            && content[at + len..] == old[at + from..]
    });
    assert!(wandering, "bytes were lost at {same}");
    true
}

/// BUF-8: an UNWRITTEN block with content in the cache is data, for a seek and for a report, while its write is on its way too. A
/// report with `sync` waits for that, and finds it converted.
#[test]
fn buf8_cached_content_of_unwritten_blocks_is_data() {
    let stage = Stage::new(4096);
    let file = stage.create("f");
    fallocate(&file, FallocMode::Allocate { keep_size: false }, 0..8 * B).expect("fallocate");
    let seek = |from: u64, whence| vfs::seek(&file, from as i64, whence);
    assert_eq!((seek(0, Whence::Data), seek(0, Whence::Hole)), (Err(Errno::ENXIO), Ok(0)));
    // Valid in the cache, and zeros.
    assert_eq!(read(&file, 0, 8 * BLOCK), [0; 8 * BLOCK]);
    assert_eq!((seek(0, Whence::Data), seek(0, Whence::Hole)), (Err(Errno::ENXIO), Ok(0)));
    stage.gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let event = aio_wt(&file, 2 * B, &[1; BLOCK]);
    stage.gate.wait_held(1);
    assert_eq!(write(&file, 5 * B, &[2; 2 * BLOCK]), Ok(2 * BLOCK));
    let ends = |synced: bool| -> Vec<(u64, u64, bool)> {
        extents(&file, synced).iter().map(|e| (e.pos / B, e.len / B, e.unwritten)).collect()
    };
    let expected = [(0, 2, true), (2, 1, false), (3, 2, true), (5, 2, false), (7, 1, true)];
    assert!((0..8).all(|block| is_unwritten(&file, block)));
    assert_eq!(ends(false), expected);
    let seeks = || {
        assert_eq!((seek(0, Whence::Data), seek(2 * B, Whence::Hole)), (Ok(2 * B), Ok(3 * B)));
        assert_eq!((seek(3 * B, Whence::Data), seek(5 * B, Whence::Hole)), (Ok(5 * B), Ok(7 * B)));
    };
    seeks();
    let waiting = base::lab::stop_at("folio.wait_writeback").id(2).arm();
    let reporting = stage.spawn("report", {
        let file = file.clone();
        move || assert!(extents(&file, true).len() == 5)
    });
    stage.until(|| waiting.is_reached() || reporting.has_exited());
    assert!(!reporting.has_exited(), "the report does not wait for the write in flight");
    waiting.release();
    stage.gate.open();
    reporting.join();
    assert_eq!(event.wait(), Ok(BLOCK));
    assert!(matches!((mapped(&file, 2 * B), mapped(&file, 5 * B)), (IomapKind::Mapped(_), IomapKind::Mapped(_))));
    assert_eq!(ends(true), expected);
    seeks();
    stage.end([file]);
}

/// A report begins and ends where it is asked to, stops when it is told to, and calls the last extent of the file the last one, and no
/// other. A directory has one too.
#[test]
fn buf8_a_report_of_a_part() {
    let stage = Stage::new(4096);
    let (file, _) = letters(&stage, 6);
    fallocate(&file, FallocMode::PunchHole, 2 * B..4 * B).expect("punch");
    let part = |from: u64, len: u64, most: usize| {
        let mut seen = Vec::new();
        let reported = vfs::report_extents(&file, from, len, false, &mut |e| {
            seen.push((e.pos / B, e.len / B, e.last));
            Ok(seen.len() < most)
        });
        reported.map(|()| seen)
    };
    assert_eq!(part(0, u64::MAX, 9), Ok(vec![(0, 2, false), (4, 2, true)]));
    assert_eq!(part(B + 1, 1, 9), Ok(vec![(1, 1, false)]));
    assert_eq!(part(2 * B, 2 * B, 9), Ok(vec![]));
    assert_eq!(part(5 * B, 100, 9), Ok(vec![(5, 1, true)]));
    assert_eq!(part(0, u64::MAX, 1), Ok(vec![(0, 2, false)]));
    assert_eq!((part(0, 0, 9), part(u64::MAX, 1, 9)), (Err(Errno::EINVAL), Err(Errno::EFBIG)));
    let failed = vfs::report_extents(&file, 0, 1, false, &mut |_| Err(Errno::EFAULT));
    assert_eq!(failed, Err(Errno::EFAULT));
    let flags = OpenFlags::DIRECTORY;
    let root = stage.with_names(|vfs, site| vfs.open(site, b"/", flags, 0)).expect("the root opens");
    assert_eq!(extents(&root, true).len(), 1);
    drop(root);
    stage.end([file]);
}
