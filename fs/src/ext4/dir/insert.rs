//! Adding, removing and changing entries.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::block::{Dir, Role};
use super::entry::{self, Found, type_byte};
use super::index::Kind;
use crate::ext4::features::Compat;
use crate::ext4::txn::Handle;
use crate::vfs::FileType;
use base::{Errno, Result};

impl Dir<'_> {
    /// Adds an entry. The caller has made the inode and puts changed times into the directory afterwards.
    /// Errors: `EEXIST`, `ENAMETOOLONG`, `ENOSPC` (also: the index is full), `EUCLEAN`, `EIO`.
    pub fn add(&self, handle: &mut Handle<'_>, name: &[u8], ino: u32, kind: FileType) -> Result<()> {
        if name.len() > entry::MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        if self.is_indexed() {
            return self.add_by_hash(handle, name, ino, type_byte(kind));
        }
        for lblk in 0..self.blocks() {
            if self.add_to_leaf(handle, lblk, name, ino, type_byte(kind))? {
                return Ok(());
            }
        }
        if self.blocks() == 1 && self.own.fs.geo.compat.contains(Compat::DIR_INDEX) {
            self.make_index(handle)?;
            return self.add_by_hash(handle, name, ino, type_byte(kind));
        }
        self.append_leaf(handle, |bytes, end| entry::put(bytes, 0, end, name, ino, type_byte(kind)))?;
        Ok(())
    }

    fn add_by_hash(&self, handle: &mut Handle<'_>, name: &[u8], ino: u32, kind: u8) -> Result<()> {
        // A round at most for a new level, for a node and for a leaf.
        for _ in 0..4 {
            let probe = self.probe(name)?;
            if self.add_to_leaf(handle, probe.leaf, name, ino, kind)? {
                return Ok(());
            }
            self.make_room(handle, &probe)?;
        }
        Err(self.corrupt())
    }

    /// Adds to one leaf; false if it has no room.
    fn add_to_leaf(&self, handle: &mut Handle<'_>, lblk: u32, name: &[u8], ino: u32, kind: u8) -> Result<bool> {
        let block = self.read(lblk, Role::Leaf)?;
        {
            let bytes = block.read();
            let records = bytes.get(..self.leaf_bytes()).ok_or(Errno::EUCLEAN)?;
            if entry::find(records, name)?.is_some() {
                return Err(Errno::EEXIST);
            }
            if !entry::has_room(records, name)? {
                return Ok(false);
            }
        }
        self.change_leaf(handle, &block, |records| entry::add(records, name, ino, kind))
    }

    /// Removes an entry and gives what it was. Errors: `ENOENT`, `EUCLEAN`, `EIO`.
    pub fn remove(&self, handle: &mut Handle<'_>, name: &[u8]) -> Result<Found> {
        let (lblk, found) = self.locate(name)?.ok_or(Errno::ENOENT)?;
        let block = self.read(lblk, Role::Leaf)?;
        self.change_leaf(handle, &block, |records| entry::remove(records, found.offset))?;
        Ok(found)
    }

    /// Points an existing entry to another inode. Errors: `ENOENT`, `EUCLEAN`, `EIO`.
    pub fn replace(&self, handle: &mut Handle<'_>, name: &[u8], ino: u32, kind: FileType) -> Result<()> {
        let (lblk, found) = self.locate(name)?.ok_or(Errno::ENOENT)?;
        let role = if lblk == 0 && self.is_indexed() { Role::Index(Kind::Root) } else { Role::Leaf };
        let block = self.read(lblk, role)?;
        self.change(handle, &block, role, |bytes| entry::set_inode(bytes, found.offset, ino, type_byte(kind)))
    }

    /// Points `..` to another directory. Errors: `EUCLEAN`, `EIO`.
    pub fn set_parent(&self, handle: &mut Handle<'_>, parent: u32) -> Result<()> {
        self.replace(handle, b"..", parent, FileType::Directory)
    }

    /// Fills a new directory: one block with `.` and `..`. Errors: `ENOSPC`, `EIO`, `ENOMEM`.
    pub fn init(&self, handle: &mut Handle<'_>, parent: u32) -> Result<()> {
        let kind = type_byte(FileType::Directory);
        self.append_leaf(handle, |bytes, end| {
            entry::put(bytes, 0, 12, b".", self.own.ino, kind)?;
            entry::put(bytes, 12, end.saturating_sub(12), b"..", parent, kind)
        })?;
        Ok(())
    }

    /// Adds a leaf whose entries, up to the end that it is told, are written by `fill`; gives its number in the directory.
    pub(super) fn append_leaf(
        &self,
        handle: &mut Handle<'_>,
        fill: impl FnOnce(&mut [u8], usize) -> Result<()>,
    ) -> Result<u32> {
        let end = self.leaf_bytes();
        self.append(handle, Role::Leaf, |bytes| {
            if end < bytes.len() {
                entry::put_tail(bytes)?;
            }
            fill(bytes, end)
        })
    }
}
