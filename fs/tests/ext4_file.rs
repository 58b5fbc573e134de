//! Regular files through the whole stack, over real images: every way to write, compared with a model in memory, with `debugfs` and
//! with `e2fsck`.
mod common;
use base::Errno;
use common::{Image, create, lookup, open};
use fs::caller::KernelCaller;
use fs::ext4::{self, ROOT_INO};
use fs::io::{SliceSink, SliceSource};
use fs::kiocb::{IoFlags, Kiocb, Outcome};
use fs::vfs::{FallocMode, File, Inode, SuperBlock, SyncKind, Whence};
use std::sync::Arc;

fn write(file: &Arc<File>, pos: u64, bytes: &[u8], flags: IoFlags) -> usize {
    let mut kiocb = Kiocb::sync(file, pos, flags, &KernelCaller);
    match file.ops().write(&mut kiocb, &mut SliceSource::new(bytes)).expect("written") {
        Outcome::Done(count) => count,
        Outcome::Queued => panic!("a synchronous write was queued"),
    }
}

fn read(file: &Arc<File>, pos: u64, len: usize, flags: IoFlags) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let mut kiocb = Kiocb::sync(file, pos, flags, &KernelCaller);
    let count = match file.ops().read(&mut kiocb, &mut SliceSink::new(&mut bytes)).expect("read") {
        Outcome::Done(count) => count,
        Outcome::Queued => panic!("a synchronous read was queued"),
    };
    bytes.truncate(count);
    bytes
}

fn inode(file: &File) -> &Arc<Inode> {
    file.inode.as_ref().expect("a file of a file system")
}

fn end(sb: &Arc<SuperBlock>) {
    sb.ops().unmount().expect("unmount");
}

const WAYS: [IoFlags; 4] =
    [IoFlags::empty(), IoFlags::WRITETHROUGH, IoFlags::DSYNC, IoFlags::WRITETHROUGH.union(IoFlags::SYNC)];

#[test]
fn every_way_to_write_reaches_the_disk() {
    for block in [1024, 2048, 4096] {
        let image = Image::make("64M", block, &[]);
        let (sb, _disk) = image.mount();
        let content: Vec<u8> = (0..300_001u32).map(|i| (i / 3) as u8).collect();
        for (n, way) in WAYS.into_iter().enumerate() {
            let file = create(&sb, &format!("f{n}"));
            assert_eq!(write(&file, 0, &content, way), content.len());
            assert_eq!(read(&file, 0, content.len() + 5, IoFlags::empty()), content);
            file.ops().fsync(&file, SyncKind::All).expect("fsync");
        }
        end(&sb);
        image.check();
        for n in 0..WAYS.len() {
            assert!(image.cat(&format!("/f{n}")) == content, "block size {block}, way {n}");
        }
    }
}

/// A file that behaves as it should.
#[derive(Default)]
struct Model(Vec<u8>);

impl Model {
    fn write(&mut self, pos: usize, bytes: &[u8]) {
        if self.0.len() < pos + bytes.len() {
            self.0.resize(pos + bytes.len(), 0);
        }
        self.0[pos..pos + bytes.len()].copy_from_slice(bytes);
    }
    fn read(&self, pos: usize, len: usize) -> Vec<u8> {
        let end = self.0.len().min(pos + len);
        self.0.get(pos..end).unwrap_or_default().to_vec()
    }
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

#[test]
fn random_operations_agree_with_a_model_and_e2fsck() {
    for (block, seed) in [(1024, 1), (2048, 2), (4096, 3), (1024, 4), (4096, 5)] {
        let image = Image::make("64M", block, &[]);
        let (sb, _disk) = image.mount();
        let file = create(&sb, "f");
        let mut model = Model::default();
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 32));
        for step in 0..600u32 {
            let pos = random.below(200_000) as usize;
            let len = 1 + random.below(if step % 5 == 0 { 40_000 } else { 5000 }) as usize;
            match random.below(10) {
                0..=4 => {
                    let bytes = vec![step as u8 | 1; len];
                    let way = WAYS[random.below(4) as usize];
                    assert_eq!(write(&file, pos as u64, &bytes, way), len);
                    model.write(pos, &bytes);
                }
                5 => {
                    inode(&file).ops().truncate(inode(&file), pos as u64, &KernelCaller).expect("truncated");
                    model.0.resize(pos, 0);
                }
                6 => {
                    let keep_size = random.below(2) == 0;
                    let mode = FallocMode::Allocate { keep_size };
                    file.ops().fallocate(&file, mode, pos as u64, len as u64, &KernelCaller).expect("space");
                    if !keep_size && model.0.len() < pos + len {
                        model.0.resize(pos + len, 0);
                    }
                }
                7 => file.ops().fsync(&file, SyncKind::Data).expect("fsync"),
                _ => assert!(read(&file, pos as u64, len, IoFlags::empty()) == model.read(pos, len), "step {step}"),
            }
            assert_eq!(inode(&file).size(), model.0.len() as u64, "step {step}");
        }
        assert!(read(&file, 0, 1 << 20, IoFlags::empty()) == model.0);
        drop(file);
        end(&sb);
        image.check();
        assert!(image.cat("/f") == model.0, "block size {block}");
        // A second mount, with nothing cached.
        let (sb, _disk) = image.mount();
        let file = open(&lookup(&sb, "f"));
        assert!(read(&file, 0, 1 << 20, IoFlags::empty()) == model.0);
        drop(file);
        end(&sb);
        image.check();
    }
}

