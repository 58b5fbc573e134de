//! mount, umount2.
use super::paths::PathArg;
use super::{SyscallContext, UserAddr};
use base::{Errno, Result};
use fs::tmpfs;
use fs::vfs::makedev;
use linux_raw_sys::general as abi;

/// Limits of a tmpfs that a program mounts: page frames and inodes.
const TMPFS_PAGES: u64 = 16 * 1024;
const TMPFS_INODES: u64 = 16 * 1024;

/// `mount`: remounts read-only and back (RO-1), and new mounts of disks with ext4 and of tmpfs. Errors: as mount(2); `ENODEV` for
/// other types, and where there is no such disk.
pub fn mount(
    context: &mut SyscallContext<'_>,
    source: UserAddr,
    target: UserAddr,
    kind: UserAddr,
    flags: u64,
) -> Result<u64> {
    require_root(context)?;
    let target = PathArg::read(context, abi::AT_FDCWD, target)?;
    let (vfs, site) = (context.vfs()?, target.site(context));
    let ignores_setid = flags & u64::from(abi::MS_NOSUID) != 0;
    if flags & u64::from(abi::MS_REMOUNT) != 0 {
        let inode = vfs.lookup(site, &target.path, true)?;
        vfs.remount(&inode, flags & u64::from(abi::MS_RDONLY) != 0)?;
        inode.sb.ignore_setid(ignores_setid);
        return Ok(0);
    }
    let kind = context.mm().read_cstr(kind, 64)?;
    let source = if source == 0 { kind.clone() } else { context.mm().read_cstr(source, abi::PATH_MAX as usize)? };
    let system = &context.process().system;
    let root = match &kind[..] {
        b"tmpfs" => tmpfs::new(makedev(0, system.new_id()), 0o1777, TMPFS_PAGES, TMPFS_INODES),
        b"ext4" => {
            let read_only = flags & u64::from(abi::MS_RDONLY) != 0;
            system.disks().ok_or(Errno::ENODEV)?.mount(&source, read_only, Some(vfs))?
        }
        _ => return Err(Errno::ENODEV),
    };
    root.sb.ignore_setid(ignores_setid);
    let mounted = vfs.mount(site, &target.path, root.clone(), &source);
    if mounted.is_err() {
        // Nobody has seen it: it ends as it came.
        let _ = root.sb.ops().unmount();
    }
    mounted.map(|()| 0)
}

/// `umount2` (UMT-1). Errors: as umount(2); `EOPNOTSUPP` for a lazy one.
pub fn umount2(context: &mut SyscallContext<'_>, target: UserAddr, flags: u32) -> Result<u64> {
    require_root(context)?;
    if flags & !abi::UMOUNT_NOFOLLOW != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let target = PathArg::read(context, abi::AT_FDCWD, target)?;
    context.vfs()?.unmount(target.site(context), &target.path)?;
    Ok(0)
}

fn require_root(context: &SyscallContext<'_>) -> Result<()> {
    if context.caller().uid() == 0 { Ok(()) } else { Err(Errno::EPERM) }
}
