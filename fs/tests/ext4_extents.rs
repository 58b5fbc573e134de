//! Deep extent trees on real images, judged by `e2fsck -fn` and read back through `debugfs`.
mod common;
use common::Image;
use fs::caller::KernelCaller;
use fs::ext4::extents::{self, Run, Tree};
use fs::ext4::{self, Ext4Inode, ROOT_INO};
use fs::iomap::IomapOps;
use fs::vfs::{FileType, Inode, SuperBlock};
use std::sync::Arc;

const BLOCK: u64 = 1024;

fn create(sb: &Arc<SuperBlock>, name: &str) -> Arc<Inode> {
    let root = ext4::iget(sb, ROOT_INO).expect("the root directory");
    let _names = root.lock.write();
    root.ops().create(&root, name.as_bytes(), FileType::Regular, 0o644, 0, &KernelCaller).expect("create")
}

/// Allocates block `n` and, if `convert`, finishes a write to it.
fn write_block(inode: &Arc<Inode>, n: u64, convert: bool) {
    let own = Ext4Inode::of(inode);
    own.map_write(inode, n * BLOCK, BLOCK).expect("allocation");
    inode.set_size(inode.size().max((n + 1) * BLOCK));
    if convert {
        own.finish_write(inode, n * BLOCK, BLOCK).expect("conversion");
    }
}

fn run_at(inode: &Inode, n: u32) -> Run {
    let own = Ext4Inode::of(inode);
    extents::lookup(&Tree::new(own, &own.core.read()), n).expect("lookup")
}

fn finish(sb: &Arc<SuperBlock>, image: &Image) {
    sb.run_releases();
    sb.ops().sync().expect("sync");
    sb.ops().unmount().expect("unmount");
    image.check();
}

/// How many extents `debugfs` finds, and the depth of the tree.
fn shape(image: &Image, path: &str) -> (usize, u32) {
    let dump = String::from_utf8(image.debugfs(&format!("dump_extents {path}"))).expect("text");
    let rows = dump.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let level: u32 = fields.next()?.trim_end_matches('/').parse().ok()?;
        let depth: u32 = fields.next()?.parse().ok()?;
        Some((level, depth))
    });
    let rows: Vec<(u32, u32)> = rows.collect();
    let depth = rows.first().map_or(0, |row| row.1);
    (rows.iter().filter(|row| row.0 == depth).count(), depth)
}

/// Every other block, so that no extent merges: leaves of 84 entries, three levels deep. Then the holes are filled, then
/// the file shrinks.
#[test]
fn a_deep_tree_grows_and_shrinks() {
    let image = Image::make("96M", BLOCK as u32, &[]);
    let (sb, _disk) = image.mount();
    let inode = create(&sb, "deep");
    let own = Ext4Inode::of(&inode);
    let blocks = 30_000u64;
    for n in (0..blocks / 2).rev().chain(blocks / 2..blocks).map(|i| 2 * i) {
        write_block(&inode, n, true);
    }
    sb.ops().sync().expect("sync");
    let (count, depth) = shape(&image, "deep");
    assert_eq!((count as u64, depth), (blocks, 3));
    let seq = own.seq();
    for n in (1..200).step_by(2) {
        write_block(&inode, n, n % 4 == 1);
    }
    assert!(own.seq() > seq, "MAP-1");
    for n in 0..200u32 {
        let Run::Extent(extent) = run_at(&inode, n) else { panic!("block {n} is a hole") };
        assert_eq!(extent.unwritten, n % 4 == 3, "block {n}");
    }
    assert!(matches!(run_at(&inode, 301), Run::Hole { len: 1 }));
    for size in [50_000, 30_001, 500, 3, 0] {
        inode.ops().truncate(&inode, size * BLOCK, &KernelCaller).expect("truncate");
        assert!(matches!(run_at(&inode, size as u32), Run::Hole { .. }));
    }
    assert_eq!(own.core.read().blocks, 0, "every node was freed");
    drop(inode);
    finish(&sb, &image);
    assert_eq!(shape(&image, "deep").1, 0);
}

/// Blocks written in a scattered order end as few extents: what is contiguous merges on conversion.
#[test]
fn scattered_writes_into_one_allocation_merge_again() {
    let image = Image::make("32M", BLOCK as u32, &[]);
    let (sb, _disk) = image.mount();
    let inode = create(&sb, "merged");
    let own = Ext4Inode::of(&inode);
    let blocks = 1000u64;
    let map = own.map_write(&inode, 0, blocks * BLOCK).expect("allocation");
    assert_eq!(map.len, blocks * BLOCK, "an empty image has one run of that length");
    inode.set_size(blocks * BLOCK);
    // 617 and 1000 have no common divisor: every block once.
    for n in (0..blocks).map(|i| i * 617 % blocks) {
        own.finish_write(&inode, n * BLOCK, BLOCK).expect("conversion");
    }
    drop(inode);
    finish(&sb, &image);
    let (count, _) = shape(&image, "merged");
    assert!(count <= 12, "{count} extents for one run of blocks");
}
