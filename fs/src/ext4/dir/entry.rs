//! Directory entries in one block.
//!
//! ```text
//! inode u32 | record length u16 | name length u8 | type u8 | name, filled up to a multiple of four
//! ```
//! The records of a block fill it from end to end; inode 0 marks an unused one. With checksums the last 12 bytes are a record
//! of its own kind (inode 0, length 12, type 0xde) that holds the checksum.
//!
//! Entries never move while they live in a block that is not split: removing one lengthens the record before it. So the
//! position of an entry is a place to go on reading from.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use crate::vfs::FileType;
use base::{Errno, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a record before its name.
pub const HEADER: usize = 8;
/// Bytes of the record that holds the checksum.
pub const TAIL: usize = 12;
/// The longest name.
pub const MAX_NAME: usize = 255;

const TAIL_TYPE: u8 = 0xde;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Record {
    ino: U32,
    len: U16,
    name_len: u8,
    kind: u8,
}

/// One record, checked to lie within its block.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Byte offset in the block.
    pub offset: usize,
    /// Bytes up to the next record.
    pub len: usize,
    /// The inode; 0 for an unused record.
    pub ino: u32,
    /// The type byte.
    pub kind: u8,
    /// The name.
    pub name: &'a [u8],
}

impl Entry<'_> {
    /// Bytes that the record itself needs; the rest is free.
    fn used(&self) -> usize {
        if self.ino == 0 { 0 } else { record_len(self.name.len()) }
    }
}

/// Bytes of a record for a name of `name_len` bytes, at most [`MAX_NAME`].
pub fn record_len(name_len: usize) -> usize {
    HEADER.saturating_add(name_len).saturating_add(3) & !3
}

/// The records of a block, up to the checksum. Ends with an error where a record is damaged.
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    /// The records in `bytes`, which end where the records end.
    pub fn new(bytes: &'a [u8]) -> Self {
        Entries { bytes, at: 0 }
    }

    fn parse(&self) -> Result<Entry<'a>> {
        let rest = self.bytes.get(self.at..).ok_or(Errno::EUCLEAN)?;
        let (record, body) = Record::ref_from_prefix(rest).map_err(|_| Errno::EUCLEAN)?;
        let len = usize::from(record.len.get());
        let name = body.get(..record.name_len.into()).ok_or(Errno::EUCLEAN)?;
        if len < record_len(name.len()) || len % 4 != 0 || len > rest.len() {
            return Err(Errno::EUCLEAN);
        }
        Ok(Entry { offset: self.at, len, ino: record.ino.get(), kind: record.kind, name })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let entry = self.parse();
        // A record has at least 8 bytes, so this ends; a damaged one ends it at once.
        self.at = entry.as_ref().map_or(self.bytes.len(), |e| self.at.saturating_add(e.len));
        Some(entry)
    }
}

/// Checks all records of a block. Errors: `EUCLEAN`.
pub fn check(bytes: &[u8], inode_count: u32) -> Result<()> {
    for entry in Entries::new(bytes) {
        let entry = entry?;
        let named = !entry.name.is_empty() && !entry.name.contains(&b'/') && !entry.name.contains(&0);
        if entry.ino > inode_count || (entry.ino != 0 && !named) {
            return Err(Errno::EUCLEAN);
        }
    }
    Ok(())
}

/// Where a name was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Byte offset of the record in its block.
    pub offset: usize,
    /// The inode.
    pub ino: u32,
    /// The type byte.
    pub kind: u8,
}

/// Looks for `name`. Errors: `EUCLEAN`.
pub fn find(bytes: &[u8], name: &[u8]) -> Result<Option<Found>> {
    for entry in Entries::new(bytes) {
        let entry = entry?;
        if entry.ino != 0 && entry.name == name {
            return Ok(Some(Found { offset: entry.offset, ino: entry.ino, kind: entry.kind }));
        }
    }
    Ok(None)
}

/// Whether [`add`] would find room. Errors: `EUCLEAN`.
pub fn has_room(bytes: &[u8], name: &[u8]) -> Result<bool> {
    Ok(room_for(bytes, name)?.is_some())
}

