//! What stands under a window of a file, asked before any folio of it is locked (LOCK-1).
use super::{Iomap, IomapKind, IomapOps};
use crate::vfs::Inode;
use arrayvec::ArrayVec;
use base::block::Sector;
use base::{Errno, Result};

/// Most extents of one window: more than a folio has blocks, so that a window holds at least a folio.
const MOST: usize = 16;

/// The mappings of a window, all true at one extent sequence number (MAP-1).
pub(super) struct Extents {
    maps: ArrayVec<Iomap, MOST>,
    /// The position after the last mapped byte.
    pub end: u64,
    seq: u64,
}

impl Extents {
    /// Maps `[start, end)`, or its beginning if that has too many extents. No folio is locked. Errors: those of `map_read`.
    pub fn load(inode: &Inode, ops: &dyn IomapOps, start: u64, end: u64) -> Result<Extents> {
        let mut this = Extents { maps: ArrayVec::new(), end: start, seq: 0 };
        while this.end < end && !this.maps.is_full() {
            let map = ops.map_read(inode, this.end, end - this.end)?;
            if map.pos > this.end || map.end() <= this.end {
                return Err(Errno::EUCLEAN);
            }
            if !this.maps.is_empty() && map.seq != this.seq {
                this = Extents { maps: ArrayVec::new(), end: start, seq: 0 };
                continue;
            }
            this.seq = map.seq;
            this.end = map.end().min(end);
            this.maps.push(map);
        }
        base::anchor!("read.after_map", inode.ino);
        Ok(this)
    }

    /// Whether the extents changed since. A `false` with the folio locked stays true for it until it is unlocked: who changes
    /// extents under cached data locks or removes the folio first.
    pub fn stale(&self, ops: &dyn IomapOps) -> bool {
        base::guard!("R17", ops.extent_seq() != self.seq)
    }

    /// The mapping of file byte `pos`, which is in the window.
    pub fn at(&self, pos: u64) -> Option<&Iomap> {
        self.maps.iter().find(|map| pos < map.end())
    }

    /// Where valid data for the block at `pos` stands on the device, if there is any.
    pub fn data_at(&self, pos: u64) -> Option<Sector> {
        self.at(pos).filter(|map| matches!(map.kind, IomapKind::Mapped(_))).and_then(|map| map.sector_of(pos))
    }
}

/// The iomap side of a regular file on a device. Errors: `EINVAL` for any other inode.
pub(super) fn ops_of(inode: &Inode) -> Result<&dyn IomapOps> {
    inode.ops().iomap().ok_or(Errno::EINVAL)
}
