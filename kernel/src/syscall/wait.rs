//! wait4, waitid: what happens to children.
use super::limits::Usage;
use super::{SyscallContext, UserAddr};
use crate::process::{Change, Changes, Child, SigInfo, Which};
use base::sched::CpuTimes;
use base::{Errno, Result};
use linux_raw_sys::general as abi;

/// Which kind of child a wait is for makes no difference here.
const KINDS: u32 = abi::__WALL | abi::__WCLONE | abi::__WNOTHREAD;

/// `wait4`: the id of a child that has ended, or also that has stopped (`WUNTRACED`) or goes on (`WCONTINUED`); 0 with `WNOHANG` if there is
/// none. Errors: `ECHILD`, `EINTR`, `EINVAL`, `EFAULT`.
pub fn wait4(
    context: &mut SyscallContext<'_>,
    pid: i32,
    status: UserAddr,
    options: u32,
    usage: UserAddr,
) -> Result<u64> {
    super::paths::only(options, abi::WNOHANG | abi::WUNTRACED | abi::WCONTINUED | KINDS)?;
    let which = match pid {
        ..-1 => Which::Group(pid.unsigned_abs()),
        -1 => Which::Any,
        0 => Which::Group(own_group(context)?),
        _ => Which::Process(pid.unsigned_abs()),
    };
    let mut wanted = Changes::ENDED;
    wanted.set(Changes::STOPPED, options & abi::WUNTRACED != 0);
    wanted.set(Changes::CONTINUED, options & abi::WCONTINUED != 0);
    let Some(child) = wait(context, which, wanted, options & abi::WNOHANG == 0, false)? else { return Ok(0) };
    if status != 0 {
        context.mm().write(status, &wait_status(child.change))?;
    }
    if usage != 0 {
        context.mm().write(usage, &Usage::of(child.times))?;
    }
    Ok(u64::from(child.pid))
}

/// What wait4 stores.
fn wait_status(change: Change) -> u32 {
    const STOPPED: u32 = 0x7f;
    const CONTINUED: u32 = 0xffff;
    match change {
        Change::Ended(status) => status.to_wait_status(),
        Change::Stopped(signal) => signal.number() << 8 | STOPPED,
        Change::Continued => CONTINUED,
    }
}

/// `waitid`: as wait4, told in a `siginfo_t`. Errors: `ECHILD`, `EINTR`, `EINVAL`, `EFAULT`.
pub fn waitid(
    context: &mut SyscallContext<'_>,
    kind: u32,
    id: u32,
    info: UserAddr,
    options: u32,
    usage: UserAddr,
) -> Result<u64> {
    let states = abi::WEXITED | abi::WSTOPPED | abi::WCONTINUED;
    super::paths::only(options, abi::WNOHANG | abi::WNOWAIT | states | KINDS)?;
    if options & states == 0 {
        return Err(Errno::EINVAL);
    }
    let which = match kind {
        abi::P_ALL => Which::Any,
        abi::P_PID => Which::Process(id),
        abi::P_PGID if id == 0 => Which::Group(own_group(context)?),
        abi::P_PGID => Which::Group(id),
        _ => return Err(Errno::EINVAL),
    };
    let mut wanted = Changes::empty();
    wanted.set(Changes::ENDED, options & abi::WEXITED != 0);
    wanted.set(Changes::STOPPED, options & abi::WSTOPPED != 0);
    wanted.set(Changes::CONTINUED, options & abi::WCONTINUED != 0);
    let child = wait(context, which, wanted, options & abi::WNOHANG == 0, options & abi::WNOWAIT != 0)?;
    let times = child.as_ref().map_or(CpuTimes::default(), |child| child.times);
    if info != 0 {
        context.mm().write(info, &child.map_or([0; 32], |child| *SigInfo::child(&child).words()))?;
    }
    if usage != 0 {
        context.mm().write(usage, &Usage::of(times))?;
    }
    Ok(0)
}

fn own_group(context: &SyscallContext<'_>) -> Result<u32> {
    let process = context.process();
    process.system.family.group(process.pid)
}

/// Waits for something `wanted` to happen to a child, if it may `sleep`; with `keep` it can be waited for again.
fn wait(context: &SyscallContext<'_>, which: Which, wanted: Changes, sleep: bool, keep: bool) -> Result<Option<Child>> {
    let process = context.process();
    let family = &process.system.family;
    loop {
        let mut found = family.reap(process.pid, which, wanted, keep);
        if sleep && matches!(found, Ok(None)) {
            process.children.wait_interruptible(|| {
                found = family.reap(process.pid, which, wanted, keep);
                !matches!(found, Ok(None))
            })?;
        }
        match found {
            // Another thread was quicker.
            Ok(None) if sleep => {}
            found => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{ExitStatus, Signal};

    #[test]
    fn what_happened_is_told_as_the_abi_says() {
        let kinds = [
            (Change::Ended(ExitStatus::Code(3)), 0x300),
            (Change::Ended(ExitStatus::Killed(Signal::SIGKILL)), 9),
            (Change::Stopped(Signal::SIGTSTP), 0x147f),
            (Change::Continued, 0xffff),
        ];
        kinds.into_iter().for_each(|(change, status)| assert_eq!(wait_status(change), status));
    }
}