/// The first record with room for `name` behind what it uses itself.
fn room_for<'a>(bytes: &'a [u8], name: &[u8]) -> Result<Option<Entry<'a>>> {
    let need = record_len(name.len());
    for entry in Entries::new(bytes) {
        let entry = entry?;
        if entry.len.saturating_sub(entry.used()) >= need {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Adds an entry where there is room; false if there is none. Errors: `EUCLEAN`.
pub fn add(bytes: &mut [u8], name: &[u8], ino: u32, kind: u8) -> Result<bool> {
    let Some(place) = room_for(bytes, name)? else { return Ok(false) };
    let (offset, used, len) = (place.offset, place.used(), place.len);
    if used > 0 {
        record_mut(bytes, offset)?.len = shorten(used)?;
    }
    put(bytes, offset.saturating_add(used), len.saturating_sub(used), name, ino, kind)?;
    Ok(true)
}

/// Removes the entry at `offset`: its record joins the one before it, or stays as an unused one. Errors: `EUCLEAN`.
pub fn remove(bytes: &mut [u8], offset: usize) -> Result<()> {
    let mut before = None;
    let mut len = None;
    for entry in Entries::new(bytes) {
        let entry = entry?;
        if entry.offset == offset {
            len = Some(entry.len);
            break;
        }
        before = Some((entry.offset, entry.len));
    }
    let len = len.ok_or(Errno::EUCLEAN)?;
    match before {
        Some((before, before_len)) => record_mut(bytes, before)?.len = shorten(before_len.saturating_add(len))?,
        None => record_mut(bytes, offset)?.ino = 0.into(),
    }
    Ok(())
}

/// Points the entry at `offset` to another inode. Errors: `EUCLEAN`.
pub fn set_inode(bytes: &mut [u8], offset: usize, ino: u32, kind: u8) -> Result<()> {
    let record = record_mut(bytes, offset)?;
    record.ino = ino.into();
    record.kind = kind;
    Ok(())
}

/// Writes a whole record of `len` bytes at `offset`. Errors: `EUCLEAN` if it does not fit.
pub fn put(bytes: &mut [u8], offset: usize, len: usize, name: &[u8], ino: u32, kind: u8) -> Result<()> {
    let end = offset.checked_add(len).ok_or(Errno::EUCLEAN)?;
    let rest = bytes.get_mut(offset..end).ok_or(Errno::EUCLEAN)?;
    let (record, body) = Record::mut_from_prefix(rest).map_err(|_| Errno::EUCLEAN)?;
    let name_len = u8::try_from(name.len()).map_err(|_| Errno::ENAMETOOLONG)?;
    *record = Record { ino: ino.into(), len: shorten(len)?, name_len, kind };
    body.get_mut(..name.len()).ok_or(Errno::EUCLEAN)?.copy_from_slice(name);
    Ok(())
}

/// Writes the record that holds the checksum, still without one, into the last 12 bytes of a block.
pub fn put_tail(block: &mut [u8]) -> Result<()> {
    let at = block.len().checked_sub(TAIL).ok_or(Errno::EUCLEAN)?;
    block.get_mut(at..).ok_or(Errno::EUCLEAN)?.fill(0);
    put(block, at, TAIL, &[], 0, TAIL_TYPE)
}

/// Whether the last 12 bytes are the record of a checksum.
pub fn has_tail(block: &[u8]) -> bool {
    let tail = block.len().checked_sub(TAIL).and_then(|at| block.get(at..));
    tail.is_some_and(|t| t.starts_with(&[0, 0, 0, 0, TAIL as u8, 0, 0, TAIL_TYPE]))
}

fn record_mut(bytes: &mut [u8], offset: usize) -> Result<&mut Record> {
    let rest = bytes.get_mut(offset..).ok_or(Errno::EUCLEAN)?;
    Record::mut_from_prefix(rest).map(|(record, _)| record).map_err(|_| Errno::EUCLEAN)
}

fn shorten(len: usize) -> Result<U16> {
    u16::try_from(len).map(U16::new).map_err(|_| Errno::EUCLEAN)
}

/// The type byte of a file type.
pub fn type_byte(kind: FileType) -> u8 {
    match kind {
        FileType::Regular => 1,
        FileType::Directory => 2,
        FileType::CharDevice => 3,
        FileType::BlockDevice => 4,
        FileType::Fifo => 5,
        FileType::Socket => 6,
        FileType::Symlink => 7,
    }
}

/// The file type of a type byte; `None` where the entry does not tell.
pub fn file_type(byte: u8) -> Option<FileType> {
    use FileType::*;
    let kinds = [Regular, Directory, CharDevice, BlockDevice, Fifo, Socket, Symlink];
    kinds.into_iter().find(|&kind| type_byte(kind) == byte)
}
