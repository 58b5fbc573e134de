//! Threads: clone, exit and what belongs to them.
use super::{SyscallContext, UserAddr};
use crate::process::{CloneThread, ExitStatus, clone_thread, exit_thread_now};
use base::sync::atomic::Ordering;
use base::{Errno, Result};
use linux_raw_sys::general as abi;

/// What a thread shares with its creator: all of it or nothing.
const THREAD: u32 = abi::CLONE_VM | abi::CLONE_FS | abi::CLONE_FILES | abi::CLONE_SIGHAND | abi::CLONE_THREAD;
/// What is understood besides.
const OPTIONS: u32 = abi::CLONE_SYSVSEM
    | abi::CLONE_SETTLS
    | abi::CLONE_PARENT_SETTID
    | abi::CLONE_CHILD_SETTID
    | abi::CLONE_CHILD_CLEARTID
    | abi::CLONE_DETACHED;

/// `clone`: a new thread. Errors: `ENOSYS` (a new process), `EINVAL`, `ENOMEM`, `EAGAIN`, `EFAULT`, `EPERM`.
pub fn clone(
    context: &mut SyscallContext<'_>,
    flags: u64,
    stack: UserAddr,
    parent_tid: UserAddr,
    child_tid: UserAddr,
    tls: u64,
) -> Result<u64> {
    let flags = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    if flags & abi::CLONE_THREAD == 0 {
        return Err(Errno::ENOSYS);
    }
    if flags & THREAD != THREAD || flags & !(THREAD | OPTIONS) != 0 {
        return Err(Errno::EINVAL);
    }
    let given = |flag: u32, value: u64| (flags & flag != 0).then_some(value);
    let request = CloneThread {
        stack,
        tls: given(abi::CLONE_SETTLS, tls),
        parent_tid: given(abi::CLONE_PARENT_SETTID, parent_tid),
        child_tid: given(abi::CLONE_CHILD_SETTID, child_tid),
        clear_child_tid: given(abi::CLONE_CHILD_CLEARTID, child_tid),
    };
    clone_thread(context.thread, context.user, &request).map(u64::from)
}

/// `fork` and `vfork`: `ENOSYS`.
pub fn fork(_context: &mut SyscallContext<'_>) -> Result<u64> {
    Err(Errno::ENOSYS)
}

/// `execve`: `ENOSYS`.
pub fn execve(_context: &mut SyscallContext<'_>) -> Result<u64> {
    Err(Errno::ENOSYS)
}

/// `wait4`: there are no child processes. `ECHILD`.
pub fn wait4(_context: &mut SyscallContext<'_>) -> Result<u64> {
    Err(Errno::ECHILD)
}

/// `exit`: ends the calling thread.
pub fn exit(context: &mut SyscallContext<'_>, code: u32) -> Result<u64> {
    exit_thread_now(context.thread, code as u8);
    Ok(0)
}

/// `exit_group`: ends the process.
pub fn exit_group(context: &mut SyscallContext<'_>, code: u32) -> Result<u64> {
    context.process().die(ExitStatus::Code(code as u8));
    Ok(0)
}

/// `set_tid_address`
pub fn set_tid_address(context: &mut SyscallContext<'_>, addr: UserAddr) -> Result<u64> {
    context.thread.clear_child_tid.store(addr, Ordering::Relaxed);
    Ok(u64::from(context.thread.tid))
}
