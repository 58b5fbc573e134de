//! stat and its family, statx.
//!
//! The structures are those of the ABI, made again here because user memory is only written from types without padding; the
//! assertions compare them with `linux-raw-sys`.
use super::paths::only;
use super::{SyscallContext, UserAddr};
use crate::files::{Pipe, Tty};
use base::sync::Arc;
use base::{Errno, Result};
use core::mem::{offset_of, size_of};
use fs::vfs::{self, File, FileType, Stat, Timespec};
use linux_raw_sys::general as abi;
use zerocopy::{Immutable, IntoBytes};

/// `struct stat`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct AbiStat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    pad: u32,
    rdev: u64,
    size: u64,
    block_size: u64,
    blocks: u64,
    /// Access, modification and change time: seconds, nanoseconds.
    times: [u64; 6],
    unused: [u64; 3],
}
const _: () = assert!(
    size_of::<AbiStat>() == size_of::<abi::stat>()
        && offset_of!(AbiStat, rdev) == offset_of!(abi::stat, st_rdev)
        && offset_of!(AbiStat, times) == offset_of!(abi::stat, st_atime)
);

impl From<&Stat> for AbiStat {
    fn from(s: &Stat) -> Self {
        let pair = |t: Timespec| [t.sec as u64, u64::from(t.nsec)];
        let ([a, an], [m, mn], [c, cn]) = (pair(s.atime), pair(s.mtime), pair(s.ctime));
        AbiStat {
            dev: s.dev,
            ino: s.ino,
            nlink: u64::from(s.nlink),
            mode: s.mode,
            uid: s.uid,
            gid: s.gid,
            pad: 0,
            rdev: s.rdev,
            size: s.size,
            block_size: u64::from(s.block_size),
            blocks: s.blocks_512,
            times: [a, an, m, mn, c, cn],
            unused: [0; 3],
        }
    }
}

/// `struct statx_timestamp`
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct StatxTime {
    sec: i64,
    nsec: u32,
    reserved: i32,
}

impl From<Timespec> for StatxTime {
    fn from(t: Timespec) -> Self {
        StatxTime { sec: t.sec, nsec: t.nsec, reserved: 0 }
    }
}

/// `struct statx`
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct AbiStatx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    spare0: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: StatxTime,
    btime: StatxTime,
    ctime: StatxTime,
    mtime: StatxTime,
    /// Major and minor of `rdev`, then of `dev`.
    devices: [u32; 4],
    mount_id: u64,
    /// Alignment of memory and offset for direct I/O, and what came after it.
    rest: [u32; 26],
}
const _: () = assert!(
    size_of::<AbiStatx>() == size_of::<abi::statx>()
        && offset_of!(AbiStatx, attributes_mask) == offset_of!(abi::statx, stx_attributes_mask)
        && offset_of!(AbiStatx, devices) == offset_of!(abi::statx, stx_rdev_major)
        && offset_of!(AbiStatx, rest) == offset_of!(abi::statx, stx_dio_mem_align)
);

impl From<&Stat> for AbiStatx {
    fn from(s: &Stat) -> Self {
        let known = abi::STATX_ATTR_APPEND | abi::STATX_ATTR_IMMUTABLE | abi::STATX_ATTR_MOUNT_ROOT;
        let bit = |on: bool, bit: u32| if on { u64::from(bit) } else { 0 };
        let ((rdev_major, rdev_minor), (dev_major, dev_minor)) = (split_device(s.rdev), split_device(s.dev));
        AbiStatx {
            mask: abi::STATX_BASIC_STATS | abi::STATX_BTIME,
            block_size: s.block_size,
            attributes: bit(s.append_only, abi::STATX_ATTR_APPEND)
                | bit(s.immutable, abi::STATX_ATTR_IMMUTABLE)
                | bit(
                    s.mount_root && FileType::from_mode_bits(s.mode) == Some(FileType::Directory),
                    abi::STATX_ATTR_MOUNT_ROOT,
                ),
            nlink: s.nlink,
            uid: s.uid,
            gid: s.gid,
            mode: s.mode as u16,
            spare0: 0,
            ino: s.ino,
            size: s.size,
            blocks: s.blocks_512,
            attributes_mask: u64::from(known),
            atime: s.atime.into(),
            btime: s.btime.into(),
            ctime: s.ctime.into(),
            mtime: s.mtime.into(),
            devices: [rdev_major, rdev_minor, dev_major, dev_minor],
            mount_id: 0,
            rest: [0; 26],
        }
    }
}

