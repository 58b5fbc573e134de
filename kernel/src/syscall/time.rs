//! Clocks and sleeping.
use super::{SyscallContext, UserAddr};
use crate::process::{Deadline, sleep_interruptible};
use base::{Errno, Result, time};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const NS_PER_S: u64 = 1_000_000_000;

/// `struct timespec` of the ABI.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct TimeSpec {
    pub sec: i64,
    pub nsec: i64,
}

impl TimeSpec {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> TimeSpec {
        TimeSpec { sec: (ns / NS_PER_S) as i64, nsec: (ns % NS_PER_S) as i64 }
    }
    /// To nanoseconds, at most `u64::MAX`. Errors: `EINVAL` (negative, or a full second of nanoseconds).
    pub fn to_ns(self) -> Result<u64> {
        let sec = u64::try_from(self.sec).map_err(|_| Errno::EINVAL)?;
        let nsec = u64::try_from(self.nsec).ok().filter(|&n| n < NS_PER_S).ok_or(Errno::EINVAL)?;
        Ok(sec.saturating_mul(NS_PER_S).saturating_add(nsec))
    }
}

/// Reads a relative time-out; a null pointer is none. Errors: `EFAULT`, `EINVAL`.
pub fn read_timeout(context: &SyscallContext<'_>, addr: UserAddr) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    context.mm().read::<TimeSpec>(addr)?.to_ns().map(Some)
}

/// As [`read_timeout`] of a `struct timeval`: its parts may be of any size, and are not negative. Errors: `EFAULT`, `EINVAL`.
pub fn read_timeval(context: &SyscallContext<'_>, addr: UserAddr) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    let [sec, micros] = context.mm().read::<[i64; 2]>(addr)?.map(|part| u64::try_from(part).map_err(|_| Errno::EINVAL));
    Ok(Some(sec?.saturating_mul(NS_PER_S).saturating_add(micros?.saturating_mul(1000))))
}

/// What is left until a deadline, as a call stores it over its time-out. The outcome stands already: a place that cannot be written to is
/// left.
pub fn write_rest(context: &SyscallContext<'_>, addr: UserAddr, deadline: Deadline) {
    if let Some(end) = deadline {
        let _ = context.mm().write(addr, &TimeSpec::from_ns(end.saturating_sub(time::now_ns())));
    }
}

/// As [`write_rest`], as a `struct timeval`.
pub fn write_rest_timeval(context: &SyscallContext<'_>, addr: UserAddr, deadline: Deadline) {
    if let Some(end) = deadline {
        let rest = TimeSpec::from_ns(end.saturating_sub(time::now_ns()));
        let _ = context.mm().write(addr, &[rest.sec, rest.nsec / 1000]);
    }
}

/// What a clock shows, in nanoseconds. Errors: `EINVAL`.
fn read_clock(context: &SyscallContext<'_>, clock: u32) -> Result<u64> {
    match clock {
        abi::CLOCK_REALTIME | abi::CLOCK_REALTIME_COARSE | abi::CLOCK_TAI => Ok(time::wall_clock_ns()),
        abi::CLOCK_MONOTONIC | abi::CLOCK_MONOTONIC_RAW | abi::CLOCK_MONOTONIC_COARSE | abi::CLOCK_BOOTTIME => {
            Ok(time::now_ns())
        }
        abi::CLOCK_PROCESS_CPUTIME_ID => Ok(context.process().cpu_times().total_ns()),
        abi::CLOCK_THREAD_CPUTIME_ID => Ok(context.thread.cpu_times().total_ns()),
        _ if (clock as i32) < 0 => cpu_clock(context, clock),
        _ => Err(Errno::EINVAL),
    }
}

/// A clock that names a process or thread, as `clock_getcpuclockid` makes it: the complement of the id, a bit for a thread, and two for the
/// kind. Errors: `EINVAL`.
fn cpu_clock(context: &SyscallContext<'_>, clock: u32) -> Result<u64> {
    const OF_THREAD: u32 = 4;
    const KIND: u32 = 3;
    let (id, of_thread) = (!((clock as i32) >> 3) as u32, clock & OF_THREAD != 0);
    let own = &context.thread;
    let times = match (id, of_thread) {
        (0, true) => own.cpu_times(),
        (0, false) => own.process.cpu_times(),
        (tid, true) => own.process.thread(tid).ok_or(Errno::EINVAL)?.cpu_times(),
        (pid, false) => own.process.system.process(pid).ok_or(Errno::EINVAL)?.cpu_times(),
    };
    match clock & KIND {
        0 | 2 => Ok(times.total_ns()),
        1 => Ok(times.user_ns),
        _ => Err(Errno::EINVAL),
    }
}

