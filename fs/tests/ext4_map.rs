//! Allocation, conversion, truncation and the end of inodes, over real images, without the page cache.
mod common;
use base::Errno;
use common::Image;
use fs::caller::KernelCaller;
use fs::ext4::txn::Credits;
use fs::ext4::{self, Ext4Fs, Ext4Inode, ROOT_INO, ialloc, orphan};
use fs::iomap::{IomapKind, IomapOps};
use fs::vfs::{FallocMode, File, FileType, Inode, OpenFlags, SuperBlock, SyncKind, iput};
use std::sync::Arc;

/// A file made by debugfs: its inode.
fn make_file(image: &Image, content: &[u8]) -> u32 {
    let source = common::scratch("src");
    std::fs::write(&source, content).expect("scratch space");
    image.debugfs_write(&format!("write {} f", source.display()));
    let _ = std::fs::remove_file(&source);
    let stat = String::from_utf8(image.debugfs("stat f")).expect("text");
    stat.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("an inode number")
}

fn own(inode: &Inode) -> &Ext4Inode {
    Ext4Inode::of(inode)
}

/// Maps, pretends to write and finishes.
fn write_blocks(inode: &Arc<Inode>, pos: u64, len: u64) -> base::Result<()> {
    let mut at = pos;
    while at < pos + len {
        at = own(inode).map_write(inode, at, pos + len - at)?.end();
    }
    if pos + len > inode.size() {
        inode.set_size(pos + len);
    }
    own(inode).finish_write(inode, pos, len)
}

fn new_file(sb: &Arc<SuperBlock>) -> Arc<Inode> {
    let root = ext4::iget(sb, ROOT_INO).expect("root");
    let fs = Ext4Fs::of(sb);
    let mut handle = fs.begin(Credits(8)).expect("a handle");
    ialloc::new_inode(&mut handle, &root, FileType::Regular, 0o644, 0, &KernelCaller).expect("an inode")
}

/// Lets go of an inode as the last unlink would.
fn unlink(inode: Arc<Inode>) {
    inode.update_attr(|attr| attr.nlink = 0);
    {
        let mut handle = own(&inode).fs.begin(Credits(8)).expect("a handle");
        orphan::add(&mut handle, &inode).expect("on the list");
        let core = own(&inode).core.read();
        own(&inode).store(&mut handle, &inode, &core, SyncKind::Data).expect("stored");
    }
    iput(inode);
}

#[test]
fn maps_agree_with_debugfs_and_checksums_hold() {
    for block in [1024u64, 4096] {
        let image = Image::make("32M", block as u32, &[]);
        let content: Vec<u8> = (0..20 * block + 100).map(|i| (i / 7) as u8).collect();
        let ino = make_file(&image, &content);
        let expected: u64 = {
            let text = String::from_utf8(image.debugfs("bmap f 3")).expect("text");
            text.trim().parse().expect("a block number")
        };
        let (sb, _disk) = image.mount();
        let inode = ext4::iget(&sb, ino).expect("the file");
        assert_eq!(inode.size(), content.len() as u64);
        let map = own(&inode).map_read(&inode, 3 * block, block).expect("a mapping");
        assert_eq!(map.kind, IomapKind::Mapped(base::block::Sector(expected * block / 512)));
        let hole = own(&inode).map_read(&inode, 1 << 30, 1 << 20).expect("a mapping");
        assert_eq!((hole.kind, hole.pos), (IomapKind::Hole, 1 << 30));
        drop(inode);
        sb.ops().unmount().expect("unmount");
        image.check();
    }
}

