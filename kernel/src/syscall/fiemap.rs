//! `FS_IOC_FIEMAP`: what stands where on the device (BUF-8).
//!
//! A header, which is read and written back, with room for extents behind it. The structures are those of `linux/fiemap.h`.
use super::SyscallContext;
use base::{Errno, Result};
use fs::vfs::{self, File, FileExtent};
use linux_raw_sys::ioctl as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Header {
    start: u64,
    len: u64,
    flags: u32,
    mapped: u32,
    /// Extents that there is room for; 0: they are only counted.
    room: u32,
    reserved: u32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Entry {
    logical: u64,
    physical: u64,
    len: u64,
    reserved: [u64; 2],
    flags: u32,
    more_reserved: [u32; 3],
}

/// Flags that are understood.
const KNOWN: u32 = abi::FIEMAP_FLAG_SYNC;
/// No caller has room for more.
const MOST_ENTRIES: u32 = u32::MAX / size_of::<Entry>() as u32;

/// Errors: `EBADF` for an `O_PATH` file; `EOPNOTSUPP` for a file without extents; `EFAULT`; `EINVAL` for no bytes or room for an absurd
/// number; `EFBIG` past what a file can have; `EBADR` for flags that are not understood, which the header names then; those of the disk.
pub fn fiemap(context: &SyscallContext<'_>, file: &File, arg: u64) -> Result<u64> {
    vfs::check_extents(file)?;
    let mut header: Header = context.mm().read(arg)?;
    if header.room > MOST_ENTRIES {
        return Err(Errno::EINVAL);
    }
    header.mapped = 0;
    let done = report(context, file, arg, &mut header);
    context.mm().write(arg, &header)?;
    done.map(|()| 0)
}

fn report(context: &SyscallContext<'_>, file: &File, arg: u64, header: &mut Header) -> Result<()> {
    if header.len == 0 {
        return Err(Errno::EINVAL);
    }
    let unknown = header.flags & !KNOWN;
    if unknown != 0 {
        header.flags = unknown;
        return Err(Errno::EBADR);
    }
    let (sync, room) = (header.flags & abi::FIEMAP_FLAG_SYNC != 0, header.room);
    let entries = arg.checked_add(size_of::<Header>() as u64).ok_or(Errno::EFAULT)?;
    let mapped = &mut header.mapped;
    vfs::report_extents(file, header.start, header.len, sync, &mut |extent| {
        if room > 0 {
            let offset = u64::from(*mapped) * size_of::<Entry>() as u64;
            context.mm().write(entries.checked_add(offset).ok_or(Errno::EFAULT)?, &entry(extent))?;
        }
        *mapped = mapped.saturating_add(1);
        Ok(room == 0 || *mapped < room)
    })
}

fn entry(extent: &FileExtent) -> Entry {
    let unwritten = if extent.unwritten { abi::FIEMAP_EXTENT_UNWRITTEN } else { 0 };
    let last = if extent.last { abi::FIEMAP_EXTENT_LAST } else { 0 };
    Entry {
        logical: extent.pos,
        physical: extent.device_pos,
        len: extent.len,
        reserved: [0; 2],
        flags: unwritten | last,
        more_reserved: [0; 3],
    }
}