/// `clock_gettime`. Errors: `EINVAL`, `EFAULT`.
pub fn clock_gettime(context: &mut SyscallContext<'_>, clock: u32, out: UserAddr) -> Result<u64> {
    context.mm().write(out, &TimeSpec::from_ns(read_clock(context, clock)?))?;
    Ok(0)
}

/// `clock_getres`. Errors: `EINVAL`, `EFAULT`.
pub fn clock_getres(context: &mut SyscallContext<'_>, clock: u32, out: UserAddr) -> Result<u64> {
    read_clock(context, clock)?;
    if out != 0 {
        context.mm().write(out, &TimeSpec::from_ns(1))?;
    }
    Ok(0)
}

/// `gettimeofday`. Errors: `EFAULT`.
pub fn gettimeofday(context: &mut SyscallContext<'_>, tv: UserAddr, tz: UserAddr) -> Result<u64> {
    let now = time::wall_clock_ns();
    if tv != 0 {
        context.mm().write(tv, &[now / NS_PER_S, now % NS_PER_S / 1000])?;
    }
    if tz != 0 {
        context.mm().write(tz, &[0u32; 2])?;
    }
    Ok(0)
}

/// `time`. Errors: `EFAULT`.
pub fn time(context: &mut SyscallContext<'_>, out: UserAddr) -> Result<u64> {
    let now = time::wall_clock_ns() / NS_PER_S;
    if out != 0 {
        context.mm().write(out, &now)?;
    }
    Ok(now)
}

/// `nanosleep`. Errors: `EINVAL`, `EFAULT`, `EINTR`.
pub fn nanosleep(context: &mut SyscallContext<'_>, request: UserAddr, remaining: UserAddr) -> Result<u64> {
    clock_nanosleep(context, abi::CLOCK_MONOTONIC, 0, request, remaining)
}

/// `clock_nanosleep`. Errors: `EINVAL`, `EFAULT`, `EINTR`.
pub fn clock_nanosleep(
    context: &mut SyscallContext<'_>,
    clock: u32,
    flags: u32,
    request: UserAddr,
    remaining: UserAddr,
) -> Result<u64> {
    let realtime = match clock {
        abi::CLOCK_REALTIME | abi::CLOCK_TAI => true,
        abi::CLOCK_MONOTONIC | abi::CLOCK_BOOTTIME => false,
        _ => return Err(Errno::EINVAL),
    };
    let ns = context.mm().read::<TimeSpec>(request)?.to_ns()?;
    let absolute = flags & abi::TIMER_ABSTIME != 0;
    let deadline = match (absolute, realtime) {
        (false, _) => context.thread.deadline_after(Some(ns)).unwrap_or(u64::MAX),
        (true, false) => ns,
        (true, true) => realtime_deadline(ns),
    };
    match sleep_interruptible(context.thread, Some(deadline), || None::<()>) {
        Err(e) => {
            if !absolute && remaining != 0 {
                let left = deadline.saturating_sub(time::now_ns());
                context.mm().write(remaining, &TimeSpec::from_ns(left))?;
            }
            Err(e)
        }
        Ok(_) => Ok(0),
    }
}

/// The monotonic deadline for a wall-clock time.
pub fn realtime_deadline(wall_ns: u64) -> u64 {
    time::now_ns().saturating_add(wall_ns.saturating_sub(time::wall_clock_ns()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_checked_and_saturate() {
        assert_eq!(TimeSpec { sec: 1, nsec: 5 }.to_ns(), Ok(1_000_000_005));
        assert_eq!(TimeSpec { sec: -1, nsec: 0 }.to_ns(), Err(Errno::EINVAL));
        assert_eq!(TimeSpec { sec: 0, nsec: 1_000_000_000 }.to_ns(), Err(Errno::EINVAL));
        assert_eq!(TimeSpec { sec: i64::MAX, nsec: 0 }.to_ns(), Ok(u64::MAX));
    }
}
