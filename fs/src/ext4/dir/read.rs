//! Reading a whole directory, block after block.
//!
//! A position is the byte offset of a record in the directory. Entries do not move while they live, except when a leaf of an
//! index is split or packed by an insertion: then a reader that is under way may meet a moved entry twice or, if it moved
//! within its block, not at all.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::block::{Dir, Role};
use super::entry::{self, Entries};
use super::index::{self, Kind};
use crate::ext4::inode::iget;
use crate::vfs::{DirEntry, FileType};
use alloc::vec::Vec;
use base::{Errno, Result};

impl Dir<'_> {
    /// Gives the entries from position `pos` on until `emit` returns false. No lock but the caller's is held while it runs.
    /// Errors: `EUCLEAN`, `EIO`.
    pub fn read_from(&self, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let bits = self.own.fs.geo.block_bits;
        let first = u32::try_from(pos >> bits).unwrap_or(u32::MAX);
        for lblk in first..self.blocks() {
            let records = self.copy_records(lblk)?;
            let base = u64::from(lblk) << bits;
            for entry in Entries::new(&records) {
                let entry = entry.map_err(|_| self.corrupt())?;
                let at = base.saturating_add(entry.offset as u64);
                if entry.ino == 0 || at < pos {
                    continue;
                }
                let kind = self.kind_of(&entry)?;
                let next_pos = at.saturating_add(entry.len as u64);
                if !emit(DirEntry { ino: entry.ino.into(), kind, name: entry.name, next_pos }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether there is nothing but `.` and `..`. Errors: `EUCLEAN`, `EIO`.
    pub fn is_empty(&self) -> Result<bool> {
        let mut empty = true;
        self.read_from(0, &mut |entry| {
            empty = entry.name == b"." || entry.name == b"..";
            empty
        })?;
        Ok(empty)
    }

    /// The records of a block, whichever it is. The two of a root fill it; a node has none.
    fn copy_records(&self, lblk: u32) -> Result<Vec<u8>> {
        let indexed = self.is_indexed();
        if indexed && lblk == 0 {
            return Ok(self.read(0, Role::Index(Kind::Root))?.read().to_vec());
        }
        if indexed && index::looks_like_node(&self.fetch(lblk)?.read()) {
            return Ok(Vec::new());
        }
        let block = self.read(lblk, Role::Leaf)?;
        let bytes = block.read();
        Ok(bytes.get(..self.leaf_bytes()).ok_or(Errno::EUCLEAN)?.to_vec())
    }

    fn kind_of(&self, entry: &entry::Entry<'_>) -> Result<FileType> {
        match entry::file_type(entry.kind) {
            Some(kind) => Ok(kind),
            None => Ok(iget(&self.inode.sb, entry.ino)?.kind),
        }
    }
}
