//! Buffered reads: from the cache, which is filled on the way.
use super::extents::ops_of;
use super::readahead::{fill_for_read, read_ahead, read_window};
use crate::io::IoSink;
use crate::kiocb::{IoFlags, Kiocb};
use crate::page_cache::Folio;
use crate::vfs::Inode;
use base::sync::Arc;
use base::{Errno, PAGE_SIZE, Result, sched};

const PS: u64 = PAGE_SIZE as u64;

/// Reads through the cache at `kiocb.pos`, at most to the end of the file; returns the bytes read. Task context; sleeps. No locks
/// are held by the caller (a direct read that falls back may hold the inode lock shared).
///
/// A reader never waits for the device I/O of a write-through (STB-6): its bytes are in the cache, copied folio by folio under the folio
/// lock of whoever fills or changes it, and the size is looked at before them (BUF-1). Errors, when nothing was read:
/// `EIO`, `EUCLEAN`, `ENOMEM`, `EFAULT`, `EINTR` (a fatal signal); with `NOWAIT`, which reads what is cached and does not sleep, `EAGAIN`.
pub fn buffered_read(inode: &Inode, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<usize> {
    let start = kiocb.pos;
    let nowait = kiocb.flags.contains(IoFlags::NOWAIT);
    let _no_sleep = nowait.then(sched::NoSleep::begin);
    let mut done = 0;
    let mut faulted_at = None;
    let stopped = loop {
        let pos = start.saturating_add(done as u64);
        let wanted = sink.remaining();
        // The size first, then the folio: whoever sees a new size finds the data below it in the cache (S-8h, R15).
        let size = inode.size();
        if wanted == 0 || pos >= size {
            return Ok(done);
        }
        let offset = (pos % PS) as usize;
        let n = wanted.min(PAGE_SIZE - offset).min((size - pos).min(PS) as usize);
        let folio = match cached(inode, pos / PS, offset, n, !nowait) {
            Some(folio) => folio,
            None if nowait => break Errno::EAGAIN,
            None if kiocb.caller.fatal_signal_pending() => break Errno::EINTR,
            None => match uncached(inode, pos / PS, offset, n, pages(pos, wanted.min((size - pos) as usize))) {
                Ok(Some(folio)) => folio,
                Ok(None) => continue,
                Err(error) => break error,
            },
        };
        let Some(copied) = copy_whole(&folio, sink, offset, n, !nowait) else { break Errno::EAGAIN };
        if copied < n && !nowait && faulted_at != Some(pos) {
            // The rest would be of another moment (BUF-1): all of it anew, once what it goes to is there as far as it can be.
            faulted_at = Some(pos);
            sink.revert(copied);
            if sink.fault_in(n) == 0 {
                break Errno::EFAULT;
            }
            continue;
        }
        // And the size once more: after a truncate the copied bytes may be its zeros, which were never in the file.
        let kept = inode.size().saturating_sub(pos).min(copied as u64) as usize;
        sink.revert(copied - kept);
        done += kept;
        if kept < copied {
            return Ok(done);
        }
        if copied < n && nowait {
            break Errno::EAGAIN;
        }
        if copied < n && sink.fault_in(n - copied) == 0 {
            break Errno::EFAULT;
        }
    };
    if done > 0 { Ok(done) } else { Err(stopped) }
}

/// Copies without faulting, and again while somebody on another CPU was changing the bytes: the folio's are those of one moment
/// (BUF-1), where the caller says that it `may_wait` for that. Its lock is not waited for, since its holder may wait for the device (STB-2).
fn copy_whole(folio: &Folio, sink: &mut dyn IoSink, offset: usize, len: usize, may_wait: bool) -> Option<usize> {
    loop {
        let changes = folio.changes();
        let copied = sink.copy_from_page(folio.page(), offset, len);
        if folio.unchanged_since(changes) {
            return Some(copied);
        }
        base::anchor!("read.torn", folio.index());
        sink.revert(copied);
        if !may_wait {
            return None;
        }
        base::sched::yield_now();
    }
}

/// The fast path: the folio, if the bytes are valid. At a mark the next window is read ahead, which may sleep, where the caller says that it
/// `may_read`.
fn cached(inode: &Inode, index: u64, offset: usize, len: usize, may_read: bool) -> Option<Arc<Folio>> {
    let folio = inode.mapping.get(index)?;
    let state = folio.state();
    if !state.uptodate_in(offset, len) {
        return None;
    }
    if may_read
        && folio.touch(state)
        && let Some(ops) = inode.ops().iomap()
    {
        read_ahead(inode, ops, index + 1);
    }
    Some(folio)
}

/// The folio with its bytes valid: waits for whoever is filling it, or reads. `None`: a truncate was faster.
#[cold]
pub(super) fn uncached(inode: &Inode, index: u64, offset: usize, len: usize, want: u64) -> Result<Option<Arc<Folio>>> {
    let ops = ops_of(inode)?;
    if let Some(guard) = inode.mapping.find_locked(index) {
        if guard.state().uptodate_in(offset, len) {
            return Ok(Some(guard.folio().clone()));
        }
    } else if read_window(inode, ops, index, want).is_ok()
        && let Some(folio) = cached(inode, index, offset, len, true)
    {
        return Ok(Some(folio));
    }
    fill_for_read(inode, ops, index)
}

/// How many pages `len` bytes at `pos` touch.
fn pages(pos: u64, len: usize) -> u64 {
    (pos % PS + len as u64).div_ceil(PS)
}
