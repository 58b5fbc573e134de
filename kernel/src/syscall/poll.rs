//! poll, ppoll.
//!
//! Files say what is possible now; a call that must wait looks again every few milliseconds. That serves the start of a program
//! and small tools; a server would want wake-ups from each file.
use super::time::read_timeout;
use super::{SyscallContext, UserAddr};
use crate::process::sleep_interruptible;
use alloc::vec::Vec;
use base::{Errno, Result, time};
use core::mem::size_of;
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Time between two looks.
const TICK_NS: u64 = 5_000_000;

/// `struct pollfd`
#[derive(Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct PollFd {
    fd: i32,
    events: u16,
    revents: u16,
}
const _: () = assert!(size_of::<PollFd>() == size_of::<abi::pollfd>());

/// `poll`. Errors: as poll(2).
pub fn poll(context: &mut SyscallContext<'_>, fds: UserAddr, count: u64, timeout_ms: i32) -> Result<u64> {
    let timeout_ns = u64::try_from(timeout_ms).ok().map(|ms| ms * 1_000_000);
    wait(context, fds, count, timeout_ns)
}

/// `ppoll`. Errors: as ppoll(2); `ENOSYS` with a signal mask.
pub fn ppoll(
    context: &mut SyscallContext<'_>,
    fds: UserAddr,
    count: u64,
    timeout: UserAddr,
    mask: UserAddr,
) -> Result<u64> {
    if mask != 0 {
        return Err(Errno::ENOSYS);
    }
    let timeout_ns = read_timeout(context, timeout)?;
    wait(context, fds, count, timeout_ns)
}

fn wait(context: &SyscallContext<'_>, addr: UserAddr, count: u64, timeout_ns: Option<u64>) -> Result<u64> {
    if count > context.process().soft_limit(abi::RLIMIT_NOFILE) {
        return Err(Errno::EINVAL);
    }
    let mut fds: Vec<PollFd> = context.mm().read_array(addr, count as usize)?;
    let end = context.thread.deadline_after(timeout_ns);
    loop {
        let ready = fds.iter_mut().map(|fd| look(context, fd)).filter(|&ready| ready).count();
        let now = time::now_ns();
        if ready > 0 || end.is_some_and(|end| now >= end) {
            context.mm().write(addr, fds.as_slice())?;
            return Ok(ready as u64);
        }
        let next = (now + TICK_NS).min(end.unwrap_or(u64::MAX));
        sleep_interruptible(context.thread, Some(next), || None::<()>)?;
    }
}

/// Fills `revents`; true if there is something to tell.
fn look(context: &SyscallContext<'_>, fd: &mut PollFd) -> bool {
    let bit = |on: bool, bit: u32| if on { bit as u16 } else { 0 };
    fd.revents = match u32::try_from(fd.fd).map(|n| context.file(n)) {
        Err(_) => 0,
        Ok(Err(_)) => abi::POLLNVAL as u16,
        Ok(Ok(file)) => {
            let is = file.ops().readiness(&file);
            let asked = fd.events & (abi::POLLIN | abi::POLLRDNORM | abi::POLLOUT | abi::POLLWRNORM) as u16;
            let possible =
                bit(is.readable, abi::POLLIN | abi::POLLRDNORM) | bit(is.writable, abi::POLLOUT | abi::POLLWRNORM);
            (asked & possible) | bit(is.hung_up, abi::POLLHUP)
        }
    };
    fd.revents != 0
}
