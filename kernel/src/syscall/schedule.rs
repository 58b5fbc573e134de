//! Priorities and scheduling policies. All tasks share the CPU alike: what is set here is told again and has no effect.
use super::{SyscallContext, UserAddr};
use crate::process::Process;
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};
use core::sync::atomic::Ordering;
use linux_raw_sys::general as abi;

/// The lowest value is the highest priority.
const NICE: core::ops::RangeInclusive<i32> = -20..=19;
/// What the call returns is 20 less the value, so that none looks like an error.
const NICE_BIAS: i32 = 20;

/// The processes that `which` and `id` name. Errors: `EINVAL`, `ESRCH`.
fn named(context: &SyscallContext<'_>, which: u32, id: u32) -> Result<Vec<Arc<Process>>> {
    let own = &context.thread.process;
    let family = &own.system.family;
    let uid = if id == 0 { own.credentials.lock().uid } else { id };
    let processes: Vec<_> = match which {
        abi::PRIO_PROCESS if id == 0 => [own.clone()].into(),
        abi::PRIO_PROCESS => {
            let of_thread = || own.system.thread(id).map(|thread| thread.process.clone());
            family.get(id).or_else(of_thread).into_iter().collect()
        }
        abi::PRIO_PGRP => family.of_group(if id == 0 { family.group(own.pid)? } else { id }),
        abi::PRIO_USER => family.all().into_iter().filter(|process| process.credentials.lock().uid == uid).collect(),
        _ => return Err(Errno::EINVAL),
    };
    if processes.is_empty() { Err(Errno::ESRCH) } else { Ok(processes) }
}

/// `getpriority`: 20 less the lowest nice value. Errors: `EINVAL`, `ESRCH`.
pub fn getpriority(context: &mut SyscallContext<'_>, which: u32, id: u32) -> Result<u64> {
    let processes = named(context, which, id)?;
    let lowest = processes.iter().map(|process| process.nice.load(Ordering::Relaxed)).min().unwrap_or(0);
    Ok((NICE_BIAS - lowest) as u64)
}

/// `setpriority`: values out of range are taken as the nearest. Errors: `EINVAL`, `ESRCH`, `EPERM` (somebody else's process), `EACCES` (only
/// root may lower a value).
pub fn setpriority(context: &mut SyscallContext<'_>, which: u32, id: u32, nice: i32) -> Result<u64> {
    let nice = nice.clamp(*NICE.start(), *NICE.end());
    let (uid, euid) = {
        let own = context.process().credentials.lock();
        (own.uid, own.euid)
    };
    let mut result = Ok(0);
    for process in named(context, which, id)? {
        let theirs = process.credentials.lock().uid;
        if euid != 0 && theirs != euid && theirs != uid {
            result = Err(Errno::EPERM);
        } else if euid != 0 && nice < process.nice.load(Ordering::Relaxed) {
            result = Err(Errno::EACCES);
        } else {
            process.nice.store(nice, Ordering::Relaxed);
        }
    }
    result
}

/// Errors: `ESRCH`, `EINVAL` (negative).
fn check_thread(context: &SyscallContext<'_>, tid: i32) -> Result<()> {
    match u32::try_from(tid).map_err(|_| Errno::EINVAL)? {
        0 => Ok(()),
        tid => context.process().system.thread(tid).map(drop).ok_or(Errno::ESRCH),
    }
}

/// `sched_getscheduler`. Errors: `EINVAL`, `ESRCH`.
pub fn sched_getscheduler(context: &mut SyscallContext<'_>, pid: i32) -> Result<u64> {
    check_thread(context, pid).map(|()| u64::from(abi::SCHED_NORMAL))
}

/// `sched_setscheduler`. Errors: `EINVAL`, `ESRCH`, `EFAULT`, `EPERM`: a policy of real time.
pub fn sched_setscheduler(context: &mut SyscallContext<'_>, pid: i32, policy: u32, param: UserAddr) -> Result<u64> {
    check_thread(context, pid)?;
    let priority = context.mm().read::<i32>(param)?;
    let range = priorities(policy)?;
    if !range.contains(&priority) {
        return Err(Errno::EINVAL);
    }
    if policy == abi::SCHED_NORMAL { Ok(0) } else { Err(Errno::EPERM) }
}

/// `sched_getparam`. Errors: `EINVAL`, `ESRCH`, `EFAULT`.
pub fn sched_getparam(context: &mut SyscallContext<'_>, pid: i32, param: UserAddr) -> Result<u64> {
    check_thread(context, pid)?;
    context.mm().write(param, &0i32).map(|()| 0)
}

/// `sched_setparam`. Errors: as `sched_setscheduler`.
pub fn sched_setparam(context: &mut SyscallContext<'_>, pid: i32, param: UserAddr) -> Result<u64> {
    sched_setscheduler(context, pid, abi::SCHED_NORMAL, param)
}

/// `sched_get_priority_max`. Errors: `EINVAL`.
pub fn sched_get_priority_max(_context: &mut SyscallContext<'_>, policy: u32) -> Result<u64> {
    priorities(policy).map(|range| *range.end() as u64)
}

/// `sched_get_priority_min`. Errors: `EINVAL`.
pub fn sched_get_priority_min(_context: &mut SyscallContext<'_>, policy: u32) -> Result<u64> {
    priorities(policy).map(|range| *range.start() as u64)
}

/// The priorities that a policy has. Errors: `EINVAL`: it is none.
fn priorities(policy: u32) -> Result<core::ops::RangeInclusive<i32>> {
    match policy {
        abi::SCHED_FIFO | abi::SCHED_RR => Ok(1..=99),
        abi::SCHED_NORMAL | abi::SCHED_BATCH | abi::SCHED_IDLE => Ok(0..=0),
        _ => Err(Errno::EINVAL),
    }
}
