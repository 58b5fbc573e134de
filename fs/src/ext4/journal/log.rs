//! Writing to the log: committing transactions, and emptying it.
use super::area::Area;
use super::format::{Features, MAGIC, Style, SuperRaw, Tag};
use crate::ext4::close::Batch;
use crate::ext4::features::Incompat;
use crate::ext4::geometry::Geometry;
use crate::ext4::meta::MetaBlock;
use crate::ext4::meta_io;
use crate::iomap::SharedFlush;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::block::BlockDevice;
use base::sync::Arc;
use base::{Errno, Page, Result};
use zerocopy::IntoBytes;

/// Copies that wait for a checkpoint before one is asked for, however long the log is: they and the blocks they were made of are in
/// memory.
const MOST_WAITING: usize = 512;

/// A block of a transaction, as it was when the transaction closed.
pub struct Copy {
    /// The block it was made of. Held so that nobody reads an old one from its place.
    block: Arc<MetaBlock>,
    /// The copy.
    pub page: Page,
    /// What goes to the log instead, where the copy begins with the magic number of the log.
    escaped: Option<Page>,
    csum: u32,
}

impl Copy {
    /// A copy of `block` to `page`, to be committed as transaction `tid` to a log of this style, if there is a log. May sleep.
    /// Errors: `ENOMEM`.
    pub fn new(style: Option<Style>, tid: u64, block: &Arc<MetaBlock>, page: &Page) -> Result<Copy> {
        block.take(|data| {
            page.write_from(0, data);
            let mut copy = Copy { block: block.clone(), page: page.clone(), escaped: None, csum: 0 };
            let Some(style) = style else { return Ok(copy) };
            if data.starts_with(&MAGIC.to_be_bytes()) {
                let mut bytes = data.to_vec();
                bytes.iter_mut().take(4).for_each(|byte| *byte = 0);
                let escaped = base::memory::alloc_page_zeroed()?;
                escaped.write_from(0, &bytes);
                copy.csum = style.copy_sum(tid as u32, &bytes);
                copy.escaped = Some(escaped);
            } else {
                copy.csum = style.copy_sum(tid as u32, data);
            }
            Ok(copy)
        })
    }

    /// The number of the block, where the copy goes in the end.
    pub fn home(&self) -> u64 {
        self.block.number()
    }

    /// Whether it is a block of an inode table.
    pub fn holds_inodes(&self) -> bool {
        self.block.holds_inodes()
    }

    fn tag(&self) -> Tag {
        Tag { home: self.home(), csum: self.csum, escaped: self.escaped.is_some(), deleted: false }
    }
}

/// The journal of a mounted file system. Behind a lock: one commit or checkpoint at a time.
pub struct Journal {
    pub(super) device: Arc<dyn BlockDevice>,
    pub(super) area: Area,
    pub(super) raw: SuperRaw,
    style: Style,
    /// Holds the superblock of the log while it is written.
    super_page: Page,
    /// The block of the log that is written next.
    head: u32,
    /// Blocks in use.
    used: u32,
    /// Committed copies that are not at their place yet.
    waiting: BTreeMap<u64, Copy>,
}

/// What a commit needs besides the copies: had before the transaction is closed, so that a commit does not fail for memory.
pub struct Supplies(Vec<Page>);

impl Journal {
    /// A journal that is about to be read. Errors: `ENOMEM`.
    pub(super) fn new(device: Arc<dyn BlockDevice>, area: Area, raw: SuperRaw) -> Result<Journal> {
        let (style, head) = (Style::of(&raw), raw.first.get());
        let super_page = base::memory::alloc_page_zeroed()?;
        Ok(Journal { device, area, raw, style, super_page, head, used: 0, waiting: BTreeMap::new() })
    }

    /// Chooses the features for what will be written, as Linux does; the log is empty.
    pub(super) fn upgrade(&mut self, geo: &Geometry) {
        let mut features = self.raw.features() | Features::REVOKE;
        features.set(Features::BIT64, geo.incompat.contains(Incompat::BIT64));
        features.set(Features::CSUM_V3, geo.csum_seed.is_some());
        features.remove(Features::CSUM_V2);
        self.raw.feature_incompat = features.bits().into();
        // The checksum of version 1, in commit blocks.
        self.raw.feature_compat = 0.into();
        self.style = Style::of(&self.raw);
    }

    /// Whether it was given up because of an error, and the error not dealt with.
    pub fn was_given_up(&self) -> bool {
        self.raw.errno.get() != 0
    }

