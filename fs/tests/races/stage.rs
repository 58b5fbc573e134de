//! What races and rules are played on. With it come the calls that the plays are made of.
#![allow(dead_code, reason = "several test programs share the stage, and none uses all of it")]
use base::Result;
use base::block::{BioOp, BlockDevice, Filter, Gate, RamDisk};
use base::lab::Stop;
use base::sched::{self, Task};
use fs::caller::KernelCaller;
use fs::ext4::{self, Ext4Fs, MountOptions};
use fs::iomap::{DrainKind, IomapKind};
use fs::page_cache::{CacheLimits, PageCache, Tag};
use fs::vfs::{self, FallocMode, File, Inode, OpenFlags, Site, SuperBlock, Timespec, Vfs};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::{Arc, Mutex};

pub use crate::calls::*;

/// A mounted ext4 on a gated disk.
pub struct Stage {
    pub disk: Arc<RamDisk>,
    pub gate: Arc<Gate>,
    pub cache: Arc<PageCache>,
    pub sb: Arc<SuperBlock>,
    pub vfs: Arc<Vfs>,
    folder: tempfile::TempDir,
}

impl Stage {
    /// A fresh file system of 16 MiB with blocks of `block_size`.
    pub fn new(block_size: u32) -> Stage {
        Stage::format(&["-b", &block_size.to_string()])
    }

    /// The same without a journal.
    pub fn without_journal() -> Stage {
        Stage::format(&["-b", "4096", "-O", "^has_journal"])
    }

