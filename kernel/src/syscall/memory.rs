//! mmap and its family.
use super::{SyscallContext, UserAddr};
use crate::mm::{Access, Backing, Locked, MapRequest, PAGE, Placement, RemapRequest, affordable, page_ceil};
use crate::process::STACK_TOP;
use base::{Errno, Result};
use core::ops::Range;
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
    if !offset.is_multiple_of(PAGE) || flags & (abi::MAP_HUGETLB | abi::MAP_GROWSDOWN) != 0 {
        return Err(Errno::EINVAL);
    }
    // Of the flags that a program must know to be understood, MAP_SYNC is none here.
    if flags & abi::MAP_TYPE == abi::MAP_SHARED_VALIDATE && flags & abi::MAP_SYNC != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let fixed = (flags & abi::MAP_FIXED != 0 && flags & abi::MAP_FIXED_NOREPLACE == 0).then_some(addr);
    check_room(context, len, fixed, !shared && prot.write)?;
    let backing = if flags & abi::MAP_ANONYMOUS == 0 {
        file_backing(context, fd, offset, prot, shared)?
    } else if prot.write && flags & abi::MAP_NORESERVE == 0 && !affordable(len) {
        return Err(Errno::ENOMEM);
    } else if shared {
        shared_memory(context, len)?
    } else {
        Backing::Anonymous
    };
    let placement = match flags {
        _ if flags & abi::MAP_FIXED_NOREPLACE != 0 => Placement::FixedNoReplace(addr),
        _ if flags & abi::MAP_FIXED != 0 => Placement::Fixed(addr),
        _ => Placement::Hint(addr),
    };
    let at = context.mm().map(MapRequest { placement, len, prot, shared, backing })?;
    if flags & abi::MAP_LOCKED != 0 {
        // As with MAP_POPULATE, the mapping is there whether its pages can be or not.
        let _locked = context.mm().lock_memory(&Locked::Range(at, len), lock_limit(context), false);
    }
    if flags & abi::MAP_POPULATE != 0 {
        // Pages of a file are not made dirty before somebody stores to them.
        let copies = prot.write && !shared;
        let access = if copies { Access::Write } else { Access::Read };
        context.mm().fault_in(at, len as usize, access);
    }
    Ok(at)
}

/// Memory that whoever is forked from now on shares: a file that nobody can open.
fn shared_memory(context: &SyscallContext<'_>, len: u64) -> Result<Backing> {
    let len = page_ceil(len).filter(|&len| len > 0).ok_or(Errno::EINVAL)?;
    let root = &context.process().system.shared_memory;
    Ok(Backing::File { file: fs::tmpfs::unnamed(root, len, 0o600, context.caller())?, offset: 0 })
}

