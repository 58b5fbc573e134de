//! What stat, statx and statfs show.
use super::{FileType, Inode, StatFs, Timespec};
use base::sync::Arc;

/// Everything the stat family reports of an inode.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Preferred unit of I/O in bytes.
    pub block_size: u32,
    /// Allocated space in units of 512 bytes.
    pub blocks_512: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    pub btime: Timespec,
    /// `chattr +a`
    pub append_only: bool,
    /// `chattr +i`
    pub immutable: bool,
    /// The root of a mount (`STATX_ATTR_MOUNT_ROOT`).
    pub mount_root: bool,
}

impl FileType {
    /// The type bits of `st_mode`.
    pub const fn mode_bits(self) -> u32 {
        match self {
            FileType::Fifo => 0o010000,
            FileType::CharDevice => 0o020000,
            FileType::Directory => 0o040000,
            FileType::BlockDevice => 0o060000,
            FileType::Regular => 0o100000,
            FileType::Symlink => 0o120000,
            FileType::Socket => 0o140000,
        }
    }
    /// The type that the bits of a mode name; 0 is a regular file, as for mknod. `None` for bits that name no type.
    pub const fn from_mode_bits(mode: u32) -> Option<FileType> {
        Some(match mode & 0o170000 {
            0o010000 => FileType::Fifo,
            0o020000 => FileType::CharDevice,
            0o040000 => FileType::Directory,
            0o060000 => FileType::BlockDevice,
            0 | 0o100000 => FileType::Regular,
            0o120000 => FileType::Symlink,
            0o140000 => FileType::Socket,
            _ => return None,
        })
    }
    /// The `d_type` of a directory entry.
    pub const fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// The attributes of `inode` now. Size and times are each consistent in themselves (SIZE-6). No sleep.
pub fn stat(inode: &Arc<Inode>) -> Stat {
    let size = inode.size();
    inode.with_attr(|a| Stat {
        dev: inode.sb.dev,
        ino: inode.ino,
        mode: inode.kind.mode_bits() | u32::from(a.mode),
        nlink: a.nlink,
        uid: a.uid,
        gid: a.gid,
        rdev: a.rdev,
        size,
        block_size: base::PAGE_SIZE as u32,
        blocks_512: a.blocks_512,
        atime: a.atime,
        mtime: a.mtime,
        ctime: a.ctime,
        btime: a.btime,
        append_only: a.append_only,
        immutable: a.immutable,
        mount_root: inode.dir.as_ref().is_some_and(|d| d.parent().is_none()),
    })
}

/// The figures of the file system of `inode`.
pub fn statfs(inode: &Arc<Inode>) -> StatFs {
    StatFs { read_only: inode.sb.is_read_only(), ..inode.sb.ops().statfs() }
}