#[test]
fn holes_become_unwritten_then_mapped_and_the_size_follows() {
    for block in [1024u64, 2048, 4096] {
        let image = Image::make("64M", block as u32, &[]);
        let ino = make_file(&image, b"x");
        let (sb, _disk) = image.mount();
        let inode = ext4::iget(&sb, ino).expect("the file");
        let seq = own(&inode).extent_seq();
        let map = own(&inode).map_write(&inode, 8 * block, 4 * block).expect("space");
        assert!(matches!(map.kind, IomapKind::Unwritten(_)));
        assert_ne!(own(&inode).extent_seq(), seq, "EXT-5");
        assert!(own(&inode).metadata_pending(&inode, SyncKind::Data));
        inode.set_size(12 * block);
        own(&inode).finish_write(&inode, 9 * block, block + 1).expect("converted");
        assert_eq!(own(&inode).disk_size(), 10 * block + 1, "SIZE-2");
        let kinds: Vec<bool> = (8..12)
            .map(|b| {
                let kind = own(&inode).map_read(&inode, b * block, block).expect("a mapping").kind;
                matches!(kind, IomapKind::Mapped(_))
            })
            .collect();
        assert_eq!(kinds, [false, true, true, false], "EXT-3");
        own(&inode).finish_write(&inode, 8 * block, 4 * block).expect("converted");
        own(&inode).commit(&inode, SyncKind::Data).expect("commit");
        assert!(!own(&inode).metadata_pending(&inode, SyncKind::Data));
        drop(inode);
        sb.ops().unmount().expect("unmount");
        image.check();
    }
}

#[test]
fn a_remembered_extent_is_forgotten_with_the_next_change_of_the_map() {
    let image = Image::make("32M", 4096, &[]);
    let (sb, _disk) = image.mount();
    let inode = new_file(&sb);
    let kind_at = |block: u64| own(&inode).map_read(&inode, block * 4096, 4096).expect("a mapping").kind;
    let planned = own(&inode).map_write(&inode, 0, 8 * 4096).expect("a mapping");
    assert_eq!(kind_at(3), IomapKind::Unwritten(planned.sector_of(3 * 4096).expect("blocks")));
    write_blocks(&inode, 0, 4 * 4096).expect("written");
    assert!(matches!(kind_at(3), IomapKind::Mapped(_)));
    assert!(matches!(kind_at(4), IomapKind::Unwritten(_)));
    assert!(matches!(kind_at(3), IomapKind::Mapped(_)), "back to another extent");
    inode.ops().truncate(&inode, 4096, &KernelCaller).expect("cut");
    assert_eq!(kind_at(3), IomapKind::Hole);
    assert!(matches!(kind_at(0), IomapKind::Mapped(_)));
    unlink(inode);
    sb.ops().unmount().expect("unmount");
    image.check();
}

#[test]
fn appends_of_two_files_stay_contiguous() {
    let image = Image::make("64M", 4096, &[]);
    let (sb, _disk) = image.mount();
    let files = [new_file(&sb), new_file(&sb)];
    for step in 0..200 {
        files.iter().for_each(|inode| write_blocks(inode, step * 4096, 4096).expect("space"));
    }
    for inode in files {
        let map = own(&inode).map_read(&inode, 0, 1 << 30).expect("a mapping");
        assert_eq!(map.len, 200 * 4096, "one extent");
        unlink(inode);
    }
    sb.ops().unmount().expect("unmount");
    image.check();
}

#[test]
fn scattered_writes_grow_a_deep_tree_and_eviction_frees_it() {
    for block in [1024u64, 4096] {
        let image = Image::make("64M", block as u32, &[]);
        let (sb, _disk) = image.mount();
        let fs = Ext4Fs::of(&sb).clone();
        let before = sb.ops().statfs();
        let inode = new_file(&sb);
        for step in 0..3000u64 {
            let at = step * 7919 % 3001 * 2;
            write_blocks(&inode, at * block, block).expect("space");
        }
        assert!(inode.attr().blocks_512 > 3000 * block / 512, "tree nodes count");
        assert_eq!(own(&inode).core.read().reserved, 0, "everything is converted");
        unlink(inode);
        let after = sb.ops().statfs();
        assert_eq!((before.blocks_free, before.inodes_free), (after.blocks_free, after.inodes_free), "ERR-9, I12");
        assert_eq!(fs.groups.state.lock().set_aside, 0);
        sb.ops().unmount().expect("unmount");
        image.check();
    }
}

