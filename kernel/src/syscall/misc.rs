//! What fits nowhere else.
use super::{SyscallContext, UserAddr};
use base::sched;
use base::sync::atomic::Ordering;
use base::{Errno, Result};
use linux_raw_sys::{general as abi, prctl as pr};

/// A call that is known and not there: `ENOSYS`, without a line on the log. Programs try these first and do without.
pub fn not_there(_context: &mut SyscallContext<'_>) -> Result<u64> {
    Err(Errno::ENOSYS)
}

/// `socket` and its family: there are no address families. `EAFNOSUPPORT`.
pub fn no_sockets(_context: &mut SyscallContext<'_>) -> Result<u64> {
    Err(Errno::EAFNOSUPPORT)
}

/// `syslog`: what was logged is not kept. `EPERM`.
pub fn syslog(_context: &mut SyscallContext<'_>) -> Result<u64> {
    Err(Errno::EPERM)
}

/// `personality`: asks for the one there is, or sets it again. Errors: `EINVAL`.
pub fn personality(_context: &mut SyscallContext<'_>, persona: u32) -> Result<u64> {
    const ASK: u32 = u32::MAX;
    if matches!(persona, 0 | ASK) { Ok(0) } else { Err(Errno::EINVAL) }
}

/// `sched_yield`
pub fn sched_yield(_context: &mut SyscallContext<'_>) -> Result<u64> {
    sched::yield_now();
    Ok(0)
}

/// Bytes of a set of CPUs.
const CPU_SET_LEN: u64 = 8;

/// `sched_getaffinity`. Errors: `EINVAL` (no room for the set), `EFAULT`, `ESRCH`.
pub fn sched_getaffinity(context: &mut SyscallContext<'_>, pid: u32, len: u64, mask: UserAddr) -> Result<u64> {
    let task = task_of(context, pid)?.0;
    if len < CPU_SET_LEN || !len.is_multiple_of(CPU_SET_LEN) {
        return Err(Errno::EINVAL);
    }
    context.mm().write(mask, &(u64::from(task.allowed_cpus()) & online()))?;
    Ok(CPU_SET_LEN)
}

/// `sched_setaffinity`. Another thread has moved when it next leaves user mode, at once, or sleeps. Errors: `EINVAL` (no CPU is
/// left), `EFAULT`, `ESRCH`, `EPERM` (another user's process).
pub fn sched_setaffinity(context: &mut SyscallContext<'_>, pid: u32, len: u64, mask: UserAddr) -> Result<u64> {
    let mut set = [0u8; CPU_SET_LEN as usize];
    let set_len = set.len().min(len.try_into().unwrap_or(usize::MAX));
    context.mm().read_bytes(mask, &mut set[..set_len])?;
    let (task, may) = task_of(context, pid)?;
    if !may {
        return Err(Errno::EPERM);
    }
    let allowed = u64::from_le_bytes(set) & online();
    if allowed == 0 {
        return Err(Errno::EINVAL);
    }
    task.set_allowed_cpus(allowed as u32);
    if task.is(&sched::current()) {
        sched::yield_now();
    }
    Ok(0)
}

/// The CPUs that run, a bit for each.
fn online() -> u64 {
    (1 << sched::cpus()) - 1
}

/// The task of thread `tid`, 0 for the caller's, and whether the caller may say where it runs.
fn task_of(context: &SyscallContext<'_>, tid: u32) -> Result<(sched::Task, bool)> {
    if tid == 0 || tid == context.thread.tid {
        return Ok((sched::current(), true));
    }
    let thread = context.process().system.thread(tid).ok_or(Errno::ESRCH)?;
    let task = thread.task().ok_or(Errno::ESRCH)?;
    let mine = context.process().credentials.lock().euid;
    let theirs = thread.process.credentials.lock();
    Ok((task, mine == 0 || mine == theirs.euid || mine == theirs.uid))
}

