//! procfs: a tree of names that others register, each with a generator of its text.
//!
//! A file's text is made when it is read from the start, so that a program which keeps the file open and reads it again sees
//! the present state, and one that reads it in pieces sees one state. Entries can be registered at any time, so the VFS caches
//! no names of this file system.
mod node;

use crate::vfs::{Inode, StatFs, SuperBlock, SuperOps};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::sync::atomic::{AtomicU64, Ordering};
use base::{Errno, Result};
use node::{Body, Directory};

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Appends the text of a file. Runs in the reading task; may sleep.
pub type Generate = Box<dyn Fn(&mut String) + Send + Sync>;
/// Takes what a program wrote in one call, at most [`MAX_WRITE`] bytes. Runs in the writing task; may sleep.
pub type Accept = Box<dyn Fn(&[u8]) -> Result<()> + Send + Sync>;
/// Appends the target of a symbolic link, which can depend on the calling task. May sleep.
pub type Target = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// Names in the root directory that come and go by themselves: the folders of the processes.
pub trait Names: Send + Sync {
    /// The inode `name`, on `sb`. `None`: there is none now. Its number is above [`FIRST_OWN_INO`].
    fn find(&self, sb: &Arc<SuperBlock>, name: &[u8]) -> Option<Arc<Inode>>;
    /// The first number from `from` on that names a directory now, which is called like it, and its inode number.
    fn next(&self, from: u64) -> Option<(u64, u64)>;
}

/// Inode numbers from here on are the callers' own.
pub const FIRST_OWN_INO: u64 = 1 << 32;

/// Bytes that one write to a file may bring.
pub const MAX_WRITE: usize = 4096;

/// The tree.
pub struct ProcFs {
    root: Arc<Inode>,
    next_ino: AtomicU64,
}

impl ProcFs {
    /// An empty tree.
    pub fn new(dev: u64) -> ProcFs {
        Self::named(dev, "proc", PROC_SUPER_MAGIC)
    }

    /// As [`Self::new`], for a file system that is called `kind` and tells so by `magic`.
    pub fn named(dev: u64, kind: &'static str, magic: u64) -> ProcFs {
        let sb = SuperBlock::new(dev, Box::new(Super { kind, magic }));
        let root = node::make(&sb, 1, 0o555, Body::Directory(Directory::new()));
        ProcFs { root, next_ino: AtomicU64::new(2) }
    }

    /// The root directory, to be mounted.
    pub fn root(&self) -> Arc<Inode> {
        self.root.clone()
    }

    /// Registers the file `path` (such as `sluice/counters`), read-only. Directories on the way are made.
    /// Errors: `ENOTDIR` if a file stands in the way.
    pub fn file(&self, path: &str, generate: Generate) -> Result<()> {
        self.add(path, 0o444, Body::File(Arc::new(node::Text::new(generate, None))))
    }

    /// As [`Self::file`], writable by root.
    pub fn writable_file(&self, path: &str, generate: Generate, accept: Accept) -> Result<()> {
        self.add(path, 0o644, Body::File(Arc::new(node::Text::new(generate, Some(accept)))))
    }

    /// Lets the root directory show `names` besides what is registered. Once.
    pub fn set_names(&self, names: Box<dyn Names>) -> Result<()> {
        Directory::of(&self.root)?.set_names(names);
        Ok(())
    }

    /// Registers a symbolic link.
    pub fn link(&self, path: &str, target: Target) -> Result<()> {
        self.add(path, 0o777, Body::Link(target))
    }

    /// Registers an inode of the caller's own, for names that come and go: `make` gets the super block and a free number.
    pub fn inode(&self, path: &str, make: impl FnOnce(&Arc<SuperBlock>, u64) -> Arc<Inode>) -> Result<()> {
        let (way, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(Errno::EINVAL);
        }
        let mut dir = self.root.clone();
        for component in way.split('/').filter(|c| !c.is_empty()) {
            dir = self.subdirectory(&dir, component)?;
        }
        let inode = make(&self.root.sb, self.next_ino.fetch_add(1, Ordering::Relaxed));
        Directory::of(&dir)?.insert(name, inode);
        Ok(())
    }

