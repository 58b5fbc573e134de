//! What every race is played on.
use base::block::{BioOp, BlockDevice, Filter, Gate, RamDisk};
use base::lab::stop_at;
use base::sched::{self, Task};
use base::sync::WaitQueue;
use base::{Errno, Result};
use fs::caller::{Caller, KernelCaller};
use fs::ext4::{self, MountOptions};
use fs::io::{SliceSink, SliceSource};
use fs::iomap::DrainKind;
use fs::kiocb::{Completion, Kiocb, KiocbComplete, Outcome};
use fs::page_cache::{CacheLimits, PageCache};
use fs::vfs::{self, File, Inode, OpenFlags, Request, Site, SuperBlock, SyncKind, Vfs};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::{Arc, Mutex};

pub const WT: u32 = 0x200;
pub const BLOCK: usize = 4096;

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
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("disk.img");
        std::fs::File::create(&image).and_then(|f| f.set_len(16 << 20)).expect("an image file");
        let mke2fs = e2fsprogs("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-b", &block_size.to_string()])
            .arg(&image)
            .output()
            .expect("mke2fs is installed");
        assert!(mke2fs.status.success(), "{}", String::from_utf8_lossy(&mke2fs.stderr));
        let contents = std::fs::read(&image).expect("the image");
        let disk = RamDisk::builder(contents.len() as u64 / 512).contents(contents).build().expect("a RAM disk");
        Stage::mount(disk, folder)
    }

    fn mount(disk: Arc<RamDisk>, folder: tempfile::TempDir) -> Stage {
        let gate = Gate::new(disk.clone());
        let cache = PageCache::new(CacheLimits::for_pages(16384));
        let options = MountOptions { page_cache: Some(cache.clone()), ..MountOptions::default() };
        let device: Arc<dyn BlockDevice> = gate.clone();
        let sb = ext4::mount(device, 1, options).expect("the file system mounts");
        let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root directory");
        let vfs = Vfs::new(root, b"/dev/ram", None).expect("the root is a directory");
        Stage { disk, gate, cache, sb, vfs, folder }
    }

    pub fn open(&self, name: &str, flags: OpenFlags) -> Arc<File> {
        let root = self.vfs.root();
        let site = Site { cwd: &root, caller: &KernelCaller };
        self.vfs.open(site, name.as_bytes(), flags | OpenFlags::RDWR, 0o644).expect("the file opens")
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

    /// Looks until one of several things has happened, where it is not known which. Ends, because one of them must.
    pub fn until(&self, happened: impl Fn() -> bool) {
        while !happened() {
            sched::yield_now();
        }
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

    /// Ends the play: nothing is in flight (CTX-9), the file system unmounts, and the image is in order.
    pub fn end(self, files: impl IntoIterator<Item = Arc<File>>) {
        self.gate.open();
        for file in files {
            // A finished request hands its file over just after its event.
            self.until(|| Arc::strong_count(&file) == 1);
            assert_quiet(&inode(&file));
            vfs::fput(file);
        }
        // A request holds its protection until just after its event: freezing waits for that (FRZ-1), or for ever if one leaked.
        self.sb.freeze().and_then(|()| self.sb.thaw()).expect("the file system freezes");
        self.vfs.unmount_all().expect("the file system unmounts");
        let image = self.folder.path().join("after.img");
        std::fs::write(&image, self.disk.image()).expect("the image is written");
        let check = e2fsprogs("e2fsck").arg("-fn").arg(&image).output().expect("e2fsck is installed");
        assert!(check.status.success(), "e2fsck: {}", String::from_utf8_lossy(&check.stdout));
    }
}

/// A file system after a power cut.
pub struct After {
    disk: Arc<RamDisk>,
    vfs: Arc<Vfs>,
}

impl After {
    /// The content of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        let root = self.vfs.root();
        let site = Site { cwd: &root, caller: &KernelCaller };
        let file = self.vfs.open(site, name.as_bytes(), OpenFlags::empty(), 0).expect("the file is there");
        read(&file, 0, 1 << 20)
    }
    /// Whether the superblock tells of an error: bit 1 of `s_state`.
    pub fn has_error_state(&self) -> bool {
        self.disk.peek(1024 + 0x3a, 1)[0] & 2 != 0
    }
}

