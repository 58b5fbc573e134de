//! The random-operations oracle of `user` on the host build: each program gets a fresh file system in memory, which is unmounted and
//! checked by `e2fsck` afterwards. A program that fails is made small and kept in `target/oracle`.
use crate::powercut::fsck::Fsck;
use crate::powercut::image::{self, Shape};
use crate::powercut::store::Store;
use anyhow::{Context, Result, anyhow};
use base::block::{BlockDevice, RamDisk};
use base::sync::{SpinLock, WaitQueue};
use base::workqueue::WorkQueue;
use base::{Errno, PAGE_SIZE};
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions};
use fs::io::{PageBuffer, SliceSink, SliceSource};
use fs::iomap::{FolioLookup, prepare_store};
use fs::kiocb::{Completion, Kiocb, KiocbComplete, Outcome};
use fs::page_cache::{CacheLimits, PageCache};
use fs::vfs::{self, FallocMode, File, Inode, OpenFlags, Request, Site, SyncKind, Vfs};
use std::path::PathBuf;
use std::sync::Arc;
use user::oracle::{self, Aio, Look, Program, Range, System, Way, all};

/// Plays a program on a fresh file system of blocks of its size; the number of operations. Errors: what was not as the model says, in
/// words, or what `e2fsck` found.
pub fn play(program: &Program, fsck: &mut Fsck) -> Result<usize> {
    let shape = Shape { block_size: program.shape.block as u32, mib: 16, journal: true };
    let contents = image::fresh(shape)?.to_vec();
    let disk = RamDisk::builder(contents.len() as u64 / 512).contents(contents).build();
    let disk = disk.map_err(|error| anyhow!("no disk: {error}"))?;
    let stage = Stage::new(&disk, program.shape.files).map_err(|error| anyhow!("the mount fails: {error}"))?;
    let played = oracle::play(program, &stage).map_err(|why| anyhow!(why));
    let ended = stage.end().map_err(|error| anyhow!("the unmount fails: {error}"));
    let ops = played.and_then(|ops| ended.map(|()| ops))?;
    fsck.check(&Store::new(Arc::new(disk.image())))?.map_err(|why| anyhow!(why))?;
    Ok(ops)
}

/// Plays programs of about `ops` operations in all from `seed` on; `told` hears of each. Errors: the failure of the first program that
/// fails, small, and where it is kept.
pub fn run(seed: u64, ops: usize, told: &mut dyn FnMut(usize)) -> Result<usize> {
    let mut fsck = Fsck::new()?;
    let mut done = 0;
    for number in 0.. {
        if done >= ops {
            break;
        }
        let block = [4096, 1024, 2048][number as usize % 3];
        let program = Program::new(seed.wrapping_add(number), block, 400);
        match play(&program, &mut fsck) {
            Ok(steps) => done += steps,
            Err(why) => return Err(keep(&program, &why, &mut fsck)?),
        }
        told(done);
    }
    Ok(done)
}

/// Makes a failing program small and keeps it.
fn keep(program: &Program, why: &anyhow::Error, fsck: &mut Fsck) -> Result<anyhow::Error> {
    let mut last = format!("{why:#}");
    let small = oracle::shrink(program, 600, &mut |program| match play(program, fsck) {
        Ok(_) => false,
        Err(why) => {
            last = format!("{why:#}");
            true
        }
    });
    let folder = xtask::build::target().join("oracle");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("failure.ops");
    std::fs::write(&path, format!("# {last}\n{small}"))?;
    Ok(anyhow!("{last}\n{} operations are left of {}, kept in {}", small.steps(), program.steps(), path.display()))
}

/// Plays the programs that were kept because they have failed once: `tests/programs`.
pub fn play_kept() -> Result<usize> {
    let folder: PathBuf = xtask::build::root().join("tests/programs");
    let mut fsck = Fsck::new()?;
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let program =
            std::fs::read_to_string(&path)?.parse::<Program>().map_err(|why| anyhow!("{}: {why}", path.display()))?;
        play(&program, &mut fsck).with_context(|| path.display().to_string())?;
        count += 1;
    }
    Ok(count)
}

