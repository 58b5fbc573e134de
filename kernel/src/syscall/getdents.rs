//! getdents64.
use super::{SyscallContext, UserAddr};
use alloc::vec::Vec;
use base::{Errno, Result};
use core::mem::offset_of;
use fs::vfs::{DirEntry, readdir};
use linux_raw_sys::general::linux_dirent64;

/// Most bytes that one call fills: a directory is locked meanwhile.
const MOST: usize = 32 * 1024;
const NAME_AT: usize = offset_of!(linux_dirent64, d_name);

/// `getdents64`. Errors: `EBADF`, `ENOTDIR`, `EINVAL` (not even one entry fits), `EFAULT`.
pub fn getdents64(context: &mut SyscallContext<'_>, fd: u32, out: UserAddr, len: u32) -> Result<u64> {
    let file = context.file(fd)?;
    let room = (len as usize).min(MOST);
    let mut bytes = Vec::new();
    let mut cramped = false;
    readdir(&file, &mut |entry| {
        let fits = bytes.len() + record_len(&entry) <= room;
        if fits {
            append(&mut bytes, &entry);
        }
        cramped |= !fits;
        fits
    })?;
    if bytes.is_empty() && cramped {
        return Err(Errno::EINVAL);
    }
    context.mm().write_bytes(out, &bytes)?;
    Ok(bytes.len() as u64)
}

fn record_len(entry: &DirEntry<'_>) -> usize {
    (NAME_AT + entry.name.len() + 1).next_multiple_of(8)
}

/// Appends a `struct linux_dirent64`.
fn append(bytes: &mut Vec<u8>, entry: &DirEntry<'_>) {
    let end = bytes.len() + record_len(entry);
    bytes.extend_from_slice(&entry.ino.to_ne_bytes());
    bytes.extend_from_slice(&entry.next_pos.to_ne_bytes());
    bytes.extend_from_slice(&(record_len(entry) as u16).to_ne_bytes());
    bytes.push(entry.kind.dirent_type());
    bytes.extend_from_slice(entry.name);
    bytes.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs::vfs::FileType;

    #[test]
    fn a_record_has_the_layout_of_the_abi() {
        let mut bytes = Vec::new();
        append(&mut bytes, &DirEntry { ino: 7, kind: FileType::Directory, name: b"lib", next_pos: 9 });
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[16..19], [24, 0, 4]);
        assert_eq!(bytes[19..23], *b"lib\0");
    }
}
