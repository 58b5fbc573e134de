//! Transactions and handles: the only way to change a metadata block.
//!
//! A handle stands for one atomic change of the file system, of a bounded number of blocks (its credits). Handles of many tasks
//! share the *running* transaction; a commit makes all of them durable together, with a journal or without (see `commit`).
//!
//! ```text
//!            begin            the last handle ends          copies made                durable
//!   running ───────▶ running ─────────────────▶ closing ──────────────▶ committing ──────────▶ committed
//!             ▲          │ a commit is asked for    │ nobody begins         │ the next transaction runs
//!             └──────────┘ new handles wait         │ a handle meanwhile    │
//! ```
//!
//! A block joins the running transaction when a handle changes it for the first time; a page for its copy is taken from a stock
//! that [`Ext4Fs::begin`] has filled, so that a change does not fail for memory half way. Blocks that a transaction frees are not
//! handed out again before it has committed (CRA-3; see `groups`).
//!
//! Handles of finished I/O ([`Ext4Fs::begin_reserved`]) never wait for a commit or for room in the log (R47): an ordinary handle does
//! once the transaction holds a quarter of the log, and what is left is theirs. All they can meet is a transaction that is closing,
//! which waits for open handles only, and those wait for no I/O of files.
//!
//! # Order of locks
//!
//! A handle is begun with no folio locked and no folio is locked inside one (LOCK-1). It is begun before the extent lock is
//! taken and ended after that was let go, or dropped together with it. A task has one handle at a time.
use super::Ext4Fs;
use super::meta::{MetaBlock, Seal};
use crate::vfs::SyncKind;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use base::sync::atomic::{AtomicU64, Ordering};
use base::sync::rank::{self, Rank};
use base::sync::{Arc, SpinLock, WaitQueue, WriteGuard};
use base::{Errno, Page, Result};
use core::ops::{Deref, DerefMut};

/// How many metadata blocks a change may touch at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credits(pub u32);

/// Pages kept for the handles of finished I/O, besides those promised to others.
const KEPT_PAGES: usize = 32;

/// A block of the running transaction, and the page for its copy.
pub(super) struct Member {
    pub block: Arc<MetaBlock>,
    pub page: Page,
}

/// What a closed transaction consists of.
#[derive(Default)]
pub(super) struct Closed {
    /// By block number.
    pub members: BTreeMap<u64, Member>,
    /// Freed blocks that have a copy in the log.
    pub revoked: BTreeSet<u64>,
}

struct State {
    /// The number of the running transaction.
    tid: u64,
    /// A commit waits for the open handles, or makes its copies.
    closing: bool,
    /// Open handles.
    handles: u32,
    /// What they may still touch.
    credits: u32,
    running: Closed,
    /// Blocks with a copy in the log.
    logged: BTreeSet<u64>,
    /// Pages for copies.
    stock: Vec<Page>,
}

/// The transactions of a file system.
pub struct Transactions {
    state: SpinLock<State>,
    /// The last handle has ended, or a closed transaction has been replaced by a running one.
    changed: WaitQueue,
    /// Up to this number all transactions are durable.
    committed: AtomicU64,
    /// The number of the first transaction of this mount.
    first: u64,
    /// Blocks that ordinary handles fill a transaction with.
    limit: u32,
}

impl Transactions {
    /// The running transaction gets the number `first`; it takes `limit` blocks.
    pub(super) fn new(first: u64, limit: u32) -> Self {
        let state = State {
            tid: first,
            closing: false,
            handles: 0,
            credits: 0,
            running: Closed::default(),
            logged: BTreeSet::new(),
            stock: Vec::new(),
        };
        let committed = AtomicU64::new(first.saturating_sub(1));
        Transactions { state: SpinLock::new(state), changed: WaitQueue::new(), committed, first, limit }
    }

    /// The number of the running transaction.
    pub fn running(&self) -> u64 {
        self.state.lock().tid
    }
    /// Up to this number every change is durable.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }
    /// Blocks of the running transaction, and how many transactions were committed since mount.
    pub fn figures(&self) -> (u64, u64) {
        let uncommitted = self.state.lock().running.members.len() as u64;
        (uncommitted, (self.committed() + 1).saturating_sub(self.first))
    }
    /// Blocks that ordinary handles may still add to the running transaction.
    pub fn room(&self) -> u32 {
        let state = self.state.lock();
        self.limit.saturating_sub(state.running.members.len() as u32 + state.credits)
    }
    /// Whether changes wait for a commit.
    pub fn is_dirty(&self) -> bool {
        let state = self.state.lock();
        !state.running.members.is_empty() || state.tid > self.committed() + 1
    }

