//! Regular files: page frames by index.
//!
//! Reads take the inode lock shared, writes exclusively. Frames are counted, so a copy holds its own reference and the spin lock of the
//! map is never held over a copy.
use super::Space;
use crate::caller::Caller;
use crate::io::{IoSink, IoSource};
use crate::kiocb::{IoFlags, Kiocb, Outcome};
use crate::vfs::{
    FallocMode, File, FileOps, FreezeGuard, FreezeLevel, Inode, MemoryFrames, SyncKind, Timespec,
    needs_privilege_removal, remove_privileges,
};
use alloc::collections::BTreeMap;
use base::sync::{Arc, SpinLock};
use base::{Errno, PAGE_SIZE, Page, Result};
use core::ops::Range;

const PAGE: u64 = PAGE_SIZE as u64;
const SECTORS_PER_PAGE: u64 = PAGE / 512;

/// The data of one file, and the operations of its open files.
pub(super) struct Contents {
    space: Arc<Space>,
    pages: SpinLock<BTreeMap<u64, Page>>,
}

fn inode_of(file: &File) -> Result<&Arc<Inode>> {
    file.inode.as_ref().ok_or(Errno::EINVAL)
}

impl Contents {
    pub(super) fn new(space: Arc<Space>) -> Self {
        Contents { space, pages: SpinLock::new(BTreeMap::new()) }
    }
    fn page(&self, index: u64) -> Option<Page> {
        self.pages.lock().get(&index).cloned()
    }
    /// The frame at `index`, made of zeros if there is none. Errors: `ENOSPC`, `ENOMEM`.
    fn page_or_new(&self, index: u64) -> Result<Page> {
        if let Some(page) = self.page(index) {
            return Ok(page);
        }
        if !self.space.pages.take() {
            return Err(Errno::ENOSPC);
        }
        let page = base::memory::alloc_user_page().inspect_err(|_| self.space.pages.give_back(1))?;
        let mut pages = self.pages.lock();
        let there = pages.entry(index).or_insert_with(|| page.clone()).clone();
        drop(pages);
        if there.phys() != page.phys() {
            // A fault of another task was first: faults hold no inode lock.
            self.space.pages.give_back(1);
        }
        Ok(there)
    }
    /// Sets the size (TRC-1). A tmpfs file has no I/O in flight, so there is nothing to drain.
    pub(super) fn truncate(&self, inode: &Inode, size: u64) -> Result<()> {
        let _exclusive = inode.lock.write();
        inode.set_size(size);
        let first = size.div_ceil(PAGE);
        let cut = self.pages.lock().split_off(&first);
        inode.mapping.truncate_range(first.saturating_mul(PAGE)..u64::MAX);
        self.space.pages.give_back(cut.len() as u64);
        drop(cut);
        let tail = (size % PAGE) as usize;
        if tail != 0
            && let Some(page) = self.page(size / PAGE)
        {
            page.zero(tail, PAGE_SIZE - tail);
        }
        self.changed(inode);
        Ok(())
    }
    /// Makes a frame for each page of a range that has none. Errors: `ENOSPC`, `ENOMEM`; what was made stays.
    fn allocate(&self, range: Range<u64>) -> Result<()> {
        (range.start / PAGE..range.end.div_ceil(PAGE)).try_for_each(|index| self.page_or_new(index).map(drop))
    }
    /// Makes a range read as zeros and gives the frames back that lie wholly in it (TRC-6).
    fn punch(&self, inode: &Inode, range: Range<u64>) -> Result<()> {
        let (first, last) = (range.start.div_ceil(PAGE), range.end / PAGE);
        let head = range.start..range.end.min(first * PAGE);
        let tail = range.start.max(last * PAGE)..range.end;
        for part in [head, tail] {
            if let Some(page) = self.page(part.start / PAGE).filter(|_| !part.is_empty()) {
                page.zero((part.start % PAGE) as usize, (part.end - part.start) as usize);
            }
        }
        let mut gone = BTreeMap::new();
        if first < last {
            let mut pages = self.pages.lock();
            gone = pages.split_off(&first);
            pages.append(&mut gone.split_off(&last));
            drop(pages);
            inode.mapping.truncate_range(first * PAGE..last * PAGE);
        }
        self.space.pages.give_back(gone.len() as u64);
        Ok(())
    }
    /// Takes back the frame at `index`, made without the inode lock, if a truncate has passed meanwhile.
    fn drop_past_end(&self, inode: &Inode, index: u64) {
        let mut pages = self.pages.lock();
        if index * PAGE >= inode.size() && pages.remove(&index).is_some() {
            self.space.pages.give_back(1);
        }
    }
    fn changed(&self, inode: &Inode) {
        let now = Timespec::now();
        let blocks = self.pages.lock().len() as u64 * SECTORS_PER_PAGE;
        inode.update_attr(|a| {
            a.mtime = now;
            a.ctime = now;
            a.blocks_512 = blocks;
        });
    }
    /// Copies until the source is empty, the `limit` is reached or something fails after at least one byte (ERR-1).
    fn copy_in(&self, inode: &Inode, pos: u64, limit: u64, source: &mut dyn IoSource) -> Result<usize> {
        let mut at = pos;
        while source.remaining() > 0 && at < limit {
            let within = (at % PAGE) as usize;
            let want = source.remaining().min(PAGE_SIZE - within).min((limit - at) as usize);
            let step = self.page_or_new(at / PAGE).and_then(|page| match source.copy_to_page(&page, within, want) {
                0 if source.fault_in(want) == 0 => Err(Errno::EFAULT),
                copied => Ok(copied),
            });
            match step {
                Ok(copied) => at += copied as u64,
                Err(error) if at == pos => return Err(error),
                Err(_) => break,
            }
            if at > inode.size() {
                inode.set_size(at);
            }
        }
        Ok((at - pos) as usize)
    }
}