/// Major and minor of a device number: the reverse of [`vfs::makedev`].
pub fn split_device(dev: u64) -> (u32, u32) {
    let major = (dev >> 8 & 0xfff) | (dev >> 32 & 0xffff_f000);
    let minor = (dev & 0xff) | (dev >> 12 & 0xffff_ff00);
    (major as u32, minor as u32)
}

/// The attributes of an open file, also of one without an inode.
fn stat_file(file: &Arc<File>) -> Stat {
    if let Some(inode) = &file.inode {
        return vfs::stat(inode);
    }
    let is = |find: fn(&dyn core::any::Any) -> bool| file.ops().as_any().is_some_and(find);
    let kind = if is(|ops| ops.is::<Tty>()) {
        FileType::CharDevice.mode_bits()
    } else if is(|ops| ops.is::<Pipe>()) {
        FileType::Fifo.mode_bits()
    } else {
        0
    };
    let time = Timespec::default();
    Stat {
        dev: 0,
        ino: 0,
        mode: kind | 0o600,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        block_size: base::PAGE_SIZE as u32,
        blocks_512: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        append_only: false,
        immutable: false,
        mount_root: false,
    }
}

fn put(context: &SyscallContext<'_>, stat: &Stat, out: UserAddr) -> Result<u64> {
    context.mm().write(out, &AbiStat::from(stat)).map(|()| 0)
}

/// `fstat`. Errors: `EBADF`, `EFAULT`.
pub fn fstat(context: &mut SyscallContext<'_>, fd: u32, out: UserAddr) -> Result<u64> {
    put(context, &stat_file(&context.file(fd)?), out)
}

/// `newfstatat`. Errors: as stat(2).
pub fn newfstatat(
    context: &mut SyscallContext<'_>,
    dirfd: i32,
    path: UserAddr,
    out: UserAddr,
    flags: u32,
) -> Result<u64> {
    only(flags, abi::AT_SYMLINK_NOFOLLOW | abi::AT_EMPTY_PATH | abi::AT_NO_AUTOMOUNT)?;
    put(context, &find_stat(context, dirfd, path, flags)?, out)
}

/// `statx`: every field it knows, whatever the mask asks for. Errors: as statx(2).
pub fn statx(
    context: &mut SyscallContext<'_>,
    dirfd: i32,
    path: UserAddr,
    flags: u32,
    mask: u32,
    out: UserAddr,
) -> Result<u64> {
    let sync = abi::AT_STATX_SYNC_TYPE;
    only(flags, abi::AT_SYMLINK_NOFOLLOW | abi::AT_EMPTY_PATH | abi::AT_NO_AUTOMOUNT | sync)?;
    if mask & abi::STATX__RESERVED != 0 || flags & sync == sync {
        return Err(Errno::EINVAL);
    }
    let stat = find_stat(context, dirfd, path, flags)?;
    context.mm().write(out, &AbiStatx::from(&stat)).map(|()| 0)
}

/// As [`SyscallContext::find`], but a descriptor may also be of a file without an inode.
fn find_stat(context: &SyscallContext<'_>, dirfd: i32, path: UserAddr, flags: u32) -> Result<Stat> {
    let empty = flags & abi::AT_EMPTY_PATH != 0 && (path == 0 || context.mm().read::<u8>(path)? == 0);
    if empty && dirfd != abi::AT_FDCWD {
        return Ok(stat_file(&context.file(dirfd as u32)?));
    }
    Ok(vfs::stat(&context.find(dirfd, path, flags)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_split_as_they_were_made() {
        for (major, minor) in [(1, 3), (254, 0), (0xfffff, 0xfffff), (5, 300)] {
            assert_eq!(split_device(vfs::makedev(major, minor)), (major, minor));
        }
    }
}
