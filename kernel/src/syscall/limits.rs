//! Resource limits and usage.
use super::{SyscallContext, UserAddr};
use crate::process::{RLimit, TICK_NS};
use base::sched::CpuTimes;
use base::{Errno, PAGE_SIZE, Result, time};
use linux_raw_sys::general as abi;
use zerocopy::{Immutable, IntoBytes};

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

/// `struct rusage`: two times and fourteen counters, of which one is kept.
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
pub struct Usage {
    times: [u64; 4],
    max_rss_kib: u64,
    rest: [u64; 13],
}

impl Usage {
    /// With these CPU times.
    pub fn of(times: CpuTimes) -> Usage {
        let parts = |ns: u64| [ns / 1_000_000_000, ns % 1_000_000_000 / 1000];
        let ([user_s, user_us], [system_s, system_us]) = (parts(times.user_ns), parts(times.system_ns));
        Usage { times: [user_s, user_us, system_s, system_us], ..Usage::default() }
    }
}

/// `getrusage`: of the process, its children that were waited for, or the thread. Errors: `EINVAL`, `EFAULT`.
pub fn getrusage(context: &mut SyscallContext<'_>, who: i32, usage: UserAddr) -> Result<u64> {
    const THREAD: i32 = abi::RUSAGE_THREAD as i32;
    const PROCESS: i32 = abi::RUSAGE_SELF as i32;
    let process = context.process();
    let max_rss_kib = (context.mm().resident_pages() * PAGE_SIZE / 1024) as u64;
    let value = match who {
        PROCESS => Usage { max_rss_kib, ..Usage::of(process.cpu_times()) },
        THREAD => Usage { max_rss_kib, ..Usage::of(context.thread.cpu_times()) },
        abi::RUSAGE_CHILDREN => Usage::of(process.children_times()),
        _ => return Err(Errno::EINVAL),
    };
    context.mm().write(usage, &value)?;
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

/// `times`: in ticks. Errors: `EFAULT`.
pub fn times(context: &mut SyscallContext<'_>, buffer: UserAddr) -> Result<u64> {
    if buffer != 0 {
        let (own, children) = (context.process().cpu_times(), context.process().children_times());
        let times = [own.user_ns, own.system_ns, children.user_ns, children.system_ns];
        context.mm().write(buffer, &times.map(|ns| ns / TICK_NS))?;
    }
    Ok(time::now_ns() / TICK_NS)
}
