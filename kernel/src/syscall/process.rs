//! New threads and processes, other programs, and the end of them.
use super::{SyscallContext, UserAddr};
use crate::process::{CloneRequest, ExitStatus, Fork, Signal, clone_process, clone_thread, exit_thread_now};
use base::sync::atomic::Ordering;
use base::{Errno, Result};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// What a thread shares with its creator: all of it.
const THREAD: u32 = abi::CLONE_VM | abi::CLONE_FS | abi::CLONE_FILES | abi::CLONE_SIGHAND | abi::CLONE_THREAD;
/// What a process may share with its creator, or ask for.
const PROCESS: u32 = abi::CLONE_VM | abi::CLONE_VFORK;
/// What both understand.
const OPTIONS: u32 = abi::CLONE_SYSVSEM
    | abi::CLONE_SETTLS
    | abi::CLONE_PARENT_SETTID
    | abi::CLONE_CHILD_SETTID
    | abi::CLONE_CHILD_CLEARTID
    | abi::CLONE_DETACHED;
/// Of clone3 alone: the child starts without handlers.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
/// The low byte of clone's flags is the exit signal.
const SIGNAL_MASK: u32 = 0xff;

/// `clone`: a thread, or a process that shares at most its memory. Errors: `EINVAL` (another mixture), `ENOMEM`, `EAGAIN`, `EFAULT`, `EPERM`.
pub fn clone(
    context: &mut SyscallContext<'_>,
    flags: u64,
    stack: UserAddr,
    parent_tid: UserAddr,
    child_tid: UserAddr,
    tls: u64,
) -> Result<u64> {
    let flags = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    let signal = exit_signal(flags & SIGNAL_MASK)?;
    let ids = Ids { parent_tid, child_tid, tls };
    new_task(context, u64::from(flags & !SIGNAL_MASK), signal, stack, &ids)
}

/// `struct clone_args`, all versions of which the kernel headers know.
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3`. Errors: `EINVAL` (also for what clone has not: pidfd, set_tid, cgroup), `E2BIG`, `ENOMEM`, `EAGAIN`, `EFAULT`, `EPERM`.
pub fn clone3(context: &mut SyscallContext<'_>, args: UserAddr, size: u64) -> Result<u64> {
    const SMALLEST: u64 = 64;
    let mut known = CloneArgs::new_zeroed();
    if size < SMALLEST {
        return Err(Errno::EINVAL);
    }
    let Some(bytes) = known.as_mut_bytes().get_mut(..size as usize) else { return Err(Errno::E2BIG) };
    context.mm().read_bytes(args, bytes)?;
    let signal = exit_signal(u32::try_from(known.exit_signal).map_err(|_| Errno::EINVAL)?)?;
    let odd_stack = (known.stack == 0) != (known.stack_size == 0);
    if known.flags & u64::from(SIGNAL_MASK) != 0 || known.set_tid_size != 0 || known.cgroup != 0 || odd_stack {
        return Err(Errno::EINVAL);
    }
    let stack = known.stack.checked_add(known.stack_size).ok_or(Errno::EINVAL)?;
    let ids = Ids { parent_tid: known.parent_tid, child_tid: known.child_tid, tls: known.tls };
    new_task(context, known.flags, signal, stack, &ids)
}

/// `fork`. Errors: `ENOMEM`, `EAGAIN`.
pub fn fork(context: &mut SyscallContext<'_>) -> Result<u64> {
    clone_process(context.thread, context.user, &CloneRequest::default(), &Fork::default()).map(u64::from)
}

/// `vfork`: the child runs in the caller's memory, which sleeps meanwhile. Errors: `ENOMEM`, `EAGAIN`.
pub fn vfork(context: &mut SyscallContext<'_>) -> Result<u64> {
    let fork = Fork { share_memory: true, vfork: true, ..Fork::default() };
    clone_process(context.thread, context.user, &CloneRequest::default(), &fork).map(u64::from)
}

/// Where clone stores ids, and what it loads for the new thread.
struct Ids {
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
}

fn new_task(
    context: &mut SyscallContext<'_>,
    all_flags: u64,
    exit_signal: Option<Signal>,
    stack: u64,
    ids: &Ids,
) -> Result<u64> {
    let flags = u32::try_from(all_flags & !CLONE_CLEAR_SIGHAND).map_err(|_| Errno::EINVAL)?;
    let given = |flag: u32, value: u64| (flags & flag != 0).then_some(value);
    let request = CloneRequest {
        stack,
        share_undo: flags & abi::CLONE_SYSVSEM != 0,
        tls: given(abi::CLONE_SETTLS, ids.tls),
        parent_tid: given(abi::CLONE_PARENT_SETTID, ids.parent_tid),
        child_tid: given(abi::CLONE_CHILD_SETTID, ids.child_tid),
        clear_child_tid: given(abi::CLONE_CHILD_CLEARTID, ids.child_tid),
    };
    if flags & abi::CLONE_THREAD != 0 {
        if flags & THREAD != THREAD || all_flags & !u64::from(THREAD | OPTIONS) != 0 {
            return Err(Errno::EINVAL);
        }
        return clone_thread(context.thread, context.user, &request).map(u64::from);
    }
    if flags & !(PROCESS | OPTIONS) != 0 {
        return Err(Errno::EINVAL);
    }
    let fork = Fork {
        share_memory: flags & abi::CLONE_VM != 0,
        vfork: flags & abi::CLONE_VFORK != 0,
        exit_signal,
        reset_handlers: all_flags & CLONE_CLEAR_SIGHAND != 0,
    };
    clone_process(context.thread, context.user, &request, &fork).map(u64::from)
}

/// Errors: `EINVAL`: no signal.
fn exit_signal(number: u32) -> Result<Option<Signal>> {
    if number == 0 { Ok(None) } else { Signal::from_number(number).map(Some).ok_or(Errno::EINVAL) }
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
