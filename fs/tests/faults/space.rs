//! A full disk: each operation with 0, 1, 2, ... blocks left. It works, or gives `ENOSPC` with nothing half done; then what it has made is
//! deleted, and with that every block is free again (ERR-9, I12).
use crate::image::{Kind, assert_clean, fresh};
use crate::stage::*;
use base::{Errno, Result};
use fs::caller::KernelCaller;
use fs::vfs::{self, FallocMode, OpenFlags};

/// More than any operation takes.
const MOST_LEFT: u64 = 14;
/// As long as fits: one leaf of a directory of 1 KiB blocks holds three.
fn long_name(n: usize) -> String {
    format!("{n:03}{}", "n".repeat(240))
}

/// A call, or a few, that need space.
type Operation = fn(&Stage) -> Result<()>;

/// What is done on the full disk, and undone.
const OPERATIONS: [(&str, Operation); 10] = [
    ("create", |stage| stage.try_open("x", OpenFlags::CREAT | OpenFlags::EXCL).map(vfs::fput)),
    ("mkdir", |stage| stage.with_names(|vfs, site| vfs.mkdir(site, b"x", 0o755))),
    ("symlink", |stage| stage.with_names(|vfs, site| vfs.symlink(site, &[b'/'; 500], b"x"))),
    ("names", |stage| {
        let inode = stage.with_names(|vfs, site| vfs.lookup(site, b"filler", false))?;
        // Directory blocks, and the step from one block to an index.
        (0..8).try_for_each(|n| {
            stage.with_names(|vfs, site| vfs.link(&inode, site, format!("dir/{}", long_name(n)).as_bytes()))
        })
    }),
    ("rename", |stage| {
        (0..4).try_for_each(|n| {
            stage.with_names(|vfs, site| {
                let new = format!("dir/{}", long_name(n));
                vfs.rename(site, format!("r{n}").as_bytes(), site, new.as_bytes(), false)
            })
        })
    }),
    ("buffered", |stage| on_file(stage, |file| write(file, 3000, &[2; 5000]).map(drop), true)),
    ("write-through", |stage| on_file(stage, |file| sync_wt(file, 3000, &[3; 5000]).map(drop), true)),
    ("fallocate", |stage| {
        let mode = FallocMode::Allocate { keep_size: false };
        on_file(stage, |file| vfs::fallocate(file, mode, 0, 6000, &KernelCaller), false)
    }),
    ("ranges", |stage| {
        // Every second block of what was one extent: the tree needs a block of its own to give others back.
        let holes = (0..6).map(|n| (FallocMode::PunchHole, 2048 * n, 1024));
        let changes = [
            (FallocMode::Allocate { keep_size: false }, 0, 12 * 1024),
            (FallocMode::ZeroRange { keep_size: false }, 1000, 3000),
            (FallocMode::InsertRange, 2048, 1024),
            (FallocMode::CollapseRange, 1024, 2048),
        ];
        let call = |file: OnFile<'_>, (mode, pos, len)| vfs::fallocate(file, mode, pos, len, &KernelCaller);
        on_file(stage, |file| changes.into_iter().chain(holes.clone()).try_for_each(|change| call(file, change)), true)
    }),
    ("pieces", |stage| {
        // More extents than the inode holds: the tree needs a block of its own.
        on_file(stage, |file| (0..6).try_for_each(|n| sync_wt(file, n * 3072, &[4; 1024]).map(drop)), true)
    }),
];

type OnFile<'a> = &'a std::sync::Arc<vfs::File>;

