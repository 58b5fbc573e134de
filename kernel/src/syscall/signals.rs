//! Signal actions, masks, and sending.
use super::{SyscallContext, UserAddr};
use crate::process::{Action, AltStack, Process, SigInfo, SigSet, Signal, Thread, sleep_interruptible};
use base::{Errno, Result};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of a signal set, which the calls are told.
const SET_SIZE: u64 = 8;
/// The smallest alternate stack that is taken.
const MIN_STACK: u64 = 2048;

/// `rt_sigaction`. Errors: `EINVAL`, `EFAULT`.
pub fn rt_sigaction(
    context: &mut SyscallContext<'_>,
    signal: u32,
    action: UserAddr,
    old: UserAddr,
    size: u64,
) -> Result<u64> {
    let signal = Signal::from_number(signal).ok_or(Errno::EINVAL)?;
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let new = if action == 0 { None } else { Some(context.mm().read::<Action>(action)?) };
    if new.is_some() && (signal == Signal::SIGKILL || signal == Signal::SIGSTOP) {
        return Err(Errno::EINVAL);
    }
    let before = {
        let mut actions = context.process().actions.lock();
        let before = actions.get(signal);
        if let Some(mut new) = new {
            new.mask = new.mask.blockable();
            actions.set(signal, new);
        }
        before
    };
    if new.is_some() && context.process().ignores(signal) {
        context.process().forget_ignored(signal);
    }
    if old != 0 {
        context.mm().write(old, &before)?;
    }
    Ok(0)
}

/// `rt_sigprocmask`. Errors: `EINVAL`, `EFAULT`.
pub fn rt_sigprocmask(
    context: &mut SyscallContext<'_>,
    how: u32,
    set: UserAddr,
    old: UserAddr,
    size: u64,
) -> Result<u64> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let before = context.thread.blocked();
    if set != 0 {
        let set = context.mm().read::<SigSet>(set)?;
        context.thread.set_blocked(match how {
            abi::SIG_BLOCK => before.union(set),
            abi::SIG_UNBLOCK => before.without(set),
            abi::SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        });
    }
    if old != 0 {
        context.mm().write(old, &before)?;
    }
    Ok(0)
}

/// `rt_sigpending`. Errors: `EINVAL`, `EFAULT`.
pub fn rt_sigpending(context: &mut SyscallContext<'_>, set: UserAddr, size: u64) -> Result<u64> {
    if size > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let pending = SigSet(context.thread.pending().0 & context.thread.blocked().0);
    context.mm().write_bytes(set, pending.as_bytes().get(..size as usize).unwrap_or_default())?;
    Ok(0)
}

/// `rt_sigsuspend`. Always an error: `EINTR`, or `EINVAL`, `EFAULT`.
pub fn rt_sigsuspend(context: &mut SyscallContext<'_>, set: UserAddr, size: u64) -> Result<u64> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let set = context.mm().read::<SigSet>(set)?;
    let saved = context.thread.blocked();
    context.thread.set_blocked(set);
    let result = pause(context);
    context.thread.restore_after_signal(saved);
    result
}

/// `pause`: sleeps until a signal. Always `EINTR`.
pub fn pause(context: &mut SyscallContext<'_>) -> Result<u64> {
    sleep_interruptible(context.thread, None, || None::<()>)?;
    Err(Errno::EINTR)
}

/// `rt_sigreturn`: back from a handler. The registers are those of the frame afterwards, `rax` included.
pub fn rt_sigreturn(context: &mut SyscallContext<'_>) -> Result<u64> {
    if crate::process::sigreturn(context.thread, context.user).is_err() {
        crate::process::force_fault(context.thread, Signal::SIGSEGV);
    }
    Ok(context.user.regs.rax)
}

/// `stack_t`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct StackT {
    base: u64,
    flags: u32,
    padding: u32,
    len: u64,
}

/// `sigaltstack`. Errors: `EINVAL`, `ENOMEM` (too small), `EPERM` (in use), `EFAULT`.
pub fn sigaltstack(context: &mut SyscallContext<'_>, new: UserAddr, old: UserAddr) -> Result<u64> {
    let before = *context.thread.alt_stack.lock();
    let in_use = before.contains(context.user.regs.rsp);
    let flags = match before.len {
        0 => abi::SS_DISABLE,
        _ if in_use => abi::SS_ONSTACK,
        _ => 0,
    };
    let new = if new == 0 { None } else { Some(context.mm().read::<StackT>(new)?) };
    if old != 0 {
        context.mm().write(old, &StackT { base: before.base, flags, padding: 0, len: before.len })?;
    }
    if let Some(new) = new {
        if in_use {
            return Err(Errno::EPERM);
        }
        let stack = match new.flags {
            abi::SS_DISABLE => AltStack::default(),
            0 | abi::SS_ONSTACK if new.len < MIN_STACK => return Err(Errno::ENOMEM),
            0 | abi::SS_ONSTACK => AltStack { base: new.base, len: new.len },
            _ => return Err(Errno::EINVAL),
        };
        *context.thread.alt_stack.lock() = stack;
    }
    Ok(0)
}

/// `rt_sigtimedwait`: takes a signal of the set that waits, or the next that comes. Errors: `EAGAIN` (none came in time), `EINTR`, `EINVAL`,
/// `EFAULT`.
pub fn rt_sigtimedwait(
    context: &mut SyscallContext<'_>,
    set: UserAddr,
    info: UserAddr,
    timeout: UserAddr,
    size: u64,
) -> Result<u64> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let set = context.mm().read::<SigSet>(set)?.blockable();
    let deadline = context.thread.deadline_after(super::time::read_timeout(context, timeout)?);
    let (signal, told) = context.thread.await_signal(set, deadline)?.ok_or(Errno::EAGAIN)?;
    if info != 0 {
        context.mm().write(info, &told)?;
    }
    Ok(u64::from(signal.number()))
}

