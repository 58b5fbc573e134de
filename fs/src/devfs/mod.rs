//! devfs: the device nodes that every program expects, on a tmpfs tree.
//!
//! A node is a name and a number. What stands behind the number is in the [`DeviceTable`] of the [`crate::vfs::Vfs`]: the memory
//! devices below, and what the kernel registers (terminals, disks). `mknod` in `/dev` works as anywhere.
//!
//! | file | contents |
//! |---|---|
//! | `mem` | null, zero, full, random |
mod mem;

use crate::caller::KernelCaller;
use crate::tmpfs;
use crate::vfs::{DeviceTable, FileType, Inode, makedev};
use alloc::sync::Arc;
use base::Result;

pub use mem::RandomBytes;

/// The number of `/dev/console`.
pub const CONSOLE: u64 = makedev(5, 1);
/// The number of `/dev/tty`.
pub const TTY: u64 = makedev(5, 0);
/// The number of `/dev/ttyS0`.
pub const TTY_S0: u64 = makedev(4, 64);
/// The number of `/dev/vda`.
pub const VDA: u64 = makedev(254, 0);

/// Makes the file system with the nodes of the memory devices, registers those in `devices`, and returns the root directory.
/// `random` gives the bytes of `/dev/random` and `/dev/urandom`. Errors: `ENOSPC`, not expected on a new tree.
pub fn new(dev: u64, devices: &DeviceTable, random: Arc<dyn RandomBytes>) -> Result<Arc<Inode>> {
    let root = tmpfs::with_name("devtmpfs", dev, 0o755, 64, 1024);
    for (name, rdev, ops) in mem::all(random) {
        devices.register(FileType::CharDevice, rdev, ops);
        add_node(&root, name, FileType::CharDevice, 0o666, rdev)?;
    }
    Ok(root)
}

/// Makes a node in `/dev`: the kernel registers the operations behind `rdev` in the device table. Errors: `EEXIST` is not
/// checked: call it once for a name, at boot.
pub fn add_node(root: &Arc<Inode>, name: &str, kind: FileType, mode: u16, rdev: u64) -> Result<()> {
    let _names = root.lock.write();
    root.ops().create(root, name.as_bytes(), kind, mode, rdev, &KernelCaller).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::KernelCaller;
    use crate::io::{SliceSink, SliceSource};
    use crate::vfs::{self, OpenFlags, Site, Vfs};
    use base::Errno;

    struct Sevens;
    impl RandomBytes for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn read(vfs: &Vfs, path: &[u8]) -> Result<[u8; 4]> {
        let root = vfs.root();
        let file = vfs.open(Site { cwd: &root, caller: &KernelCaller }, path, OpenFlags::RDWR, 0)?;
        let mut bytes = [1; 4];
        let n = vfs::read_current(&file, 0, &mut SliceSink::new(&mut bytes), &KernelCaller)?;
        if n == 4 { Ok(bytes) } else { Err(Errno::ENODATA) }
    }

    #[test]
    fn the_memory_devices_answer() {
        let root = tmpfs::new(1, 0o755, 4, 10);
        let vfs = Vfs::new(root.clone(), b"none", None).unwrap();
        let site = Site { cwd: &root, caller: &KernelCaller };
        vfs.mkdir(site, b"/dev", 0o755).unwrap();
        let dev = new(2, &vfs.devices, Arc::new(Sevens)).unwrap();
        vfs.mount(site, b"/dev", dev, b"devtmpfs").unwrap();
        assert_eq!(read(&vfs, b"/dev/null"), Err(Errno::ENODATA));
        assert_eq!(read(&vfs, b"/dev/zero"), Ok([0; 4]));
        assert_eq!(read(&vfs, b"/dev/urandom"), Ok([7; 4]));
        let full = vfs.open(site, b"/dev/full", OpenFlags::WRONLY, 0).unwrap();
        let refused = vfs::write_current(&full, 0, &mut SliceSource::new(b"x"), &KernelCaller);
        assert_eq!(refused, Err(Errno::ENOSPC));
        vfs.mknod(site, b"/dev/other", FileType::CharDevice, 0o600, makedev(9, 9)).unwrap();
        assert_eq!(vfs.open(site, b"/dev/other", OpenFlags::RDWR, 0).err(), Some(Errno::ENXIO));
    }
}
