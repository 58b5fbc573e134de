//! A mounted file system.
use alloc::boxed::Box;
use base::Result;
use base::sync::Arc;

/// Figures for `statfs`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct StatFs {
    pub magic: u64,
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub name_max: u64,
    pub fsid: u64,
    pub read_only: bool,
}

/// What a file system implements for itself as a whole.
pub trait SuperOps: Send + Sync + core::any::Any {
    /// Downcast to the file system's own type.
    fn as_any(&self) -> &dyn core::any::Any;
    /// The type's name, such as `ext4`.
    fn type_name(&self) -> &'static str;
    /// Figures for statfs.
    fn statfs(&self) -> StatFs;
    /// Writes everything dirty and flushes the device (SYN-5).
    fn sync(&self) -> Result<()>;
    /// Orderly end: everything written, the image marked clean. No file is open any more.
    fn unmount(&self) -> Result<()>;
}

/// A mounted file system, as the VFS sees it.
pub struct SuperBlock {
    /// Device number that `stat` shows (`st_dev`).
    pub dev: u64,
    ops: Box<dyn SuperOps>,
}

impl SuperBlock {
    /// A super block around a file system's private part.
    pub fn new(dev: u64, ops: Box<dyn SuperOps>) -> Arc<SuperBlock> {
        Arc::new(SuperBlock { dev, ops })
    }
    /// The file system's side.
    pub fn ops(&self) -> &dyn SuperOps {
        &*self.ops
    }
}
