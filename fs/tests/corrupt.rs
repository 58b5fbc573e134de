//! Damaged images: whatever the bytes say, mounting, walking, reading and changing end with an answer, never with a panic or a loop.
//!
//! Images with checksums test that damage is found; images without them let it through to the code behind.
mod common;
use base::block::{RamDisk, SECTOR_SIZE};
use common::Image;
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions, ROOT_INO};
use fs::io::{SliceSink, SliceSource};
use fs::kiocb::{IoFlags, Kiocb};
use fs::vfs::{File, FileType, Inode, OpenFlags, SuperBlock, iput};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Damaged images for each base image.
const ROUNDS: u64 = 70;
/// More entries, inodes or bytes than any of the images holds: who gets there runs in a circle.
const BOUND: usize = 20_000;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// An image with directories (one of them indexed), links, small files and one in many pieces.
fn base_image(block: u32, extra: &[&str]) -> Vec<u8> {
    let tree = common::scratch("tree");
    std::fs::create_dir_all(tree.join("dir/sub")).expect("scratch space");
    std::fs::create_dir_all(tree.join("many")).expect("scratch space");
    for n in 0..200 {
        std::fs::write(tree.join(format!("many/name-of-a-file-{n}")), [n as u8; 10]).expect("scratch space");
    }
    std::fs::write(tree.join("dir/file"), vec![7; 30_000]).expect("scratch space");
    std::os::unix::fs::symlink("dir/file", tree.join("short")).expect("scratch space");
    std::os::unix::fs::symlink("x/".repeat(100), tree.join("long")).expect("scratch space");
    let tree_arg = tree.display().to_string();
    let mut args = vec!["-d", &tree_arg, "-N", "512"];
    args.extend_from_slice(extra);
    let image = Image::make("4M", block, &args);
    let _ = std::fs::remove_dir_all(&tree);
    let indexed = std::process::Command::new("e2fsck").args(["-fyD"]).arg(&image.path).output();
    assert!(indexed.is_ok());
    scatter(&image);
    std::fs::read(&image.path).expect("the image is there")
}

/// Adds a file with so many extents that its tree has nodes of its own.
fn scatter(image: &Image) {
    let (sb, _disk) = image.mount();
    let root = ext4::iget(&sb, ROOT_INO).expect("root");
    let lock = root.lock.write();
    let inode = root.ops().create(&root, b"scattered", FileType::Regular, 0o600, 0, &KernelCaller).expect("created");
    drop(lock);
    let file = open(&inode).expect("opens");
    for piece in 0..120 {
        write(&file, piece * 8192, b"piece");
    }
    drop((file, inode, root));
    sb.ops().unmount().expect("unmount");
    image.check();
}

fn open(inode: &Arc<Inode>) -> base::Result<Arc<File>> {
    Ok(File::new(Some(inode.clone()), OpenFlags::RDWR, inode.ops().open(inode)?))
}

fn write(file: &Arc<File>, pos: u64, bytes: &[u8]) {
    let mut kiocb = Kiocb::sync(file, pos, IoFlags::WRITETHROUGH, &KernelCaller);
    let _ = file.ops().write(&mut kiocb, &mut SliceSource::new(bytes));
}

/// Changes up to eight places in blocks that are not empty.
fn damage(bytes: &mut [u8], block: usize, random: &mut Random) {
    let used: Vec<usize> =
        (0..bytes.len() / block).filter(|b| bytes[b * block..(b + 1) * block].iter().any(|&x| x != 0)).collect();
    for _ in 0..1 + random.below(8) {
        // Half of the damage goes to the first blocks: superblock, descriptors, bitmaps, inodes.
        let chosen = if random.below(2) == 0 { random.below(used.len()) } else { random.below(used.len().min(40)) };
        let start = used[chosen] * block;
        let at = if used[chosen] * block < 2048 && block > 1024 {
            1024 + random.below(512)
        } else {
            start + random.below(block)
        };
        let value = [0, 0xff, 1, 0x80, random.below(256) as u8][random.below(5)];
        let len = [1, 1, 2, 4, 64][random.below(5)];
        let end = (at + len).min(bytes.len());
        bytes[at..end].fill(value);
    }
}

/// Looks at everything that can be reached, and changes some of it.
fn exercise(sb: &Arc<SuperBlock>) -> usize {
    let mut seen = BTreeSet::new();
    let mut todo = vec![u64::from(ROOT_INO)];
    let mut steps = 0;
    while let Some(ino) = todo.pop() {
        if !seen.insert(ino) {
            continue;
        }
        let Ok(inode) = ext4::iget(sb, ino as u32) else { continue };
        match inode.kind {
            FileType::Directory => walk(&inode, &mut todo, &mut steps),
            FileType::Symlink => _ = inode.ops().readlink(&inode),
            FileType::Regular => read_some(&inode),
            _ => {}
        }
        iput(inode);
    }
    change(sb);
    seen.len()
}

