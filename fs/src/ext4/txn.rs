//! Handles: the only way to change a metadata block.
//!
//! A handle stands for one atomic change of the file system. It knows which blocks the change touched and for which inodes,
//! so that an fsync of one of those inodes writes them. Its shape is that of a journal's handle: credits are asked for at the
//! start, a handle of finished I/O draws on a reserve, and every change gets a commit number.
//!
//! Without a journal a change becomes durable when its blocks are written and the device is flushed; a power cut in
//! between leaves part of it, which `e2fsck` repairs.
//!
//! # Order of locks
//!
//! A handle is begun with no folio locked and no folio is locked inside one (LOCK-1). It is begun before the extent lock is
//! taken and ended after that was let go, or dropped together with it.
use super::Ext4Fs;
use super::meta::{MetaBlock, Seal};
use crate::vfs::SyncKind;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::atomic::{AtomicU64, Ordering};
use base::sync::{Arc, SpinLock, WriteGuard};
use base::{Errno, Result};
use core::ops::{Deref, DerefMut};
use smallvec::SmallVec;

/// How many metadata blocks a change may touch at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credits(pub u32);

/// The numbers of changes: which were made, and up to which all are durable.
pub struct TxnState {
    last: AtomicU64,
    durable: AtomicU64,
}

impl TxnState {
    /// Nothing changed yet.
    pub fn new() -> Self {
        TxnState { last: AtomicU64::new(0), durable: AtomicU64::new(0) }
    }
    /// The number of the latest change that has ended.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }
    /// Up to this number every change is durable.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
    /// Tells that all changes up to `number` are durable.
    pub fn set_durable(&self, number: u64) {
        self.durable.fetch_max(number, Ordering::AcqRel);
    }
}

impl Default for TxnState {
    fn default() -> Self {
        Self::new()
    }
}

/// What of one inode waits for a commit (DUR-4): its latest changes and the blocks they touched.
pub struct Pending(SpinLock<PendingState>);

#[derive(Default)]
struct PendingState {
    /// The latest change needed to read data back.
    data: u64,
    /// The latest change of any kind.
    all: u64,
    /// Up to this number the inode's own changes are durable.
    durable: u64,
    /// Touched blocks, each with its latest change.
    blocks: BTreeMap<u64, u64>,
}

/// What a commit of one inode has to write, as of its start.
pub struct CommitSet {
    /// Touched blocks, ascending.
    pub blocks: Vec<u64>,
    /// The latest change among them.
    pub upto: u64,
}

impl Default for Pending {
    fn default() -> Self {
        Pending(SpinLock::new(PendingState::default()))
    }
}

impl Pending {
    /// Whether changes of this kind wait; `txn` tells what a whole-disk sync has made durable.
    pub fn waits(&self, txn: &TxnState, kind: SyncKind) -> bool {
        let state = self.0.lock();
        let last = if kind == SyncKind::Data { state.data } else { state.all };
        last > state.durable.max(txn.durable())
    }
    /// What is to be written now. The changes stay listed until [`Self::committed`].
    pub fn snapshot(&self) -> CommitSet {
        let state = self.0.lock();
        CommitSet { blocks: state.blocks.keys().copied().collect(), upto: state.all }
    }
    /// Tells that everything of a snapshot is durable.
    pub fn committed(&self, upto: u64) {
        let mut state = self.0.lock();
        state.durable = state.durable.max(upto);
        state.blocks.retain(|_, change| *change > upto);
    }
    fn record(&self, change: u64, txn: &TxnState, kind: SyncKind, touched: &[u64]) {
        let mut state = self.0.lock();
        if state.all <= txn.durable() {
            state.blocks.clear();
        }
        if kind == SyncKind::Data {
            state.data = state.data.max(change);
        }
        state.all = state.all.max(change);
        for &block in touched {
            state.blocks.insert(block, change);
        }
    }
}

/// One atomic change in the making. Dropping it ends it: the change counts from then on.
#[must_use = "a change lives as long as its handle"]
pub struct Handle<'a> {
    /// The file system.
    pub fs: &'a Ext4Fs,
    touched: SmallVec<[u64; 12]>,
    owners: SmallVec<[(Arc<Pending>, SyncKind); 2]>,
}

/// The bytes of a block under change. The lock of the block is held.
pub struct MetaWrite<'b>(WriteGuard<'b, Box<[u8]>>);

impl Deref for MetaWrite<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
impl DerefMut for MetaWrite<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Ext4Fs {
    /// Begins a change that touches at most `credits` blocks. May sleep and write metadata: no folio and no extent lock held.
    /// Errors: `EROFS` (read-only, also after an error), `EIO` (shut down).
    pub fn begin(&self, credits: Credits) -> Result<Handle<'_>> {
        if self.meta.is_crowded() {
            self.check_writable()?;
            self.make_room()?;
        }
        self.begin_reserved(credits)
    }

    /// Begins a change for I/O that has ended. Never waits for other changes or for memory (LOCK-5). Errors: as [`Self::begin`].
    pub fn begin_reserved(&self, _credits: Credits) -> Result<Handle<'_>> {
        self.check_writable()?;
        Ok(self.begin_unchecked())
    }

    /// Begins a change of the superblock alone, also of a damaged file system.
    pub(super) fn begin_unchecked(&self) -> Handle<'_> {
        Handle { fs: self, touched: SmallVec::new(), owners: SmallVec::new() }
    }
}

impl Handle<'_> {
    /// Locks `block` for change and makes it dirty. One block at a time; the extent and allocator locks are taken before.
    /// Errors: `EROFS`, `EIO`.
    pub fn write<'b>(&mut self, block: &'b Arc<MetaBlock>) -> Result<MetaWrite<'b>> {
        let data = block.lock_for_change();
        self.fs.meta.mark_dirty(block);
        if !self.touched.contains(&block.number()) {
            self.touched.push(block.number());
        }
        Ok(MetaWrite(data))
    }

    /// As [`Self::write`] for a block with a checksum inside, which `seal` brings up to date when the block is written.
    pub fn write_sealed<'b>(&mut self, block: &'b Arc<MetaBlock>, seal: Seal) -> Result<MetaWrite<'b>> {
        block.set_seal(seal);
        self.write(block)
    }

    /// Lists everything this handle touches, before or after this call, for an inode: its fsync of `kind` writes it.
    pub fn attach(&mut self, pending: &Arc<Pending>, kind: SyncKind) {
        match self.owners.iter_mut().find(|(p, _)| Arc::ptr_eq(p, pending)) {
            Some((_, listed)) if kind == SyncKind::Data => *listed = kind,
            Some(_) => {}
            None => self.owners.push((pending.clone(), kind)),
        }
    }

    /// Blocks freed in this change: what is cached of them is never written.
    pub fn forget(&mut self, start: u64, count: u64) {
        self.touched.retain(|b| *b < start || *b - start >= count);
        self.fs.meta.forget(start, count);
    }

    /// Stops at a damaged structure: logs, marks the file system and gives `EUCLEAN`.
    pub fn corrupt(&self, what: &str, where_: u64) -> Errno {
        self.fs.corrupt(what, where_)
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let change = self.fs.txn.last.fetch_add(1, Ordering::AcqRel) + 1;
        for (pending, kind) in &self.owners {
            pending.record(change, &self.fs.txn, *kind, &self.touched);
        }
    }
}
