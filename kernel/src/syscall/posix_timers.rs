//! timer_create and its family: timers that send a signal.
use super::paths::only;
use super::timers::ITimerSpec;
use super::{SyscallContext, UserAddr};
use crate::process::{Process, SigInfo, Signal};
use crate::timers::PosixTimer;
use alloc::boxed::Box;
use base::sync::{Arc, Weak};
use base::{Errno, Result};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, IntoBytes};

/// The longest `struct sigevent`, of which only the beginning means anything.
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
struct SigEvent {
    value: u64,
    signal: i32,
    notify: u32,
    tid: u32,
    rest: [u32; 11],
}

/// Whom an expiry tells.
#[derive(Clone, Copy)]
enum Notify {
    Nobody,
    Process(Signal, u64),
    Thread(u32, Signal, u64),
}

/// `timer_create`. Errors: `EINVAL`, `EOPNOTSUPP` (clocks that wake a sleeping machine, or count CPU time), `EAGAIN` (too many), `ENOMEM`, `EFAULT`.
pub fn timer_create(context: &mut SyscallContext<'_>, clock: u32, event: UserAddr, out: UserAddr) -> Result<u64> {
    let realtime = match clock {
        abi::CLOCK_REALTIME | abi::CLOCK_TAI => true,
        abi::CLOCK_MONOTONIC | abi::CLOCK_BOOTTIME => false,
        abi::CLOCK_PROCESS_CPUTIME_ID | abi::CLOCK_THREAD_CPUTIME_ID => return Err(Errno::EOPNOTSUPP),
        abi::CLOCK_REALTIME_ALARM | abi::CLOCK_BOOTTIME_ALARM => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    let process = &context.thread.process;
    let id = process.timers.new_id();
    let notify = match event {
        0 => Notify::Process(Signal::SIGALRM, id.into()),
        _ => notify(process, &context.mm().read(event)?)?,
    };
    let told = teller(Arc::downgrade(process), id, notify);
    let timer = process.system.timers.add(false, told)?;
    process.timers.add(id, PosixTimer::new(timer, realtime))?;
    context.mm().write(out, &id).inspect_err(|_| _ = process.timers.remove(id))?;
    Ok(0)
}

/// Errors: `EINVAL`.
fn notify(process: &Process, event: &SigEvent) -> Result<Notify> {
    if event.notify == abi::SIGEV_NONE {
        return Ok(Notify::Nobody);
    }
    let signal = u32::try_from(event.signal).ok().and_then(Signal::from_number).ok_or(Errno::EINVAL)?;
    match event.notify {
        // A thread of its own is the affair of the C library.
        abi::SIGEV_SIGNAL | abi::SIGEV_THREAD => Ok(Notify::Process(signal, event.value)),
        abi::SIGEV_THREAD_ID if process.thread(event.tid).is_some() => {
            Ok(Notify::Thread(event.tid, signal, event.value))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Tells of an expiry. While the signal of one waits, others are only counted; one that got lost, because it was ignored, is sent again.
fn teller(process: Weak<Process>, id: u32, notify: Notify) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || {
        let Some(process) = process.upgrade() else { return };
        // Without room for what comes with it the signal is sent all the same.
        match notify {
            Notify::Nobody => {}
            Notify::Process(..) if process.timer_signal_waits(id) => {}
            Notify::Process(signal, value) => _ = process.send(signal, SigInfo::timer(id, value)),
            Notify::Thread(tid, signal, value) => {
                if let Some(thread) = process.thread(tid).filter(|thread| !thread.timer_signal_waits(id)) {
                    let _ = thread.send(signal, SigInfo::timer(id, value));
                }
            }
        }
    })
}

/// `timer_settime`. Errors: `EINVAL`, `EFAULT`.
pub fn timer_settime(
    context: &mut SyscallContext<'_>,
    id: u32,
    flags: u32,
    new: UserAddr,
    old: UserAddr,
) -> Result<u64> {
    only(flags, abi::TIMER_ABSTIME)?;
    let this = context.process().timers.get(id)?;
    let new = context.mm().read::<ITimerSpec>(new)?;
    let before = this.timer.set(new.setting(flags & abi::TIMER_ABSTIME != 0, this.realtime)?);
    if old != 0 {
        context.mm().write(old, &ITimerSpec::of(before))?;
    }
    Ok(0)
}

/// `timer_gettime`. Errors: `EINVAL`, `EFAULT`.
pub fn timer_gettime(context: &mut SyscallContext<'_>, id: u32, out: UserAddr) -> Result<u64> {
    let setting = context.process().timers.get(id)?.timer.setting();
    context.mm().write(out, &ITimerSpec::of(setting)).map(|()| 0)
}

/// `timer_getoverrun`. Errors: `EINVAL`.
pub fn timer_getoverrun(context: &mut SyscallContext<'_>, id: u32) -> Result<u64> {
    context.process().timers.get(id).map(|this| this.overruns().into())
}

/// `timer_delete`. Errors: `EINVAL`.
pub fn timer_delete(context: &mut SyscallContext<'_>, id: u32) -> Result<u64> {
    context.process().timers.remove(id).map(|()| 0)
}
