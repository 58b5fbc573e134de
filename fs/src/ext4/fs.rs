//! The mounted ext4: what all its parts share.
use super::geometry::Geometry;
use super::meta::MetaCache;
use super::txn::TxnState;
use base::block::BlockDevice;
use base::sync::Arc;
use base::sync::atomic::{AtomicU32, Ordering};
use base::{Errno, Result};

const READ_ONLY: u32 = 1;
const SHUT_DOWN: u32 = 2;
const DAMAGED: u32 = 4;

/// A mounted ext4. Shared by its inodes; the VFS holds it through [`super::super_block::Ext4Super`].
pub struct Ext4Fs {
    /// The device.
    pub device: Arc<dyn BlockDevice>,
    /// The fixed numbers.
    pub geo: Geometry,
    /// The metadata blocks.
    pub meta: MetaCache,
    /// Numbers of changes.
    pub txn: TxnState,
    state: AtomicU32,
}

impl Ext4Fs {
    /// Whether nothing may be changed: mounted so, or after an error.
    pub fn is_read_only(&self) -> bool {
        self.state.load(Ordering::Acquire) & READ_ONLY != 0
    }

    /// `EROFS` when read-only, `EIO` when shut down (SHD-1, SHD-2).
    pub fn check_writable(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            s if s & SHUT_DOWN != 0 => Err(Errno::EIO),
            s if s & READ_ONLY != 0 => Err(Errno::EROFS),
            _ => Ok(()),
        }
    }

    /// A damaged structure was met: logs it and refuses changes from now on. Gives `EUCLEAN` to hand on.
    pub fn corrupt(&self, what: &str, place: u64) -> Errno {
        log::error!("ext4 {}: damaged {what} at {place}; no more changes are made", self.device.name());
        self.state.fetch_or(READ_ONLY | DAMAGED, Ordering::AcqRel);
        Errno::EUCLEAN
    }

    /// Whether damage was found since mount.
    pub fn is_damaged(&self) -> bool {
        self.state.load(Ordering::Acquire) & DAMAGED != 0
    }

    /// Writes all dirty metadata, after a flush, so that no metadata becomes durable before the data it exposes (CRA-1).
    pub fn write_back_metadata(&self) -> Result<()> {
        super::meta_io::flush(&self.device)?;
        self.meta.write_all()
    }
}