impl MemoryFrames for Contents {
    fn with_frame(&self, inode: &Inode, index: u64, map: &mut dyn FnMut(&Page) -> Result<()>) -> Result<bool> {
        loop {
            {
                let pages = self.pages.lock();
                // Under the lock: a truncate sets the size first, then takes frames away under it.
                if index.checked_mul(PAGE).is_none_or(|pos| pos >= inode.size()) {
                    return Ok(false);
                }
                if let Some(page) = pages.get(&index) {
                    return map(page).map(|()| true);
                }
            }
            self.page_or_new(index)?;
            self.drop_past_end(inode, index);
        }
    }
    fn count(&self) -> u64 {
        self.pages.lock().len() as u64
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.space.pages.give_back(self.pages.get_mut().len() as u64);
    }
}

impl FileOps for Contents {
    fn read(&self, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
        let inode = inode_of(kiocb.file)?;
        let _shared = inode.lock.read();
        let end = inode.size();
        let mut at = kiocb.pos;
        while sink.remaining() > 0 && at < end {
            let within = (at % PAGE) as usize;
            let want = sink.remaining().min(PAGE_SIZE - within).min((end - at) as usize);
            let copied = match self.page(at / PAGE) {
                Some(page) => sink.copy_from_page(&page, within, want),
                None => sink.zero(want),
            };
            if copied == 0 && sink.fault_in(want) == 0 {
                if at == kiocb.pos {
                    return Err(Errno::EFAULT);
                }
                break;
            }
            at += copied as u64;
        }
        Ok(Outcome::Done((at.saturating_sub(kiocb.pos)) as usize))
    }
    fn write(&self, kiocb: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<Outcome> {
        let inode = inode_of(kiocb.file)?;
        let _freeze = FreezeGuard::enter(&inode.sb, FreezeLevel::Write);
        let _exclusive = inode.lock.write();
        if kiocb.flags.contains(IoFlags::APPEND) {
            kiocb.pos = inode.size();
        }
        let limit = kiocb.caller.file_size_limit();
        if kiocb.pos >= limit {
            kiocb.caller.file_size_exceeded();
            return Err(Errno::EFBIG);
        }
        if inode.with_attr(|a| a.immutable) {
            return Err(Errno::EPERM);
        }
        if needs_privilege_removal(inode, kiocb.caller) {
            remove_privileges(inode)?;
        }
        let written = self.copy_in(inode, kiocb.pos, limit.min(i64::MAX as u64), source);
        self.changed(inode);
        written.map(Outcome::Done)
    }
    fn fsync(&self, _file: &File, _kind: SyncKind) -> Result<()> {
        Ok(())
    }
    /// Allocation and punch hole; a frame of zeros costs what any other does, so there is nothing to gain by zero range. Errors: `ENOSPC`,
    /// `ENOMEM`; `EOPNOTSUPP` for other modes.
    fn fallocate(&self, file: &File, mode: FallocMode, pos: u64, len: u64, caller: &dyn Caller) -> Result<()> {
        let inode = inode_of(file)?;
        let _freeze = FreezeGuard::enter(&inode.sb, FreezeLevel::Write);
        let _exclusive = inode.lock.write();
        let end = pos.checked_add(len).ok_or(Errno::EFBIG)?;
        if needs_privilege_removal(inode, caller) {
            remove_privileges(inode)?;
        }
        let done = match mode {
            FallocMode::Allocate { .. } => self.allocate(pos..end),
            FallocMode::PunchHole => self.punch(inode, pos..end),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        if done.is_ok() {
            inode.set_size(mode.new_size(inode.size(), pos, len));
        }
        self.changed(inode);
        done
    }
    fn seek_extent(&self, file: &File, from: u64, data: bool) -> Result<u64> {
        let size = inode_of(file)?.size();
        let pages = self.pages.lock();
        let mut index = from / PAGE;
        if data {
            let found = pages.range(index..).next().map(|(&i, _)| (i * PAGE).max(from));
            return found.filter(|&at| at < size).ok_or(Errno::ENXIO);
        }
        while pages.contains_key(&index) {
            index += 1;
        }
        Ok((index * PAGE).max(from).min(size))
    }
}