#[test]
fn a_full_disk_says_enospc_and_conversions_still_work() {
    let image = Image::make("16M", 1024, &[]);
    let (sb, _disk) = image.mount();
    let big = new_file(&sb);
    let file = File::new(Some(big.clone()), OpenFlags::RDWR, big.ops().open(&big).expect("opens"));
    // One long unwritten run, the promises for its conversion, then nothing is left.
    let mode = FallocMode::Allocate { keep_size: false };
    file.ops().fallocate(&file, mode, 0, 4 << 20, &KernelCaller).expect("space");
    own(&big).map_write(&big, 0, 4 << 20).expect("promised");
    let filler = new_file(&sb);
    let mut at = 0;
    let stopped = loop {
        match own(&filler).map_write(&filler, at, 1 << 20) {
            Ok(map) => at = map.end(),
            Err(error) => break error,
        }
    };
    assert_eq!(stopped, Errno::ENOSPC);
    // Every other block: each conversion splits an extent into three (R48, EXT-2).
    for step in 0..2000 {
        own(&big).finish_write(&big, step * 2048, 1024).expect("EXT-2: a conversion does not fail for space");
    }
    drop(file);
    unlink(big);
    unlink(filler);
    sb.ops().unmount().expect("unmount");
    image.check();
}

#[test]
fn inode_numbers_and_groups_are_used_up_and_given_back() {
    let image = Image::make("16M", 1024, &["-N", "64"]);
    let (sb, _disk) = image.mount();
    let root = ext4::iget(&sb, ROOT_INO).expect("root");
    let fs = Ext4Fs::of(&sb);
    let free = sb.ops().statfs().inodes_free;
    let mut made = Vec::new();
    let stopped = loop {
        let mut handle = fs.begin(Credits(8)).expect("a handle");
        match ialloc::new_inode(&mut handle, &root, FileType::Regular, 0o600, 0, &KernelCaller) {
            Ok(inode) => made.push(inode),
            Err(error) => break error,
        }
    };
    assert_eq!((stopped, made.len() as u64), (Errno::ENOSPC, free));
    made.into_iter().for_each(unlink);
    assert_eq!(sb.ops().statfs().inodes_free, free);
    drop(root);
    sb.ops().unmount().expect("unmount");
    image.check();
}

#[test]
fn orphans_of_a_power_cut_are_finished_at_the_next_mount() {
    let image = Image::make("16M", 4096, &[]);
    let ino = make_file(&image, &[7; 100_000]);
    let (sb, disk) = image.mount();
    let deleted = new_file(&sb);
    write_blocks(&deleted, 0, 40_960).expect("space");
    let cut = ext4::iget(&sb, ino).expect("the file");
    {
        let mut handle = own(&cut).fs.begin(Credits(8)).expect("a handle");
        orphan::add(&mut handle, &deleted).expect("on the list");
        orphan::add(&mut handle, &cut).expect("on the list");
        deleted.update_attr(|attr| attr.nlink = 0);
        let core = own(&deleted).core.read();
        own(&deleted).store(&mut handle, &deleted, &core, SyncKind::Data).expect("stored");
        drop(core);
        let mut core = own(&cut).core.write();
        core.disk_size = 5000;
        own(&cut).store(&mut handle, &cut, &core, SyncKind::Data).expect("stored");
    }
    sb.ops().sync().expect("sync");
    // The cut: nothing more reaches the disk.
    Ext4Fs::of(&sb).shut_down();
    drop((deleted, cut, disk));
    let (sb, _disk) = image.mount();
    let cut = ext4::iget(&sb, ino).expect("the file");
    assert_eq!((cut.size(), cut.attr().blocks_512), (5000, 16));
    drop(cut);
    sb.ops().unmount().expect("unmount");
    image.check();
}
