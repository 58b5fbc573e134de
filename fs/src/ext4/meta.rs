//! The cache of metadata blocks: everything on the disk that is not file data.
//!
//! A block's bytes stand in memory of their own, never in a frame a device writes to; transfers go through pages in
//! `meta_io`. Bytes are read under the block's lock and changed only through a [`super::txn::Handle`].
//!
//! # States of a block
//!
//! | flags | meaning |
//! |---|---|
//! | none | in the map, not read yet; whoever locks it exclusively reads it |
//! | `UPTODATE` | the bytes are the disk's, or newer |
//! | `VERIFIED` | checksum and structure were looked at |
//!
//! A block that is newer than its place on the disk is held by the transaction that changed it, and after the commit by the
//! journal until the checkpoint. A block that somebody holds is not evicted, so that the map is the place to find it.
//!
//! # Locks
//!
//! A task holds the lock of at most one block at a time (`Rank::MetaBlock` is innermost): what has to move from block to block
//! is copied out first. The map's spin lock is a leaf.
use super::meta_io;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use base::block::BlockDevice;
use base::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use base::sync::{Arc, Rank, ReadGuard, RwLock, SpinLock, WriteGuard};
use base::{Errno, Result};

const UPTODATE: u32 = 1;
const VERIFIED: u32 = 2;
const REFERENCED: u32 = 4;
const INODES: u32 = 8;

/// How the checksum inside a block is brought up to date: once, when the block is written, not at each change.
#[derive(Clone, Copy)]
pub struct Seal {
    /// The checksum's start, usually the inode's seed.
    pub seed: u32,
    /// Stores the checksum into the block's bytes.
    pub apply: fn(seed: u32, bytes: &mut [u8]),
}

/// One cached metadata block.
pub struct MetaBlock {
    number: u64,
    flags: AtomicU32,
    /// The last transaction that changed it since it was read; 0 for none.
    changed_in: AtomicU64,
    seal: SpinLock<Option<Seal>>,
    data: RwLock<Box<[u8]>>,
}

impl MetaBlock {
    /// The block's number in the file system.
    pub fn number(&self) -> u64 {
        self.number
    }
    /// The bytes, shared. May sleep.
    pub fn read(&self) -> ReadGuard<'_, Box<[u8]>> {
        self.data.read()
    }
    /// The bytes, shared, if nobody changes or reads them in now. No sleep.
    pub fn try_read(&self) -> Option<ReadGuard<'_, Box<[u8]>>> {
        self.data.try_read()
    }
    /// Whether [`Self::set_verified`] was called since the block was read: checksum and structure were found good, so that they
    /// need not be looked at again while the block is cached.
    pub fn is_verified(&self) -> bool {
        self.has(VERIFIED)
    }
    /// See [`Self::is_verified`].
    pub fn set_verified(&self) {
        self.flags.fetch_or(VERIFIED, Ordering::AcqRel);
    }
    /// The last transaction that changed it since it was read; 0 for none.
    pub fn changed_in(&self) -> u64 {
        self.changed_in.load(Ordering::Acquire)
    }
    pub(super) fn set_changed_in(&self, tid: u64) {
        self.changed_in.store(tid, Ordering::Release);
    }
    /// Whether it is a block of an inode table.
    pub(super) fn holds_inodes(&self) -> bool {
        self.has(INODES)
    }
    pub(super) fn set_holds_inodes(&self) {
        if !self.holds_inodes() {
            self.flags.fetch_or(INODES, Ordering::AcqRel);
        }
    }
    /// The bytes for a change within a handle.
    pub(super) fn lock_for_change(&self) -> WriteGuard<'_, Box<[u8]>> {
        self.data.write()
    }
    pub(super) fn set_seal(&self, seal: Seal) {
        *self.seal.lock() = Some(seal);
    }
    /// Calls `take` with the bytes as they shall reach the disk: their checksum is brought up to date. May sleep.
    pub(super) fn take<R>(&self, take: impl FnOnce(&[u8]) -> R) -> R {
        let mut data = self.data.write();
        let seal = *self.seal.lock();
        if let Some(seal) = seal {
            (seal.apply)(seal.seed, &mut data);
        }
        take(&data)
    }
    fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }
}

struct Map {
    blocks: BTreeMap<u64, Arc<MetaBlock>>,
    /// Where the clock hand of the eviction stands.
    hand: u64,
}

/// The metadata blocks of one file system.
pub struct MetaCache {
    device: Arc<dyn BlockDevice>,
    block_size: u32,
    block_count: u64,
    limit: usize,
    map: SpinLock<Map>,
}

