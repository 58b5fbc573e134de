//! The disks of the machine, and mounting the ext4 on one of them.
use alloc::vec::Vec;
use base::block::BlockDevice;
use base::sync::Arc;
use base::{Errno, Result};
use fs::devfs;
use fs::ext4::{self, MountOptions};
use fs::page_cache::PageCache;
use fs::vfs::{Inode, Vfs};

/// Every how many seconds changes are committed without being asked.
const COMMIT_INTERVAL_S: u32 = 5;
/// Minor device numbers from one disk to the next: the others are for partitions.
const MINORS: u64 = 16;

/// The disks, in the order of their names: `vda`, `vdb`, and so on.
pub struct Disks {
    list: Vec<Arc<dyn BlockDevice>>,
    cache: Arc<PageCache>,
}

impl Disks {
    /// These disks; the files on them share `cache`.
    pub fn new(list: Vec<Arc<dyn BlockDevice>>, cache: Arc<PageCache>) -> Disks {
        Disks { list, cache }
    }

    /// Mounts the ext4 on a disk, `/dev/vdb` or `vdb`, and gives its root directory. `mounted` is the tree whose disks are taken already;
    /// `None` before there is one. Task context. Errors: `ENODEV` (no such disk), `EBUSY` (mounted already), those of
    /// [`ext4::mount`].
    pub fn mount(&self, name: &[u8], read_only: bool, mounted: Option<&Vfs>) -> Result<Arc<Inode>> {
        let wanted = name.strip_prefix(b"/dev/").unwrap_or(name);
        let index = self.list.iter().position(|disk| disk.name().as_bytes() == wanted).ok_or(Errno::ENODEV)?;
        let disk = self.list.get(index).ok_or(Errno::ENODEV)?;
        let dev = devfs::VDA + index as u64 * MINORS;
        if mounted.is_some_and(|vfs| vfs.mounts().iter().any(|mount| mount.root.sb.dev == dev)) {
            return Err(Errno::EBUSY);
        }
        let page_cache = Some(self.cache.clone());
        let options = MountOptions { read_only, page_cache, commit_interval_s: COMMIT_INTERVAL_S };
        let sb = ext4::mount(disk.clone(), dev, options)?;
        ext4::iget(&sb, ext4::ROOT_INO).inspect_err(|_| {
            // What keeps the root from being read is told; that nothing could be written either is no news.
            let _ = sb.ops().unmount();
        })
    }
}