    fn format(options: &[&str]) -> Stage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("disk.img");
        std::fs::File::create(&image).and_then(|f| f.set_len(16 << 20)).expect("an image file");
        let mke2fs = e2fsprogs("mke2fs")
            .args(["-q", "-F", "-t", "ext4"])
            .args(options)
            .arg(&image)
            .output()
            .expect("mke2fs is installed");
        assert!(mke2fs.status.success(), "{}", String::from_utf8_lossy(&mke2fs.stderr));
        Stage::mount(std::fs::read(&image).expect("the image"), folder, |gate| gate)
    }

    /// The file system of an image, mounted from what `front` puts before the gate.
    pub fn of(contents: Vec<u8>, front: impl FnOnce(Arc<Gate>) -> Arc<dyn BlockDevice>) -> Stage {
        Stage::mount(contents, tempfile::tempdir().expect("a temporary folder"), front)
    }

    fn mount(
        contents: Vec<u8>,
        folder: tempfile::TempDir,
        front: impl FnOnce(Arc<Gate>) -> Arc<dyn BlockDevice>,
    ) -> Stage {
        let disk = RamDisk::builder(contents.len() as u64 / 512).contents(contents).build().expect("a RAM disk");
        let gate = Gate::new(disk.clone());
        let cache = PageCache::new(CacheLimits::for_pages(16384));
        let options = MountOptions { page_cache: Some(cache.clone()), ..MountOptions::default() };
        let device = front(gate.clone());
        let sb = ext4::mount(device, 1, options).expect("the file system mounts");
        let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root directory");
        let vfs = Vfs::new(root, b"/dev/ram", None).expect("the root is a directory");
        Stage { disk, gate, cache, sb, vfs, folder }
    }

    /// Calls `call` with the names and the place where paths start.
    pub fn with_names<R>(&self, call: impl FnOnce(&Vfs, Site<'_>) -> R) -> R {
        let root = self.vfs.root();
        call(&self.vfs, Site { cwd: &root, caller: &KernelCaller })
    }

    pub fn try_open(&self, name: &str, flags: OpenFlags) -> Result<Arc<File>> {
        self.with_names(|vfs, site| vfs.open(site, name.as_bytes(), flags | OpenFlags::RDWR, 0o644))
    }

    pub fn open(&self, name: &str, flags: OpenFlags) -> Arc<File> {
        self.try_open(name, flags).expect("the file opens")
    }

    /// A new empty file.
    pub fn create(&self, name: &str) -> Arc<File> {
        self.open(name, OpenFlags::CREAT)
    }

    /// Requests to the journal. Between its pieces stand inode tables, which only a checkpoint writes.
    pub fn log_blocks(&self) -> Filter {
        let image = self.folder.path().join("disk.img");
        let block = |n: u32| -> u64 {
            let out = e2fsprogs("debugfs").args(["-R", &format!("bmap <8> {n}")]).arg(&image).output();
            String::from_utf8_lossy(&out.expect("debugfs runs").stdout).trim().parse().expect("a block number")
        };
        Filter::any().sectors(block(0) * 8..(block(1023) + 1) * 8)
    }

    /// Runs `work` in a task of this test.
    pub fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Player {
        let outcome = Arc::new(Mutex::new(None));
        let told = outcome.clone();
        let run = move || *told.lock().expect("one writer") = Some(catch_unwind(AssertUnwindSafe(work)));
        Player { task: sched::spawn(name, Box::new(run)).expect("a task"), outcome }
    }

    /// An asynchronous write-through whose I/O ends only after its submission has returned: a worker finishes it, not the
    /// submitter (CMP-7).
    pub fn worker_wt(&self, file: &Arc<File>, pos: u64, bytes: &[u8]) -> Arc<Event> {
        self.gate.hold(Filter::any().op(BioOp::Write).nth(1));
        let event = aio_wt(file, pos, bytes);
        self.gate.wait_held(1);
        self.gate.open();
        event
    }

    /// As [`Stage::worker_wt`] of one block, beside other requests that are held: those stay.
    pub fn worker_wt_beside(&self, file: &Arc<File>, pos: u64) -> Arc<Event> {
        let others = self.gate.held().len();
        self.gate.hold(Filter::any().op(BioOp::Write).nth(1));
        let event = aio_wt(file, pos, &[1; BLOCK]);
        self.gate.wait_held(others + 1);
        let mine = self.gate.held().into_iter().find(|r| r.op == BioOp::Write).expect("the write is held");
        self.gate.release(mine.number);
        event
    }

    /// A truncate to `size` beside a write-through: `write` is called with the next write to the disk held, and the truncate begins
    /// when that is there. Returns when the truncate has come to its wait for the drain count, or fails the test if it does not wait.
    pub fn truncate_against<W>(&self, file: &Arc<File>, size: u64, write: impl FnOnce() -> W) -> (W, Truncate) {
        let change = {
            let file = file.clone();
            move || truncate(&file, size).expect("truncate")
        };
        self.change_against(file, "trunc.after_drain", change, write)
    }

    /// The same for a range that is punched, zeroed, collapsed or inserted.
    pub fn fallocate_against<W>(
        &self,
        file: &Arc<File>,
        mode: FallocMode,
        range: Range<u64>,
        write: impl FnOnce() -> W,
    ) -> (W, Truncate) {
        let change = {
            let file = file.clone();
            move || fallocate(&file, mode, range).expect("fallocate")
        };
        self.change_against(file, "falloc.after_drain", change, write)
    }

    fn change_against<W>(
        &self,
        file: &Arc<File>,
        after_drain: &'static str,
        change: impl FnOnce() + Send + 'static,
        write: impl FnOnce() -> W,
    ) -> (W, Truncate) {
        self.gate.hold(Filter::any().op(BioOp::Write).nth(1));
        let (waiting, drained) = (stop("drain.before_sleep", file), stop(after_drain, file));
        let writing = write();
        self.gate.wait_held(1);
        let task = self.spawn("change", change);
        self.until(|| waiting.is_reached() || drained.is_reached());
        assert!(!drained.is_reached(), "the change does not wait");
        (writing, Truncate { task, waiting, drained })
    }

    /// Looks until one of several things has happened, where it is not known which. Ends, because one of them must.
    pub fn until(&self, happened: impl Fn() -> bool) {
        while !happened() {
            sched::yield_now();
        }
    }

    /// Looks until the cache counts nothing under writeback (CTX-9). A worker counts just after it has woken who waits, and does so soon,
    /// or never if a count has leaked.
    pub fn wait_quiet(&self) {
        self.until(|| (self.cache.figures().wt, self.cache.figures().writeback) == (0, 0));
    }

    /// Drops every clean folio. The gate's copies of ended requests go first: they are handles to the pages.
    pub fn drop_caches(&self) {
        self.gate.settle();
        self.cache.drop_caches();
    }

    /// A mount of what a power cut now leaves on the disk, if everything is lost that may be.
    pub fn cut(&self) -> After {
        let contents = self.disk.durable_image();
        let disk = RamDisk::builder(contents.len() as u64 / 512).contents(contents).build().expect("a RAM disk");
        let device: Arc<dyn BlockDevice> = disk.clone();
        let sb = ext4::mount(device, 2, MountOptions::default()).expect("the file system recovers");
        let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root directory");
        After { disk, vfs: Vfs::new(root, b"/dev/ram", None).expect("the root is a directory") }
    }

    /// What the disk has for `len` bytes at `pos`, which lie in one block, as the extents say: what a direct read would find.
    pub fn on_disk(&self, file: &Arc<File>, pos: u64, len: usize) -> Vec<u8> {
        let bs = inode(file).mapping.block_size() as u64;
        match mapped(file, pos) {
            IomapKind::Mapped(sector) => self.disk.peek(sector.0 * 512 + pos % bs, len),
            _ => vec![0; len],
        }
    }

    /// The invariants of the cache at rest: a block that is clean and valid equals what the disk gives (FOL-4), and the search tags
    /// agree with the flags (FOL-3, I3).
    pub fn scrub(&self, file: &Arc<File>) {
        let node = inode(file);
        let (mapping, mut index) = (&node.mapping, 0);
        while let Some(folio) = mapping.next_tagged(index..u64::MAX, Tag::Present) {
            index = folio.index() + 1;
            let (state, here) = (folio.state(), folio.index()..index);
            assert_eq!(mapping.next_tagged(here.clone(), Tag::Dirty).is_some(), state.dirty(), "{state:?}");
            assert_eq!(mapping.next_tagged(here, Tag::Writeback).is_some(), state.writeback(), "{state:?}");
            let bs = mapping.block_size();
            for offset in (0..BLOCK).step_by(bs) {
                let pos = folio.pos() + offset as u64;
                let len = node.size().saturating_sub(pos).min(bs as u64) as usize;
                if len > 0 && state.uptodate_in(offset, bs) && !state.dirty_in(offset, bs) && !state.writeback() {
                    let mut cached = vec![0; len];
                    folio.page().read_into(offset, &mut cached);
                    assert!(cached == self.on_disk(file, pos, len), "cache and disk differ at {pos} (FOL-4)");
                }
            }
        }
    }

    /// Makes everything durable.
    pub fn sync(&self) {
        self.sb.ops().sync().expect("sync");
    }

    /// Transactions that were committed so far.
    pub fn commits(&self) -> u64 {
        Ext4Fs::of(&self.sb).txn.figures().1
    }
    /// Flushes that have come to the disk so far.
    pub fn flushes(&self) -> usize {
        self.requests(BioOp::Flush)
    }
    /// Requests of a kind that have come to the disk so far.
    pub fn requests(&self, op: BioOp) -> usize {
        self.gate.log().iter().filter(|r| r.op == op).count()
    }
    /// Free blocks, without those set aside.
    pub fn free_blocks(&self) -> u64 {
        self.sb.ops().statfs().blocks_free
    }

    /// Ends the play of a file system that has met an error of its own and cannot be unmounted in order: still nothing is in flight.
    pub fn abandon(self, files: impl IntoIterator<Item = Arc<File>>) {
        self.gate.open();
        for file in files {
            self.until(|| Arc::strong_count(&file) == 1);
            assert_quiet(&inode(&file));
            self.wait_quiet();
            vfs::fput(file);
        }
        let _ = self.vfs.unmount_all();
        assert_eq!(self.sb.freeze_holders(), 0);
    }

    /// Ends the play: nothing is in flight (CTX-9), the file system unmounts, and the image is in order.
    pub fn end(self, files: impl IntoIterator<Item = Arc<File>>) {
        self.gate.open();
        for file in files {
            // A finished request hands its file over just after its event.
            self.until(|| Arc::strong_count(&file) == 1);
            assert_quiet(&inode(&file));
            self.scrub(&file);
            vfs::fput(file);
        }
        // A request holds its protection until just after its event: freezing waits for that (FRZ-1), or for ever if one leaked.
        self.sb.freeze().and_then(|()| self.sb.thaw()).expect("the file system freezes");
        self.vfs.unmount_all().expect("the file system unmounts");
        check_image(&self.disk.image());
    }
}