    pub(super) fn set_committed(&self, tid: u64) {
        self.committed.fetch_max(tid, Ordering::AcqRel);
    }

    /// Keeps new handles out and waits until the open ones have ended. Ended by [`Self::close`] or [`Self::reopen`].
    pub(super) fn start_closing(&self) {
        self.state.lock().closing = true;
        self.changed.wait_until(|| self.state.lock().handles == 0);
    }

    /// Looks at the transaction that is closing.
    pub(super) fn with_closing<R>(&self, look: impl FnOnce(u64, &Closed) -> R) -> R {
        let state = self.state.lock();
        look(state.tid, &state.running)
    }

    /// Replaces the closing transaction by a new one; its blocks count as logged where there is a log.
    pub(super) fn close(&self, logged: bool) -> Closed {
        let mut state = self.state.lock();
        let closed = core::mem::take(&mut state.running);
        if logged {
            state.logged.extend(closed.members.keys());
        }
        state.tid += 1;
        state.closing = false;
        drop(state);
        self.changed.wake_all();
        closed
    }

    /// Lets the closing transaction run on.
    pub(super) fn reopen(&self) {
        self.state.lock().closing = false;
        self.changed.wake_all();
    }

    /// The log is empty: nothing needs to be revoked any more.
    pub(super) fn log_is_empty(&self) {
        // Dropped outside the lock.
        let gone = core::mem::take(&mut self.state.lock().logged);
        drop(gone);
    }

    /// Fills the stock for `credits` more. Errors: `ENOMEM`.
    fn stock_up(&self, credits: u32) -> Result<()> {
        loop {
            let missing = {
                let state = self.state.lock();
                let wanted = (state.credits + credits) as usize + KEPT_PAGES;
                wanted.saturating_sub(state.stock.len())
            };
            if missing == 0 {
                return Ok(());
            }
            let page = base::memory::alloc_page_zeroed()?;
            self.state.lock().stock.push(page);
        }
    }

    /// Enters the running transaction if it is open and, for an ordinary handle, has room.
    fn enter(&self, credits: u32, ordinary: bool) -> Entry {
        let mut state = self.state.lock();
        if state.closing {
            return Entry::Closing;
        }
        let used = state.running.members.len() as u32;
        if ordinary && used > 0 && used + state.credits + credits > self.limit {
            return Entry::Full(state.tid);
        }
        state.handles += 1;
        state.credits += credits;
        Entry::Entered(state.tid)
    }

    fn leave(&self, credits: u32) {
        let mut state = self.state.lock();
        state.handles -= 1;
        state.credits -= credits;
        let last = state.closing && state.handles == 0;
        drop(state);
        if last {
            self.changed.wake_all();
        }
    }
}

enum Entry {
    Entered(u64),
    Closing,
    Full(u64),
}

/// Which transactions changed an inode last (DUR-4).
pub struct Pending {
    /// The last change needed to read data back.
    data: AtomicU64,
    /// The last change of any kind.
    all: AtomicU64,
}

impl Pending {
    /// For an inode that was just read: `changed_in` is the last transaction that changed its block.
    pub fn new(changed_in: u64) -> Self {
        Pending { data: AtomicU64::new(changed_in), all: AtomicU64::new(changed_in) }
    }
    /// The transaction that has to be committed for this kind of durability.
    pub fn tid(&self, kind: SyncKind) -> u64 {
        let last = if kind == SyncKind::Data { &self.data } else { &self.all };
        last.load(Ordering::Acquire)
    }
    /// Whether changes of this kind wait for a commit.
    pub fn waits(&self, txn: &Transactions, kind: SyncKind) -> bool {
        self.tid(kind) > txn.committed()
    }
    fn note(&self, tid: u64, kind: SyncKind) {
        if kind == SyncKind::Data {
            self.data.fetch_max(tid, Ordering::AcqRel);
        }
        self.all.fetch_max(tid, Ordering::AcqRel);
    }
}

