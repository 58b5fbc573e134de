//! io_setup and its family.
use super::masked::with_mask;
use super::time::read_timeout;
use super::{SyscallContext, UserAddr};
use base::block::Plug;
use base::{Errno, Result};

/// `io_setup` (AIO-1). Errors: `EFAULT`, `EINVAL`, `EAGAIN`, `ENOMEM`.
pub fn io_setup(context: &mut SyscallContext<'_>, count: u32, out: UserAddr) -> Result<u64> {
    if context.mm().read::<u64>(out)? != 0 {
        return Err(Errno::EINVAL);
    }
    let memory = &context.thread.mm;
    let id = memory.aio.create(memory, count)?;
    if let Err(e) = memory.write(out, &id) {
        memory.aio.destroy(memory, id)?;
        return Err(e);
    }
    Ok(0)
}

/// `io_destroy` (AIO-12). Errors: `EINVAL`.
pub fn io_destroy(context: &mut SyscallContext<'_>, id: u64) -> Result<u64> {
    let memory = &context.thread.mm;
    memory.aio.destroy(memory, id).map(|()| 0)
}

/// `io_submit` (AIO-2): in order, up to the first that fails its validation; one kick of the device for all. Errors: `EINVAL`,
/// `EFAULT`, those of the first iocb.
pub fn io_submit(context: &mut SyscallContext<'_>, id: u64, count: i64, iocbs: UserAddr) -> Result<u64> {
    let aio = context.thread.mm.aio.get(id)?;
    let count = u64::try_from(count).map_err(|_| Errno::EINVAL)?;
    let _plug = Plug::start();
    let mut done = 0;
    let mut batch = [0u64; 32];
    while done < count {
        let n = (count - done).min(batch.len() as u64) as usize;
        let addresses = batch.get_mut(..n).ok_or(Errno::EINVAL)?;
        let at = iocbs.wrapping_add(done.wrapping_mul(8));
        let read = context.mm().read_bytes(at, zerocopy::IntoBytes::as_mut_bytes(addresses));
        // A pointer that cannot be read ends the call; the ones before it in the batch are looked at one by one.
        let addresses = match read {
            Ok(()) => addresses,
            Err(_) if n > 1 => {
                let one = batch.get_mut(..1).ok_or(Errno::EINVAL)?;
                match context.mm().read_bytes(at, zerocopy::IntoBytes::as_mut_bytes(one)) {
                    Ok(()) => one,
                    Err(e) => return if done > 0 { Ok(done) } else { Err(e) },
                }
            }
            Err(e) => return if done > 0 { Ok(done) } else { Err(e) },
        };
        for &mut addr in addresses {
            match aio.submit(context.thread, addr) {
                Ok(()) => done += 1,
                Err(_) if done > 0 => return Ok(done),
                Err(e) => return Err(e),
            }
        }
    }
    Ok(done)
}

/// `io_getevents` (AIO-7). Errors: `EINVAL`, `EFAULT`, `EINTR`.
pub fn io_getevents(
    context: &mut SyscallContext<'_>,
    id: u64,
    min: i64,
    most: i64,
    events: UserAddr,
    timeout: UserAddr,
) -> Result<u64> {
    let aio = context.thread.mm.aio.get(id)?;
    let min = usize::try_from(min).map_err(|_| Errno::EINVAL)?;
    let most = usize::try_from(most).ok().filter(|&most| min <= most).ok_or(Errno::EINVAL)?;
    let deadline = context.thread.deadline_after(read_timeout(context, timeout)?);
    aio.get_events(context.thread, (min, most), events, deadline).map(|n| n as u64)
}

/// `io_pgetevents`: as `io_getevents`, with another signal mask while it waits. Errors: `EINVAL`, `EFAULT`, `EINTR`.
pub fn io_pgetevents(
    context: &mut SyscallContext<'_>,
    id: u64,
    min: i64,
    most: i64,
    events: UserAddr,
    timeout: UserAddr,
    mask: UserAddr,
) -> Result<u64> {
    if mask == 0 {
        return io_getevents(context, id, min, most, events, timeout);
    }
    let [set, size] = context.mm().read::<[u64; 2]>(mask)?;
    with_mask(context, set, size, |context| io_getevents(context, id, min, most, events, timeout))
}

/// `io_cancel` (AIO-10). Errors: `EINPROGRESS`: it is being cancelled, and its event comes; `EINVAL`: it cannot be, or is not there; `EFAULT`.
pub fn io_cancel(context: &mut SyscallContext<'_>, id: u64, iocb: UserAddr, _result: UserAddr) -> Result<u64> {
    let key = context.mm().read::<u32>(iocb.wrapping_add(8))?;
    let aio = context.thread.mm.aio.get(id)?;
    Err(if key == 0 { aio.cancel(iocb) } else { Errno::EINVAL })
}