/// A signal to send; `None` for 0, which only checks the target. Errors: `EINVAL`.
fn sendable(signal: u32) -> Result<Option<Signal>> {
    if signal == 0 { Ok(None) } else { Signal::from_number(signal).map(Some).ok_or(Errno::EINVAL) }
}

/// What comes with a signal that the caller sends by `code`.
fn from_caller(context: &SyscallContext<'_>, code: i32) -> SigInfo {
    let process = context.process();
    SigInfo::sent(code, process.pid, process.credentials.lock().uid)
}

/// `kill`: a process, a group, or with -1 all but the first process and the caller. Errors: `EINVAL`, `ESRCH`, `EPERM`.
pub fn kill(context: &mut SyscallContext<'_>, pid: i32, signal: u32) -> Result<u64> {
    let signal = sendable(signal)?;
    let own = context.process();
    let family = &own.system.family;
    let targets = match pid {
        ..-1 => family.of_group(pid.unsigned_abs()),
        -1 => family.all().into_iter().filter(|process| process.pid > 1 && process.pid != own.pid).collect(),
        0 => family.of_group(family.group(own.pid)?),
        _ => family.get(pid.unsigned_abs()).into_iter().collect::<alloc::vec::Vec<_>>(),
    };
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    let info = from_caller(context, abi::SI_USER as i32);
    let mut sent = 0;
    for process in targets.iter().filter(|process| may_signal(own, process)) {
        sent += 1;
        // Without room for the sender it is sent all the same.
        let _ = signal.map(|signal| process.send(signal, info));
    }
    if sent == 0 { Err(Errno::EPERM) } else { Ok(0) }
}

/// Root may send signals to all, others to who has their user id.
fn may_signal(from: &Process, to: &Process) -> bool {
    let (uid, euid) = {
        let own = from.credentials.lock();
        (own.uid, own.euid)
    };
    let other = to.credentials.lock();
    euid == 0 || [uid, euid].iter().any(|id| *id == other.uid || *id == other.suid)
}

/// `tkill`. Errors: `EINVAL`, `ESRCH`, `EPERM`.
pub fn tkill(context: &mut SyscallContext<'_>, tid: u32, signal: u32) -> Result<u64> {
    let signal = sendable(signal)?;
    let process = context.process();
    let thread = process.thread(tid).or_else(|| process.system.thread(tid)).ok_or(Errno::ESRCH)?;
    let _ = send_to_thread(context, &thread, signal, from_caller(context, abi::SI_TKILL))?;
    Ok(0)
}

/// `tgkill`. Errors: `EINVAL`, `ESRCH`, `EPERM`.
pub fn tgkill(context: &mut SyscallContext<'_>, tgid: u32, tid: u32, signal: u32) -> Result<u64> {
    let signal = sendable(signal)?;
    let process = context.process().system.process(tgid).ok_or(Errno::ESRCH)?;
    let thread = process.thread(tid).ok_or(Errno::ESRCH)?;
    let _ = send_to_thread(context, &thread, signal, from_caller(context, abi::SI_TKILL))?;
    Ok(0)
}

/// Sends to a thread that the caller may send to; whether there was room for it. Errors: `EPERM`.
fn send_to_thread(
    context: &SyscallContext<'_>,
    thread: &Thread,
    signal: Option<Signal>,
    info: SigInfo,
) -> Result<Result<()>> {
    if !may_signal(context.process(), &thread.process) {
        return Err(Errno::EPERM);
    }
    Ok(signal.map_or(Ok(()), |signal| thread.send(signal, info)))
}

/// `rt_sigqueueinfo`: to a process, with what the caller gives. Errors: `EAGAIN` (too many wait), `EINVAL`, `ESRCH`, `EPERM`, `EFAULT`.
pub fn rt_sigqueueinfo(context: &mut SyscallContext<'_>, pid: u32, signal: u32, info: UserAddr) -> Result<u64> {
    let signal = sendable(signal)?;
    let info = read_info(context, pid, info)?;
    let process = context.process().system.process(pid).ok_or(Errno::ESRCH)?;
    if !may_signal(context.process(), &process) {
        return Err(Errno::EPERM);
    }
    signal.map_or(Ok(()), |signal| process.send(signal, info)).map(|()| 0)
}

/// `rt_tgsigqueueinfo`: the same, to a thread. Errors: as `rt_sigqueueinfo`.
pub fn rt_tgsigqueueinfo(
    context: &mut SyscallContext<'_>,
    tgid: u32,
    tid: u32,
    signal: u32,
    info: UserAddr,
) -> Result<u64> {
    let signal = sendable(signal)?;
    let info = read_info(context, tgid, info)?;
    let process = context.process().system.process(tgid).ok_or(Errno::ESRCH)?;
    let thread = process.thread(tid).ok_or(Errno::ESRCH)?;
    send_to_thread(context, &thread, signal, info)?.map(|()| 0)
}

/// What the caller wants to come with a signal to `pid`. To others nobody can say that it comes from the kernel or by `tkill`. Errors:
/// `EFAULT`, `EPERM`.
fn read_info(context: &SyscallContext<'_>, pid: u32, info: UserAddr) -> Result<SigInfo> {
    let info = context.mm().read::<SigInfo>(info)?;
    let forged = info.code() >= 0 || info.code() == abi::SI_TKILL;
    if forged && pid != context.process().pid { Err(Errno::EPERM) } else { Ok(info) }
}
