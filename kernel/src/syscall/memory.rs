//! mmap and its family.
use super::{SyscallContext, UserAddr};
use crate::mm::{Backing, MapRequest, PAGE, Placement, affordable};
use base::{Errno, Result};
use fs::vfs;
use hal::user::Prot;
use linux_raw_sys::general as abi;

/// `mmap`. Errors: `EINVAL`, `EBADF`, `EACCES`, `ENODEV` (the file cannot be mapped so), `ENOMEM`, `EEXIST`, `EPERM`.
pub fn mmap(
    context: &mut SyscallContext<'_>,
    addr: UserAddr,
    len: u64,
    prot: u32,
    flags: u32,
    fd: u32,
    offset: u64,
) -> Result<u64> {
    let prot = decode_prot(prot)?;
    let shared = match flags & abi::MAP_TYPE {
        abi::MAP_PRIVATE => false,
        abi::MAP_SHARED | abi::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    if !offset.is_multiple_of(PAGE) || flags & abi::MAP_HUGETLB != 0 {
        return Err(Errno::EINVAL);
    }
    let backing = if flags & abi::MAP_ANONYMOUS != 0 {
        if prot.write && flags & abi::MAP_NORESERVE == 0 && !affordable(len) {
            return Err(Errno::ENOMEM);
        }
        Backing::Anonymous
    } else {
        file_backing(context, fd, offset, prot, shared)?
    };
    let placement = match flags {
        _ if flags & abi::MAP_FIXED_NOREPLACE != 0 => Placement::FixedNoReplace(addr),
        _ if flags & abi::MAP_FIXED != 0 => Placement::Fixed(addr),
        _ => Placement::Hint(addr),
    };
    let at = context.mm().map(MapRequest { placement, len, prot, shared, backing })?;
    if flags & abi::MAP_POPULATE != 0 {
        // Pages of a file are not made dirty before somebody stores to them.
        let copies = prot.write && !shared;
        let access = if copies { crate::mm::Access::Write } else { crate::mm::Access::Read };
        context.mm().fault_in(at, len as usize, access);
    }
    Ok(at)
}

/// The file behind `fd`, checked for a mapping.
fn file_backing(context: &SyscallContext<'_>, fd: u32, offset: u64, prot: Prot, shared: bool) -> Result<Backing> {
    let file = context.file(fd)?;
    if !file.readable() || (shared && prot.write && !file.writable()) {
        return Err(Errno::EACCES);
    }
    let inode = file.inode.as_ref().filter(|inode| inode.kind == vfs::FileType::Regular).ok_or(Errno::ENODEV)?;
    // Copies, which is what a file without a page cache gives, cannot be shared.
    if shared && crate::mm::cached_inode(&file).is_none() {
        return Err(Errno::ENODEV);
    }
    // A store goes anywhere, not only to the end.
    if shared && file.writable() && inode.with_attr(|attr| attr.append_only) {
        return Err(Errno::EACCES);
    }
    Ok(Backing::File { file, offset })
}

/// `munmap`. Errors: `EINVAL`.
pub fn munmap(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64) -> Result<u64> {
    context.mm().unmap(addr, len).map(|()| 0)
}

/// `mprotect`. Errors: `EINVAL`, `ENOMEM`, `EACCES`.
pub fn mprotect(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64, prot: u32) -> Result<u64> {
    context.mm().protect(addr, len, decode_prot(prot)?).map(|()| 0)
}

/// `brk`: never fails, but gives the end of the heap as it is.
pub fn brk(context: &mut SyscallContext<'_>, addr: UserAddr) -> Result<u64> {
    Ok(context.mm().brk(addr))
}

/// `mremap`: `ENOSYS`.
pub fn mremap(_context: &mut SyscallContext<'_>) -> Result<u64> {
    Err(Errno::ENOSYS)
}

/// `msync` (MM-7): of what shared mappings of files show, `MS_SYNC` is an fsync, file after file; `MS_ASYNC` starts writeback. Errors:
/// `EINVAL`, `ENOMEM` (part of it is not mapped; the rest is done), `EIO`, `ENOSPC`.
pub fn msync(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64, flags: u32) -> Result<u64> {
    let known = abi::MS_ASYNC | abi::MS_SYNC | abi::MS_INVALIDATE;
    if flags & !known != 0 || flags & (abi::MS_ASYNC | abi::MS_SYNC) == abi::MS_ASYNC | abi::MS_SYNC {
        return Err(Errno::EINVAL);
    }
    let (files, covered) = context.mm().shared_files(addr, len)?;
    for part in files {
        match &part.file.inode {
            _ if flags & abi::MS_SYNC != 0 => vfs::fsync_range(&part.file, part.bytes)?,
            Some(inode) if flags & abi::MS_ASYNC != 0 => fs::iomap::write_range(inode, part.bytes, false)?,
            _ => {}
        }
    }
    if covered { Ok(0) } else { Err(Errno::ENOMEM) }
}

/// `madvise`. Errors: `EINVAL`, `ENOMEM`.
pub fn madvise(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64, advice: u32) -> Result<u64> {
    match advice {
        abi::MADV_DONTNEED => context.mm().discard(addr, len)?,
        abi::MADV_NORMAL
        | abi::MADV_RANDOM
        | abi::MADV_SEQUENTIAL
        | abi::MADV_WILLNEED
        | abi::MADV_FREE
        | abi::MADV_HUGEPAGE
        | abi::MADV_NOHUGEPAGE
        | abi::MADV_DONTDUMP
        | abi::MADV_DODUMP => {
            context.mm().is_mapped(addr, len)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `PROT_*` to rights. On x86 what can be written or executed can be read.
fn decode_prot(prot: u32) -> Result<Prot> {
    if prot & !(abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let write = prot & abi::PROT_WRITE != 0;
    let exec = prot & abi::PROT_EXEC != 0;
    Ok(Prot { read: prot & abi::PROT_READ != 0 || write || exec, write, exec })
}
