//! Timers: timerfd, and the one that sends SIGALRM.
use super::paths::only;
use super::time::{TimeSpec, realtime_deadline};
use super::{SyscallContext, UserAddr};
use crate::files::TimerFd;
use crate::timers::{Setting, Timer};
use base::sync::Arc;
use base::{Errno, Result, time};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_US: u64 = 1000;

/// `struct itimerspec`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct ITimerSpec {
    interval: TimeSpec,
    value: TimeSpec,
}

impl ITimerSpec {
    pub(super) fn of(setting: Setting) -> ITimerSpec {
        ITimerSpec {
            interval: TimeSpec::from_ns(setting.interval_ns),
            value: TimeSpec::from_ns(setting.left_ns(time::now_ns())),
        }
    }
    /// As a timer is set: `absolute` times are those of the wall clock if `realtime`. Errors: `EINVAL`.
    pub(super) fn setting(self, absolute: bool, realtime: bool) -> Result<Setting> {
        let (interval_ns, value_ns) = (self.interval.to_ns()?, self.value.to_ns()?);
        let next_ns = match value_ns {
            0 => 0,
            _ if !absolute => time::now_ns().saturating_add(value_ns),
            _ if realtime => realtime_deadline(value_ns).max(1),
            _ => value_ns,
        };
        Ok(Setting { next_ns, interval_ns })
    }
}

/// `timerfd_create`. Errors: `EINVAL`, `EMFILE`, `ENOMEM`.
pub fn timerfd_create(context: &mut SyscallContext<'_>, clock: u32, flags: u32) -> Result<u64> {
    only(flags, abi::TFD_CLOEXEC | abi::TFD_NONBLOCK)?;
    let realtime = match clock {
        abi::CLOCK_REALTIME => true,
        abi::CLOCK_MONOTONIC | abi::CLOCK_BOOTTIME => false,
        _ => return Err(Errno::EINVAL),
    };
    let process = context.process();
    let file = TimerFd::open(&process.system.timers, realtime, flags & abi::TFD_NONBLOCK != 0)?;
    process.install(file, flags & abi::TFD_CLOEXEC != 0).map(u64::from)
}

/// `timerfd_settime`. Errors: `EBADF`, `EINVAL`, `EFAULT`.
pub fn timerfd_settime(
    context: &mut SyscallContext<'_>,
    fd: u32,
    flags: u32,
    new: UserAddr,
    old: UserAddr,
) -> Result<u64> {
    only(flags, abi::TFD_TIMER_ABSTIME | abi::TFD_TIMER_CANCEL_ON_SET)?;
    let file = context.file(fd)?;
    let this = TimerFd::of(&file)?;
    let new = context.mm().read::<ITimerSpec>(new)?;
    let before = this.timer.set(new.setting(flags & abi::TFD_TIMER_ABSTIME != 0, this.realtime)?);
    if old != 0 {
        context.mm().write(old, &ITimerSpec::of(before))?;
    }
    Ok(0)
}

/// `timerfd_gettime`. Errors: `EBADF`, `EINVAL`, `EFAULT`.
pub fn timerfd_gettime(context: &mut SyscallContext<'_>, fd: u32, out: UserAddr) -> Result<u64> {
    let file = context.file(fd)?;
    let setting = TimerFd::of(&file)?.timer.setting();
    context.mm().write(out, &ITimerSpec::of(setting)).map(|()| 0)
}

/// `setitimer`. Errors: `EINVAL`, `EFAULT`, `ENOMEM`.
pub fn setitimer(context: &mut SyscallContext<'_>, which: u32, new: UserAddr, old: UserAddr) -> Result<u64> {
    real_only(which)?;
    // Linux takes a null pointer as zeros, and programs rely on it.
    let new = if new == 0 { Setting::default() } else { read_setting(context, new)? };
    let before = set_alarm(context, new)?;
    if old != 0 {
        write_setting(context, old, before)?;
    }
    Ok(0)
}

/// `getitimer`. Errors: `EINVAL`, `EFAULT`.
pub fn getitimer(context: &mut SyscallContext<'_>, which: u32, out: UserAddr) -> Result<u64> {
    real_only(which)?;
    let setting = context.process().alarm_if_any().map_or(Setting::default(), |alarm| alarm.setting());
    write_setting(context, out, setting).map(|()| 0)
}

/// `alarm`: the seconds that were left, rounded, but at least one if any time was. Errors: `ENOMEM`.
pub fn alarm(context: &mut SyscallContext<'_>, seconds: u32) -> Result<u64> {
    let next_ns = if seconds == 0 { 0 } else { time::now_ns() + u64::from(seconds) * NS_PER_S };
    let left_ns = set_alarm(context, Setting { next_ns, interval_ns: 0 })?.left_ns(time::now_ns());
    let rounded = (left_ns + NS_PER_S / 2) / NS_PER_S;
    Ok(if left_ns > 0 { rounded.max(1) } else { 0 })
}

/// The timers that count the CPU time of the process are not there.
fn real_only(which: u32) -> Result<()> {
    if which == abi::ITIMER_REAL { Ok(()) } else { Err(Errno::EINVAL) }
}

fn set_alarm(context: &SyscallContext<'_>, setting: Setting) -> Result<Setting> {
    let process = &context.thread.process;
    match process.alarm_if_any() {
        None if setting.next_ns == 0 => Ok(Setting::default()),
        _ => process.alarm().map(|alarm: &Arc<Timer>| alarm.set(setting)),
    }
}

/// Reads a `struct itimerval`. Errors: `EFAULT`, `EINVAL`.
fn read_setting(context: &SyscallContext<'_>, addr: UserAddr) -> Result<Setting> {
    let [interval_s, interval_us, s, us] = context.mm().read::<[i64; 4]>(addr)?;
    let spec = |sec, us: i64| TimeSpec { sec, nsec: us.saturating_mul(NS_PER_US as i64) };
    ITimerSpec { interval: spec(interval_s, interval_us), value: spec(s, us) }.setting(false, false)
}

fn write_setting(context: &SyscallContext<'_>, addr: UserAddr, setting: Setting) -> Result<()> {
    let ITimerSpec { interval, value } = ITimerSpec::of(setting);
    // What is left is never told as nothing.
    let micros = |time: TimeSpec| time.nsec / NS_PER_US as i64;
    let rest = if value.sec == 0 && value.nsec > 0 { micros(value).max(1) } else { micros(value) };
    context.mm().write(addr, &[interval.sec, micros(interval), value.sec, rest])
}
