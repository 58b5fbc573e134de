//! Random changes of ranges beside writes and truncates, compared with a vector of bytes, with `debugfs` and with `e2fsck`; and files whose
//! trees have several levels.
mod common;
use base::Errno;
use common::{Image, create, lookup, open};
use fs::caller::KernelCaller;
use fs::ext4;
use fs::io::{SliceSink, SliceSource};
use fs::vfs::{self, FallocMode, File, FileExtent, SyncKind};
use std::sync::Arc;
use user::range::Range;

const WT: u32 = 0x200;

fn write(file: &Arc<File>, pos: u64, bytes: &[u8], rwf: u32) {
    let written = vfs::write_at(file, pos, rwf, &mut SliceSource::new(bytes), &KernelCaller);
    assert_eq!(written, Ok(bytes.len()));
}

fn read(file: &Arc<File>, pos: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let count = vfs::read_at(file, pos, 0, &mut SliceSink::new(&mut bytes), &KernelCaller).expect("read");
    bytes.truncate(count);
    bytes
}

fn size(file: &File) -> u64 {
    file.inode.as_ref().expect("a file of a file system").size()
}

fn fallocate(file: &Arc<File>, range: Range, pos: u64, len: u64) -> base::Result<()> {
    vfs::fallocate(file, FallocMode::from_bits(range.bits())?, pos, len, &KernelCaller)
}

fn extents(file: &Arc<File>) -> Vec<FileExtent> {
    let mut all = Vec::new();
    let reported = vfs::report_extents(file, 0, u64::MAX, false, &mut |extent| {
        all.push(*extent);
        Ok(true)
    });
    assert_eq!(reported, Ok(()));
    all
}

/// What an honest report looks like: in order, nothing twice, neither in the file nor on the device, and only the last one called that.
fn check_extents(file: &Arc<File>, block: u64) {
    let all = extents(file);
    for pair in all.windows(2) {
        assert!(pair[0].pos + pair[0].len <= pair[1].pos && !pair[0].last, "{pair:?}");
    }
    assert!(all.last().is_none_or(|extent| extent.last));
    let mut on_device: Vec<_> = all.iter().map(|e| (e.device_pos, e.device_pos + e.len)).collect();
    on_device.sort_unstable();
    assert!(on_device.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(all.iter().all(|e| (e.pos | e.len | e.device_pos).is_multiple_of(block) && e.len > 0));
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn random_range(random: &mut Random) -> Range {
    match random.below(12) {
        0 => Range::Allocate,
        1 => Range::AllocateKeep,
        2 | 3 => Range::Punch,
        4 => Range::Zero,
        5 => Range::ZeroKeep,
        6 | 7 => Range::Insert,
        _ => Range::Collapse,
    }
}

#[test]
fn trc6_trc7_trc8_random_changes_agree_with_a_vector_of_bytes() {
    for (block, seed) in [(1024u64, 1u64), (4096, 2), (1024, 3), (4096, 4), (2048, 5)] {
        let image = Image::make("64M", block as u32, &[]);
        let (sb, _disk) = image.mount();
        let file = create(&sb, "f");
        let mut model: Vec<u8> = Vec::new();
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 32));
        for step in 0..500u32 {
            let mut pos = random.below(200_000);
            let mut len = 1 + random.below(if step % 4 == 0 { 40_000 } else { 6000 });
            match random.below(10) {
                0..=3 => {
                    let bytes = vec![step as u8 | 1; len as usize];
                    write(&file, pos, &bytes, [0, WT][random.below(2) as usize]);
                    model.resize(model.len().max((pos + len) as usize), 0);
                    model[pos as usize..][..len as usize].copy_from_slice(&bytes);
                }
                4..=7 => {
                    let range = random_range(&mut random);
                    if random.below(8) > 0 {
                        (pos, len) = (pos / block * block, len.next_multiple_of(block));
                    }
                    let allowed = range.is_allowed(model.len() as u64, block, pos, len);
                    let expected = if allowed { Ok(()) } else { Err(Errno::EINVAL) };
                    assert_eq!(fallocate(&file, range, pos, len), expected, "{step}: {range:?} {pos} {len}");
                    if allowed {
                        range.apply(&mut model, pos, len);
                    }
                    check_extents(&file, block);
                }
                8 if step % 3 == 0 => {
                    vfs::ftruncate(&file, pos, &KernelCaller).expect("truncated");
                    model.resize(pos as usize, 0);
                }
                8 => vfs::fsync(&file, SyncKind::Data).expect("fsync"),
                _ => {
                    let there = model.get(pos as usize..).unwrap_or_default();
                    let expected = &there[..there.len().min(len as usize)];
                    assert!(read(&file, pos, len as usize) == expected, "{step}: {pos} {len}");
                }
            }
            assert_eq!(size(&file), model.len() as u64, "{step}");
        }
        assert!(read(&file, 0, 1 << 22) == model);
        drop(file);
        sb.ops().unmount().expect("unmount");
        image.check();
        assert!(image.cat("/f") == model, "block size {block}");
        let (sb, _disk) = image.mount();
        let file = open(&lookup(&sb, "f"));
        assert!(read(&file, 0, 1 << 22) == model);
        drop(file);
        sb.ops().unmount().expect("unmount");
        image.check();
    }
}

