//! What a mount does with the log it finds.
//!
//! The newest copy of each block goes to its place; a flush; then the log is marked empty. A cut before that mark leaves
//! everything as it was, and the next mount does the same again (CRA-4).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::Journal;
use super::area::Area;
use super::format::{SUPER_SIZE, SUPER_V1, SuperRaw};
use super::scan::{Contents, Scan};
use crate::ext4::geometry::Geometry;
use crate::ext4::layout::SuperBlockRaw;
use crate::ext4::meta_io;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use base::block::{BlockDevice, flush_and_wait};
use base::sync::Arc;
use base::{Errno, Result};
use zerocopy::FromBytes;

/// Copies that are held in memory at a time.
const BATCH: usize = 64;

/// Finds the journal. If `recover`, because the superblock asks for it or is itself damaged, copies what a cut has left in the log to
/// its place; otherwise nothing is written, and what is left there is passed over. Errors: `EOPNOTSUPP` (a form that is not
/// supported, named on the log), `EUCLEAN` (damaged), `EROFS` (there is something to recover, and not `writable`), `EIO`, `ENOMEM`.
pub fn open(
    device: &Arc<dyn BlockDevice>,
    geo: &Geometry,
    raw: &SuperBlockRaw,
    recover: bool,
    writable: bool,
) -> Result<Journal> {
    let refuse = |what: &str, error: Errno| {
        log::error!("ext4 {}: journal: {what}", device.name());
        error
    };
    if raw.journal_inum.get() == 0 {
        return Err(refuse("a device of its own is not supported", Errno::EOPNOTSUPP));
    }
    let area = Area::find(device, geo, raw.journal_inum.get())
        .map_err(|error| refuse(&format!("its inode cannot be used: {error}"), error))?;
    let mut bytes = vec![0; geo.block_size as usize];
    meta_io::read_block(device, area.block(0)?, &mut bytes)?;
    let log_super = SuperRaw::parse(&bytes, geo.block_size, area.blocks())
        .map_err(|error| refuse(unsupported(&bytes).unwrap_or("its superblock is damaged"), error))?;
    let start = log_super.start.get();
    let mut journal = Journal::new(device.clone(), area, log_super)?;
    if start != 0 {
        empty(&mut journal, geo, recover, writable)?;
    }
    journal.upgrade(geo);
    Ok(journal)
}

/// Deals with a log that holds transactions.
fn empty(journal: &mut Journal, geo: &Geometry, recover: bool, writable: bool) -> Result<()> {
    let device = &journal.device.clone();
    if recover && !writable {
        log::error!("ext4 {}: the journal needs recovery, which a read-only mount cannot do", device.name());
        return Err(Errno::EROFS);
    }
    let scan = Scan::new(device, &journal.area, &journal.raw);
    let contents = scan.run(journal.raw.start.get(), journal.raw.sequence.get(), geo.block_count)?;
    if !recover {
        // Its blocks are at their places already. The first commit says so on the disk.
        journal.raw.start = 0.into();
        journal.raw.sequence = contents.next.into();
        return Ok(());
    }
    replay(device, &scan, &contents, geo.block_size)?;
    flush_and_wait(device)?;
    let (transactions, blocks) = (contents.transactions, contents.copies.len());
    log::info!("ext4 {}: recovered {transactions} transactions of the journal, {blocks} blocks", device.name());
    journal.mark_empty(contents.next)?;
    flush_and_wait(device)
}

/// Why a superblock of the log is not understood, if that is not because it is damaged.
fn unsupported(bytes: &[u8]) -> Option<&'static str> {
    let raw = SuperRaw::read_from_bytes(bytes.get(..SUPER_SIZE)?).ok()?;
    if raw.header.kind.get() == SUPER_V1 { Some("version 1 is not supported") } else { raw.features().unknown() }
}

/// Copies what is in the log to its place. Not flushed. Errors: `EUCLEAN`, `EIO`, `ENOMEM`.
fn replay(device: &Arc<dyn BlockDevice>, scan: &Scan<'_>, contents: &Contents, block_size: u32) -> Result<()> {
    let mut copies = contents.copies.values().peekable();
    while copies.peek().is_some() {
        let mut batch = Vec::new();
        for found in copies.by_ref().take(BATCH) {
            let page = base::memory::alloc_page_zeroed()?;
            page.write_from(0, &scan.copy(found)?);
            batch.push((found.tag.home, page));
        }
        meta_io::write_pages(device, block_size, batch.iter().map(|(home, page)| (*home, page)))?;
    }
    Ok(())
}
