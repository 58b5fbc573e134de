//! Reading the log from its start: which transactions are complete, and what they hold.
//!
//! The log ends where the next number is not found. A cut in the middle of a commit leaves the beginning of a transaction there,
//! possibly torn; that is the end of the log too. The same damage with a complete transaction *behind* it cannot come from a
//! cut, because a transaction is only begun when the one before it is durable: it ends the mount (never a guess).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::area::Area;
use super::format::{COMMIT, DESCRIPTOR, REVOKE, Style, SuperRaw, Tag, not_after};
use crate::ext4::meta_io;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use base::block::BlockDevice;
use base::sync::Arc;
use base::{Errno, Result};

/// Where the newest copy of a block is.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its block in the log.
    pub log: u32,
    /// The transaction that wrote it.
    pub sequence: u32,
    /// What its tag says.
    pub tag: Tag,
}

/// What stands in a log.
#[derive(Default)]
pub struct Contents {
    /// Complete transactions.
    pub transactions: u32,
    /// The number for the next transaction: a number that was begun is not used again.
    pub next: u32,
    /// The newest copy of each block that was not revoked since.
    pub copies: BTreeMap<u64, Found>,
}

/// A log that is being read.
pub struct Scan<'a> {
    device: &'a Arc<dyn BlockDevice>,
    area: &'a Area,
    style: Style,
    first: u32,
    end: u32,
}

/// One transaction, as far as it was read.
#[derive(Default)]
struct Transaction {
    copies: Vec<Found>,
    revoked: Vec<u64>,
}

/// What the reading of one transaction ended with.
enum Ended {
    /// With its commit block; the next one starts at this block of the log.
    Complete(Transaction, u32),
    /// There is nothing more of this number, and nothing wrong.
    End,
    /// A block of this number is damaged.
    Damaged(&'static str),
}

impl<'a> Scan<'a> {
    /// A scan of the log with superblock `raw`.
    pub fn new(device: &'a Arc<dyn BlockDevice>, area: &'a Area, raw: &SuperRaw) -> Self {
        Scan { device, area, style: Style::of(raw), first: raw.first.get(), end: raw.max_len.get() }
    }

    /// Reads the log from block `start` and transaction `sequence` on. `blocks` is the size of the file system. Errors: `EUCLEAN`
    /// (damaged: the log says where), `EIO`, `ENOMEM`.
    pub fn run(&self, start: u32, sequence: u32, blocks: u64) -> Result<Contents> {
        let mut contents = Contents { next: sequence, ..Contents::default() };
        let mut revoked: BTreeMap<u64, u32> = BTreeMap::new();
        let mut all: Vec<Found> = Vec::new();
        // A log that leads round to its own beginning is longer than itself.
        let mut left = self.end.saturating_sub(self.first);
        let mut at = start;
        loop {
            match self.transaction(at, contents.next, &mut left, blocks)? {
                Ended::Complete(transaction, next) => {
                    for block in transaction.revoked {
                        revoked.insert(block, contents.next);
                    }
                    all.extend(transaction.copies);
                    contents.transactions = contents.transactions.saturating_add(1);
                    contents.next = contents.next.wrapping_add(1);
                    at = next;
                }
                Ended::End => break,
                Ended::Damaged(what) => {
                    self.refuse_damage_before_a_commit(contents.next, what)?;
                    break;
                }
            }
        }
        // Whatever was begun under this number must not be mistaken for what comes.
        contents.next = contents.next.wrapping_add(1);
        all.retain(|f| !f.tag.deleted && revoked.get(&f.tag.home).is_none_or(|&r| !not_after(f.sequence, r)));
        contents.copies = all.into_iter().map(|found| (found.tag.home, found)).collect();
        Ok(contents)
    }

    /// Reads one transaction. `left` is how many blocks of the log have not been read.
    fn transaction(&self, start: u32, sequence: u32, left: &mut u32, blocks: u64) -> Result<Ended> {
        let mut transaction = Transaction::default();
        let mut at = start;
        let mut bytes = vec![0; self.style.block_size];
        loop {
            let Some(rest) = left.checked_sub(1) else { return Ok(Ended::End) };
            *left = rest;
            self.read(at, &mut bytes)?;
            let Some(header) = self.style.header(&bytes, sequence) else { return Ok(Ended::End) };
            at = self.after(at);
            let kind = header.kind.get();
            if !matches!(kind, DESCRIPTOR | REVOKE | COMMIT) {
                return Ok(Ended::Damaged("a block of no known kind"));
            }
            if !self.style.sum_is_right(&bytes, kind) {
                return Ok(Ended::Damaged("a wrong checksum"));
            }
            match kind {
                COMMIT => return Ok(Ended::Complete(transaction, at)),
                REVOKE => {
                    transaction.revoked.extend(self.style.revoked(&bytes).map_err(|e| self.damaged(sequence, e))?)
                }
                _ => {
                    for tag in self.style.tags(&bytes).map_err(|e| self.damaged(sequence, e))? {
                        if tag.home >= blocks || self.area.contains(tag.home) {
                            return Err(self.damaged(sequence, Errno::EUCLEAN));
                        }
                        let Some(rest) = left.checked_sub(1) else { return Ok(Ended::End) };
                        *left = rest;
                        transaction.copies.push(Found { log: at, sequence, tag });
                        at = self.after(at);
                    }
                }
            }
        }
    }

    /// Errors with `EUCLEAN` if the log holds a good commit block of transaction `damaged` or a later one.
    fn refuse_damage_before_a_commit(&self, damaged: u32, what: &str) -> Result<()> {
        let mut bytes = vec![0; self.style.block_size];
        let last = damaged.wrapping_add(self.end);
        for at in self.first..self.end {
            self.read(at, &mut bytes)?;
            let sequence = bytes.get(8..12).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
            let header = self.style.header(&bytes, sequence).filter(|header| header.kind.get() == COMMIT);
            let later = not_after(damaged, sequence) && not_after(sequence, last);
            if header.is_some() && later && self.style.sum_is_right(&bytes, COMMIT) {
                log::error!("ext4 {}: {what} in transaction {damaged} of the journal", self.device.name());
                return Err(Errno::EUCLEAN);
            }
        }
        Ok(())
    }

    fn damaged(&self, sequence: u32, error: Errno) -> Errno {
        log::error!("ext4 {}: transaction {sequence} of the journal is damaged", self.device.name());
        error
    }

    /// Reads a copy, checked and with its first word put back. Errors: `EUCLEAN`, `EIO`, `ENOMEM`.
    pub fn copy(&self, found: &Found) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.style.block_size];
        self.read(found.log, &mut bytes)?;
        if !self.style.copy_is_right(found.sequence, &bytes, &found.tag) {
            return Err(self.damaged(found.sequence, Errno::EUCLEAN));
        }
        if found.tag.escaped
            && let Some(word) = bytes.first_chunk_mut::<4>()
        {
            *word = super::format::MAGIC.to_be_bytes();
        }
        Ok(bytes)
    }

    fn read(&self, at: u32, bytes: &mut [u8]) -> Result<()> {
        meta_io::read_block(self.device, self.area.block(at)?, bytes)
    }

    fn after(&self, at: u32) -> u32 {
        let next = at.saturating_add(1);
        if next >= self.end { self.first } else { next }
    }
}