/// `getcpu`: there is one node of memory. Errors: `EFAULT`.
pub fn getcpu(context: &mut SyscallContext<'_>, cpu: UserAddr, node: UserAddr) -> Result<u64> {
    for (out, value) in [(cpu, sched::cpu() as u32), (node, 0)] {
        if out != 0 {
            context.mm().write(out, &value)?;
        }
    }
    Ok(0)
}

/// `getrandom`. Errors: `EINVAL` (flags), `EFAULT`.
pub fn getrandom(context: &mut SyscallContext<'_>, buffer: UserAddr, len: u64, flags: u32) -> Result<u64> {
    if flags & !(abi::GRND_NONBLOCK | abi::GRND_RANDOM | abi::GRND_INSECURE) != 0 {
        return Err(Errno::EINVAL);
    }
    let len = len.min(0x1ff_ffff);
    let mut done = 0;
    while done < len {
        let mut chunk = [0; 256];
        let n = (len - done).min(chunk.len() as u64) as usize;
        let chunk = &mut chunk[..n];
        crate::entropy::fill(chunk);
        match context.mm().write_bytes(buffer.wrapping_add(done), chunk) {
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
            Ok(()) => done += n as u64,
        }
        if context.thread.interrupted() {
            break;
        }
    }
    Ok(done)
}

/// `prctl`. Errors: `EINVAL`, `EFAULT`.
pub fn prctl(context: &mut SyscallContext<'_>, option: u32, a: u64, _b: u64) -> Result<u64> {
    let process = context.process();
    match option {
        pr::PR_SET_NAME => {
            let name = match context.mm().read_cstr(a, 15) {
                Ok(name) => name,
                Err(Errno::ENAMETOOLONG) => {
                    let mut cut = [0; 15];
                    context.mm().read_bytes(a, &mut cut)?;
                    cut.to_vec()
                }
                Err(e) => return Err(e),
            };
            let mut padded = [0; 16];
            padded.iter_mut().zip(name).for_each(|(to, from)| *to = from);
            *context.thread.name.lock() = padded;
            let end = padded.iter().position(|&byte| byte == 0).unwrap_or(padded.len());
            if let Some(Ok(name)) = padded.get(..end).map(core::str::from_utf8) {
                base::trace::set_thread_name(base::sched::current_id(), name);
            }
            Ok(0)
        }
        pr::PR_GET_NAME => {
            let name = *context.thread.name.lock();
            context.mm().write_bytes(a, &name)?;
            Ok(0)
        }
        pr::PR_SET_PDEATHSIG => Ok(0),
        pr::PR_SET_DUMPABLE if a > 1 => Err(Errno::EINVAL),
        pr::PR_SET_DUMPABLE => {
            process.dumpable.store(a == 1, Ordering::Relaxed);
            Ok(0)
        }
        pr::PR_GET_DUMPABLE => Ok(process.dumpable.load(Ordering::Relaxed).into()),
        pr::PR_SET_NO_NEW_PRIVS if a != 1 => Err(Errno::EINVAL),
        pr::PR_SET_NO_NEW_PRIVS => {
            process.limited.store(true, Ordering::Relaxed);
            Ok(0)
        }
        pr::PR_GET_NO_NEW_PRIVS => Ok(process.limited.load(Ordering::Relaxed).into()),
        _ => Err(Errno::EINVAL),
    }
}

/// `arch_prctl`. Errors: `EINVAL`, `EPERM` (not a user address), `EFAULT`.
pub fn arch_prctl(context: &mut SyscallContext<'_>, code: u32, addr: UserAddr) -> Result<u64> {
    const ARCH_SET_FS: u32 = 0x1002;
    const ARCH_GET_FS: u32 = 0x1003;
    match code {
        ARCH_SET_FS if context.user.set_fs_base(addr) => Ok(0),
        ARCH_SET_FS => Err(Errno::EPERM),
        ARCH_GET_FS => context.mm().write(addr, &context.user.fs_base()).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// `set_robust_list`. Errors: `EINVAL`.
pub fn set_robust_list(context: &mut SyscallContext<'_>, head: UserAddr, len: u64) -> Result<u64> {
    if len != 24 {
        return Err(Errno::EINVAL);
    }
    context.thread.robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}
