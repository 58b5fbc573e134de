//! open: from a path and flags to an open file.
use super::mount::{Site, Vfs};
use super::perm::{Access, Cred};
use super::readdir::DirectoryFile;
use super::walk::{Last, Walk, enter, lookup_locked};
use super::{Change, File, FileFeatures, FileOps, FileType, Inode, OpenFlags, WriteAccess};
use crate::caller::Caller;
use base::sync::Arc;
use base::{Errno, Result};

/// Flags that matter at open only and are not kept with the open file.
const AT_OPEN_ONLY: OpenFlags = OpenFlags::from_bits_retain(
    OpenFlags::CREAT.bits()
        | OpenFlags::EXCL.bits()
        | OpenFlags::NOCTTY.bits()
        | OpenFlags::TRUNC.bits()
        | OpenFlags::CLOEXEC.bits(),
);

impl Vfs {
    /// Opens `path`: the one place where permissions of a file are looked at, so that later changes of its names or mode leave what is open
    /// alone (PRC-6); with `CREAT` makes a regular file with permission bits `mode` (less the umask) if there is none.
    /// Task context; may sleep. Errors: as open(2); `EOPNOTSUPP` for `O_TMPFILE`.
    pub fn open(&self, site: Site<'_>, path: &[u8], flags: OpenFlags, mode: u16) -> Result<Arc<File>> {
        let flags = check_flags(flags)?;
        let mut walk = Walk::new(self, site, path)?;
        let (inode, created) = if flags.contains(OpenFlags::CREAT) {
            self.find_or_create(&mut walk, flags, mode, site.caller)?
        } else {
            (walk.go_to_end(!flags.contains(OpenFlags::NOFOLLOW))?, false)
        };
        let file = self.open_inode(inode, flags, created, site.caller);
        drop(walk);
        file
    }

    /// The inode to open with `O_CREAT`, and whether this call made it.
    fn find_or_create(
        &self,
        walk: &mut Walk<'_>,
        flags: OpenFlags,
        mode: u16,
        caller: &dyn Caller,
    ) -> Result<(Arc<Inode>, bool)> {
        loop {
            if walk.go_to_last()? != Last::Name || walk.wants_directory() {
                return Err(if flags.contains(OpenFlags::EXCL) { Errno::EEXIST } else { Errno::EISDIR });
            }
            let found = match walk.peek()? {
                Some(inode) => inode,
                None => match create_file(walk, mode, caller)? {
                    (inode, true) => return Ok((inode, true)),
                    (inode, false) => self.cross_down(inode),
                },
            };
            if flags.contains(OpenFlags::EXCL) {
                return Err(Errno::EEXIST);
            }
            if found.kind != FileType::Symlink || flags.contains(OpenFlags::NOFOLLOW) {
                return Ok((found, false));
            }
            walk.expand(&found)?;
        }
    }

    /// Opens an inode that was found or `created`: the checks of open(2) after the walk.
    pub fn open_inode(
        &self,
        inode: Arc<Inode>,
        flags: OpenFlags,
        created: bool,
        caller: &dyn Caller,
    ) -> Result<Arc<File>> {
        let is_dir = inode.kind == FileType::Directory;
        if flags.contains(OpenFlags::DIRECTORY) && !is_dir {
            return Err(Errno::ENOTDIR);
        }
        if flags.contains(OpenFlags::PATH) {
            return Ok(File::new(Some(inode), flags, Arc::new(PathOnly)));
        }
        if inode.kind == FileType::Symlink {
            return Err(Errno::ELOOP);
        }
        let truncates = flags.contains(OpenFlags::TRUNC);
        let writes = flags.bits() & 3 != 0;
        if is_dir && (writes || truncates || flags.contains(OpenFlags::CREAT)) {
            return Err(Errno::EISDIR);
        }
        if !created {
            may_open(&inode, flags, caller)?;
        }
        let regular = inode.kind == FileType::Regular;
        let access = if regular && writes { Some(WriteAccess::take(&inode.sb)?) } else { None };
        let ops = self.operations(&inode, flags)?;
        if flags.contains(OpenFlags::DIRECT) && !ops.features().contains(FileFeatures::DIRECT) {
            return Err(Errno::EINVAL);
        }
        if truncates && regular && !created {
            super::setattr::truncate_checked(&inode, 0, caller)?;
        }
        Ok(File::with_access(Some(inode), flags - AT_OPEN_ONLY, ops, access))
    }

    fn operations(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        match inode.kind {
            FileType::Directory => Ok(Arc::new(DirectoryFile)),
            FileType::CharDevice | FileType::BlockDevice => {
                let ops = self.devices.open(inode)?;
                Ok(ops.open_device(flags)?.unwrap_or(ops))
            }
            FileType::Regular => inode.ops().open(inode),
            FileType::Fifo => self.devices.open_fifo(inode, flags),
            FileType::Socket | FileType::Symlink => Err(Errno::ENXIO),
        }
    }
}

fn check_flags(flags: OpenFlags) -> Result<OpenFlags> {
    if flags.contains(OpenFlags::PATH) {
        let kept = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
        return Ok(flags & kept);
    }
    if flags.contains(OpenFlags::TMPFILE_BIT) {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

fn may_open(inode: &Inode, flags: OpenFlags, caller: &dyn Caller) -> Result<()> {
    let writes = flags.bits() & 3 != 0 || flags.contains(OpenFlags::TRUNC);
    let mut want = Access::empty();
    want.set(Access::READ, flags.bits() & 3 != 1);
    want.set(Access::WRITE, writes);
    let cred = Cred::of(caller);
    cred.may(inode, want)?;
    if writes {
        let (append_only, immutable) = inode.with_attr(|a| (a.append_only, a.immutable));
        let not_append = !flags.contains(OpenFlags::APPEND) || flags.contains(OpenFlags::TRUNC);
        if immutable || (append_only && not_append) {
            return Err(Errno::EPERM);
        }
    }
    if flags.contains(OpenFlags::NOATIME) {
        cred.require_owner(inode)?;
    }
    Ok(())
}

/// Makes the file that the walk's last component names, unless somebody else has meanwhile: then `false` with what is there.
fn create_file(walk: &Walk<'_>, mode: u16, caller: &dyn Caller) -> Result<(Arc<Inode>, bool)> {
    let dir = &walk.here;
    let _change = Change::begin(&dir.sb)?;
    let _names = dir.lock.write();
    if let Some(inode) = lookup_locked(dir, walk.name())? {
        return Ok((inode, false));
    }
    walk.cred.may_create(dir)?;
    let mode = mode & !caller.umask() & 0o7777;
    let inode = dir.ops().create(dir, walk.name(), FileType::Regular, mode, 0, caller)?;
    enter(dir, walk.name(), Some(inode.clone()));
    Ok((inode, true))
}

/// Behind an `O_PATH` file: it names an inode and does nothing else.
struct PathOnly;

impl FileOps for PathOnly {
    fn read(&self, _: &mut crate::kiocb::Kiocb<'_>, _: &mut dyn crate::io::IoSink) -> Result<crate::kiocb::Outcome> {
        Err(Errno::EBADF)
    }
    fn write(&self, _: &mut crate::kiocb::Kiocb<'_>, _: &mut dyn crate::io::IoSource) -> Result<crate::kiocb::Outcome> {
        Err(Errno::EBADF)
    }
    fn fsync(&self, _: &File, _: super::SyncKind) -> Result<()> {
        Err(Errno::EBADF)
    }
    fn ioctl(&self, _: &File, _: u32, _: u64) -> Result<u64> {
        Err(Errno::EBADF)
    }
}
