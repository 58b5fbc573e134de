//! Model M9, the two sizes of a file, and with it all that a write-through is made of: a mounted ext4 with its cache, its workers and
//! its disk, under many random schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --target-dir target/shuttle -p fs --test shuttle_io`
#![cfg(shuttle)]
use base::block::RamDisk;
use base::sched::{self, Task};
use base::sync::Arc;
use calls::{aio_wt, disk_size, fsync, inode, read, sync_wt, truncate, write};
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions};
use fs::page_cache::{CacheLimits, PageCache};
use fs::vfs::{self, File, OpenFlags, Site, Vfs};
use std::process::Command;
use std::sync::OnceLock;

#[path = "races/calls.rs"]
mod calls;

/// Bytes of a block here: the image is small, and a folio has four.
const BS: usize = 1024;
const PAGE: u64 = base::PAGE_SIZE as u64;

/// An empty file system of 512 KiB without a journal, made once.
fn image() -> Vec<u8> {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let made = Command::new("mke2fs")
            .env("PATH", path)
            .args(["-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^has_journal", "-N", "16"])
            .arg(file.path())
            .arg("512k")
            .output()
            .expect("mke2fs is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::read(file.path()).expect("the image")
    };
    IMAGE.get_or_init(make).clone()
}

/// A mounted file system with one file.
struct Play {
    cache: Arc<PageCache>,
    vfs: Arc<Vfs>,
    file: Arc<File>,
}

impl Play {
    fn new() -> Play {
        let contents = image();
        let disk = RamDisk::builder(contents.len() as u64 / 512).contents(contents).build().expect("a RAM disk");
        let cache = PageCache::new(CacheLimits::for_pages(256));
        let options = MountOptions { page_cache: Some(cache.clone()), ..MountOptions::default() };
        let sb = ext4::mount(disk, 1, options).expect("the file system mounts");
        let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root directory");
        drop(sb);
        let vfs = Vfs::new(root, b"/dev/ram", None).expect("the root is a directory");
        let root = vfs.root();
        let site = Site { cwd: &root, caller: &KernelCaller };
        let file = vfs.open(site, b"f", OpenFlags::CREAT | OpenFlags::RDWR, 0o644).expect("the file opens");
        drop(root);
        Play { cache, vfs, file }
    }

    fn spawn(&self, body: impl FnOnce(&Arc<File>) + Send + 'static) -> Task {
        let file = self.file.clone();
        sched::spawn("t", Box::new(move || body(&file))).expect("a task")
    }

    /// (i_size, d_size)
    fn sizes(&self) -> (u64, u64) {
        (inode(&self.file).size(), disk_size(&self.file))
    }

    /// What the file holds, and what it holds once nothing of it is cached.
    fn content(&self) -> Vec<u8> {
        let cached = read(&self.file, 0, 16 * BS);
        fsync(&self.file).expect("fsync");
        self.cache.drop_caches();
        assert_eq!(read(&self.file, 0, 16 * BS), cached, "cache and disk differ");
        cached
    }

    /// Ends the play: nothing is counted any more (CTX-9), and the file system unmounts.
    fn end(self) {
        while Arc::strong_count(&self.file) > 1 {
            sched::yield_now();
        }
        let (sizes, node) = (self.sizes(), inode(&self.file));
        assert_eq!(sizes.0, sizes.1, "d_size is not i_size after an fsync (SIZE-5)");
        assert_eq!(node.drain.count(fs::iomap::DrainKind::Writethrough), 0, "drain count leaked (I1)");
        drop(node);
        vfs::fput(self.file);
        self.vfs.unmount_all().expect("the file system unmounts");
    }
}

/// M9, R01, R04, R10, TRC-2, SIZE-1 to SIZE-5: a write-through in flight, and a truncate that comes before its copy, beside it or behind
/// its event. What is left is what one of the two serial orders leaves, in the cache, on the disk and in both sizes.
#[test]
fn m9_r01_a_write_beside_a_truncate() {
    base::explore!(|| {
        let play = Play::new();
        let truncating = play.spawn(|file| truncate(file, 0).expect("truncate"));
        assert_eq!(aio_wt(&play.file, 0, &[b'n'; 2 * BS]).wait(), Ok(2 * BS));
        truncating.join();
        let blocks = vfs::stat(&inode(&play.file)).blocks_512;
        let content = play.content();
        assert!(content.is_empty() || content == [b'n'; 2 * BS], "{} bytes", content.len());
        assert_eq!(blocks == 0, content.is_empty(), "blocks of an empty file, or none of a full one");
        play.end();
    });
}

/// M9, R04, SIZE-2: a truncate that extends, beside the finish of a write that extends less.
#[test]
fn m9_r04_a_finish_beside_an_extending_truncate() {
    base::explore!(|| {
        let play = Play::new();
        let truncating = play.spawn(|file| truncate(file, 3 * BS as u64 + 100).expect("truncate"));
        assert_eq!(aio_wt(&play.file, 0, &[b'n'; 2 * BS]).wait(), Ok(2 * BS));
        truncating.join();
        let content = play.content();
        assert_eq!(content.len(), 3 * BS + 100);
        assert!(content[..2 * BS].iter().all(|b| *b == b'n') && content[2 * BS..].iter().all(|b| *b == 0));
        play.end();
    });
}

/// M9, R15, R57, SIZE-3, BUF-1: two writes that extend, finishing in any order, and a reader that trusts the size it sees.
#[test]
fn m9_r15_a_reader_beside_extending_writes() {
    base::explore!(|| {
        let play = Play::new();
        let reading = play.spawn(|file| {
            let mut before = 0;
            for _ in 0..4 {
                let size = inode(file).size();
                assert!(size >= before, "the size went back");
                assert!(disk_size(file) <= inode(file).size(), "d_size above i_size (SIZE-5)");
                if size > 0 {
                    assert_eq!(read(file, size - 1, 1), [b'n'], "a size before its data");
                }
                before = size;
                sched::yield_now();
            }
        });
        let events = [aio_wt(&play.file, 0, &[b'n'; BS]), aio_wt(&play.file, BS as u64, &[b'n'; 500])];
        assert_eq!(events.map(|event| event.wait()), [Ok(BS), Ok(500)]);
        assert_eq!(play.sizes(), (1524, 1524));
        reading.join();
        assert_eq!(play.content(), [b'n'; 1524]);
        play.end();
    });
}

/// R12, R13, R20, STB-1, ORD-3: a write-through, a buffered write to the same block, and eviction whenever it comes. Both writes are
/// there in the end, and nothing that was is zero.
#[test]
fn m5_writers_of_one_block_beside_eviction() {
    base::explore!(|| {
        let play = Play::new();
        let buffered = play.spawn(|file| assert_eq!(write(file, 100, &[b'b'; 50]), Ok(50)));
        let cache = play.cache.clone();
        let evicting = play.spawn(move |_| {
            for _ in 0..3 {
                cache.drop_caches();
                sched::yield_now();
            }
        });
        assert_eq!(aio_wt(&play.file, 0, &[b'n'; 100]).wait(), Ok(100));
        assert_eq!(sync_wt(&play.file, PAGE, &[b'p'; 10]), Ok(10));
        buffered.join();
        evicting.join();
        let content = play.content();
        assert_eq!(content[..150], [vec![b'n'; 100], vec![b'b'; 50]].concat(), "bytes are lost");
        assert_eq!((content.len() as u64, &content[PAGE as usize..]), (PAGE + 10, &[b'p'; 10][..]));
        play.end();
    });
}
