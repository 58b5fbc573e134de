//! Plays the steps of a workload on a file system that this process has mounted, and marks in the disk's record when each began and what
//! it returned.
use super::disk::CutDisk;
use super::op::{FileId, How, Op, bytes_at};
use super::record::Mark;
use crate::oracle::store;
use base::block::BlockDevice;
use base::sync::WaitQueue;
use base::workqueue::WorkQueue;
use base::{Errno, Result};
use fs::caller::KernelCaller;
use fs::ext4::{self, Ext4Fs, MountOptions};
use fs::io::{PageBuffer, SliceSource};
use fs::iomap::flush_cache;
use fs::kiocb::{Completion, Kiocb, KiocbComplete, Outcome};
use fs::page_cache::{CacheLimits, PageCache};
use fs::vfs::{self, FallocMode, File, OpenFlags, Request, Site, SuperBlock, SyncKind, Vfs};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A mounted file system with its names.
pub struct Mounted {
    /// The page cache.
    pub cache: Arc<PageCache>,
    /// The super block.
    pub sb: Arc<SuperBlock>,
    /// The names.
    pub vfs: Arc<Vfs>,
}

impl Mounted {
    /// Mounts the disk. Errors: those of the mount.
    pub fn new(disk: &Arc<CutDisk>) -> Result<Mounted> {
        let cache = PageCache::new(CacheLimits::for_pages(8192));
        let device: Arc<dyn BlockDevice> = disk.clone();
        let options = MountOptions { page_cache: Some(cache.clone()), ..MountOptions::default() };
        let sb = ext4::mount(device, 1, options)?;
        let root = ext4::iget(&sb, ext4::ROOT_INO)?;
        let vfs = Vfs::new(root, b"/dev/cut", Some(WorkQueue::new("release", 1)?))?;
        Ok(Mounted { cache, sb, vfs })
    }

    /// Opens a path. Errors: as open(2).
    pub fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<File>> {
        let root = self.vfs.root();
        self.vfs.open(Site { cwd: &root, caller: &KernelCaller }, path.as_bytes(), flags, 0o644)
    }

    /// The end, which every state must be able to come to.
    pub fn unmount(&self) -> Result<()> {
        self.vfs.unmount_all()
    }
}

/// Who plays steps. Threads share it.
pub trait Actor: Sync {
    /// Plays one step to its end, but for asynchronous writes, which end later. A step may fail: a full disk is a part of the play.
    fn play(&self, op: &Op) -> Result<usize>;
    /// Notes in the record that the scenery stands.
    fn ready(&self);
    /// Free blocks of the file system.
    fn free_blocks(&self) -> u64;
}

/// The actor of this process.
pub struct Player {
    disk: Arc<CutDisk>,
    mounted: Mounted,
    shared: Mutex<Shared>,
    settled: WaitQueue,
}

#[derive(Default)]
struct Shared {
    history: Vec<Op>,
    files: BTreeMap<FileId, Arc<File>>,
    direct: BTreeMap<FileId, Arc<File>>,
    in_flight: usize,
}

impl Player {
    /// On a disk that it mounts. Errors: those of the mount.
    pub fn new(disk: Arc<CutDisk>) -> Result<Arc<Player>> {
        let mounted = Mounted::new(&disk)?;
        Ok(Arc::new(Player { disk, mounted, shared: Mutex::default(), settled: WaitQueue::new() }))
    }

    /// What was done, by number of the step.
    pub fn history(&self) -> Vec<Op> {
        self.lock().history.clone()
    }

    fn act(&self, step: usize, op: &Op) -> Result<usize> {
        let (root, mounted) = (self.mounted.vfs.root(), &self.mounted);
        let site = Site { cwd: &root, caller: &KernelCaller };
        match op {
            Op::Create { path, file } => {
                let open = mounted.open(path, OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::RDWR)?;
                self.lock().files.insert(*file, open);
            }
            Op::Mkdir { path } => mounted.vfs.mkdir(site, path.as_bytes(), 0o755)?,
            Op::Unlink { path } => mounted.vfs.unlink(site, path.as_bytes())?,
            Op::Rmdir { path } => mounted.vfs.rmdir(site, path.as_bytes())?,
            Op::Rename { from, to } => mounted.vfs.rename(site, from.as_bytes(), site, to.as_bytes(), false)?,
            Op::Link { file, to } => {
                let inode = self.file(*file)?.inode.clone().ok_or(Errno::EBADF)?;
                mounted.vfs.link(&inode, site, to.as_bytes())?;
            }
            Op::Write { file, pos, len, how: How::Direct } => return self.direct(step, *file, *pos, *len),
            Op::Write { file, pos, len, how: How::Mapped } => {
                let inode = self.file(*file)?.inode.clone().ok_or(Errno::EBADF)?;
                return store(&inode, *pos, &bytes_at(step, *pos, *len)).map(|()| *len as usize);
            }
            Op::Write { file, pos, len, how } => {
                let bytes = bytes_at(step, *pos, *len);
                let file = self.file(*file)?;
                return vfs::write_at(&file, *pos, how.rwf(), &mut SliceSource::new(&bytes), &KernelCaller);
            }
            Op::Truncate { file, size } => vfs::ftruncate(&*self.file(*file)?, *size, &KernelCaller)?,
            Op::Range { file, range, pos, len } => {
                let mode = FallocMode::from_bits(range.bits())?;
                vfs::fallocate(&*self.file(*file)?, mode, *pos, *len, &KernelCaller)?;
            }
            Op::Fsync { file, data_only } => {
                let kind = if *data_only { SyncKind::Data } else { SyncKind::All };
                vfs::fsync(&*self.file(*file)?, kind)?;
            }
            Op::SyncDir { path } => {
                let dir = mounted.open(path, OpenFlags::DIRECTORY)?;
                vfs::fsync(&dir, SyncKind::All)?;
            }
            Op::Sync => mounted.sb.ops().sync()?,
            Op::Unmount => self.end()?,
            Op::Close { file } => {
                let mut shared = self.lock();
                let gone = (shared.files.remove(file), shared.direct.remove(file));
                drop(shared);
                drop(gone);
            }
            Op::Flush => flush_cache(&mounted.cache),
            Op::Commit => Ext4Fs::of(&mounted.sb).commit_all()?,
            Op::Settle => self.settle(),
        }
        Ok(0)
    }

