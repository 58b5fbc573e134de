//! Ids and names.
use super::{SyscallContext, UserAddr};
use crate::process::Process;
use base::sync::atomic::Ordering;
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
    change_users(context, &|[real, _, saved], privileged| match privileged {
        true => Ok([uid; 3]),
        false if uid == real || uid == saved => Ok([real, uid, saved]),
        false => Err(Errno::EPERM),
    })
}

/// `setgid`. Errors: `EPERM`.
pub fn setgid(context: &mut SyscallContext<'_>, gid: u32) -> Result<u64> {
    change_groups(context, &|[real, _, saved], privileged| match privileged {
        true => Ok([gid; 3]),
        false if gid == real || gid == saved => Ok([real, gid, saved]),
        false => Err(Errno::EPERM),
    })
}

/// In the calls that set several ids: this one stays as it is.
const SAME: u32 = u32::MAX;

/// Real, effective and saved id.
type Ids = [u32; 3];

/// Which of the three ids of a kind are changed, and how: gives the new ones. Errors: `EPERM`.
type Change<'a> = &'a dyn Fn(Ids, bool) -> Result<Ids>;

/// With `other`, `process` acts as another than before: what it had read as the one is not for the other to see.
fn acts_as_other(process: &Process, other: bool) {
    if other {
        process.dumpable.store(false, Ordering::Relaxed);
    }
}

fn change_users(context: &SyscallContext<'_>, change: Change<'_>) -> Result<u64> {
    let process = context.process();
    let mut who = process.credentials.lock();
    let [uid, euid, suid] = change([who.uid, who.euid, who.suid], who.euid == 0)?;
    acts_as_other(process, euid != who.euid);
    (who.uid, who.euid, who.suid) = (uid, euid, suid);
    Ok(0)
}

fn change_groups(context: &SyscallContext<'_>, change: Change<'_>) -> Result<u64> {
    let process = context.process();
    let mut who = process.credentials.lock();
    let [gid, egid, sgid] = change([who.gid, who.egid, who.sgid], who.euid == 0)?;
    acts_as_other(process, egid != who.egid);
    (who.gid, who.egid, who.sgid) = (gid, egid, sgid);
    Ok(0)
}

/// As setresuid: to any of its own ids, of root's to any.
fn set_three(before: Ids, wanted: Ids, privileged: bool) -> Result<Ids> {
    let own = |id: &u32| *id == SAME || before.contains(id);
    if !privileged && !wanted.iter().all(own) {
        return Err(Errno::EPERM);
    }
    let pick = |i: usize| if wanted[i] == SAME { before[i] } else { wanted[i] };
    Ok([pick(0), pick(1), pick(2)])
}

/// As setreuid: the real id to the real or effective one, the effective one to any. The saved one follows the effective one if the real one is set, or
/// the effective one to another than the real one was.
fn set_two(before: Ids, [real, effective]: [u32; 2], privileged: bool) -> Result<Ids> {
    if !privileged && real != SAME && real != before[0] && real != before[1] {
        return Err(Errno::EPERM);
    }
    let follows = real != SAME || (effective != SAME && effective != before[0]);
    let [new_real, new_effective, saved] = set_three(before, [real, effective, SAME], privileged)?;
    Ok([new_real, new_effective, if follows { new_effective } else { saved }])
}

/// `setreuid`. Errors: `EPERM`.
pub fn setreuid(context: &mut SyscallContext<'_>, real: u32, effective: u32) -> Result<u64> {
    change_users(context, &|before, privileged| set_two(before, [real, effective], privileged))
}
/// `setregid`. Errors: `EPERM`.
pub fn setregid(context: &mut SyscallContext<'_>, real: u32, effective: u32) -> Result<u64> {
    change_groups(context, &|before, privileged| set_two(before, [real, effective], privileged))
}
/// `setresuid`. Errors: `EPERM`.
pub fn setresuid(context: &mut SyscallContext<'_>, real: u32, effective: u32, saved: u32) -> Result<u64> {
    change_users(context, &|before, privileged| set_three(before, [real, effective, saved], privileged))
}
/// `setresgid`. Errors: `EPERM`.
pub fn setresgid(context: &mut SyscallContext<'_>, real: u32, effective: u32, saved: u32) -> Result<u64> {
    change_groups(context, &|before, privileged| set_three(before, [real, effective, saved], privileged))
}
/// `getresuid`. Errors: `EFAULT`.
pub fn getresuid(context: &mut SyscallContext<'_>, uid: UserAddr, euid: UserAddr, suid: UserAddr) -> Result<u64> {
    let who = context.process().credentials.lock().clone();
    put_three(context, [uid, euid, suid], [who.uid, who.euid, who.suid])
}
/// `getresgid`. Errors: `EFAULT`.
pub fn getresgid(context: &mut SyscallContext<'_>, gid: UserAddr, egid: UserAddr, sgid: UserAddr) -> Result<u64> {
    let who = context.process().credentials.lock().clone();
    put_three(context, [gid, egid, sgid], [who.gid, who.egid, who.sgid])
}

fn put_three(context: &SyscallContext<'_>, places: [UserAddr; 3], ids: Ids) -> Result<u64> {
    places.iter().zip(ids).try_for_each(|(&place, id)| context.mm().write(place, &id))?;
    Ok(0)
}

/// Supplementary groups that a process may have. Linux allows 65,536; here each process keeps its own list.
const GROUPS_MAX: u64 = 1024;

/// `setgroups`. Errors: `EPERM`, `EINVAL` (too many), `EFAULT`, `ENOMEM`.
pub fn setgroups(context: &mut SyscallContext<'_>, count: u64, list: UserAddr) -> Result<u64> {
    let process = context.process();
    if process.credentials.lock().euid != 0 {
        return Err(Errno::EPERM);
    }
    if count > GROUPS_MAX {
        return Err(Errno::EINVAL);
    }
    base::memory::room_for_programs()?;
    let groups = context.mm().read_array::<u32>(list, count as usize)?;
    let before = core::mem::replace(&mut process.credentials.lock().groups, groups.into());
    drop(before);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_set_to_own_ones_or_by_root() {
        let before = [1, 2, 3];
        assert_eq!(set_three(before, [3, 1, SAME], false), Ok([3, 1, 3]));
        assert_eq!(set_three(before, [SAME, 4, SAME], false), Err(Errno::EPERM));
        assert_eq!(set_three(before, [SAME, 4, 5], true), Ok([1, 4, 5]));
        assert_eq!(set_two(before, [3, SAME], false), Err(Errno::EPERM), "the saved one does not become the real one");
        assert_eq!(set_two(before, [SAME, 3], false), Ok([1, 3, 3]));
        assert_eq!(set_two(before, [SAME, 1], false), Ok([1, 1, 3]), "it can come back");
        assert_eq!(set_two(before, [2, SAME], false), Ok([2, 2, 2]));
        assert_eq!(set_two(before, [7, 7], true), Ok([7, 7, 7]));
    }
}
