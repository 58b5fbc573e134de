//! futex.
use super::time::{TimeSpec, realtime_deadline};
use super::{SyscallContext, UserAddr};
use crate::process::{Deadline, FUTEX_MATCH_ANY, FutexKey};
use base::{Errno, Result};
use linux_raw_sys::general as abi;

/// `futex`. Errors: `EAGAIN`, `ETIMEDOUT`, `EINTR`, `EFAULT`, `EINVAL`, `ENOSYS` (operation).
pub fn futex(
    context: &mut SyscallContext<'_>,
    addr: UserAddr,
    operation: u32,
    value: u32,
    timeout: u64,
    addr2: UserAddr,
    value3: u32,
) -> Result<u64> {
    let futexes = &context.process().system.futexes;
    let private = operation & abi::FUTEX_PRIVATE_FLAG != 0;
    let key_of = |addr| FutexKey::new(context.mm(), addr, private);
    let key = || key_of(addr);
    match operation & !(abi::FUTEX_PRIVATE_FLAG | abi::FUTEX_CLOCK_REALTIME) {
        abi::FUTEX_WAIT => {
            let deadline = context.thread.deadline_after(super::time::read_timeout(context, timeout)?);
            futexes.wait(context.thread, (key()?, addr), value, FUTEX_MATCH_ANY, deadline).map(|()| 0)
        }
        abi::FUTEX_WAIT_BITSET => {
            let deadline = absolute_deadline(context, timeout, operation & abi::FUTEX_CLOCK_REALTIME != 0)?;
            futexes.wait(context.thread, (key()?, addr), value, checked_bitset(value3)?, deadline).map(|()| 0)
        }
        abi::FUTEX_WAKE => Ok(futexes.wake(key()?, count(value), FUTEX_MATCH_ANY) as u64),
        abi::FUTEX_WAKE_BITSET => Ok(futexes.wake(key()?, count(value), checked_bitset(value3)?) as u64),
        op @ (abi::FUTEX_REQUEUE | abi::FUTEX_CMP_REQUEUE) => {
            let expected = (op == abi::FUTEX_CMP_REQUEUE).then_some((addr, value3));
            let keys = (key()?, key_of(addr2)?);
            // The fourth argument is a number here, not a pointer.
            let counts = (count(value), count(timeout as u32));
            futexes.requeue(context.mm(), keys, counts, expected).map(|n| n as u64)
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn absolute_deadline(context: &SyscallContext<'_>, addr: UserAddr, realtime: bool) -> Result<Deadline> {
    if addr == 0 {
        return Ok(None);
    }
    let at_ns = context.mm().read::<TimeSpec>(addr)?.to_ns()?;
    Ok(Some(if realtime { realtime_deadline(at_ns) } else { at_ns }))
}

fn checked_bitset(bitset: u32) -> Result<u32> {
    if bitset == 0 { Err(Errno::EINVAL) } else { Ok(bitset) }
}

/// A count of the ABI is an `int`; a negative one means none.
fn count(value: u32) -> usize {
    usize::try_from(value as i32).unwrap_or(0)
}