#[test]
fn what_fsync_promised_survives_without_unmount() {
    let image = Image::make("64M", 4096, &[]);
    let (sb, _disk) = image.mount();
    let file = create(&sb, "kept");
    let content = vec![0x5a; 123_457];
    write(&file, 0, &content, IoFlags::empty());
    file.ops().fsync(&file, SyncKind::Data).expect("fsync");
    ext4::Ext4Fs::of(&sb).shut_down();
    drop(file);
    let (sb, _disk) = image.mount();
    let file = open(&lookup(&sb, "kept"));
    assert!(read(&file, 0, 1 << 20, IoFlags::empty()) == content);
    drop(file);
    end(&sb);
}

#[test]
fn appends_and_limits() {
    let image = Image::make("32M", 1024, &[]);
    let (sb, _disk) = image.mount();
    let file = create(&sb, "log");
    for step in 0..100u8 {
        write(&file, 0, &[step; 777], IoFlags::APPEND);
    }
    assert_eq!(inode(&file).size(), 77_700);
    let most = (u64::from(u32::MAX) - 1) * 1024;
    let mut kiocb = Kiocb::sync(&file, most, IoFlags::empty(), &KernelCaller);
    let failed = file.ops().write(&mut kiocb, &mut SliceSource::new(b"x"));
    assert_eq!(failed, Err(base::Errno::EFBIG), "CHK-4");
    assert_eq!(write(&file, most - 3, b"12345", IoFlags::empty()), 3, "CHK-4: cut to the limit");
    drop(file);
    end(&sb);
    image.check();
}

#[test]
fn unlinked_files_and_full_disks_give_everything_back() {
    let image = Image::make("16M", 1024, &[]);
    let (sb, _disk) = image.mount();
    sb.ops().sync().expect("sync");
    let before = sb.ops().statfs();
    let file = create(&sb, "big");
    let chunk = vec![1; 1 << 20];
    let mut at = 0;
    let stopped = loop {
        let mut kiocb = Kiocb::sync(&file, at, IoFlags::WRITETHROUGH, &KernelCaller);
        match file.ops().write(&mut kiocb, &mut SliceSource::new(&chunk)) {
            Ok(Outcome::Done(count)) => at += count as u64,
            Ok(Outcome::Queued) => panic!("queued"),
            Err(error) => break error,
        }
    };
    assert_eq!(stopped, base::Errno::ENOSPC);
    assert!(at > 10 << 20);
    let root = ext4::iget(&sb, ROOT_INO).expect("root");
    {
        let _lock = root.lock.write();
        root.ops().unlink(&root, b"big", inode(&file)).expect("unlinked");
    }
    assert_eq!(read(&file, at - 10, 10, IoFlags::empty()), [1; 10], "TRC-13");
    drop(file);
    let after = sb.ops().statfs();
    assert_eq!((before.blocks_free, before.inodes_free), (after.blocks_free, after.inodes_free));
    drop(root);
    end(&sb);
    image.check();
}

#[test]
fn data_and_holes_are_found_on_the_disk_and_in_the_cache() {
    const MIB: u64 = 1 << 20;
    for block in [1024, 4096] {
        let image = Image::make("16M", block, &[]);
        let (sb, _disk) = image.mount();
        let file = create(&sb, "sparse");
        write(&file, MIB, &[1; 8192], IoFlags::WRITETHROUGH);
        write(&file, 2 * MIB, &[2; 4096], IoFlags::empty());
        let mode = FallocMode::Allocate { keep_size: false };
        file.ops().fallocate(&file, mode, 3 * MIB, MIB, &KernelCaller).expect("allocated");
        let seek = |from, whence| fs::vfs::seek(&file, from as i64, whence);
        let expected = |cached: bool| {
            assert_eq!(seek(0, Whence::Data), Ok(MIB), "cached: {cached}");
            assert_eq!(seek(MIB + 5, Whence::Data), Ok(MIB + 5));
            assert_eq!(seek(MIB + 8192, Whence::Data), Ok(2 * MIB));
            assert_eq!(seek(2 * MIB + 4096, Whence::Data), Err(Errno::ENXIO));
            assert_eq!(seek(4 * MIB, Whence::Data), Err(Errno::ENXIO));
            assert_eq!(seek(0, Whence::Hole), Ok(0));
            assert_eq!(seek(MIB, Whence::Hole), Ok(MIB + 8192));
            assert_eq!(seek(2 * MIB + 1, Whence::Hole), Ok(2 * MIB + 4096));
            assert_eq!(seek(4 * MIB - 1, Whence::Hole), Ok(4 * MIB - 1));
        };
        // Dirty, its blocks unwritten; then on the device, its blocks mapped.
        expected(true);
        inode(&file).ops().fsync(inode(&file), SyncKind::All).expect("fsync");
        expected(false);
        drop(file);
        end(&sb);
        image.check();
    }
}
