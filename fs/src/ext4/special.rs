//! Device nodes, pipes and sockets: inodes without data. What opening one means is decided above the file system.
use super::Ext4Inode;
use crate::vfs::{FileOps, Inode, InodeOps};
use base::sync::Arc;
use base::{Errno, Result};

/// The operations of an inode without data on the disk.
pub struct SpecialInode(pub Ext4Inode);

impl InodeOps for SpecialInode {
    fn as_any(&self) -> &dyn core::any::Any {
        &self.0
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::ENXIO)
    }
    fn dirty_inode(&self, inode: &Arc<Inode>) -> Result<()> {
        self.0.mark_attr_dirty(inode)
    }
    fn evict(&self, inode: &Arc<Inode>) -> Result<()> {
        super::evict(inode)
    }
}