fn walk(dir: &Arc<Inode>, todo: &mut Vec<u64>, steps: &mut usize) {
    let _lock = dir.lock.read();
    let mut names = Vec::new();
    let _ = dir.ops().readdir(dir, 0, &mut |entry| {
        *steps += 1;
        assert!(*steps < BOUND, "a directory without end");
        names.push(entry.name.to_vec());
        todo.push(entry.ino);
        true
    });
    for name in names.iter().filter(|n| !matches!(n.as_slice(), b"." | b"..")).take(20) {
        if let Ok(found) = dir.ops().lookup(dir, name) {
            iput(found);
        }
    }
    let _ = dir.ops().lookup(dir, b"no such name");
}

fn read_some(inode: &Arc<Inode>) {
    let Ok(file) = open(inode) else { return };
    for pos in [0, 8192, inode.size().saturating_sub(100), 1 << 31] {
        let mut bytes = [0; 5000];
        let mut kiocb = Kiocb::sync(&file, pos, IoFlags::empty(), &KernelCaller);
        let _ = file.ops().read(&mut kiocb, &mut SliceSink::new(&mut bytes));
    }
}

fn change(sb: &Arc<SuperBlock>) {
    let Ok(root) = ext4::iget(sb, ROOT_INO) else { return };
    if root.kind != FileType::Directory {
        return;
    }
    let made = {
        let _lock = root.lock.write();
        root.ops().create(&root, b"new", FileType::Regular, 0o600, 0, &KernelCaller)
    };
    if let Ok(inode) = made {
        if let Ok(file) = open(&inode) {
            write(&file, 5000, &[3; 20_000]);
        }
        let _ = inode.ops().truncate(&inode, 6000, &KernelCaller);
    }
    for name in [&b"scattered"[..], b"long", b"short"] {
        let found = {
            let _lock = root.lock.read();
            root.ops().lookup(&root, name)
        };
        if let Ok(inode) = &found
            && inode.kind != FileType::Directory
        {
            if inode.kind == FileType::Regular {
                let _ = open(inode).map(|file| write(&file, 4096, b"in between"));
            }
            let _lock = root.lock.write();
            let _ = root.ops().unlink(&root, name, inode);
        }
        if let Ok(inode) = found {
            iput(inode);
        }
    }
}

/// Goes over a damaged image; how many inode numbers were met, or 0 if it did not mount.
fn survive(base: &[u8], block: usize, seed: u64) -> usize {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = base.to_vec();
    damage(&mut bytes, block, &mut random);
    if seed % 10 == 9 {
        let left = random.below(bytes.len() / 4096) * 4096;
        bytes.truncate(left.max(8192));
    }
    go_over(bytes, seed % 4 == 3)
}

fn go_over(bytes: Vec<u8>, read_only: bool) -> usize {
    let disk = RamDisk::builder(bytes.len() as u64 / SECTOR_SIZE).contents(bytes).build().expect("a disk");
    let Ok(sb) = ext4::mount(disk, 1, MountOptions { read_only, ..MountOptions::default() }) else {
        return 0;
    };
    let met = exercise(&sb);
    let _ = sb.ops().sync();
    let _ = sb.ops().unmount();
    met
}

fn survive_all(block: u32, extra: &[&str]) {
    let base = base_image(block, extra);
    // The walk does reach what it should: everything, while nothing is damaged.
    assert!(go_over(base.clone(), false) > 200);
    let mut mounted = 0;
    for seed in 0..ROUNDS {
        let run = std::panic::catch_unwind(|| survive(&base, block as usize, seed));
        assert!(run.is_ok(), "block size {block}, {extra:?}, seed {seed}");
        mounted += u64::from(run.is_ok_and(|met| met > 0));
    }
    assert!(mounted > ROUNDS / 10, "only {mounted} of {ROUNDS} images came past the mount");
}

#[test]
fn damage_behind_checksums_1k() {
    survive_all(1024, &[]);
}

#[test]
fn damage_behind_checksums_4k() {
    survive_all(4096, &[]);
}

#[test]
fn damage_without_checksums_1k() {
    survive_all(1024, &["-O", "^metadata_csum"]);
}

#[test]
fn damage_without_checksums_2k() {
    survive_all(2048, &["-O", "^metadata_csum"]);
}

#[test]
fn damage_without_checksums_4k() {
    survive_all(4096, &["-O", "^metadata_csum,^64bit"]);
}
