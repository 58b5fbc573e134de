//! The file-system tree: the root from a disk, `/dev`, `/proc` and `/tmp` on it.
use crate::disks::Disks;
use crate::files::{Node, Tty};
use crate::{cmdline, entropy};
use alloc::string::String;
use alloc::vec::Vec;
use base::block::BlockDevice;
use base::sync::Arc;
use base::workqueue::WorkQueue;
use base::{Errno, Result};
use drivers::pci;
use drivers::virtio::blk::Params;
use fs::caller::KernelCaller;
use fs::devfs::{self, RandomBytes};
use fs::page_cache::PageCache;
use fs::tmpfs;
use fs::vfs::{FileType, Inode, Site, Vfs};
use log::{error, info, warn};

/// Device numbers that `stat` shows for files without a disk.
const DEV_DEVFS: u64 = 5;
const DEV_TMPFS: u64 = 6;
const DEV_SHM: u64 = 8;
/// Files in `/tmp`.
const TMP_INODES: u64 = 4096;
/// Pages in `/tmp`: 16 MiB, or a quarter of all.
const TMP_PAGES: u64 = 4096;

/// Mounts what the command line names (`root=/dev/vda`, with `ro` never written to) and the rest on top. Failures are told.
pub fn mount(disks: &Disks) -> core::result::Result<Arc<Vfs>, ()> {
    let name = cmdline::value("root").unwrap_or_else(|| String::from("/dev/vda"));
    let root = disks.mount(name.as_bytes(), cmdline::flag("ro"), None).map_err(|error| match error {
        Errno::ENODEV => error!("root={name}: there is no such disk"),
        Errno::EINVAL => error!("root={name}: there is no ext4 file system"),
        _ => error!("root={name}: cannot mount: {error}"),
    })?;
    let release = WorkQueue::new("release", 1).ok();
    let vfs = Vfs::new(root, name.as_bytes(), release).map_err(|error| error!("root={name}: {error}"))?;
    mount_on(&vfs, "/dev", b"devtmpfs", devfs::new(DEV_DEVFS, &vfs.devices, Arc::new(Entropy)));
    let frames = hal::mem::stats().total_frames;
    mount_on(&vfs, "/tmp", b"tmpfs", Ok(tmpfs::new(DEV_TMPFS, 0o1777, TMP_PAGES.min(frames / 4), TMP_INODES)));
    mount_shared_memory(&vfs, frames / 2);
    Ok(vfs)
}

/// `/dev/shm`, where shm_open makes its files.
fn mount_shared_memory(vfs: &Arc<Vfs>, pages: u64) {
    let at = vfs.root();
    let site = Site { cwd: &at, caller: &KernelCaller };
    if let Err(error) = vfs.mkdir(site, b"/dev/shm", 0o755) {
        warn!("/dev/shm: {error}");
    }
    mount_on(vfs, "/dev/shm", b"tmpfs", Ok(tmpfs::new(DEV_SHM, 0o1777, pages, TMP_INODES)));
}

/// Brings up the disks of the machine. Their files share `cache`.
pub fn find_disks(cache: &Arc<PageCache>) -> Disks {
    let mut params = Params::default();
    if let Some(seconds) = cmdline::value("blk.timeout") {
        match seconds.parse::<u64>() {
            Ok(seconds @ 1..) => params.timeout_ns = seconds.saturating_mul(1_000_000_000),
            _ => warn!("blk.timeout={seconds}: not a number of seconds"),
        }
    }
    let mut list: Vec<Arc<dyn BlockDevice>> = Vec::new();
    for disk in pci::probe_disks(params) {
        let limits = disk.limits();
        info!("{}: {} MiB, {:?}", disk.name(), limits.capacity_sectors >> 11, disk.durability());
        list.push(disk.clone());
    }
    #[cfg(feature = "lab")]
    if let Some(first) = list.first_mut() {
        *first = crate::proc::lab::gated(first.clone());
    }
    Disks::new(list, cache.clone())
}

/// Makes `/dev/console` and `/dev/ttyS0`, which are both the one terminal there is, and `/dev/tty`. Failures are told.
pub fn add_terminals(vfs: &Arc<Vfs>, console: &Arc<Tty>) {
    let at = vfs.root();
    let site = Site { cwd: &at, caller: &KernelCaller };
    let nodes = [
        ("/dev/console", devfs::CONSOLE, Node::Console(console.clone())),
        ("/dev/ttyS0", console.rdev, Node::Line(console.clone())),
        ("/dev/tty", devfs::TTY, Node::Own),
    ];
    for (path, rdev, node) in nodes {
        vfs.devices.register(FileType::CharDevice, rdev, Arc::new(node));
        if let Err(error) = vfs.mknod(site, path.as_bytes(), FileType::CharDevice, 0o666, rdev) {
            warn!("{path}: {error}");
        }
    }
}

/// `/sys`, if there is a directory for it: most programs never look.
pub fn mount_sys(vfs: &Arc<Vfs>) {
    let at = vfs.root();
    let site = Site { cwd: &at, caller: &KernelCaller };
    if vfs.lookup(site, b"/sys", true).is_ok() {
        mount_on(vfs, "/sys", b"sysfs", crate::proc::sysfs::tree().map(|tree| tree.root()));
    }
}

/// Mounts `root` on the directory `path`, if the root file system has one.
pub fn mount_on(vfs: &Arc<Vfs>, path: &str, kind: &[u8], root: Result<Arc<Inode>>) {
    let at = vfs.root();
    let site = Site { cwd: &at, caller: &KernelCaller };
    if let Err(error) = root.and_then(|root| vfs.mount(site, path.as_bytes(), root, kind)) {
        warn!("{path}: not mounted: {error}");
    }
}

struct Entropy;

impl RandomBytes for Entropy {
    fn fill(&self, bytes: &mut [u8]) {
        entropy::fill(bytes);
    }
}