    /// The device blocks of the log, as runs.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u32)> {
        self.area.runs()
    }

    /// The number of the next transaction, as far as the log knows.
    pub fn next_sequence(&self) -> u32 {
        self.raw.sequence.get()
    }

    /// The style of its blocks.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Blocks of the log besides its superblock.
    pub fn capacity(&self) -> u32 {
        self.raw.max_len.get() - self.raw.first.get()
    }

    /// Blocks of the log that a transaction needs.
    pub fn blocks_needed(&self, batch: &Batch) -> u32 {
        (batch.copies.len() + self.blocks_besides(batch)) as u32
    }

    fn blocks_besides(&self, batch: &Batch) -> usize {
        let descriptors = batch.copies.len().div_ceil(self.style.tags_per_block());
        descriptors + batch.revoked.len().div_ceil(self.style.revokes_per_block()) + 1
    }

    /// Whether the log has room for that many blocks more.
    pub fn has_room(&self, blocks: u32) -> bool {
        blocks <= self.capacity() - self.used
    }

    /// Whether a checkpoint should be made soon.
    pub fn wants_checkpoint(&self) -> bool {
        self.used > self.capacity() / 2 || self.waiting.len() > MOST_WAITING
    }

    /// Whether it has to be made now: too much memory is held.
    pub fn needs_checkpoint(&self) -> bool {
        self.waiting.len() > 2 * MOST_WAITING
    }

    /// What the commit of a transaction needs. Errors: `ENOMEM`.
    pub fn supplies(&self, batch: &Batch) -> Result<Supplies> {
        let pages = self.blocks_besides(batch);
        (0..pages).map(|_| base::memory::alloc_page_zeroed()).collect::<Result<_>>().map(Supplies)
    }

    /// Writes a transaction to the log and makes it durable, and with it all data that had ended before. The log has room for it.
    /// Errors: `EIO`; the log is to be given up then.
    pub fn commit(&mut self, batch: &Batch, supplies: Supplies, flush: &SharedFlush) -> Result<()> {
        let sequence = batch.tid as u32;
        let mut supplies = supplies.0.into_iter();
        let mut page_of = |bytes: Vec<u8>| {
            let page = supplies.next().ok_or(Errno::ENOMEM)?;
            page.write_from(0, &bytes);
            Ok::<Page, Errno>(page)
        };
        let mut blocks: Vec<Page> = Vec::new();
        for numbers in batch.revoked.chunks(self.style.revokes_per_block()) {
            blocks.push(page_of(self.style.revoke(sequence, numbers))?);
        }
        for part in batch.copies.chunks(self.style.tags_per_block()) {
            let tags: Vec<Tag> = part.iter().map(Copy::tag).collect();
            blocks.push(page_of(self.style.descriptor(sequence, &self.raw.uuid, &tags))?);
            blocks.extend(part.iter().map(|copy| copy.escaped.as_ref().unwrap_or(&copy.page).clone()));
        }
        let start = self.head;
        let mut places = Vec::new();
        for page in &blocks {
            places.push((self.advance()?, page));
        }
        if self.raw.start.get() == 0 {
            self.raw.start = start.into();
            self.raw.sequence = sequence.into();
            self.seal_super();
            places.push((self.area.block(0)?, &self.super_page));
        }
        self.write(places)?;
        if base::guard!("CRA-1", true) {
            flush.flush(flush.ticket())?;
        }
        let commit = page_of(self.style.commit(sequence, base::time::wall_clock_ns()))?;
        let place = self.advance()?;
        self.write([(place, &commit)])?;
        flush.flush(flush.ticket())
    }

    /// Keeps the copies of a transaction that has committed, until the checkpoint; what it revoked goes nowhere any more.
    pub fn keep(&mut self, batch: Batch) {
        for number in &batch.revoked {
            self.waiting.remove(number);
        }
        self.waiting.extend(batch.copies.into_iter().map(|copy| (copy.home(), copy)));
    }

    /// The device block of the log's head, which moves on.
    fn advance(&mut self) -> Result<u64> {
        let block = self.area.block(self.head)?;
        self.used += 1;
        self.head += 1;
        if self.head >= self.raw.max_len.get() {
            self.head = self.raw.first.get();
        }
        Ok(block)
    }

    fn write<'p>(&self, places: impl IntoIterator<Item = (u64, &'p Page)>) -> Result<()> {
        meta_io::write_pages(&self.device, self.style.block_size as u32, places)
    }

    /// Brings the page with the superblock of the log up to date.
    fn seal_super(&mut self) {
        self.raw.seal();
        self.super_page.write_from(0, self.raw.as_bytes());
    }

    /// Writes all copies to their places and empties the log; `next` is the number of the next transaction. Errors: `EIO`.
    pub fn checkpoint(&mut self, next: u32, flush: &SharedFlush) -> Result<()> {
        if self.raw.start.get() == 0 {
            return Ok(());
        }
        self.write(self.waiting.iter().map(|(number, copy)| (*number, &copy.page)))?;
        if base::guard!("CRA-4", true) {
            flush.flush(flush.ticket())?;
        }
        self.mark_empty(next)?;
        // Before anything of the log is written over: a superblock that points there would find the end of the log at once.
        flush.flush(flush.ticket())?;
        self.waiting.clear();
        Ok(())
    }

    /// Writes the superblock of an empty log. Not flushed. Errors: `EIO`.
    pub(super) fn mark_empty(&mut self, next: u32) -> Result<()> {
        self.raw.start = 0.into();
        self.raw.sequence = next.into();
        self.used = 0;
        let place = self.area.block(0)?;
        self.seal_super();
        self.write([(place, &self.super_page)])
    }

    /// Notes on the disk that the log was given up: whoever mounts next is told. Errors: `EIO`.
    pub fn give_up(&mut self, error: Errno) -> Result<()> {
        self.raw.errno = (error.number() as i32).wrapping_neg().cast_unsigned().into();
        let place = self.area.block(0)?;
        self.seal_super();
        self.write([(place, &self.super_page)])
    }

    /// The error of an earlier mount has been noted in the file system.
    pub fn clear_error(&mut self) {
        self.raw.errno = 0.into();
    }
}
