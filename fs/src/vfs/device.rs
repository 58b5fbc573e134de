//! Device nodes: which operations stand behind a device number.
use super::{FileOps, FileType, Inode, OpenFlags};
use alloc::collections::BTreeMap;
use base::sync::{Arc, SpinLock};
use base::{Errno, Result};

/// The number of a device as `stat` and `mknod` give it: major and minor in the encoding of the Linux ABI.
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

/// Opens fifos: pipes that have names. Pipes are no part of this crate.
pub trait OpenFifo: Send + Sync {
    /// What stands behind the fifo `inode`, opened with `flags`. Sleeps until the other end is open, if the flags say so. Errors: those of
    /// open(2).
    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOps>>;
}

/// The devices that nodes can lead to.
pub struct DeviceTable {
    devices: SpinLock<BTreeMap<(bool, u64), Arc<dyn FileOps>>>,
    fifos: SpinLock<Option<Arc<dyn OpenFifo>>>,
}

impl DeviceTable {
    /// No devices.
    pub(super) fn new() -> Self {
        DeviceTable { devices: SpinLock::new(BTreeMap::new()), fifos: SpinLock::new(None) }
    }
    /// Puts `ops` behind the nodes of `kind` with number `rdev`, in the place of earlier ones.
    pub fn register(&self, kind: FileType, rdev: u64, ops: Arc<dyn FileOps>) {
        let before = self.devices.lock().insert((kind == FileType::BlockDevice, rdev), ops);
        drop(before);
    }
    /// The operations behind a node. Errors: `ENXIO`.
    pub(super) fn open(&self, inode: &Inode) -> Result<Arc<dyn FileOps>> {
        let rdev = inode.with_attr(|a| a.rdev);
        self.devices.lock().get(&(inode.kind == FileType::BlockDevice, rdev)).cloned().ok_or(Errno::ENXIO)
    }
    /// Says who opens fifos, in the place of who did.
    pub fn open_fifos_with(&self, fifos: Arc<dyn OpenFifo>) {
        let before = self.fifos.lock().replace(fifos);
        drop(before);
    }
    /// Opens a fifo. Task context; sleeps. Errors: `ENXIO` where nobody does; those of [`OpenFifo::open`].
    pub(super) fn open_fifo(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        let fifos = self.fifos.lock().clone().ok_or(Errno::ENXIO)?;
        fifos.open(inode, flags)
    }
}
