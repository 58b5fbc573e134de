//! lseek.
use super::SyscallContext;
use base::{Errno, Result};
use fs::vfs::{self, Whence};
use linux_raw_sys::general as abi;

/// `lseek`. Errors: as lseek(2).
pub fn lseek(context: &mut SyscallContext<'_>, fd: u32, offset: i64, whence: u32) -> Result<u64> {
    let whence = match whence {
        abi::SEEK_SET => Whence::Set,
        abi::SEEK_CUR => Whence::Current,
        abi::SEEK_END => Whence::End,
        abi::SEEK_DATA => Whence::Data,
        abi::SEEK_HOLE => Whence::Hole,
        _ => return Err(Errno::EINVAL),
    };
    vfs::seek(&*context.file(fd)?, offset, whence)
}
