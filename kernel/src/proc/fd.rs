//! `/proc/PID/fd`: a symbolic link for each open descriptor. The folder shows what is open now, so its inodes are made on the way.
use crate::process::Process;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use base::sync::{Arc, Weak};
use base::{Errno, Result};
use core::any::Any;
use fs::vfs::{Attr, DirEntry, FileOps, FileType, Inode, InodeOps, SuperBlock, Timespec};

/// Inode numbers of the links, below those of processes.
const FIRST_INO: u64 = fs::procfs::FIRST_OWN_INO;

fn inode(sb: &Arc<SuperBlock>, ino: u64, kind: FileType, mode: u16, ops: Box<dyn InodeOps>) -> Arc<Inode> {
    let attr = Attr::new(mode, Timespec::now());
    Inode::new(sb.clone(), ino, kind, attr, 0, ops)
}

/// The folder.
pub(super) struct FdDirectory(Weak<Process>);

impl FdDirectory {
    /// Its inode.
    pub(super) fn inode(sb: &Arc<SuperBlock>, ino: u64, process: Weak<Process>) -> Arc<Inode> {
        inode(sb, ino, FileType::Directory, 0o555, Box::new(FdDirectory(process)))
    }
}

impl InodeOps for FdDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::ENXIO)
    }
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let process = self.0.upgrade().ok_or(Errno::ENOENT)?;
        let number = core::str::from_utf8(name).ok().and_then(|name| name.parse::<u32>().ok()).ok_or(Errno::ENOENT)?;
        process.files.get(number).map_err(|_| Errno::ENOENT)?;
        let link = Box::new(FdLink { process: self.0.clone(), number });
        Ok(inode(&dir.sb, FIRST_INO + u64::from(number), FileType::Symlink, 0o777, link))
    }
    fn caches_names(&self) -> bool {
        false
    }
    fn readdir(&self, dir: &Arc<Inode>, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let parent = dir.parent().map_or(dir.ino, |parent| parent.ino);
        for (at, ino, name) in [(0, dir.ino, &b"."[..]), (1, parent, b"..")] {
            if pos <= at && !emit(DirEntry { ino, kind: FileType::Directory, name, next_pos: at + 1 }) {
                return Ok(());
            }
        }
        // The position of descriptor N is N + 2, whatever else is opened and closed meanwhile.
        let open = self.0.upgrade().map_or(Vec::new(), |process| process.files.open());
        for number in open.into_iter().map(u64::from).filter(|number| number + 2 >= pos) {
            let (name, ino) = (number.to_string(), FIRST_INO + number);
            let entry = DirEntry { ino, kind: FileType::Symlink, name: name.as_bytes(), next_pos: number + 3 };
            if !emit(entry) {
                return Ok(());
            }
        }
        Ok(())
    }
}

struct FdLink {
    process: Weak<Process>,
    number: u32,
}

impl InodeOps for FdLink {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::ENXIO)
    }
    /// The path by which the file was opened; a kind and a number for what has none.
    fn readlink(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        let process = self.process.upgrade().ok_or(Errno::ENOENT)?;
        let file = process.files.get(self.number).map_err(|_| Errno::ENOENT)?;
        Ok(process.files.path(self.number).unwrap_or_else(|| crate::files::kind_name(&file, self.number).into()))
    }
}