fn e2fsprogs(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

fn assert_quiet(inode: &Inode) {
    let drain = &inode.drain;
    assert_eq!(drain.count(DrainKind::Direct) + drain.count(DrainKind::Writethrough), 0, "drain count leaked (I1)");
}

pub fn inode(file: &Arc<File>) -> Arc<Inode> {
    file.inode.clone().expect("a file of a file system")
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

/// The event of an asynchronous request.
pub struct Event {
    result: Mutex<Vec<Result<usize>>>,
    posted: WaitQueue,
}

impl Event {
    pub fn new() -> Arc<Event> {
        Arc::new(Event { result: Mutex::new(Vec::new()), posted: WaitQueue::new() })
    }
    /// Sleeps until the event is there.
    pub fn wait(&self) -> Result<usize> {
        self.posted.wait_until(|| self.is_posted());
        let results = self.result.lock().expect("no test panics with it");
        assert_eq!(results.len(), 1, "one event for one request (WT-5)");
        results[0]
    }
    pub fn is_posted(&self) -> bool {
        !self.result.lock().expect("no test panics with it").is_empty()
    }
}

impl KiocbComplete for Event {
    fn complete(&self, result: Result<usize>) {
        self.result.lock().expect("no test panics with it").push(result);
        self.posted.wake_all();
    }
}

/// An asynchronous write; its outcome comes to the event, also where it was known at once.
pub fn aio_write(file: &Arc<File>, pos: u64, bytes: &[u8], rwf: u32) -> Arc<Event> {
    let event = Event::new();
    let flags = vfs::request_flags(file, rwf, Request::Write).expect("the flags are allowed");
    let completion = Completion::new(event.clone());
    let mut kiocb = Kiocb::aio(file, pos, flags, &KernelCaller, completion);
    let result = vfs::write(&mut kiocb, &mut SliceSource::new(bytes));
    match kiocb.into_result(result) {
        Ok(Outcome::Queued) => {}
        Ok(Outcome::Done(n)) => event.complete(Ok(n)),
        Err(error) => event.complete(Err(error)),
    }
    event
}

/// An asynchronous write-through.
pub fn aio_wt(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Arc<Event> {
    aio_write(file, pos, bytes, WT)
}

/// A synchronous write-through.
pub fn sync_wt(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    vfs::write_at(file, pos, WT, &mut SliceSource::new(bytes), &KernelCaller)
}

/// A buffered write.
pub fn write(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    vfs::write_at(file, pos, 0, &mut SliceSource::new(bytes), &KernelCaller)
}

/// A read at a position, through the cache or around it by the file's flags.
pub fn read(file: &Arc<File>, pos: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let n = vfs::read_at(file, pos, 0, &mut SliceSink::new(&mut bytes), &KernelCaller).expect("the read succeeds");
    bytes.truncate(n);
    bytes
}

/// A direct read of whole blocks, into page-aligned memory.
pub fn direct_read(file: &Arc<File>, pos: u64, len: usize) -> Vec<u8> {
    let mut buffer = fs::io::PageBuffer::new(0, len).expect("memory");
    let flags = vfs::request_flags(file, 0, Request::Read).expect("no flags");
    let caller: &dyn Caller = &KernelCaller;
    match vfs::read(&mut Kiocb::sync(file, pos, flags, caller), &mut buffer) {
        Ok(Outcome::Done(n)) => buffer.to_vec()[..n].to_vec(),
        other => panic!("direct read: {other:?}"),
    }
}

pub fn truncate(file: &Arc<File>, size: u64) -> Result<()> {
    vfs::ftruncate(file, size, &KernelCaller)
}

pub fn fsync(file: &Arc<File>) -> Result<()> {
    vfs::fsync(file, SyncKind::All)
}

/// A stop at an anchor of the file.
pub fn stop(name: &'static str, file: &Arc<File>) -> base::lab::Stop {
    stop_at(name).id(inode(file).ino).arm()
}

pub const EIO: Errno = Errno::EIO;