    fn file(&self, file: FileId) -> Result<Arc<File>> {
        self.lock().files.get(&file).cloned().ok_or(Errno::EBADF)
    }

    fn direct(&self, step: usize, file: FileId, pos: u64, len: u64) -> Result<usize> {
        let known = self.lock().direct.get(&file).cloned();
        let open = match known {
            Some(open) => open,
            None => {
                let inode = self.file(file)?.inode.clone().ok_or(Errno::EBADF)?;
                let flags = OpenFlags::RDWR | OpenFlags::DIRECT;
                let open = self.mounted.vfs.open_inode(inode, flags, false, &KernelCaller)?;
                self.lock().direct.insert(file, open.clone());
                open
            }
        };
        let mut source = PageBuffer::from_bytes(&bytes_at(step, pos, len))?;
        vfs::write_at(&open, pos, 0, &mut source, &KernelCaller)
    }

    fn aio(self: &Arc<Self>, step: usize, file: FileId, pos: u64, len: u64, how: How) -> Result<usize> {
        let bytes = bytes_at(step, pos, len);
        let file = self.file(file)?;
        let flags = vfs::request_flags(&file, how.rwf(), Request::Write)?;
        let event = Arc::new(Event { player: self.clone(), step });
        self.lock().in_flight += 1;
        let mut kiocb = Kiocb::aio(&file, pos, flags, &KernelCaller, Completion::new(event.clone()));
        let result = vfs::write(&mut kiocb, &mut SliceSource::new(&bytes));
        self.disk.mark(step, Mark::Accepted);
        match kiocb.into_result(result) {
            Ok(Outcome::Queued) => Ok(0),
            Ok(Outcome::Done(n)) => {
                event.complete(Ok(n));
                Ok(n)
            }
            Err(error) => {
                event.complete(Err(error));
                Err(error)
            }
        }
    }

    fn settle(&self) {
        self.settled.wait_until(|| self.lock().in_flight == 0);
    }

    /// Everything is let go, and the file system unmounted.
    fn end(&self) -> Result<()> {
        self.settle();
        let files = {
            let mut shared = self.lock();
            let files = std::mem::take(&mut shared.files);
            files.into_values().chain(std::mem::take(&mut shared.direct).into_values()).collect::<Vec<_>>()
        };
        // A finished request hands its file over just after its event.
        for file in &files {
            while Arc::strong_count(file) > 1 {
                base::sched::yield_now();
            }
        }
        drop(files);
        self.mounted.unmount()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Actor for Arc<Player> {
    fn play(&self, op: &Op) -> Result<usize> {
        let step = {
            let mut shared = self.lock();
            shared.history.push(op.clone());
            shared.history.len() - 1
        };
        self.disk.mark(step, Mark::Began);
        let result = match op {
            Op::Write { file, pos, len, how } if how.is_aio() => return self.aio(step, *file, *pos, *len, *how),
            _ => self.act(step, op),
        };
        self.disk.mark(step, Mark::Returned(result));
        result
    }

    fn ready(&self) {
        self.disk.ready();
    }

    fn free_blocks(&self) -> u64 {
        self.mounted.sb.ops().statfs().blocks_available
    }
}

/// The event of an asynchronous write.
struct Event {
    player: Arc<Player>,
    step: usize,
}

impl KiocbComplete for Event {
    fn complete(&self, result: Result<usize>) {
        self.player.disk.mark(self.step, Mark::Returned(result));
        self.player.lock().in_flight -= 1;
        self.player.settled.wake_all();
    }
}
