//! Calls that wait with another signal mask: ppoll, pselect6, io_pgetevents.
use super::{SyscallContext, UserAddr};
use crate::process::SigSet;
use base::{Errno, Result};

/// Does `call` with the mask at `mask`; with the present one if that is null. A signal that ends it is delivered under the call's mask.
/// Errors: `EFAULT`, `EINVAL` for a mask of another length; those of the call.
pub fn with_mask<'a>(
    context: &mut SyscallContext<'a>,
    mask: UserAddr,
    len: u64,
    call: impl FnOnce(&mut SyscallContext<'a>) -> Result<u64>,
) -> Result<u64> {
    if mask == 0 {
        return call(context);
    }
    if len != size_of::<SigSet>() as u64 {
        return Err(Errno::EINVAL);
    }
    let set = context.mm().read::<SigSet>(mask)?;
    let saved = context.thread.blocked();
    context.thread.set_blocked(set);
    let result = call(context);
    if result == Err(Errno::EINTR) {
        // The handler's return restores the old one.
        context.thread.restore_after_signal(saved);
    } else {
        context.thread.set_blocked(saved);
    }
    result
}