/// A mounted file system with its files open, once through the cache and once around it.
struct Stage {
    cache: Arc<PageCache>,
    vfs: Arc<Vfs>,
    files: Vec<[Arc<File>; 2]>,
}

impl Stage {
    fn new(disk: &Arc<RamDisk>, files: usize) -> base::Result<Stage> {
        // Smaller than what the files hold together, so that folios come and go.
        let cache = PageCache::new(CacheLimits::for_pages(64));
        let device: Arc<dyn BlockDevice> = disk.clone();
        let sb = ext4::mount(device, 1, MountOptions { page_cache: Some(cache.clone()), ..MountOptions::default() })?;
        let vfs = Vfs::new(ext4::iget(&sb, ext4::ROOT_INO)?, b"/dev/ram", Some(WorkQueue::new("release", 1)?))?;
        let root = vfs.root();
        let site = Site { cwd: &root, caller: &KernelCaller };
        let open = |n: usize, flags| vfs.open(site, format!("f{n}").as_bytes(), OpenFlags::RDWR | flags, 0o644);
        let both = |n| Ok([open(n, OpenFlags::CREAT)?, open(n, OpenFlags::DIRECT)?]);
        let files = (0..files).map(both).collect::<base::Result<_>>()?;
        Ok(Stage { cache, vfs, files })
    }

    fn end(self) -> base::Result<()> {
        for file in self.files.iter().flatten() {
            // A finished request hands its file over just after its event.
            while Arc::strong_count(file) > 1 {
                base::sched::yield_now();
            }
        }
        drop(self.files);
        self.vfs.unmount_all()
    }

    fn cached(&self, file: usize) -> &Arc<File> {
        &self.files[file][0]
    }
    fn direct(&self, file: usize) -> &Arc<File> {
        &self.files[file][1]
    }
}

fn words(error: Errno) -> String {
    error.to_string()
}

