//! wait4, waitid: the end of children.
use super::{SyscallContext, UserAddr};
use crate::process::{Ended, ExitStatus, Signal, Which};
use base::{Errno, Result};
use linux_raw_sys::general as abi;

/// Which kind of child a wait is for makes no difference here.
const KINDS: u32 = abi::__WALL | abi::__WCLONE | abi::__WNOTHREAD;

/// `wait4`: the id of a child that has ended, or 0 with `WNOHANG` if none has. `WUNTRACED` and `WCONTINUED` never report anything, because
/// nothing stops. The usage is 0. Errors: `ECHILD`, `EINTR`, `EINVAL`, `EFAULT`.
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
    let Some(ended) = wait(context, which, options & abi::WNOHANG == 0, false)? else { return Ok(0) };
    if status != 0 {
        context.mm().write(status, &ended.status.to_wait_status())?;
    }
    if usage != 0 {
        context.mm().write(usage, &[0u64; 18])?;
    }
    Ok(u64::from(ended.pid))
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
    let ended = wait(context, which, options & abi::WNOHANG == 0, options & abi::WNOWAIT != 0)?;
    if info != 0 {
        context.mm().write(info, &ended.map_or([0; 32], |ended| siginfo(&ended)))?;
    }
    if usage != 0 {
        context.mm().write(usage, &[0u64; 18])?;
    }
    Ok(0)
}

fn own_group(context: &SyscallContext<'_>) -> Result<u32> {
    let process = context.process();
    process.system.family.group(process.pid)
}

/// Waits for a child, if it may `sleep`; with `keep` it can be waited for again.
fn wait(context: &SyscallContext<'_>, which: Which, sleep: bool, keep: bool) -> Result<Option<Ended>> {
    let process = context.process();
    let family = &process.system.family;
    loop {
        let mut found = family.reap(process.pid, which, keep);
        if sleep && matches!(found, Ok(None)) {
            process.children.wait_interruptible(|| {
                found = family.reap(process.pid, which, keep);
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

/// `siginfo_t` of a child: number, error, code, then id, user and status.
fn siginfo(ended: &Ended) -> [u32; 32] {
    let mut info = [0; 32];
    let (code, status) = match ended.status {
        ExitStatus::Code(code) => (abi::CLD_EXITED, u32::from(code)),
        ExitStatus::Killed(signal) => (abi::CLD_KILLED, signal.number()),
    };
    for (place, value) in [(0, Signal::SIGCHLD.number()), (2, code), (4, ended.pid), (5, ended.uid), (6, status)] {
        info[place] = value;
    }
    info
}