/// Does `call` on the file `x`, whose name is there before the disk is full. What it says it has written is there.
fn on_file(stage: &Stage, call: impl Fn(OnFile<'_>) -> Result<()>, sync: bool) -> Result<()> {
    let file = stage.try_open("x", OpenFlags::empty())?;
    let result = call(&file);
    if sync && result.is_ok() {
        assert_eq!(fsync(&file), Ok(()), "what a write has accepted has its blocks");
        let size = inode(&file).size();
        assert_eq!(read(&file, 0, 1 << 16).len() as u64, size);
    }
    vfs::fput(file);
    result
}

fn needs_file(name: &str) -> bool {
    matches!(name, "buffered" | "write-through" | "fallocate" | "ranges" | "pieces")
}

/// A stage with everything the operation needs, and `left` free blocks.
fn full(kind: Kind, name: &str, left: u64) -> Stage {
    let stage = Stage::of(fresh(kind), |gate| gate);
    stage.with_names(|vfs, site| vfs.mkdir(site, b"dir", 0o755)).expect("mkdir");
    if needs_file(name) {
        vfs::fput(stage.create("x"));
    }
    for n in 0..4 {
        vfs::fput(stage.create(&format!("r{n}")));
    }
    let filler = stage.create("filler");
    let mode = FallocMode::Allocate { keep_size: false };
    let most = stage.free_blocks() - left - 3;
    vfs::fallocate(&filler, mode, 0, most * 1024, &KernelCaller).expect("it fits");
    // Nodes of its tree are in it as well. A directory is one block.
    for n in 0..stage.free_blocks() - left {
        stage.with_names(|vfs, site| vfs.mkdir(site, format!("f{n}").as_bytes(), 0o755)).expect("mkdir");
    }
    assert_eq!(stage.free_blocks(), left);
    assert_eq!(fsync(&filler), Ok(()));
    vfs::fput(filler);
    stage
}

/// Takes away what the operation may have made.
fn undo(stage: &Stage, name: &str) {
    stage.with_names(|vfs, site| {
        for n in 0..8 {
            let entry = format!("dir/{}", long_name(n));
            if name == "rename" && n < 4 {
                let _ = vfs.rename(site, entry.as_bytes(), site, format!("r{n}").as_bytes(), false);
            } else {
                let _ = vfs.unlink(site, entry.as_bytes());
            }
        }
        if needs_file(name) {
            vfs::fput(stage.open("x", OpenFlags::TRUNC));
        } else if name == "mkdir" {
            let _ = vfs.rmdir(site, b"x");
        } else {
            let _ = vfs.unlink(site, b"x");
        }
    });
}

fn each_number_of_blocks(kind: Kind) {
    for (name, operation) in OPERATIONS {
        let mut works = 0;
        for left in 0..=MOST_LEFT {
            let what = format!("{name} with {left} blocks left of {kind:?}");
            let stage = full(kind, name, left);
            let inodes = stage.sb.ops().statfs().inodes_free;
            let outcome = operation(&stage);
            assert!(matches!(outcome, Ok(()) | Err(Errno::ENOSPC)), "{what}: {outcome:?}");
            works += u64::from(outcome.is_ok());
            undo(&stage, name);
            // An inode that got no name is let go by the release queue; without one, here.
            stage.sb.run_releases();
            stage.sb.ops().sync().unwrap_or_else(|error| panic!("{what}: {error}"));
            // A directory that has grown does not shrink.
            let grown =
                stage.with_names(|vfs, site| vfs.lookup(site, b"dir", true)).expect("it is there").size() / 1024 - 1;
            assert_eq!(stage.free_blocks() + grown, left, "{what}: blocks");
            assert_eq!(stage.sb.ops().statfs().inodes_free, inodes, "{what}: inodes");
            // What came back can be had again, to the last block.
            for n in 0..=left - grown {
                let made = stage.with_names(|vfs, site| vfs.mkdir(site, format!("g{n}").as_bytes(), 0o755));
                assert_eq!(made, if n < left - grown { Ok(()) } else { Err(Errno::ENOSPC) }, "{what}");
            }
            stage.vfs.unmount_all().unwrap_or_else(|error| panic!("{what}: unmount: {error}"));
            assert_clean(&what, &stage.disk.image());
        }
        assert!(works > 0, "{name} never works");
    }
}

/// ERR-9, ERR-10, CRA-3.
#[test]
fn err9_each_operation_with_each_number_of_blocks_with_a_journal() {
    each_number_of_blocks(Kind::Journal);
}
#[test]
fn err9_each_operation_with_each_number_of_blocks_without_a_journal() {
    each_number_of_blocks(Kind::Plain);
}

/// A freed block can be had again once the transaction that freed it has committed, and who needs it makes that happen
/// (`Ext4Fs::with_space`).
#[test]
fn cra3_freed_blocks_come_back_when_somebody_needs_them() {
    for kind in [Kind::Journal, Kind::Plain] {
        let stage = full(kind, "names", 0);
        let file = stage.open("r0", OpenFlags::empty());
        assert_eq!(write(&file, 0, &[1; 1024]), Err(Errno::ENOSPC));
        let filler = stage.open("filler", OpenFlags::TRUNC);
        assert!(stage.free_blocks() > 100);
        let commits = stage.flushes();
        assert_eq!(write(&file, 0, &[1; 1024]), Ok(1024));
        assert!(stage.flushes() > commits, "blocks were given away before the commit that frees them");
        stage.end([file, filler]);
    }
}
