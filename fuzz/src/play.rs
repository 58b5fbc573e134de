//! A mounted image and the calls that the targets make. Each gives what the file system answers; most callers don't care.
use super::disk::Overlay;
use base::Result;
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions};
use fs::io::{SliceSink, SliceSource};
use fs::vfs::{self, FallocMode, File, Inode, OpenFlags, Site, SuperBlock, Vfs, Whence};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More entries than any of the images holds.
const MOST_ENTRIES: usize = 20_000;

/// A mounted image.
pub struct Play {
    pub sb: Arc<SuperBlock>,
    vfs: Arc<Vfs>,
    root: Arc<Inode>,
}

impl Play {
    /// Mounts `disk`.
    pub fn mount(disk: Arc<Overlay>, read_only: bool) -> Result<Play> {
        let sb = ext4::mount(disk, 1, MountOptions { read_only, ..MountOptions::default() })?;
        let root = ext4::iget(&sb, ext4::ROOT_INO)?;
        let vfs = Vfs::new(root.clone(), b"/dev/overlay", None)?;
        Ok(Play { sb, vfs, root })
    }
    /// Unmounts it. Nothing may keep it in memory after that.
    pub fn unmount(self) -> Result<()> {
        let Play { sb, vfs, root } = self;
        drop(root);
        let result = vfs.unmount_all();
        let left = Arc::downgrade(&sb);
        drop((vfs, sb));
        // A worker may hold it for a moment after its last work.
        let deadline = Instant::now() + Duration::from_secs(5);
        while left.strong_count() > 0 {
            assert!(Instant::now() < deadline, "a super block that nobody lets go of");
            std::thread::yield_now();
        }
        result
    }

    fn site(&self) -> Site<'_> {
        Site { cwd: &self.root, caller: &KernelCaller }
    }

    pub fn lookup(&self, path: &str) -> Result<Arc<Inode>> {
        self.vfs.lookup(self.site(), path.as_bytes(), false)
    }
    pub fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<File>> {
        self.vfs.open(self.site(), path.as_bytes(), flags | OpenFlags::RDWR, 0o644)
    }
    pub fn create(&self, path: &str) -> Result<Arc<File>> {
        self.open(path, OpenFlags::CREAT)
    }
    pub fn mkdir(&self, path: &str) -> Result<()> {
        self.vfs.mkdir(self.site(), path.as_bytes(), 0o755)
    }
    pub fn rmdir(&self, path: &str) -> Result<()> {
        self.vfs.rmdir(self.site(), path.as_bytes())
    }
    pub fn unlink(&self, path: &str) -> Result<()> {
        self.vfs.unlink(self.site(), path.as_bytes())
    }
    pub fn link(&self, inode: &Arc<Inode>, path: &str) -> Result<()> {
        self.vfs.link(inode, self.site(), path.as_bytes())
    }
    pub fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.vfs.symlink(self.site(), target.as_bytes(), path.as_bytes())
    }
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.vfs.rename(self.site(), from.as_bytes(), self.site(), to.as_bytes(), false)
    }
    pub fn sync(&self) -> Result<()> {
        self.sb.ops().sync()
    }

    /// The entries of a directory without dots, as names and inode numbers.
    pub fn list(&self, path: &str) -> Result<Vec<(String, u64)>> {
        let dir = self.lookup(path)?;
        entries(&dir)
    }
}

/// The entries of a directory without dots. Fails the run if there is no end of them.
pub fn entries(dir: &Arc<Inode>) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut seen = 0;
    let _lock = dir.lock.read();
    dir.ops().readdir(dir, 0, &mut |entry| {
        seen += 1;
        assert!(seen < MOST_ENTRIES, "a directory without end");
        if !matches!(entry.name, b"." | b"..") {
            found.push((String::from_utf8_lossy(entry.name).into_owned(), entry.ino));
        }
        true
    })?;
    Ok(found)
}

/// A buffered write.
pub fn write(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    vfs::write_at(file, pos, 0, &mut SliceSource::new(bytes), &KernelCaller)
}
/// A write-through.
pub fn write_through(file: &Arc<File>, pos: u64, bytes: &[u8]) -> Result<usize> {
    vfs::write_at(file, pos, 0x200, &mut SliceSource::new(bytes), &KernelCaller)
}
pub fn read(file: &Arc<File>, pos: u64, len: usize) -> Result<usize> {
    let mut bytes = vec![0; len];
    vfs::read_at(file, pos, 0, &mut SliceSink::new(&mut bytes), &KernelCaller)
}
pub fn allocate(file: &Arc<File>, pos: u64, len: u64) -> Result<()> {
    vfs::fallocate(file, FallocMode::Allocate { keep_size: false }, pos, len, &KernelCaller)
}
/// Punch, zero, collapse or insert.
pub fn change(file: &Arc<File>, mode: FallocMode, pos: u64, len: u64) -> Result<()> {
    vfs::fallocate(file, mode, pos, len, &KernelCaller)
}
/// All extents, as FIEMAP counts them.
pub fn count_extents(file: &Arc<File>) -> Result<usize> {
    let mut count = 0;
    vfs::report_extents(file, 0, u64::MAX, true, &mut |_| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}
pub fn truncate(file: &Arc<File>, size: u64) -> Result<()> {
    vfs::ftruncate(file, size, &KernelCaller)
}
pub fn fsync(file: &Arc<File>) -> Result<()> {
    vfs::fsync(file, vfs::SyncKind::All)
}

/// Steps from hole to data to hole, `most` times at most; the number of steps.
pub fn seek_over(file: &Arc<File>, most: usize) -> usize {
    let mut at = 0;
    for step in 0..most {
        let whence = if step % 2 == 0 { Whence::Data } else { Whence::Hole };
        match vfs::seek(file, at, whence) {
            Ok(next) if next < i64::MAX as u64 => at = next as i64,
            _ => return step,
        }
    }
    most
}