/// A file of every second block: each is an extent of its own, and the tree has two levels below the root.
fn comb(file: &Arc<File>, block: u64, teeth: u64) -> Vec<u8> {
    let mut model = vec![0; (2 * teeth * block) as usize];
    for tooth in 0..teeth {
        let bytes = vec![tooth as u8 | 1; block as usize];
        write(file, 2 * tooth * block, &bytes, 0);
        model[(2 * tooth * block) as usize..][..block as usize].copy_from_slice(&bytes);
    }
    vfs::ftruncate(file, model.len() as u64, &KernelCaller).expect("longer");
    vfs::fsync(file, SyncKind::Data).expect("fsync");
    model
}

#[test]
fn trc8_a_deep_tree_is_shifted() {
    const BLOCK: u64 = 1024;
    let image = Image::make("64M", BLOCK as u32, &[]);
    let (sb, _disk) = image.mount();
    let file = create(&sb, "comb");
    let mut model = comb(&file, BLOCK, 1500);
    let changes = [
        (Range::Collapse, 10, 1),
        (Range::Insert, 1, 300),
        (Range::Collapse, 0, 7),
        (Range::Insert, 2000, 1),
        (Range::Collapse, 500, 2200),
        (Range::Punch, 3, 100),
        (Range::ZeroKeep, 200, 5000),
    ];
    for (range, pos, len) in changes {
        range.apply(&mut model, pos * BLOCK, len * BLOCK);
        fallocate(&file, range, pos * BLOCK, len * BLOCK).expect("done");
        assert!(read(&file, 0, 1 << 23) == model, "{range:?} {pos} {len}");
        check_extents(&file, BLOCK);
    }
    drop(file);
    sb.ops().unmount().expect("unmount");
    image.check();
    assert!(image.cat("/comb") == model);
}

/// What an insertion has split a collapse joins again, so that a file edited for years does not fall into crumbs.
#[test]
fn trc8_insert_and_collapse_leave_the_extents_as_they_were() {
    let image = Image::make("64M", 4096, &[]);
    let (sb, _disk) = image.mount();
    let file = create(&sb, "f");
    write(&file, 0, &[7; 1 << 20], WT);
    let before = extents(&file);
    for round in 0..50 {
        fallocate(&file, Range::Insert, 4096 * (1 + round), 8192).expect("insert");
        assert_eq!(extents(&file).len(), before.len() + 1);
        fallocate(&file, Range::Collapse, 4096 * (1 + round), 8192).expect("collapse");
        assert_eq!(extents(&file), before);
    }
    assert_eq!(ext4::Ext4Inode::of(file.inode.as_ref().expect("a file")).core.read().depth(), 0);
    drop(file);
    sb.ops().unmount().expect("unmount");
    image.check();
}

/// A tree of more nodes than one transaction takes: it is shifted in several.
#[test]
fn trc8_a_tree_too_large_for_one_transaction() {
    const BLOCK: u64 = 1024;
    let image = Image::make("96M", BLOCK as u32, &["-J", "size=1"]);
    let (sb, _disk) = image.mount();
    let file = create(&sb, "comb");
    let mut model = comb(&file, BLOCK, 22_000);
    for (range, pos, len) in [(Range::Collapse, 10, 1), (Range::Insert, 1, 300)] {
        range.apply(&mut model, pos * BLOCK, len * BLOCK);
        let before = ext4::Ext4Fs::of(&sb).txn.running();
        fallocate(&file, range, pos * BLOCK, len * BLOCK).expect("done");
        assert!(ext4::Ext4Fs::of(&sb).txn.running() > before, "one transaction was enough");
        assert!(read(&file, 0, 1 << 26) == model, "{range:?} {pos} {len}");
        check_extents(&file, BLOCK);
    }
    drop(file);
    sb.ops().unmount().expect("unmount");
    image.check();
    assert!(image.cat("/comb") == model);
}