impl MetaCache {
    /// An empty cache of at most about `limit` blocks for a file system of `block_count` blocks.
    pub fn new(device: Arc<dyn BlockDevice>, block_size: u32, block_count: u64, limit: usize) -> Self {
        let map = Map { blocks: BTreeMap::new(), hand: 0 };
        MetaCache { device, block_size, block_count, limit, map: SpinLock::new(map) }
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> usize {
        self.block_size as usize
    }

    /// The device.
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// The block, read from the device if it is not cached. The caller checks what it finds there (see
    /// [`MetaBlock::is_verified`]). May sleep. Errors: `EUCLEAN` (outside the file system), `EIO`, `ENOMEM`.
    pub fn read(&self, number: u64) -> Result<Arc<MetaBlock>> {
        let block = self.entry(number)?;
        if !block.has(UPTODATE) {
            let mut data = block.data.write();
            if !block.has(UPTODATE) {
                meta_io::read_block(&self.device, number, &mut data)?;
                block.flags.fetch_or(UPTODATE, Ordering::AcqRel);
            }
        }
        Ok(block)
    }

    /// The block, if it is cached and was found good. No sleep.
    pub fn verified(&self, number: u64) -> Option<Arc<MetaBlock>> {
        self.map.lock().blocks.get(&number).filter(|block| block.has(UPTODATE) && block.has(VERIFIED)).cloned()
    }

    /// A block whose old content doesn't matter: newly allocated. Zeroed, verified, not yet dirty. May sleep.
    /// Errors: `EUCLEAN` (outside the file system), `ENOMEM`.
    pub fn get_new(&self, number: u64) -> Result<Arc<MetaBlock>> {
        let block = self.entry(number)?;
        let mut data = block.data.write();
        data.fill(0);
        *block.seal.lock() = None;
        block.flags.fetch_or(UPTODATE | VERIFIED, Ordering::AcqRel);
        drop(data);
        Ok(block)
    }

    /// Forgets a range of blocks that is being freed. Their bytes are of no more use; who still holds one keeps it to himself.
    pub(super) fn forget(&self, start: u64, count: u64) {
        let end = start.saturating_add(count);
        let mut gone: Vec<Arc<MetaBlock>> = Vec::new();
        let mut map = self.map.lock();
        while let Some((&number, _)) = map.blocks.range(start..end).next() {
            gone.extend(map.blocks.remove(&number));
        }
        drop(map);
    }

    /// The map's entry for `number`, made if it is missing.
    fn entry(&self, number: u64) -> Result<Arc<MetaBlock>> {
        if number >= self.block_count {
            return Err(Errno::EUCLEAN);
        }
        if let Some(block) = self.map.lock().blocks.get(&number) {
            if !block.has(REFERENCED) {
                block.flags.fetch_or(REFERENCED, Ordering::Relaxed);
            }
            return Ok(block.clone());
        }
        base::memory::may_allocate()?;
        let fresh = Arc::new(MetaBlock {
            number,
            flags: AtomicU32::new(REFERENCED),
            changed_in: AtomicU64::new(0),
            seal: SpinLock::new(None),
            data: RwLock::new(Rank::MetaBlock, vec![0u8; self.block_size()].into_boxed_slice()),
        });
        let mut victims = Vec::new();
        let mut map = self.map.lock();
        self.evict(&mut map, &mut victims);
        Ok(map.blocks.entry(number).or_insert(fresh).clone())
    }

    /// Takes clean blocks that nobody uses out of a full map, second-chance order. A handful a call keeps the map bounded.
    fn evict(&self, map: &mut Map, victims: &mut Vec<Arc<MetaBlock>>) {
        if map.blocks.len() < self.limit {
            return;
        }
        let hand = map.hand;
        let around = map.blocks.range(hand..).chain(map.blocks.range(..hand));
        let mut numbers: Vec<u64> = Vec::new();
        let mut last = hand;
        for (&number, block) in around.take(64) {
            last = number;
            let flags = block.flags.load(Ordering::Acquire);
            if flags & REFERENCED != 0 {
                block.flags.fetch_and(!REFERENCED, Ordering::Relaxed);
            } else if Arc::strong_count(block) == 1 {
                numbers.push(number);
            }
            if numbers.len() >= 8 {
                break;
            }
        }
        map.hand = last.wrapping_add(1);
        victims.extend(numbers.iter().filter_map(|n| map.blocks.remove(n)));
    }
}
