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

/// `getcpu`: the first CPU of the first node. Errors: `EFAULT`.
pub fn getcpu(context: &mut SyscallContext<'_>, cpu: UserAddr, node: UserAddr) -> Result<u64> {
    for addr in [cpu, node].into_iter().filter(|&addr| addr != 0) {
        context.mm().write(addr, &0u32)?;
    }
    Ok(0)
}

/// `sched_yield`
pub fn sched_yield(_context: &mut SyscallContext<'_>) -> Result<u64> {
    sched::yield_now();
    Ok(0)
}

/// `sched_getaffinity`: one CPU. Errors: `EINVAL`, `EFAULT`, `ESRCH`.
pub fn sched_getaffinity(context: &mut SyscallContext<'_>, pid: u32, len: u64, mask: UserAddr) -> Result<u64> {
    known_thread(context, pid)?;
    if len < 8 || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    context.mm().write(mask, &1u64)?;
    Ok(8)
}

/// `sched_setaffinity`. Errors: `EINVAL` (no CPU is left), `EFAULT`, `ESRCH`.
pub fn sched_setaffinity(context: &mut SyscallContext<'_>, pid: u32, len: u64, mask: UserAddr) -> Result<u64> {
    known_thread(context, pid)?;
    let mut first = [0u8; 1];
    if len > 0 {
        context.mm().read_bytes(mask, &mut first)?;
    }
    if first[0] & 1 == 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

fn known_thread(context: &SyscallContext<'_>, tid: u32) -> Result<()> {
    let known = tid == 0 || tid == context.thread.tid || context.process().system.thread(tid).is_some();
    if known { Ok(()) } else { Err(Errno::ESRCH) }
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
        pr::PR_SET_PDEATHSIG | pr::PR_SET_DUMPABLE | pr::PR_SET_NO_NEW_PRIVS => Ok(0),
        pr::PR_GET_DUMPABLE => Ok(1),
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