    fn add(&self, path: &str, mode: u16, body: Body) -> Result<()> {
        self.inode(path, |sb, ino| node::make(sb, ino, mode, body))
    }

    fn subdirectory(&self, dir: &Arc<Inode>, name: &str) -> Result<Arc<Inode>> {
        let entries = Directory::of(dir)?;
        if let Some(inode) = entries.find(name.as_bytes()) {
            return Ok(inode);
        }
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let inode = node::make(&self.root.sb, ino, 0o555, Body::Directory(Directory::new()));
        entries.insert(name, inode.clone());
        Ok(inode)
    }
}

/// An inode of the caller's own on `sb`: a file that shows what `generate` makes.
pub fn text(sb: &Arc<SuperBlock>, ino: u64, generate: Generate) -> Arc<Inode> {
    node::inode(sb, ino, 0o444, Body::File(Arc::new(node::Text::new(generate, None))))
}

/// As [`text`], for everybody to write to: `accept` says who may.
pub fn writable_text(sb: &Arc<SuperBlock>, ino: u64, generate: Generate, accept: Accept) -> Arc<Inode> {
    node::inode(sb, ino, 0o666, Body::File(Arc::new(node::Text::new(generate, Some(accept)))))
}

/// An inode of the caller's own on `sb`: a symbolic link.
pub fn link(sb: &Arc<SuperBlock>, ino: u64, target: Target) -> Arc<Inode> {
    node::inode(sb, ino, 0o777, Body::Link(target))
}

struct Super {
    kind: &'static str,
    magic: u64,
}

impl SuperOps for Super {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn type_name(&self) -> &'static str {
        self.kind
    }
    fn statfs(&self) -> StatFs {
        StatFs { magic: self.magic, block_size: base::PAGE_SIZE as u64, name_max: 255, ..StatFs::default() }
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    fn unmount(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::KernelCaller;
    use crate::io::{SliceSink, SliceSource};
    use crate::vfs::{self, OpenFlags, Site, Vfs};
    use base::sync::SpinLock;
    use core::fmt::Write;

    #[test]
    fn files_show_the_present_state_and_take_writes() {
        let proc = ProcFs::new(3);
        let value = Arc::new(SpinLock::new(0u64));
        let (shown, set) = (value.clone(), value.clone());
        proc.writable_file(
            "sluice/value",
            Box::new(move |text| writeln!(text, "{}", *shown.lock()).unwrap_or_default()),
            Box::new(move |bytes| {
                *set.lock() = bytes.len() as u64;
                Ok(())
            }),
        )
        .unwrap();
        proc.link("self", Box::new(|target| target.extend_from_slice(b"sluice"))).unwrap();
        let vfs = Vfs::new(proc.root(), b"proc", None).unwrap();
        let root = vfs.root();
        let site = Site { cwd: &root, caller: &KernelCaller };
        assert_eq!(vfs.open(site, b"/later", OpenFlags::empty(), 0).err(), Some(Errno::ENOENT));
        proc.file("later", Box::new(|text| text.push('x'))).unwrap();
        vfs.open(site, b"/later", OpenFlags::empty(), 0).unwrap();

        let file = vfs.open(site, b"/self/value", OpenFlags::RDWR, 0).unwrap();
        let mut bytes = [0; 8];
        assert_eq!(vfs::read_at(&file, 0, 0, &mut SliceSink::new(&mut bytes), &KernelCaller), Ok(2));
        assert_eq!(&bytes[..2], b"0\n");
        assert_eq!(vfs::write_at(&file, 0, 0, &mut SliceSource::new(b"12345"), &KernelCaller), Ok(5));
        assert_eq!(vfs::read_at(&file, 0, 0, &mut SliceSink::new(&mut bytes), &KernelCaller), Ok(2));
        assert_eq!(&bytes[..2], b"5\n");
        assert_eq!(vfs.mkdir(site, b"/x", 0o755), Err(Errno::EPERM));
        let wt = vfs::write_at(&file, 0, 0x200, &mut SliceSource::new(b"1"), &KernelCaller);
        assert_eq!(wt, Err(Errno::EOPNOTSUPP));
    }
}
