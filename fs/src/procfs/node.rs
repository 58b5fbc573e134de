//! The inodes of procfs and the open files on them.
use super::{Accept, Generate, MAX_WRITE, Names, Target};
use crate::io::{IoSink, IoSource};
use crate::kiocb::{Kiocb, Outcome};
use crate::vfs::{Attr, DirEntry, FileOps, FileType, Inode, InodeOps, SuperBlock, Timespec};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::sync::{Once, Rank, SpinLock};
use base::{Errno, Result};

/// What an inode is.
pub(super) enum Body {
    Directory(Directory),
    File(Arc<Text>),
    Link(Target),
}

struct Node(Body);

/// A new inode around `body`, which is to be found by its number.
pub(super) fn make(sb: &Arc<SuperBlock>, ino: u64, mode: u16, body: Body) -> Arc<Inode> {
    let inode = inode(sb, ino, mode, body);
    sb.inodes().insert_new(&inode);
    inode
}

/// A new inode around `body`.
pub(super) fn inode(sb: &Arc<SuperBlock>, ino: u64, mode: u16, body: Body) -> Arc<Inode> {
    let kind = match &body {
        Body::Directory(_) => FileType::Directory,
        Body::File(_) => FileType::Regular,
        Body::Link(_) => FileType::Symlink,
    };
    let attr = Attr::new(mode, Timespec::now());
    Inode::new(sb.clone(), ino, kind, attr, 0, Box::new(Node(body)))
}

/// Positions of a listing from here on are the numbers of [`Names`], above this.
const FIRST_NAME: u64 = 1 << 32;

/// A directory; entries are only ever added, so a position in a listing is an index into them.
pub(super) struct Directory {
    entries: SpinLock<Entries>,
    names: Once<Box<dyn Names>>,
}

#[derive(Default)]
struct Entries {
    by_name: BTreeMap<Vec<u8>, usize>,
    in_order: Vec<(Vec<u8>, Arc<Inode>)>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Directory { entries: SpinLock::new(Entries::default()), names: Once::new(Rank::Leaf) }
    }
    pub(super) fn of(inode: &Inode) -> Result<&Directory> {
        match inode.ops().as_any().downcast_ref::<Node>() {
            Some(Node(Body::Directory(directory))) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }
    pub(super) fn find(&self, name: &[u8]) -> Option<Arc<Inode>> {
        let entries = self.entries.lock();
        let index = *entries.by_name.get(name)?;
        entries.in_order.get(index).map(|(_, inode)| inode.clone())
    }
    pub(super) fn set_names(&self, names: Box<dyn Names>) {
        // Making them cannot fail, because they are there already.
        let _there = self.names.get_or_try_init(|| Ok(names));
    }
    /// Adds an entry, or replaces the one of that name.
    pub(super) fn insert(&self, name: &str, inode: Arc<Inode>) {
        let mut entries = self.entries.lock();
        let end = entries.in_order.len();
        let index = *entries.by_name.entry(name.as_bytes().to_vec()).or_insert(end);
        let old = match entries.in_order.get_mut(index) {
            Some(slot) => Some(core::mem::replace(&mut slot.1, inode)),
            None => {
                entries.in_order.push((name.as_bytes().to_vec(), inode));
                None
            }
        };
        drop(entries);
        drop(old);
    }
    fn list(&self, dir: &Inode, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) {
        let parent = dir.parent().map_or(dir.ino, |p| p.ino);
        for (at, ino, name) in [(0, dir.ino, &b"."[..]), (1, parent, b"..")] {
            if pos <= at && !emit(DirEntry { ino, kind: FileType::Directory, name, next_pos: at + 1 }) {
                return;
            }
        }
        let skip = usize::try_from(pos.saturating_sub(2)).unwrap_or(usize::MAX);
        for (index, (name, inode)) in self.entries.lock().in_order.iter().enumerate().skip(skip) {
            if !emit(DirEntry { ino: inode.ino, kind: inode.kind, name, next_pos: index as u64 + 3 }) {
                return;
            }
        }
        let Some(names) = self.names.get() else { return };
        let mut from = pos.saturating_sub(FIRST_NAME);
        while let Some((number, ino)) = names.next(from) {
            from = number + 1;
            let name = number.to_string();
            let entry = DirEntry { ino, kind: FileType::Directory, name: name.as_bytes(), next_pos: FIRST_NAME + from };
            if !emit(entry) {
                return;
            }
        }
    }
}

impl InodeOps for Node {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        match &self.0 {
            Body::File(text) => Ok(Arc::new(OpenText { text: text.clone(), shown: SpinLock::new(String::new()) })),
            _ => Err(Errno::ENXIO),
        }
    }
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let directory = Directory::of(dir)?;
        let other = || directory.names.get().and_then(|names| names.find(&dir.sb, name));
        directory.find(name).or_else(other).ok_or(Errno::ENOENT)
    }
    fn caches_names(&self) -> bool {
        false
    }
    fn readdir(&self, dir: &Arc<Inode>, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        Directory::of(dir)?.list(dir, pos, emit);
        Ok(())
    }
    fn readlink(&self, _inode: &Arc<Inode>) -> Result<Vec<u8>> {
        let Body::Link(target) = &self.0 else { return Err(Errno::EINVAL) };
        let mut text = Vec::new();
        target(&mut text);
        Ok(text)
    }
    /// `O_TRUNC` on a file that takes writes means nothing here, and shells use it.
    fn truncate(&self, _inode: &Arc<Inode>, _size: u64, _caller: &dyn crate::caller::Caller) -> Result<()> {
        Ok(())
    }
}

/// What a file shows and takes.
pub(super) struct Text {
    generate: Generate,
    accept: Option<Accept>,
}

impl Text {
    pub(super) fn new(generate: Generate, accept: Option<Accept>) -> Self {
        Text { generate, accept }
    }
}

/// An open file: the text as it was when it was last read from the start.
struct OpenText {
    text: Arc<Text>,
    shown: SpinLock<String>,
}

impl FileOps for OpenText {
    fn read(&self, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
        // The text is taken out for the copy: it may sleep, and nobody sleeps under a spin lock.
        let mut text = core::mem::take(&mut *self.shown.lock());
        if kiocb.pos == 0 || text.is_empty() {
            text.clear();
            (self.text.generate)(&mut text);
        }
        let start = usize::try_from(kiocb.pos).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(start..).unwrap_or_default();
        let done = copy_out(rest, sink);
        *self.shown.lock() = text;
        done.map(Outcome::Done)
    }
    fn write(&self, _kiocb: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<Outcome> {
        let accept = self.text.accept.as_ref().ok_or(Errno::EACCES)?;
        let len = source.remaining();
        if len > MAX_WRITE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = alloc::vec![0; len];
        let mut done = 0;
        while done < len {
            let n = source.copy_to_slice(&mut bytes[done..]);
            done += n;
            if n == 0 && source.fault_in(len - done) == 0 {
                return Err(Errno::EFAULT);
            }
        }
        accept(&bytes)?;
        Ok(Outcome::Done(len))
    }
}

/// Copies as much as fits. Errors: `EFAULT` if nothing could be stored.
fn copy_out(bytes: &[u8], sink: &mut dyn IoSink) -> Result<usize> {
    let len = bytes.len().min(sink.remaining());
    let mut done = 0;
    while done < len {
        let n = sink.copy_from_slice(&bytes[done..len]);
        done += n;
        if n == 0 && sink.fault_in(len - done) == 0 {
            return if done == 0 { Err(Errno::EFAULT) } else { Ok(done) };
        }
    }
    Ok(done)
}
