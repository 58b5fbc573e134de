//! One open file of a [`MemFs`], with calls for tests.
use super::MemFs;
use super::mem_fs::Private;
use crate::caller::KernelCaller;
use crate::io::{SliceSink, SliceSource};
use crate::iomap::{IomapOps, balance_dirty, buffered_read, buffered_write, write_and_wait, zero_gap, zero_tail};
use crate::kiocb::{IoFlags, Kiocb};
use crate::page_cache::{CacheLimits, PageCache};
use crate::vfs::{Attr, File, FileOps, FileType, Inode, OpenFlags, SuperBlock, SyncKind, Timespec};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use base::block::{BlockDevice, RamDisk, SECTOR_SIZE};
use base::sync::Arc;
use base::{PAGE_SIZE, Result};

/// A file in memory over a fake disk.
pub struct MemFile {
    /// The disk behind whatever device the file system was given.
    pub disk: Arc<RamDisk>,
    /// Extents and sizes.
    pub fs: Arc<MemFs>,
    /// The inode, number 1.
    pub inode: Arc<Inode>,
    /// The open file, for kiocbs.
    pub file: Arc<File>,
}

struct NoOps;
impl FileOps for NoOps {}

impl MemFile {
    /// An empty file in blocks of `block_size` bytes on a disk of 16 MiB, in a cache of `pages` pages.
    pub fn new(block_size: u32, pages: usize) -> MemFile {
        let disk = RamDisk::new(32 * 1024);
        MemFile::on(disk.clone(), disk, block_size, pages)
    }

    /// As [`MemFile::new`] on `device`, which stands in front of `disk`.
    pub fn on(disk: Arc<RamDisk>, device: Arc<dyn BlockDevice>, block_size: u32, pages: usize) -> MemFile {
        let cache = PageCache::new(CacheLimits::for_pages(pages));
        let fs = MemFs::new(device, block_size, cache);
        let sb = SuperBlock::new(1, Box::new(Private(fs.clone())));
        let inode = Inode::new(
            sb,
            1,
            FileType::Regular,
            Attr::new(0o644, Timespec::default()),
            0,
            Box::new(Private(fs.clone())),
        );
        inode.sb.inodes().insert_new(&inode);
        let file = File::new(Some(inode.clone()), OpenFlags::RDWR, Arc::new(NoOps));
        MemFile { disk, fs, inode, file }
    }

    /// Writes through the cache, dirty.
    pub fn write(&self, pos: u64, bytes: &[u8]) -> Result<usize> {
        let mut kiocb = Kiocb::sync(&self.file, pos, IoFlags::empty(), &KernelCaller);
        let lock = self.inode.lock.write();
        let written = buffered_write(&self.inode, &mut kiocb, &mut SliceSource::new(bytes));
        drop(lock);
        balance_dirty(&self.inode);
        written
    }

    /// Reads through the cache.
    pub fn read(&self, pos: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0xee; len];
        let mut kiocb = Kiocb::sync(&self.file, pos, IoFlags::empty(), &KernelCaller);
        let n = buffered_read(&self.inode, &mut kiocb, &mut SliceSink::new(&mut bytes))?;
        bytes.truncate(n);
        Ok(bytes)
    }

    /// fsync.
    pub fn fsync(&self) -> Result<()> {
        write_and_wait(&self.inode, 0..u64::MAX)?;
        self.fs.commit(&self.inode, SyncKind::All)?;
        self.file.report_error()
    }

    /// Sets the size, in the order of TRC-1.
    pub fn truncate(&self, size: u64) -> Result<()> {
        let inode = &self.inode;
        let _lock = inode.lock.write();
        inode.drain.drain();
        let _invalidate = inode.mapping.invalidate.write();
        zero_gap(inode, &*self.fs, size)?;
        let shrinks = size < inode.size();
        inode.set_size(size);
        if shrinks {
            zero_tail(inode, &*self.fs, size)?;
            inode.mapping.truncate_range(size..u64::MAX);
            self.fs.free_range(size, u64::MAX);
        }
        self.fs.set_disk_size(size.min(self.fs.disk_size().max(size)));
        Ok(())
    }

    /// Drops everything clean from the cache, after letting the workers come to rest.
    pub fn drop_caches(&self) -> usize {
        self.fs.settle();
        self.inode.sb.page_cache.drop_caches()
    }

    /// What the disk holds for `[pos, pos + len)`, as the extents say, past the cache: what a direct read would find.
    pub fn on_disk(&self, pos: u64, len: usize) -> Vec<u8> {
        let bs = u64::from(self.fs.block_size());
        let (mut bytes, end) = (Vec::with_capacity(len), pos + len as u64);
        let mut at = pos;
        while at < end {
            let stop = end.min((at / bs + 1) * bs);
            match self.fs.block_at(at).filter(|block| block.written) {
                Some(block) => bytes.extend(self.disk.peek(block.physical * bs + at % bs, (stop - at) as usize)),
                None => bytes.resize(bytes.len() + (stop - at) as usize, 0),
            }
            at = stop;
        }
        bytes
    }

    /// Fills the whole disk with `byte`: the remains of deleted files.
    pub fn fill_disk(&self, byte: u8) {
        let sectors = self.disk.limits().capacity_sectors;
        let page = vec![byte; PAGE_SIZE];
        for offset in (0..sectors * SECTOR_SIZE).step_by(PAGE_SIZE) {
            self.disk.poke(offset, &page);
        }
    }
}