/// Fails the test unless e2fsck finds the image of a disk in order.
pub fn check_image(bytes: &[u8]) {
    let image = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(image.path(), bytes).expect("the image is written");
    let check = e2fsprogs("e2fsck").arg("-fn").arg(image.path()).output().expect("e2fsck is installed");
    assert!(check.status.success(), "e2fsck: {}", String::from_utf8_lossy(&check.stdout));
}

/// A file system after a power cut.
pub struct After {
    disk: Arc<RamDisk>,
    vfs: Arc<Vfs>,
}

impl After {
    /// The content of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        read(&self.open(name).expect("the file is there"), 0, 1 << 20)
    }
    /// When the content of a file was last changed.
    pub fn mtime(&self, name: &str) -> Timespec {
        inode(&self.open(name).expect("the file is there")).attr().mtime
    }
    /// The permissions of a file.
    pub fn mode(&self, name: &str) -> u16 {
        inode(&self.open(name).expect("the file is there")).attr().mode & 0o7777
    }
    /// A file or directory, if it is there.
    pub fn open(&self, name: &str) -> Option<Arc<File>> {
        let root = self.vfs.root();
        let site = Site { cwd: &root, caller: &KernelCaller };
        self.vfs.open(site, name.as_bytes(), OpenFlags::empty(), 0).ok()
    }
    /// Unmounts it in order; the image is in order then.
    pub fn end(self) {
        self.vfs.unmount_all().expect("the file system unmounts");
        check_image(&self.disk.image());
    }
    /// Whether the superblock tells of an error: bit 1 of `s_state`.
    pub fn has_error_state(&self) -> bool {
        self.disk.peek(1024 + 0x3a, 1)[0] & 2 != 0
    }
}

