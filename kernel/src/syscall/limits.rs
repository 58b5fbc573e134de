//! Resource limits and usage.
use super::{SyscallContext, UserAddr};
use crate::process::RLimit;
use base::{Errno, PAGE_SIZE, Result, time};
use zerocopy::{Immutable, IntoBytes};

/// Clock ticks a second in `times`.
const TICKS_PER_SECOND: u64 = 100;

/// `getrlimit`. Errors: `EINVAL`, `EFAULT`.
pub fn getrlimit(context: &mut SyscallContext<'_>, resource: u32, limit: UserAddr) -> Result<u64> {
    prlimit64(context, 0, resource, 0, limit)
}

/// `setrlimit`. Errors: `EINVAL`, `EPERM`, `EFAULT`.
pub fn setrlimit(context: &mut SyscallContext<'_>, resource: u32, limit: UserAddr) -> Result<u64> {
    prlimit64(context, 0, resource, limit, 0)
}

/// `prlimit64` of the own process. Errors: `EINVAL`, `EPERM`, `EFAULT`, `ESRCH`.
pub fn prlimit64(
    context: &mut SyscallContext<'_>,
    pid: u32,
    resource: u32,
    new: UserAddr,
    old: UserAddr,
) -> Result<u64> {
    let process = context.process();
    if pid != 0 && pid != process.pid {
        return Err(Errno::ESRCH);
    }
    let new = if new == 0 { None } else { Some(context.mm().read::<RLimit>(new)?) };
    let privileged = process.credentials.lock().euid == 0;
    let before = {
        let mut limits = process.limits.lock();
        let before = limits.get(resource).ok_or(Errno::EINVAL)?;
        if let Some(limit) = new {
            if limit.soft > limit.hard {
                return Err(Errno::EINVAL);
            }
            if limit.hard > before.hard && !privileged {
                return Err(Errno::EPERM);
            }
            limits.set(resource, limit);
        }
        before
    };
    if old != 0 {
        context.mm().write(old, &before)?;
    }
    Ok(0)
}

/// `struct rusage`: two times and fourteen counters.
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct Usage {
    times: [u64; 4],
    max_rss_kib: u64,
    rest: [u64; 13],
}

/// `getrusage`. Errors: `EINVAL`, `EFAULT`.
pub fn getrusage(context: &mut SyscallContext<'_>, who: i32, usage: UserAddr) -> Result<u64> {
    if !(-1..=1).contains(&who) {
        return Err(Errno::EINVAL);
    }
    let max_rss_kib = (context.mm().resident_pages() * PAGE_SIZE / 1024) as u64;
    context.mm().write(usage, &Usage { max_rss_kib, ..Usage::default() })?;
    Ok(0)
}

/// `struct sysinfo`
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct SysInfo {
    uptime_s: u64,
    loads: [u64; 3],
    total_ram: u64,
    free_ram: u64,
    shared_buffer_swap: [u64; 4],
    processes: u16,
    padding: [u16; 3],
    high: [u64; 2],
    unit: u32,
    end: u32,
}

/// `sysinfo`. Errors: `EFAULT`.
pub fn sysinfo(context: &mut SyscallContext<'_>, info: UserAddr) -> Result<u64> {
    let system = &context.process().system;
    let memory = hal::mem::stats();
    let value = SysInfo {
        uptime_s: (time::now_ns() - system.boot_ns()) / 1_000_000_000,
        total_ram: memory.total_frames,
        free_ram: memory.free_frames,
        processes: system.all().iter().map(|p| p.thread_count()).sum::<usize>() as u16,
        unit: PAGE_SIZE as u32,
        ..SysInfo::default()
    };
    context.mm().write(info, &value)?;
    Ok(0)
}

/// `times`. Errors: `EFAULT`.
pub fn times(context: &mut SyscallContext<'_>, buffer: UserAddr) -> Result<u64> {
    if buffer != 0 {
        context.mm().write(buffer, &[0u64; 4])?;
    }
    Ok(time::now_ns() / (1_000_000_000 / TICKS_PER_SECOND))
}
