//! access, faccessat, faccessat2.
use super::paths::only;
use super::{SyscallContext, UserAddr};
use crate::process::Credentials;
use base::Result;
use fs::caller::Caller;
use fs::vfs::{Access, permission};
use linux_raw_sys::general as abi;

/// A process judged by its real ids, as access(2) asks, not by the effective ones.
struct RealIds(Credentials);

impl Caller for RealIds {
    fn uid(&self) -> u32 {
        self.0.uid
    }
    fn gid(&self) -> u32 {
        self.0.gid
    }
    fn in_group(&self, gid: u32) -> bool {
        self.0.gid == gid || self.0.groups.contains(&gid)
    }
    fn umask(&self) -> u16 {
        0
    }
    fn file_size_limit(&self) -> u64 {
        u64::MAX
    }
    fn file_size_exceeded(&self) {}
    fn fatal_signal_pending(&self) -> bool {
        false
    }
}

/// `faccessat2`. The walk itself is judged by the effective ids. Errors: as access(2).
pub fn faccessat2(context: &mut SyscallContext<'_>, dirfd: i32, path: UserAddr, mode: u32, flags: u32) -> Result<u64> {
    only(mode, abi::R_OK | abi::W_OK | abi::X_OK)?;
    only(flags, abi::AT_EACCESS | abi::AT_SYMLINK_NOFOLLOW | abi::AT_EMPTY_PATH)?;
    let inode = context.find(dirfd, path, flags)?;
    let want = Access::from_bits_truncate(mode as u16);
    if flags & abi::AT_EACCESS != 0 {
        permission(&inode, want, context.caller())?;
    } else {
        let real = RealIds(context.process().credentials.lock().clone());
        permission(&inode, want, &real)?;
    }
    Ok(0)
}