/// Fails if memory is at its end, or if `len` bytes more, in place of what is at `fixed`, are more than `RLIMIT_AS` allows, or with `data`
/// (memory of its own that the program can store to) `RLIMIT_DATA`. Errors: `ENOMEM`. Sleeps.
pub(super) fn check_room(context: &SyscallContext<'_>, len: u64, fixed: Option<u64>, data: bool) -> Result<()> {
    let process = context.process();
    process.make_room()?;
    let space = process.soft_limit(abi::RLIMIT_AS);
    let data = if data { process.soft_limit(abi::RLIMIT_DATA) } else { u64::MAX };
    if space == u64::MAX && data == u64::MAX {
        return Ok(());
    }
    let replaced = fixed.map_or(0..0, |at| at..at.saturating_add(len));
    let (mut mapped, mut stored) = (len, len);
    context.mm().for_each_area(|vma| {
        let bytes = vma.bytes() - overlap(&vma.range, &replaced);
        mapped = mapped.saturating_add(bytes);
        // The stack has a limit of its own.
        if !vma.shared && vma.prot.write && vma.range.end != STACK_TOP {
            stored = stored.saturating_add(bytes);
        }
    });
    if mapped > space || stored > data { Err(Errno::ENOMEM) } else { Ok(()) }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

/// The file behind `fd`, checked for a mapping.
fn file_backing(context: &SyscallContext<'_>, fd: u32, offset: u64, prot: Prot, shared: bool) -> Result<Backing> {
    let file = context.file(fd)?;
    if !file.readable() || (shared && prot.write && !file.writable()) {
        return Err(Errno::EACCES);
    }
    let inode = file.inode.as_ref().filter(|inode| inode.kind == vfs::FileType::Regular).ok_or(Errno::ENODEV)?;
    // Copies, which is what a file gives that is in no page cache and no memory, cannot be shared.
    if shared && crate::mm::cached_inode(&file).or_else(|| crate::mm::memory_inode(&file)).is_none() {
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
    let heap = context.mm().heap();
    if addr > heap.end && check_room(context, addr - heap.end, None, true).is_err() {
        return Ok(heap.end);
    }
    Ok(context.mm().brk(addr))
}

/// `mremap`. Errors: `EINVAL` (also for `MREMAP_DONTUNMAP`), `EFAULT` (not one mapping), `ENOMEM`, `EAGAIN`.
pub fn mremap(
    context: &mut SyscallContext<'_>,
    addr: UserAddr,
    old_len: u64,
    new_len: u64,
    flags: u32,
    new_addr: UserAddr,
) -> Result<u64> {
    if flags & !(abi::MREMAP_MAYMOVE | abi::MREMAP_FIXED) != 0 || !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    check_room(context, new_len.saturating_sub(old_len), None, new_len > old_len)?;
    context.mm().remap(RemapRequest {
        addr,
        old_len,
        new_len,
        may_move: flags & abi::MREMAP_MAYMOVE != 0,
        fixed: (flags & abi::MREMAP_FIXED != 0).then_some(new_addr),
    })
}

/// Bytes that the caller may have locked.
fn lock_limit(context: &SyscallContext<'_>) -> u64 {
    let process = context.process();
    if process.credentials.lock().euid == 0 { u64::MAX } else { process.soft_limit(abi::RLIMIT_MEMLOCK) }
}

/// `mlock2`, and `mlock` without flags. Errors: `EINVAL`, `ENOMEM`, `EPERM` (the limit is 0), `EAGAIN`.
pub fn mlock2(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64, flags: u32) -> Result<u64> {
    if flags & !abi::MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    lock(context, &Locked::Range(addr, len), flags & abi::MLOCK_ONFAULT != 0)
}

/// `mlockall`. Errors: as mlock2.
pub fn mlockall(context: &mut SyscallContext<'_>, flags: u32) -> Result<u64> {
    let when = abi::MCL_CURRENT | abi::MCL_FUTURE;
    if flags & when == 0 || flags & !(when | abi::MCL_ONFAULT) != 0 {
        return Err(Errno::EINVAL);
    }
    let what = Locked::All { now: flags & abi::MCL_CURRENT != 0, future: flags & abi::MCL_FUTURE != 0 };
    lock(context, &what, flags & abi::MCL_ONFAULT != 0)
}

fn lock(context: &SyscallContext<'_>, what: &Locked, on_fault: bool) -> Result<u64> {
    match lock_limit(context) {
        0 => Err(Errno::EPERM),
        limit => context.mm().lock_memory(what, limit, on_fault).map(|()| 0),
    }
}

/// `munlock`. Errors: `EINVAL`, `ENOMEM`.
pub fn munlock(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64) -> Result<u64> {
    context.mm().unlock_memory(&Locked::Range(addr, len)).map(|()| 0)
}

/// `munlockall`: never fails.
pub fn munlockall(context: &mut SyscallContext<'_>) -> Result<u64> {
    context.mm().unlock_memory(&Locked::All { now: true, future: true }).map(|()| 0)
}

/// `mincore`. Errors: `EINVAL`, `ENOMEM`, `EFAULT`.
pub fn mincore(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64, out: UserAddr) -> Result<u64> {
    /// Pages told of at a time.
    const BATCH: u64 = 4096;
    let pages = page_ceil(len).ok_or(Errno::ENOMEM)? / PAGE;
    let mut done = 0;
    loop {
        let n = BATCH.min(pages - done);
        let at = addr.checked_add(done * PAGE).ok_or(Errno::ENOMEM)?;
        let map = context.mm().resident_map(at, n * PAGE)?;
        context.mm().write_bytes(out.wrapping_add(done), &map)?;
        done += n;
        if done == pages {
            return Ok(0);
        }
    }
}

/// `memfd_create`. Errors: `EINVAL` (flags, a long name), `EFAULT`, `EMFILE`, `ENOMEM`, `ENOSPC`.
pub fn memfd_create(context: &mut SyscallContext<'_>, name: UserAddr, flags: u32) -> Result<u64> {
    /// The most bytes of a name.
    const NAME_MAX: usize = 249;
    if flags & !(abi::MFD_CLOEXEC | abi::MFD_ALLOW_SEALING | abi::MFD_NOEXEC_SEAL | abi::MFD_EXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = context.mm().read_cstr(name, NAME_MAX + 1);
    let name = name.map_err(|e| if e == Errno::ENAMETOOLONG { Errno::EINVAL } else { e })?;
    let process = context.process();
    let file = fs::tmpfs::unnamed(&process.system.shared_memory, 0, 0o777, context.caller())?;
    let fd = process.install(file, flags & abi::MFD_CLOEXEC != 0)?;
    process.files.set_path(fd, [b"/memfd:", &name[..], b" (deleted)"].concat());
    Ok(u64::from(fd))
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

/// `madvise`. `MADV_FREE` gives pages up at once: whoever uses it may not count on either content. Errors: `EINVAL`, `ENOMEM`, `EFAULT`.
pub fn madvise(context: &mut SyscallContext<'_>, addr: UserAddr, len: u64, advice: u32) -> Result<u64> {
    let mm = context.mm();
    match advice {
        abi::MADV_DONTNEED => mm.discard(addr, len)?,
        abi::MADV_FREE => {
            mm.check_areas(addr, len, |vma| !vma.shared && matches!(vma.backing, Backing::Anonymous))?;
            mm.discard(addr, len)?;
        }
        abi::MADV_POPULATE_READ | abi::MADV_POPULATE_WRITE => {
            mm.check_areas(addr, len, |_| true)?;
            let access = if advice == abi::MADV_POPULATE_READ { Access::Read } else { Access::Write };
            if (mm.fault_in(addr, len as usize, access) as u64) < len {
                return Err(Errno::EFAULT);
            }
        }
        abi::MADV_NORMAL
        | abi::MADV_RANDOM
        | abi::MADV_SEQUENTIAL
        | abi::MADV_WILLNEED
        | abi::MADV_COLD
        | abi::MADV_PAGEOUT
        | abi::MADV_HUGEPAGE
        | abi::MADV_NOHUGEPAGE
        | abi::MADV_DONTDUMP
        | abi::MADV_DODUMP => mm.check_areas(addr, len, |_| true)?,
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
