//! The path walk: from a path to an inode, or to the directory and name of the last component.
//!
//! Each component costs one look into the name cache of the directory it stands in and no allocation. Only a miss takes the
//! directory's inode lock (shared) and asks the file system. A symbolic link is expanded into a new text: its target, then what
//! was left of the old one; 40 expansions are the limit (`ELOOP`).
use super::dcache::Cached;
use super::mount::{Site, Vfs};
use super::perm::{Access, Cred};
use super::{FileType, Inode};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};
use core::ops::Range;

/// Bytes of a path, without its final NUL.
const PATH_MAX: usize = 4095;
/// Bytes of one name.
const NAME_MAX: usize = 255;
/// Symbolic links that one walk follows.
const LINKS_MAX: u32 = 40;

/// What the last component of a path is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Last {
    /// A name, see [`Walk::name`].
    Name,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There is none: the path is the root.
    Root,
}

/// A walk under way.
pub(super) struct Walk<'a> {
    vfs: &'a Vfs,
    pub(super) cred: Cred<'a>,
    /// The directory reached so far.
    pub(super) here: Arc<Inode>,
    path: &'a [u8],
    /// The text after an expansion; replaces `path`.
    expanded: Option<Vec<u8>>,
    at: usize,
    last: Range<usize>,
    links: u32,
}

impl<'a> Walk<'a> {
    /// Starts at the root or at the site. Errors: `ENOENT` for an empty path, `ENAMETOOLONG`.
    pub(super) fn new(vfs: &'a Vfs, site: Site<'a>, path: &'a [u8]) -> Result<Self> {
        let here = match path.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => vfs.root(),
            Some(_) => site.cwd.clone(),
        };
        if path.len() > PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(Walk { vfs, cred: Cred::of(site.caller), here, path, expanded: None, at: 0, last: 0..0, links: 0 })
    }

    fn text(&self) -> &[u8] {
        self.expanded.as_deref().unwrap_or(self.path)
    }

    /// The name of the last component, after [`Self::go_to_last`] said [`Last::Name`].
    pub(super) fn name(&self) -> &[u8] {
        self.text().get(self.last.clone()).unwrap_or_default()
    }

    /// Whether slashes follow the last component: it must be a directory.
    pub(super) fn wants_directory(&self) -> bool {
        self.last.end < self.text().len()
    }

    /// Goes on to the directory that holds the last component. Errors: `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`.
    pub(super) fn go_to_last(&mut self) -> Result<Last> {
        loop {
            let Some(range) = self.next_component() else {
                return if self.here.dir.is_some() { Ok(Last::Root) } else { Err(Errno::ENOTDIR) };
            };
            self.last = range;
            if self.text()[self.last.end..].iter().all(|&b| b == b'/') {
                if self.here.dir.is_none() {
                    return Err(Errno::ENOTDIR);
                }
                return match self.name() {
                    b"." => Ok(Last::Dot),
                    b".." => Ok(Last::DotDot),
                    name if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
                    _ => Ok(Last::Name),
                };
            }
            let next = self.step()?;
            if next.kind == FileType::Symlink {
                self.expand(&next)?;
            } else {
                self.here = next;
            }
        }
    }

    /// Goes all the way. With `follow` a symbolic link at the end is followed; one before a slash always is.
    pub(super) fn go_to_end(&mut self, follow: bool) -> Result<Arc<Inode>> {
        loop {
            if self.go_to_last()? == Last::Root {
                return Ok(self.here.clone());
            }
            let next = self.step()?;
            if next.kind == FileType::Symlink && (follow || self.wants_directory()) {
                self.expand(&next)?;
                continue;
            }
            if self.wants_directory() && next.kind != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            return Ok(next);
        }
    }

    fn next_component(&mut self) -> Option<Range<usize>> {
        let text = self.expanded.as_deref().unwrap_or(self.path);
        let start = self.at + text.get(self.at..)?.iter().position(|&b| b != b'/')?;
        let len = text[start..].iter().position(|&b| b == b'/').unwrap_or(text.len() - start);
        self.at = start + len;
        Some(start..self.at)
    }

    /// The inode of the component in `last`. Errors: as [`Self::go_to_last`].
    fn step(&self) -> Result<Arc<Inode>> {
        self.peek()?.ok_or(Errno::ENOENT)
    }

    /// As [`Self::step`]; `None` if there is no such entry.
    #[inline]
    pub(super) fn peek(&self) -> Result<Option<Arc<Inode>>> {
        let Some(dir) = &self.here.dir else { return Err(Errno::ENOTDIR) };
        self.cred.may(&self.here, Access::EXEC)?;
        let name = self.name();
        match name {
            b"." => return Ok(Some(self.here.clone())),
            b".." => return self.vfs.parent_of(&self.here).map(Some),
            _ if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
            _ => {}
        }
        let found = match dir.find(name) {
            Cached::Positive(inode) => Some(inode),
            Cached::Negative => None,
            Cached::Unknown => self.look_up(name)?,
        };
        Ok(found.map(|inode| self.vfs.cross_down(inode)))
    }

    /// The slow way: asks the file system.
    #[cold]
    fn look_up(&self, name: &[u8]) -> Result<Option<Arc<Inode>>> {
        let found = {
            let _shared = self.here.lock.read();
            lookup_locked(&self.here, name)
        };
        self.vfs.shrink_if_due(&self.here);
        found
    }

    /// Replaces the component in `last`, which is the link `link`, by its target.
    pub(super) fn expand(&mut self, link: &Arc<Inode>) -> Result<()> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        let mut text = link.ops().readlink(link)?;
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        text.extend_from_slice(&self.text()[self.last.end..]);
        if text.len() > PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if text.first() == Some(&b'/') {
            self.here = self.vfs.root();
        }
        self.expanded = Some(text);
        self.at = 0;
        Ok(())
    }
}

