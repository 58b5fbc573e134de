//! The flags of a read or write request, sampled once and checked before any side effect (FLAG-2, FLAG-4, FLAG-5).
use base::{Errno, Result};
use fs::kiocb::IoFlags;
use fs::vfs::{File, FileFeatures, OpenFlags};

/// The `RWF_*` bits of the ABI.
const KNOWN: u32 = 0x3ff;

/// The flags of a write on `file` with the per-call flags `rwf`. Errors: those of FLAG-5, in its order.
pub fn write_flags(file: &File, rwf: u32) -> Result<IoFlags> {
    let call = per_call(file, rwf)?;
    let append_only = file.inode.as_ref().is_some_and(|inode| inode.attr().append_only);
    if call.contains(IoFlags::NOAPPEND) && append_only {
        return Err(Errno::EPERM);
    }
    if call.contains(IoFlags::WRITETHROUGH) {
        if !file.ops().features().contains(FileFeatures::WRITETHROUGH) {
            return Err(Errno::EOPNOTSUPP);
        }
        if call.intersects(IoFlags::NOWAIT | IoFlags::DONTCACHE) {
            return Err(Errno::EINVAL);
        }
    }
    check_unbuilt(file, call)?;
    Ok(call | from_open(file.flags(), call))
}

/// The flags of a read on `file`. Errors: those of FLAG-5.
pub fn read_flags(file: &File, rwf: u32) -> Result<IoFlags> {
    let call = per_call(file, rwf)?;
    if call.contains(IoFlags::WRITETHROUGH) {
        return Err(Errno::EOPNOTSUPP);
    }
    check_unbuilt(file, call)?;
    let direct = file.flags().contains(OpenFlags::DIRECT);
    Ok(if direct { call | IoFlags::DIRECT } else { call })
}

fn per_call(_file: &File, rwf: u32) -> Result<IoFlags> {
    if rwf & !KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let call = IoFlags::from_bits_retain(rwf);
    if call.contains(IoFlags::APPEND | IoFlags::NOAPPEND) { Err(Errno::EINVAL) } else { Ok(call) }
}

/// Optional features that are not built, or not by this file's file system.
fn check_unbuilt(file: &File, call: IoFlags) -> Result<()> {
    let nowait = call.contains(IoFlags::NOWAIT) && !file.ops().features().contains(FileFeatures::NOWAIT);
    if nowait || call.intersects(IoFlags::ATOMIC | IoFlags::DONTCACHE) { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}

/// What the open flags add.
fn from_open(open: OpenFlags, call: IoFlags) -> IoFlags {
    let mut flags = IoFlags::empty();
    flags.set(IoFlags::DSYNC, open.contains(OpenFlags::DSYNC));
    flags.set(IoFlags::SYNC, open.contains(OpenFlags::SYNC_BIT | OpenFlags::DSYNC));
    flags.set(IoFlags::DIRECT, open.contains(OpenFlags::DIRECT));
    flags.set(IoFlags::APPEND, open.contains(OpenFlags::APPEND) && !call.contains(IoFlags::NOAPPEND));
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sync::Arc;
    use fs::vfs::FileOps;

    struct Plain(FileFeatures);
    impl FileOps for Plain {
        fn features(&self) -> FileFeatures {
            self.0
        }
    }

    #[test]
    fn flag_5_first_matching_row_wins() {
        let no = File::new(None, OpenFlags::RDWR, Arc::new(Plain(FileFeatures::empty())));
        let wt = File::new(None, OpenFlags::RDWR, Arc::new(Plain(FileFeatures::WRITETHROUGH)));
        assert_eq!(write_flags(&wt, 0x400), Err(Errno::EOPNOTSUPP));
        assert_eq!(write_flags(&wt, 0x30), Err(Errno::EINVAL));
        assert_eq!(read_flags(&wt, 0x200), Err(Errno::EOPNOTSUPP));
        assert_eq!(write_flags(&no, 0x200), Err(Errno::EOPNOTSUPP));
        assert_eq!(write_flags(&wt, 0x208), Err(Errno::EINVAL));
        assert_eq!(write_flags(&wt, 0x280), Err(Errno::EINVAL));
        assert_eq!(write_flags(&wt, 0x240), Err(Errno::EOPNOTSUPP));
        assert_eq!(write_flags(&no, 0x8), Err(Errno::EOPNOTSUPP));
        assert_eq!(write_flags(&wt, 0x216), Ok(IoFlags::from_bits_retain(0x216)));
    }

    #[test]
    fn flag_4_open_flags_are_sampled() {
        let open = OpenFlags::WRONLY | OpenFlags::APPEND | OpenFlags::DSYNC | OpenFlags::DIRECT;
        let file = File::new(None, open, Arc::new(Plain(FileFeatures::WRITETHROUGH)));
        assert_eq!(write_flags(&file, 0), Ok(IoFlags::APPEND | IoFlags::DSYNC | IoFlags::DIRECT));
        assert_eq!(write_flags(&file, 0x20), Ok(IoFlags::NOAPPEND | IoFlags::DSYNC | IoFlags::DIRECT));
    }
}