/// What faults of a shared mapping do, page after page, with the bytes put into the folio in the place of the program's stores. Errors:
/// `EINVAL` for what the file has not; those of a fault.
pub fn store(inode: &Arc<Inode>, pos: u64, bytes: &[u8]) -> base::Result<()> {
    if inode.size() < pos + bytes.len() as u64 {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    while done < bytes.len() {
        let at = pos + done as u64;
        let offset = (at % PAGE_SIZE as u64) as usize;
        let piece = &bytes[done..bytes.len().min(done + PAGE_SIZE - offset)];
        let permit = prepare_store(inode, at / PAGE_SIZE as u64)?.ok_or(Errno::EINVAL)?;
        match permit.apply(|folio| folio.page().write_from(offset, piece)) {
            FolioLookup::Valid(()) => done += piece.len(),
            FolioLookup::Missing => {}
            FolioLookup::PastEnd => return Err(Errno::EINVAL),
        }
    }
    fs::iomap::balance_dirty(inode);
    Ok(())
}

impl System for Stage {
    fn write(&self, file: usize, pos: u64, bytes: &[u8], way: Way) -> Result<(), String> {
        if way == Way::Mapped {
            if self.size(file)? < pos + bytes.len() as u64 {
                self.range(file, Range::Allocate, pos, bytes.len() as u64)?;
            }
            let inode = self.cached(file).inode.as_ref().ok_or("no inode")?;
            return store(inode, pos, bytes).map_err(words);
        }
        let written = if way == Way::Direct {
            PageBuffer::from_bytes(bytes)
                .and_then(|mut from| vfs::write_at(self.direct(file), pos, 0, &mut from, &KernelCaller))
        } else {
            vfs::write_at(self.cached(file), pos, way.rwf(), &mut SliceSource::new(bytes), &KernelCaller)
        };
        written.map_err(words).and_then(all(bytes.len()))
    }

    fn append(&self, file: usize, _size: u64, bytes: &[u8], way: Way) -> Result<(), String> {
        const APPEND: u32 = 0x10;
        let source = &mut SliceSource::new(bytes);
        let written = vfs::write_at(self.cached(file), 0, way.rwf() | APPEND, source, &KernelCaller);
        written.map_err(words).and_then(all(bytes.len()))
    }

    fn aio(&self, file: usize, pos: u64, pieces: &[Vec<u8>], how: Aio) -> Result<Vec<usize>, String> {
        let file = self.cached(file);
        let flags = vfs::request_flags(file, how.rwf(), Request::AioWrite).map_err(words)?;
        let events: Vec<_> = pieces.iter().map(|_| Arc::new(Event::default())).collect();
        let mut at = pos;
        for (piece, event) in pieces.iter().zip(&events) {
            let mut kiocb = Kiocb::aio(file, at, flags, &KernelCaller, Completion::new(event.clone()));
            let result = vfs::write(&mut kiocb, &mut SliceSource::new(piece));
            match kiocb.into_result(result) {
                Ok(Outcome::Queued) => {}
                Ok(Outcome::Done(n)) => event.complete(Ok(n)),
                Err(error) => event.complete(Err(error)),
            }
            at += piece.len() as u64;
        }
        let count = |event: &Arc<Event>| match event.wait() {
            Err(Errno::EAGAIN) if how == Aio::Nowait => Ok(0),
            result => result.map_err(words),
        };
        // All of them are waited for, whatever one of them says.
        events.iter().map(count).collect::<Vec<_>>().into_iter().collect()
    }

    fn read(&self, file: usize, pos: u64, len: usize, look: Look) -> Result<Vec<u8>, String> {
        if look == Look::Direct {
            let mut buffer = PageBuffer::new(0, len).map_err(words)?;
            let n = vfs::read_at(self.direct(file), pos, 0, &mut buffer, &KernelCaller).map_err(words)?;
            return Ok(buffer.to_vec()[..n].to_vec());
        }
        let mut bytes = vec![0xee; len];
        let n =
            vfs::read_at(self.cached(file), pos, 0, &mut SliceSink::new(&mut bytes), &KernelCaller).map_err(words)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    fn truncate(&self, file: usize, size: u64) -> Result<(), String> {
        vfs::ftruncate(self.cached(file), size, &KernelCaller).map_err(words)
    }

    fn range(&self, file: usize, range: Range, pos: u64, len: u64) -> Result<(), String> {
        let mode = FallocMode::from_bits(range.bits()).map_err(words)?;
        vfs::fallocate(self.cached(file), mode, pos, len, &KernelCaller).map_err(words)
    }

    fn fsync(&self, file: usize, data_only: bool) -> Result<(), String> {
        vfs::fsync(self.cached(file), if data_only { SyncKind::Data } else { SyncKind::All }).map_err(words)
    }

    fn drop_cache(&self, _file: usize) -> Result<(), String> {
        self.cache.drop_caches();
        Ok(())
    }

    fn size(&self, file: usize) -> Result<u64, String> {
        let inode = self.cached(file).inode.as_ref().ok_or("no inode")?;
        Ok(vfs::stat(inode).size)
    }
}

/// The event of a write.
struct Event {
    result: SpinLock<Option<base::Result<usize>>>,
    posted: WaitQueue,
}

impl Default for Event {
    fn default() -> Event {
        Event { result: SpinLock::new(None), posted: WaitQueue::new() }
    }
}

impl Event {
    fn wait(&self) -> base::Result<usize> {
        self.posted.wait_until(|| self.result.lock().is_some());
        self.result.lock().unwrap_or(Err(Errno::EIO))
    }
}

impl KiocbComplete for Event {
    fn complete(&self, result: base::Result<usize>) {
        *self.result.lock() = Some(result);
        self.posted.wake_all();
    }
}
