//! `/proc/sluice/lab`: a program stops requests at the disk (HK-2) and tasks between any two steps (HK-1), and makes things fail
//! (HK-4).
//!
//! The root disk stands behind a [`Gate`]. A program writes commands, a line each; a write returns when its last line was obeyed.
//!
//! | command | what it does |
//! |---|---|
//! | `hold OP N` | the next `N` requests of a kind (`read`, `write`, `flush`) are held before the disk |
//! | `hold-end OP N` | the disk does the next `N`, and their completions are held |
//! | `fail OP N` | of the requests to come the `N`-th of a kind, from 1, ends with `EIO` |
//! | `pass` | what is held before the disk goes to the disk, and is held again behind it |
//! | `release` | what is held goes on; rules that were not used up are taken back |
//! | `release NUMBER` | the one request of that number goes on |
//! | `wait-held N` | sleeps until `N` requests are held, on either side of the disk |
//! | `wait-end N` | sleeps until the completions of `N` requests are held |
//! | `stop NAME [ID]` | the next task that passes the anchor `NAME` stops there; with `ID`, only for that object, mostly an inode |
//! | `wait-stop NAME` | sleeps until a task stands at the anchor |
//! | `release NAME` | who stands at the anchor goes on, and nobody stops there any more |
//! | `fail-memory N` | the `N`-th allocation that may fail, from 1, of any task, ends with `ENOMEM` |
//! | `drop-caches [INODE]` | every folio that is clean and not in use goes, of one file of the root disk or of all |
//! | `guard-off NAME` | the guard of the bug museum is off (feature `museum`) |
//! | `reset` | everything goes on, nothing stops or fails any more, and every guard is on |
//!
//! Read, it shows a line for each request that is held, `held NUMBER OP SECTOR BYTES before|behind`, and one for each stop,
//! `stop NAME armed` or `stop NAME reached TASK`. `docs/LAB.md` lists the anchors.
//!
//! Errors: `EINVAL` for anything else, `ENOENT` for an anchor without a stop and for an inode that is not in memory, `EEXIST` for a second stop at one, `ETIMEDOUT` for a
//! wait that lasts too long. One program at a time experiments: two that release at once would meet requests that the other has
//! released already.
//!
//! | file | idea |
//! |---|---|
//! | `command` | the commands and how they are written (pure) |
//! | `experiment` | what they do |
mod command;
mod experiment;

use alloc::boxed::Box;
use base::block::{BlockDevice, Gate};
use base::sync::Arc;
use base::{Errno, Result};
use command::Command;
use experiment::Experiment;
use fs::page_cache::PageCache;
use fs::procfs::ProcFs;
use fs::vfs::Vfs;
use hal::sync::SpinLock;

/// The gate in front of the root disk, from its mount on.
static GATE: SpinLock<Option<Arc<Gate>>> = SpinLock::new(None);

/// Puts the gate in front of the root disk. Once, before the mount.
pub fn gated(disk: Arc<dyn BlockDevice>) -> Arc<dyn BlockDevice> {
    let gate = Gate::new(disk);
    *GATE.lock() = Some(gate.clone());
    gate
}

/// Adds the file. Errors: `ENODEV` without a gate.
pub(super) fn register(proc: &ProcFs, vfs: &Arc<Vfs>, cache: &Arc<PageCache>) -> Result<()> {
    let gate = GATE.lock().clone().ok_or(Errno::ENODEV)?;
    let experiment = Arc::new(Experiment::new(gate, Arc::downgrade(vfs), cache.clone()));
    let shown = experiment.clone();
    proc.writable_file(
        "sluice/lab",
        Box::new(move |text| shown.show(text)),
        Box::new(move |bytes| {
            let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
            text.lines().try_for_each(|line| experiment.obey(Command::parse(line)?))
        }),
    )
}