/// Finds `name` in `dir` and keeps the answer. `dir.lock` is held, shared or exclusively. Errors: those of the file system;
/// `EIO` after a shutdown.
pub(super) fn lookup_locked(dir: &Arc<Inode>, name: &[u8]) -> Result<Option<Arc<Inode>>> {
    let Some(state) = &dir.dir else { return Err(Errno::ENOTDIR) };
    match state.find(name) {
        Cached::Positive(inode) => return Ok(Some(inode)),
        Cached::Negative => return Ok(None),
        Cached::Unknown => {}
    }
    if state.is_dead() {
        return Ok(None);
    }
    if dir.sb.is_shut_down() {
        return Err(Errno::EIO);
    }
    let found = match dir.ops().lookup(dir, name) {
        Ok(inode) => Some(inode),
        Err(Errno::ENOENT) => None,
        Err(error) => return Err(error),
    };
    if dir.ops().caches_names() {
        enter(dir, name, found.clone());
    } else if let Some(child) = found.as_ref().and_then(|i| i.dir.as_ref()) {
        child.set_up(dir, name);
    }
    Ok(found)
}

/// Notes in the name cache what `name` in `dir` is now. `dir.lock` is held.
pub(super) fn enter(dir: &Arc<Inode>, name: &[u8], inode: Option<Arc<Inode>>) {
    let Some(state) = &dir.dir else { return };
    if let Some(child) = inode.as_ref().and_then(|i| i.dir.as_ref()) {
        child.set_up(dir, name);
    }
    dir.sb.names.entering(dir, state);
    drop(state.put(name, inode));
}

impl Vfs {
    /// The inode that `path` leads to. Errors: `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, those of the disk. Task
    /// context; may sleep.
    pub fn lookup(&self, site: Site<'_>, path: &[u8], follow: bool) -> Result<Arc<Inode>> {
        Walk::new(self, site, path)?.go_to_end(follow)
    }
}
