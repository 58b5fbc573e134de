//! The mapping of a file range to the device.
use super::{SharedFlush, Ticket};
use crate::vfs::{Inode, SyncKind};
use base::block::{BlockDevice, Sector};
use base::sync::Arc;
use base::{Errno, Result};

/// What stands under a file range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IomapKind {
    /// Nothing: reads as zeros.
    Hole,
    /// Allocated, reads as zeros; data becomes readable by conversion (EXT-1).
    Unwritten(Sector),
    /// Allocated, with valid data.
    Mapped(Sector),
}

/// A run of file bytes with one answer. `pos` and `len` are multiples of the block size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Iomap {
    /// First byte in the file.
    pub pos: u64,
    /// Bytes; never 0.
    pub len: u64,
    /// What stands there; the sector belongs to `pos`.
    pub kind: IomapKind,
    /// The extent sequence number under which this answer is true (MAP-1).
    pub seq: u64,
    /// Whether metadata needed to reach these blocks is not yet durable (DUR-4).
    pub metadata_pending: bool,
}

impl Iomap {
    /// The position after the last byte.
    pub fn end(&self) -> u64 {
        self.pos + self.len
    }
    /// The device position of file byte `pos`, which lies in the range and at a multiple of 512; `None` for a hole.
    pub fn sector_of(&self, pos: u64) -> Option<Sector> {
        debug_assert!(pos >= self.pos && pos < self.end());
        match self.kind {
            IomapKind::Hole => None,
            IomapKind::Unwritten(s) | IomapKind::Mapped(s) => {
                Some(Sector(s.0 + (pos - self.pos) / base::block::SECTOR_SIZE))
            }
        }
    }
}

/// The size on the disk after a finish that has reached `end` (SIZE-2): raised to it, never lowered, and never above the size in memory, which a
/// truncate may have set meanwhile. The lock that keeps `disk_size` is held.
pub fn raised_disk_size(disk_size: u64, end: u64, i_size: u64) -> u64 {
    base::mistake!("SIZE-2", return end);
    disk_size.max(end.min(i_size))
}

/// What iomap asks of the file system of a regular file. No folio is locked in any of these calls (LOCK-1).
pub trait IomapOps: Send + Sync {
    /// The device that holds the data.
    fn device(&self) -> &Arc<dyn BlockDevice>;

    /// Block size in bytes: a power of two, at most the page size.
    fn block_size(&self) -> u32;

    /// Largest file size in bytes (CHK-4).
    fn max_file_size(&self) -> u64;

    /// The extent sequence number now (MAP-1). Cheap: called with a folio locked.
    fn extent_seq(&self) -> u64;

    /// The size in the on-disk inode, as last put into a metadata transaction (d_size).
    fn disk_size(&self) -> u64;

    /// The mapping at `pos`, at most `len` bytes of it. May read metadata. Errors: `EIO`, `EUCLEAN`.
    fn map_read(&self, inode: &Inode, pos: u64, len: u64) -> Result<Iomap>;

    /// As `map_read`, but a hole becomes UNWRITTEN, with what its conversion will need reserved (S-7, EXT-1, EXT-2).
    /// Errors: `ENOSPC`, `EDQUOT`, `EIO`, `ENOMEM`.
    fn map_write(&self, inode: &Inode, pos: u64, len: u64) -> Result<Iomap>;

    /// As `map_write` for who must not sleep, and gives nothing back (NOW-1): the blocks are there and what their conversion needs is set aside.
    /// Errors: `EAGAIN` where that is not so or could not be seen without a sleep; `EROFS`, `EIO`.
    fn map_now(&self, _pos: u64, _len: u64) -> Result<Iomap> {
        Err(Errno::EAGAIN)
    }

    /// Blocks of `[pos, pos+len)` that `map_write` gave out will not be written: what was reserved for their conversion is given
    /// back (ERR-9), and the sequence number changes. They stay UNWRITTEN. The one call that may come with a folio locked.
    fn give_up(&self, _pos: u64, _len: u64) {}

    /// F1: in one transaction converts UNWRITTEN blocks of `[pos, pos+len)`, widened to blocks, and raises d_size to
    /// `min(pos + len, i_size)` if it is lower (SIZE-2, SIZE-4). A range already MAPPED is left (EXT-4). Takes the extent lock
    /// only; never the inode, invalidate or a folio lock (LOCK-5). Errors: `EIO`, `EROFS`.
    fn finish_write(&self, inode: &Inode, pos: u64, len: u64) -> Result<()>;

    /// Whether metadata of the inode that is needed to read its data back waits for a commit (DUR-4).
    fn metadata_pending(&self, inode: &Inode, kind: SyncKind) -> bool;

    /// Whether attributes of the inode are newer in memory than what the file system has stored: it must stay in memory.
    fn attributes_dirty(&self) -> bool {
        false
    }

    /// F5, the full way: commits what is needed of the inode's metadata and flushes the device (DUR-5). Data that must precede
    /// it has ended on the device. Touches no folio (DUR-7).
    fn commit(&self, inode: &Inode, kind: SyncKind) -> Result<()>;

    /// The device's flushes, shared by all that wait for one (DUR-8). One object for each device.
    fn shared_flush(&self) -> &SharedFlush;

    /// F5, the short way: makes data that completed before `ticket` durable; a failure meets the file system's error policy (DUR-9).
    /// Errors: `EIO`.
    fn flush(&self, ticket: Ticket) -> Result<()> {
        self.shared_flush().flush(ticket)
    }

    /// Nothing is sent to the device after a forced shutdown, and what was on its way then is no success (SHD-1). Cheap. Errors: `EIO`.
    fn check_not_shut_down(&self) -> Result<()> {
        Ok(())
    }

    /// Hands finished-I/O work to the superblock's completion queue, made on first use (QUE-1 to QUE-3). Errors: `ENOMEM`.
    fn completion_queue(&self) -> Result<Arc<base::workqueue::WorkQueue>>;

    /// The second stage, for work that waits for log and device (QUE-5). Errors: `ENOMEM`.
    fn sync_queue(&self) -> Result<Arc<base::workqueue::WorkQueue>>;

    /// Both queues, if they have been made: to make one may sleep (NOW-1).
    fn queues_now(&self) -> Option<[Arc<base::workqueue::WorkQueue>; 2]> {
        None
    }
}