/// A truncate that stands just before its sleep in the drain, or sleeps in it, or has been let go.
pub struct Truncate {
    task: Player,
    waiting: Stop,
    drained: Stop,
}

impl Truncate {
    /// Lets it sleep.
    pub fn sleep(&self) {
        self.waiting.release();
    }
    /// Whether it has passed the drain. There it stops until it is joined.
    pub fn is_drained(&self) -> bool {
        self.drained.is_reached()
    }
    /// Lets it go on behind the drain.
    pub fn pass_drain(&self) {
        self.drained.release();
    }
    /// Lets it run to its end.
    pub fn join(&self) {
        self.waiting.release();
        self.drained.release();
        self.task.join();
    }
}

pub fn e2fsprogs(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

fn assert_quiet(inode: &Inode) {
    let drain = &inode.drain;
    assert_eq!(drain.count(DrainKind::Direct) + drain.count(DrainKind::Writethrough), 0, "drain count leaked (I1)");
}

/// A task of a test. What fails in it fails the test that joins it.
pub struct Player {
    task: Task,
    outcome: Arc<Mutex<Option<std::thread::Result<()>>>>,
}

impl Player {
    /// Sleeps until the task has ended.
    pub fn join(&self) {
        self.task.join();
        if let Some(Err(panic)) = self.outcome.lock().expect("the task is gone").take() {
            resume_unwind(panic);
        }
    }
    pub fn has_exited(&self) -> bool {
        self.task.has_exited()
    }
}
