//! Ids and names.
use super::{SyscallContext, UserAddr};
use base::{Errno, Result};

/// `getpid`
pub fn getpid(context: &mut SyscallContext<'_>) -> Result<u64> {
    Ok(u64::from(context.thread.process.pid))
}
/// `getppid`: the shortest call there is; its cost is that of entry, dispatch and exit.
pub fn getppid(context: &mut SyscallContext<'_>) -> Result<u64> {
    Ok(u64::from(context.thread.process.parent_pid()))
}
/// `gettid`
pub fn gettid(context: &mut SyscallContext<'_>) -> Result<u64> {
    Ok(u64::from(context.thread.tid))
}
/// `getuid`
pub fn getuid(context: &mut SyscallContext<'_>) -> Result<u64> {
    Ok(u64::from(context.process().credentials.lock().uid))
}
/// `geteuid`
pub fn geteuid(context: &mut SyscallContext<'_>) -> Result<u64> {
    Ok(u64::from(context.process().credentials.lock().euid))
}
/// `getgid`
pub fn getgid(context: &mut SyscallContext<'_>) -> Result<u64> {
    Ok(u64::from(context.process().credentials.lock().gid))
}
/// `getegid`
pub fn getegid(context: &mut SyscallContext<'_>) -> Result<u64> {
    Ok(u64::from(context.process().credentials.lock().egid))
}

/// `setuid`. Errors: `EPERM`.
pub fn setuid(context: &mut SyscallContext<'_>, uid: u32) -> Result<u64> {
    let mut who = context.process().credentials.lock();
    if who.euid == 0 {
        (who.uid, who.suid) = (uid, uid);
    } else if uid != who.uid && uid != who.suid {
        return Err(Errno::EPERM);
    }
    who.euid = uid;
    Ok(0)
}

/// `setgid`. Errors: `EPERM`.
pub fn setgid(context: &mut SyscallContext<'_>, gid: u32) -> Result<u64> {
    let mut who = context.process().credentials.lock();
    if who.euid == 0 {
        (who.gid, who.sgid) = (gid, gid);
    } else if gid != who.gid && gid != who.sgid {
        return Err(Errno::EPERM);
    }
    who.egid = gid;
    Ok(0)
}

/// `getgroups`. Errors: `EINVAL` (the list is too short), `EFAULT`.
pub fn getgroups(context: &mut SyscallContext<'_>, count: i32, list: UserAddr) -> Result<u64> {
    let groups = context.process().credentials.lock().groups.clone();
    if count != 0 {
        let room = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        if room < groups.len() {
            return Err(Errno::EINVAL);
        }
        context.mm().write(list, groups.as_slice())?;
    }
    Ok(groups.len() as u64)
}

/// The process that `pid` names; 0 names the caller.
fn named(context: &SyscallContext<'_>, pid: u32) -> u32 {
    if pid == 0 { context.process().pid } else { pid }
}

/// `getpgid`. Errors: `ESRCH`.
pub fn getpgid(context: &mut SyscallContext<'_>, pid: u32) -> Result<u64> {
    context.process().system.family.group(named(context, pid)).map(u64::from)
}

/// `setpgid`. Errors: `EINVAL`, `ESRCH`, `EACCES`, `EPERM`.
pub fn setpgid(context: &mut SyscallContext<'_>, pid: u32, pgid: i32) -> Result<u64> {
    let pid = named(context, pid);
    let group = u32::try_from(pgid).map_err(|_| Errno::EINVAL)?;
    let group = if group == 0 { pid } else { group };
    context.process().system.family.set_group(context.process().pid, pid, group).map(|()| 0)
}

/// `getsid`. Errors: `ESRCH`.
pub fn getsid(context: &mut SyscallContext<'_>, pid: u32) -> Result<u64> {
    context.process().system.family.session(named(context, pid)).map(u64::from)
}

/// `setsid`. Errors: `EPERM`.
pub fn setsid(context: &mut SyscallContext<'_>) -> Result<u64> {
    let process = context.process();
    process.system.family.new_session(process.pid).map(|()| u64::from(process.pid))
}

/// `umask`
pub fn umask(context: &mut SyscallContext<'_>, mask: u32) -> Result<u64> {
    Ok(u64::from(context.process().set_umask(mask as u16)))
}

/// What uname tells: system, node, release, version, machine, domain.
///
/// The release is that of the Linux ABI spoken here: C libraries refuse to start below the one they were built for.
pub const NAMES: [&str; 6] =
    ["Sluice", "sluice", "6.12.0-sluice", concat!("#1 ", env!("CARGO_PKG_VERSION")), "x86_64", "(none)"];

/// `uname`. Errors: `EFAULT`.
pub fn uname(context: &mut SyscallContext<'_>, buffer: UserAddr) -> Result<u64> {
    const FIELD: usize = 65;
    let mut bytes = [0; FIELD * 6];
    for (place, field) in bytes.chunks_exact_mut(FIELD).zip(NAMES) {
        place.iter_mut().zip(field.bytes()).for_each(|(to, from)| *to = from);
    }
    context.mm().write_bytes(buffer, &bytes)?;
    Ok(0)
}
