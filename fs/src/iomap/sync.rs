//! Part of a file made durable, or only waited for.
use super::extents::ops_of;
use super::{wait_range, write_and_wait, write_range};
use crate::vfs::{Inode, SyncKind};
use base::Result;
use base::sync::Arc;
use core::ops::Range;

/// What [`sync_file_range`] does, in the order of the fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RangeSync {
    /// Waits for what is under writeback.
    pub wait_before: bool,
    /// Starts writeback of what is dirty.
    pub write: bool,
    /// Waits for what is under writeback then.
    pub wait_after: bool,
}

/// fsync of the bytes of `range` (MM-7): what is dirty in it is written, write-throughs in it are waited for (SYN-1), and what it takes
/// to read all that back is durable. Of the metadata that is the whole inode's. Task context, no locks; sleeps for the device.
/// Errors: of the extents, the log, the flush; those of the data come to the error sequence.
pub fn sync_range(inode: &Arc<Inode>, range: Range<u64>, kind: SyncKind) -> Result<()> {
    let ops = ops_of(inode)?;
    write_and_wait(inode, range)?;
    if ops.metadata_pending(inode, kind) {
        return ops.commit(inode, kind);
    }
    inode.written.ticket().map_or(Ok(()), |ticket| ops.flush(ticket))
}

/// Writes and waits as `what` says, for the bytes of `range` (SYN-6). Where it has waited the data is on the device and its extents are
/// converted, but nothing is durable: no commit, no flush. Task context, no locks. Errors: of the extents, `ENOSPC`, `ENOMEM`;
/// those of the device come to the error sequence.
pub fn sync_file_range(inode: &Arc<Inode>, range: Range<u64>, what: RangeSync) -> Result<()> {
    let mapping = &inode.mapping;
    if what.wait_before {
        wait_range(mapping, range.clone(), mapping.stamp());
    }
    // A folio that is under writeback and dirty again is written too if somebody waits for the end of it all.
    let integrity = what.wait_before && what.wait_after;
    let written = if what.write { write_range(inode, range.clone(), integrity) } else { Ok(()) };
    if what.wait_after {
        wait_range(mapping, range, mapping.stamp());
    }
    written
}
