//! Real images for tests: made by `mke2fs`, judged by `e2fsck`, looked into by `debugfs`.
#![allow(dead_code, missing_docs)]
use base::block::{BioOp, BlockDevice, Durability, Limits, SECTOR_SIZE, SubmittedBio};
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions};
use fs::vfs::{self, FileType, Inode, OpenFlags, SuperBlock};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

/// A disk in a file of the host. Bios are carried out and completed by a thread of its own, in order.
pub struct FileDisk {
    sectors: u64,
    pub flushes: AtomicU64,
    pub writes: AtomicU64,
    pub fail_writes: Arc<AtomicBool>,
    queue: Mutex<Sender<SubmittedBio>>,
}

impl FileDisk {
    pub fn open(path: &std::path::Path) -> Arc<FileDisk> {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("the image opens");
        let sectors = file.metadata().expect("the image has a size").len() / SECTOR_SIZE;
        let (queue, bios) = channel::<SubmittedBio>();
        let fail_writes = Arc::new(AtomicBool::new(false));
        let fail = fail_writes.clone();
        std::thread::spawn(move || {
            for bio in bios {
                let status = carry_out(&file, &bio, fail.load(Ordering::Relaxed));
                bio.complete(status);
            }
        });
        Arc::new(FileDisk {
            sectors,
            flushes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            fail_writes,
            queue: Mutex::new(queue),
        })
    }
}

fn carry_out(file: &File, bio: &SubmittedBio, fail_writes: bool) -> base::Result<()> {
    let mut at = bio.sector().0 * SECTOR_SIZE;
    for segment in bio.segments() {
        let mut bytes = vec![0; segment.len as usize];
        match bio.op() {
            BioOp::Read => {
                file.read_exact_at(&mut bytes, at).map_err(|_| base::Errno::EIO)?;
                segment.page.write_from(segment.offset as usize, &bytes);
            }
            BioOp::Write if fail_writes => return Err(base::Errno::EIO),
            _ => {
                segment.page.read_into(segment.offset as usize, &mut bytes);
                file.write_all_at(&bytes, at).map_err(|_| base::Errno::EIO)?;
            }
        }
        at += bytes.len() as u64;
    }
    Ok(())
}

impl BlockDevice for FileDisk {
    fn name(&self) -> &str {
        "file"
    }
    fn limits(&self) -> Limits {
        Limits {
            capacity_sectors: self.sectors,
            logical_block_size: 512,
            max_segments: 64,
            max_bytes: 1 << 20,
            read_only: false,
            discard: false,
            write_zeroes: false,
        }
    }
    fn durability(&self) -> Durability {
        Durability::OnFlush
    }
    fn submit(&self, bio: SubmittedBio) {
        match bio.op() {
            BioOp::Write => _ = self.writes.fetch_add(1, Ordering::Relaxed),
            BioOp::Flush => _ = self.flushes.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
        self.queue.lock().expect("not poisoned").send(bio).expect("the disk's thread lives");
    }
    fn kick(&self) {}
}

/// An image file that is removed at the end of the test.
pub struct Image {
    pub path: PathBuf,
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A path for a scratch file, different for every call.
pub fn scratch(what: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sluice-{}-{n}-{what}", std::process::id()))
}

impl Image {
    /// Makes a file system of `size` (`mke2fs` notation) with blocks of `block` bytes, with a journal if it is not too small for one.
    pub fn make(size: &str, block: u32, extra: &[&str]) -> Image {
        let path = scratch("img");
        File::create(&path).expect("scratch space");
        let block = block.to_string();
        let mut args = vec!["-q", "-F", "-t", "ext4", "-b", &block];
        args.extend_from_slice(extra);
        let path_arg = path.to_str().expect("a plain path").to_owned();
        args.push(&path_arg);
        args.push(size);
        run("mke2fs", &args);
        Image { path }
    }
    pub fn mount(&self) -> (Arc<SuperBlock>, Arc<FileDisk>) {
        let disk = FileDisk::open(&self.path);
        let sb = ext4::mount(disk.clone(), 0xfe00, MountOptions::default()).expect("the image mounts");
        (sb, disk)
    }
    /// Fails the test unless the image is flawless.
    pub fn check(&self) {
        let out = Command::new("e2fsck").args(["-fn"]).arg(&self.path).output().expect("e2fsck runs");
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "e2fsck -fn: {text}{}", String::from_utf8_lossy(&out.stderr));
    }
    /// What `debugfs` prints for a request.
    pub fn debugfs(&self, request: &str) -> Vec<u8> {
        let out = Command::new("debugfs").args(["-R", request]).arg(&self.path).output().expect("debugfs runs");
        out.stdout
    }
    /// Lets `debugfs` change the image.
    pub fn debugfs_write(&self, request: &str) {
        let out = Command::new("debugfs").args(["-w", "-R", request]).arg(&self.path).output().expect("debugfs runs");
        assert!(out.status.success(), "debugfs {request}");
    }
    /// The content of a file, read by `debugfs`.
    pub fn cat(&self, path: &str) -> Vec<u8> {
        let copy = scratch("copy");
        self.debugfs(&format!("dump {path} {}", copy.display()));
        let bytes = std::fs::read(&copy).unwrap_or_default();
        let _ = std::fs::remove_file(&copy);
        bytes
    }
}

fn run(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).output().expect("e2fsprogs are installed");
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A new empty file in the root directory.
pub fn create(sb: &Arc<SuperBlock>, name: &str) -> Arc<vfs::File> {
    let root = ext4::iget(sb, ext4::ROOT_INO).expect("root");
    let _lock = root.lock.write();
    let inode = root.ops().create(&root, name.as_bytes(), FileType::Regular, 0o644, 0, &KernelCaller).expect("created");
    open(&inode)
}

/// An open description of an inode.
pub fn open(inode: &Arc<Inode>) -> Arc<vfs::File> {
    vfs::File::new(Some(inode.clone()), OpenFlags::RDWR, inode.ops().open(inode).expect("opens"))
}

/// The inode of a name in the root directory.
pub fn lookup(sb: &Arc<SuperBlock>, name: &str) -> Arc<Inode> {
    let root = ext4::iget(sb, ext4::ROOT_INO).expect("root");
    let _lock = root.lock.read();
    root.ops().lookup(&root, name.as_bytes()).expect("found")
}
