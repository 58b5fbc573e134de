//! Device nodes: which operations stand behind a device number.
use super::{FileOps, FileType, Inode};
use alloc::collections::BTreeMap;
use base::sync::{Arc, SpinLock};
use base::{Errno, Result};

/// The number of a device as `stat` and `mknod` give it: major and minor in the encoding of the Linux ABI.
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

/// The devices that nodes can lead to.
pub struct DeviceTable(SpinLock<BTreeMap<(bool, u64), Arc<dyn FileOps>>>);

impl DeviceTable {
    /// No devices.
    pub(super) fn new() -> Self {
        DeviceTable(SpinLock::new(BTreeMap::new()))
    }
    /// Puts `ops` behind the nodes of `kind` with number `rdev`, in the place of earlier ones.
    pub fn register(&self, kind: FileType, rdev: u64, ops: Arc<dyn FileOps>) {
        let before = self.0.lock().insert((kind == FileType::BlockDevice, rdev), ops);
        drop(before);
    }
    /// The operations behind a node. Errors: `ENXIO`.
    pub(super) fn open(&self, inode: &Inode) -> Result<Arc<dyn FileOps>> {
        let rdev = inode.with_attr(|a| a.rdev);
        self.0.lock().get(&(inode.kind == FileType::BlockDevice, rdev)).cloned().ok_or(Errno::ENXIO)
    }
}