/// One atomic change in the making. Dropping it ends it.
#[must_use = "a change lives as long as its handle"]
pub struct Handle<'a> {
    /// The file system.
    pub fs: &'a Ext4Fs,
    tid: u64,
    credits: u32,
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
    /// Begins a change that touches at most `credits` blocks. May commit what others have changed: no folio, extent or later lock is
    /// held. Errors: `EROFS` (read-only, also after an error), `EIO` (shut down), `ENOMEM`.
    pub fn begin(&self, credits: Credits) -> Result<Handle<'_>> {
        rank::check(Rank::FreezeInternal);
        loop {
            self.check_writable()?;
            self.txn.stock_up(credits.0)?;
            match self.txn.enter(credits.0, true) {
                Entry::Entered(tid) => return Ok(Handle { fs: self, tid, credits: credits.0 }),
                Entry::Closing => self.wait_until_open(),
                Entry::Full(tid) => self.commit(tid)?,
            }
        }
    }

    /// Begins a change for I/O that has ended. Never waits for a commit, for the log or for memory (LOCK-5, R47). Errors: `EROFS`,
    /// `EIO`.
    pub fn begin_reserved(&self, credits: Credits) -> Result<Handle<'_>> {
        rank::check(Rank::FreezeInternal);
        loop {
            self.check_writable()?;
            match self.txn.enter(credits.0, false) {
                Entry::Entered(tid) => return Ok(Handle { fs: self, tid, credits: credits.0 }),
                _ => self.wait_until_open(),
            }
        }
    }

    /// The handle of the commit itself, in the transaction that it is closing.
    pub(super) fn begin_closing(&self) -> Handle<'_> {
        let mut state = self.txn.state.lock();
        debug_assert!(state.closing && state.handles == 0);
        state.handles += 1;
        Handle { fs: self, tid: state.tid, credits: 0 }
    }

    fn wait_until_open(&self) {
        self.txn.changed.wait_until(|| !self.txn.state.lock().closing);
    }
}

impl Handle<'_> {
    /// Locks `block` for change. One block at a time; the extent and allocator locks are taken before. Errors: `ENOMEM`, where
    /// more is touched than the stock of pages was filled for.
    pub fn write<'b>(&mut self, block: &'b Arc<MetaBlock>) -> Result<MetaWrite<'b>> {
        let data = block.lock_for_change();
        if block.changed_in() != self.tid {
            self.join(block)?;
        }
        Ok(MetaWrite(data))
    }

    /// As [`Self::write`] for a block with a checksum inside, which `seal` brings up to date when the block is written.
    pub fn write_sealed<'b>(&mut self, block: &'b Arc<MetaBlock>, seal: Seal) -> Result<MetaWrite<'b>> {
        block.set_seal(seal);
        self.write(block)
    }

    /// Makes `block`, whose lock is held, part of the transaction.
    fn join(&mut self, block: &Arc<MetaBlock>) -> Result<()> {
        let mut state = self.fs.txn.state.lock();
        let page = match state.stock.pop() {
            Some(page) => page,
            None => {
                drop(state);
                let page = base::memory::alloc_page_zeroed()?;
                state = self.fs.txn.state.lock();
                page
            }
        };
        if self.credits > 0 {
            self.credits -= 1;
            state.credits -= 1;
        } else {
            debug_assert!(state.closing, "a handle touches more blocks than it has asked for");
        }
        state.running.members.insert(block.number(), Member { block: block.clone(), page });
        block.set_changed_in(self.tid);
        Ok(())
    }

    /// Tells that this change is one of an inode: a commit for its fsync of `kind` has to reach this transaction.
    pub fn attach(&mut self, pending: &Pending, kind: SyncKind) {
        pending.note(self.tid, kind);
    }

    /// Blocks freed in this change: what is cached of them is never written, and what the log has of them is revoked. Gives the number
    /// of the transaction, before whose end nobody may have the blocks.
    pub(super) fn forget(&mut self, start: u64, count: u64) -> u64 {
        let range = start..start.saturating_add(count);
        self.fs.meta.forget(start, count);
        let mut gone = Vec::new();
        let mut state = self.fs.txn.state.lock();
        let State { running, logged, .. } = &mut *state;
        while let Some((&number, _)) = running.members.range(range.clone()).next() {
            gone.extend(running.members.remove(&number));
        }
        if base::guard!("revoke", true) {
            running.revoked.extend(logged.range(range));
        }
        state.stock.extend(gone.iter().map(|member: &Member| member.page.clone()));
        drop(state);
        self.tid
    }

    /// Stops at a damaged structure: logs, marks the file system and gives `EUCLEAN`.
    pub fn corrupt(&self, what: &str, where_: u64) -> Errno {
        self.fs.corrupt(what, where_)
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        self.fs.txn.leave(self.credits);
    }
}
