//! pipe, pipe2, eventfd, eventfd2.
use super::paths::only;
use super::{SyscallContext, UserAddr};
use crate::files::{EventFd, Pipe};
use base::Result;
use fs::vfs::{OpenFlags, fput};
use linux_raw_sys::general as abi;

/// `pipe2`. Errors: as pipe(2).
pub fn pipe2(context: &mut SyscallContext<'_>, out: UserAddr, flags: u32) -> Result<u64> {
    only(flags, abi::O_CLOEXEC | abi::O_NONBLOCK)?;
    let process = context.process();
    let close_on_exec = flags & abi::O_CLOEXEC != 0;
    let (reader, writer) = Pipe::open(OpenFlags::from_bits_truncate(flags & abi::O_NONBLOCK));
    let read_fd = process.install(reader, close_on_exec)?;
    let installed = process.install(writer, close_on_exec).and_then(|write_fd| {
        let told = context.mm().write(out, &[read_fd, write_fd]);
        if told.is_err() {
            process.files.remove(write_fd).map(fput)?;
        }
        told
    });
    if installed.is_err() {
        process.files.remove(read_fd).map(fput)?;
    }
    installed.map(|()| 0)
}

/// `eventfd2`. Errors: as eventfd(2).
pub fn eventfd2(context: &mut SyscallContext<'_>, initial: u32, flags: u32) -> Result<u64> {
    only(flags, abi::EFD_CLOEXEC | abi::EFD_NONBLOCK | abi::EFD_SEMAPHORE)?;
    let file = EventFd::open(initial, flags & abi::EFD_SEMAPHORE != 0, flags & abi::EFD_NONBLOCK != 0);
    context.process().install(file, flags & abi::EFD_CLOEXEC != 0).map(u64::from)
}
