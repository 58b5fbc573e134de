//! Transactions and handles: the only way to change a metadata block.
//!
//! A handle stands for one atomic change of the file system, of a bounded number of blocks (its credits). Handles of many tasks
//! share the *running* transaction; a commit makes all of them durable together, with a journal or without (see `commit`).
//!
//! ```text
//!            begin            the last handle ends          copies made                durable
//!   running ───────▶ running ─────────────────▶ closing ──────────────▶ closed ──────────────▶ committed
//!             ▲          │ a commit is asked for,   │ nobody begins         │ the next transaction runs;
//!             └──────────┘ or it is full            │ a handle meanwhile    │ several may wait to be written
//! ```
//!
//! A block joins the running transaction when a handle changes it for the first time; a page for its copy is taken from a stock
//! that [`Ext4Fs::begin`] has filled, so that a change does not fail for memory half way. Blocks that a transaction frees are not
//! handed out again before it has committed (CRA-3; see `groups`).
//!
//! A transaction never outgrows the log. An ordinary handle that finds it full waits until it is committed. Handles of finished I/O
//! ([`Ext4Fs::begin_reserved`]) wait for no commit and for no room in the log (R47): they find it full later, and then close it
//! (see `close`), which takes copies in memory and waits for open handles only; those wait for no I/O of files. Whoever commits
//! next writes what was closed. So finishes need no promise of room at submission, however many are in flight.
//!
//! # Order of locks
//!
//! A handle is begun with no folio locked and no folio is locked inside one (LOCK-1). It is begun before the extent lock is
//! taken and ended after that was let go, or dropped together with it. A task has one handle at a time.
use super::Ext4Fs;
use super::close::Batch;
use super::meta::{MetaBlock, Seal};
use crate::vfs::SyncKind;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
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

/// What the running transaction consists of.
#[derive(Default)]
pub(super) struct Running {
    /// By block number.
    pub members: BTreeMap<u64, Member>,
    /// Freed blocks that have a copy in the log.
    pub revoked: BTreeSet<u64>,
}

impl Running {
    pub(super) fn is_changed(&self) -> bool {
        !self.members.is_empty() || !self.revoked.is_empty()
    }
}

pub(super) struct State {
    /// The number of the running transaction.
    pub tid: u64,
    /// Somebody closes it: waits for the open handles, or makes its copies.
    pub closing: bool,
    /// Open handles.
    pub handles: u32,
    /// What they may still touch.
    credits: u32,
    pub running: Running,
    /// Closed transactions that are not durable, the oldest first.
    pub closed: VecDeque<Batch>,
    /// Blocks with a copy in the log, or in what is closed and on its way there.
    pub logged: BTreeSet<u64>,
    /// Pages for copies.
    stock: Vec<Page>,
}

/// Blocks that handles fill a transaction with. Closing it may add as many descriptors of groups as it has bitmaps.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Ordinary handles.
    pub ordinary: u32,
    /// Handles of finished I/O.
    pub finish: u32,
}

impl Limits {
    /// The same, or smaller ones where a log of `capacity` blocks asks for it: even twice the larger number, with the blocks that describe
    /// a transaction, fits into it.
    pub fn within(self, capacity: u32) -> Limits {
        Limits { ordinary: self.ordinary.min(capacity / 4), finish: self.finish.min(capacity / 8 * 3) }
    }
}

/// The transactions of a file system.
pub struct Transactions {
    pub(super) state: SpinLock<State>,
    /// The last handle has ended, or a closed transaction has been replaced by a running one.
    pub(super) changed: WaitQueue,
    /// Up to this number all transactions are durable.
    committed: AtomicU64,
    /// The number of the first transaction of this mount.
    first: u64,
    limits: Limits,
}

impl Transactions {
    /// The running transaction gets the number `first`.
    pub(super) fn new(first: u64, limits: Limits) -> Self {
        let state = State {
            tid: first,
            closing: false,
            handles: 0,
            credits: 0,
            running: Running::default(),
            closed: VecDeque::new(),
            logged: BTreeSet::new(),
            stock: Vec::new(),
        };
        let committed = AtomicU64::new(first.saturating_sub(1));
        Transactions { state: SpinLock::new(state), changed: WaitQueue::new(), committed, first, limits }
    }

    /// The number of the running transaction.
    pub fn running(&self) -> u64 {
        self.state.lock().tid
    }
    /// Up to this number every change is durable.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }
    /// Blocks that were changed and are not durable, and how many transactions were committed since mount.
    pub fn figures(&self) -> (u64, u64) {
        let state = self.state.lock();
        let closed = state.closed.iter().map(|batch| batch.copies.len()).sum::<usize>();
        let uncommitted = (state.running.members.len() + closed) as u64;
        (uncommitted, (self.committed() + 1).saturating_sub(self.first))
    }
    /// Blocks that ordinary handles may still add to the running transaction.
    pub fn room(&self) -> u32 {
        let state = self.state.lock();
        self.limits.ordinary.saturating_sub(state.running.members.len() as u32 + state.credits)
    }
    /// Whether changes wait for a commit.
    pub fn is_dirty(&self) -> bool {
        let state = self.state.lock();
        !state.running.members.is_empty() || state.tid > self.committed() + 1
    }
    /// The most that one handle may ask for.
    pub(super) fn most_credits(&self) -> Credits {
        Credits(self.limits.ordinary)
    }

    pub(super) fn set_committed(&self, tid: u64) {
        self.committed.fetch_max(tid, Ordering::AcqRel);
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

    /// Enters the running transaction if it is open and has room.
    fn enter(&self, credits: u32, limit: u32) -> Entry {
        debug_assert!(credits <= self.limits.ordinary, "{credits} credits never fit into the log");
        let mut state = self.state.lock();
        if state.closing {
            return Entry::Closing;
        }
        if state.running.members.len() as u32 + state.credits + credits > limit {
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
            match self.txn.enter(credits.0, self.txn.limits.ordinary) {
                Entry::Entered(tid) => return Ok(Handle { fs: self, tid, credits: credits.0 }),
                Entry::Closing => self.wait_until_open(),
                Entry::Full(tid) => self.commit(tid)?,
            }
        }
    }

    /// Begins a change for I/O that has ended. Never waits for a commit or for the log (LOCK-5, R47). Errors: `EROFS`, `EIO`; where the
    /// transaction is full and cannot be closed, `ENOMEM`, `EUCLEAN`.
    pub fn begin_reserved(&self, credits: Credits) -> Result<Handle<'_>> {
        rank::check(Rank::FreezeInternal);
        let limit = if base::guard!("EXT-2", true) { self.txn.limits.finish } else { u32::MAX };
        loop {
            self.check_writable()?;
            match self.txn.enter(credits.0, limit) {
                Entry::Entered(tid) => return Ok(Handle { fs: self, tid, credits: credits.0 }),
                Entry::Closing => self.wait_until_open(),
                Entry::Full(tid) => {
                    self.close(tid)?;
                    self.background.ask_for_commit();
                }
            }
        }
    }

    /// The handle of the one who closes the transaction.
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
    /// Blocks that it may still touch for the first time.
    pub(super) fn credits(&self) -> u32 {
        self.credits
    }

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
