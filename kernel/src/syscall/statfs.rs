//! statfs, fstatfs.
use super::{SyscallContext, UserAddr};
use base::Result;
use base::sync::Arc;
use core::mem::{offset_of, size_of};
use fs::vfs::{self, Inode};
use linux_raw_sys::general as abi;
use zerocopy::{Immutable, IntoBytes};

/// `struct statfs`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct AbiStatFs {
    magic: u64,
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    inodes: u64,
    inodes_free: u64,
    fsid: u64,
    name_max: u64,
    fragment_size: u64,
    flags: u64,
    spare: [u64; 4],
}
const _: () = assert!(
    size_of::<AbiStatFs>() == size_of::<abi::statfs>()
        && offset_of!(AbiStatFs, fsid) == offset_of!(abi::statfs, f_fsid)
        && offset_of!(AbiStatFs, flags) == offset_of!(abi::statfs, f_flags)
);

/// The bit of `f_flags` that says the others are valid.
const ST_VALID: u64 = 0x20;
/// Access times are not kept.
const ST_NOATIME: u64 = 0x400;

fn put(context: &SyscallContext<'_>, inode: &Arc<Inode>, out: UserAddr) -> Result<u64> {
    let s = vfs::statfs(inode);
    let read_only = if s.read_only { u64::from(abi::MS_RDONLY) } else { 0 };
    let result = AbiStatFs {
        magic: s.magic,
        block_size: s.block_size,
        blocks: s.blocks,
        blocks_free: s.blocks_free,
        blocks_available: s.blocks_available,
        inodes: s.inodes,
        inodes_free: s.inodes_free,
        fsid: s.fsid,
        name_max: s.name_max,
        fragment_size: s.block_size,
        flags: ST_VALID | ST_NOATIME | read_only,
        spare: [0; 4],
    };
    context.mm().write(out, &result).map(|()| 0)
}

/// `statfs`. Errors: those of the walk, `EFAULT`.
pub fn statfs(context: &mut SyscallContext<'_>, path: UserAddr, out: UserAddr) -> Result<u64> {
    let inode = context.find(abi::AT_FDCWD, path, 0)?;
    put(context, &inode, out)
}

/// `fstatfs`. Errors: `EBADF`, `EINVAL` (a file without a file system), `EFAULT`.
pub fn fstatfs(context: &mut SyscallContext<'_>, fd: u32, out: UserAddr) -> Result<u64> {
    let inode = context.inode(fd)?;
    put(context, &inode, out)
}
