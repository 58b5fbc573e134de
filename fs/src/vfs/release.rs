//! How open files and inodes go away: [`fput`], [`iput`], and the release queue for contexts that must not do it themselves.
//!
//! Letting go of the last reference of an open file runs [`super::FileOps::release`], and of the last reference of an unlinked
//! inode [`super::InodeOps::evict`], which drains, truncates and starts transactions. On a completion queue that deadlocks (PRC-4,
//! LOCK-5): the drain may wait for a finish queued behind it. So a worker hands the reference itself over; the open file carries its
//! work item in it, so that this needs no memory.
//!
//! A plain drop of a reference is safe too. If it turns out to be the last of an unlinked inode, the drop of the inode moves
//! its contents to a new one (the ghost) and queues the ghost's eviction. That costs an allocation, and the blocks are free a moment later.
use super::{File, Inode, SuperBlock};
use alloc::vec::Vec;
use base::sync::atomic::{AtomicU32, Ordering};
use base::sync::{Arc, SpinLock, WaitQueue};
use base::workqueue::{Work, WorkLink, WorkQueue};

/// Where the last references that a worker holds are let go, and the count of those that are on their way.
pub(super) struct ReleaseQueue {
    inner: SpinLock<Inner>,
    /// Requests between their outcome and the hand-over of their file, and what was handed over and is not yet gone.
    leaving: AtomicU32,
    changed: WaitQueue,
}

struct Inner {
    queue: Option<Arc<WorkQueue>>,
    /// What was handed over before there was a queue; the next sync or unmount runs it.
    parked: Vec<Arc<dyn Work>>,
}

impl ReleaseQueue {
    pub(super) fn new() -> Self {
        let inner = SpinLock::new(Inner { queue: None, parked: Vec::new() });
        ReleaseQueue { inner, leaving: AtomicU32::new(0), changed: WaitQueue::new() }
    }
    /// Names the queue and hands it what has collected.
    pub(super) fn start(&self, queue: Arc<WorkQueue>) {
        let parked = {
            let mut inner = self.inner.lock();
            inner.queue = Some(queue.clone());
            core::mem::take(&mut inner.parked)
        };
        parked.into_iter().for_each(|work| {
            queue.queue(work);
        });
    }
    fn hand_over(&self, work: Arc<dyn Work>) {
        self.enter();
        let mut inner = self.inner.lock();
        match inner.queue.clone() {
            Some(queue) => {
                drop(inner);
                queue.queue(work);
            }
            None => {
                inner.parked.push(work);
                drop(inner);
                self.changed.wake_all();
            }
        }
    }
    fn enter(&self) {
        self.leaving.fetch_add(1, Ordering::AcqRel);
    }
    /// One that was on its way is gone.
    pub(super) fn leave(&self) {
        if self.leaving.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.wake_all();
        }
    }
    /// Runs what is parked. Task context.
    pub(super) fn run_parked(&self) {
        let parked = core::mem::take(&mut self.inner.lock().parked);
        parked.into_iter().for_each(Work::run);
    }
    /// Sleeps until nothing is on its way: every request whose outcome was seen has let go of its file, and the file is closed unless
    /// others have it (R64). Task context, no locks. Ends: what leaves waits for nothing but the device.
    pub(super) fn settle(&self) {
        loop {
            self.run_parked();
            let gone = || self.leaving.load(Ordering::Acquire) == 0;
            self.changed.wait_until(|| {
                let ready = gone() || !self.inner.lock().parked.is_empty();
                if !ready {
                    base::anchor!("release.before_sleep", 0);
                }
                ready
            });
            if gone() {
                return;
            }
        }
    }
}

/// A request between the moment its outcome can be seen and the moment it holds nothing of its super block any more. Unmount,
/// remount and freeze wait for it: to whoever saw the outcome the request is over (R64).
#[must_use = "dropping it says that the request has gone"]
pub struct Leaving(Arc<SuperBlock>);

impl Leaving {
    /// Before the outcome is posted.
    pub fn announce(sb: &Arc<SuperBlock>) -> Leaving {
        sb.release.enter();
        Leaving(sb.clone())
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.release.leave();
    }
}

/// Lets go of an open file. Task context; may sleep. On a completion queue: [`fput_deferred`].
pub fn fput(file: Arc<File>) {
    drop(file);
}

/// Lets go of an open file where nothing may sleep or drain: on a completion queue (CTX-8). The last reference goes to the
/// release queue. No allocation, but in the race named below.
pub fn fput_deferred(file: Arc<File>) {
    let Some(inode) = file.inode.clone() else {
        return; // Pipes and the like: their release only wakes.
    };
    let sb = inode.sb.clone();
    drop(inode);
    if Arc::strong_count(&file) == 1 {
        // Nobody else has it and nobody can get it: there are no weak references to open files.
        file.handed_over.store(true, Ordering::Release);
        sb.release.hand_over(file);
        return;
    }
    // Another holder may let go between the count and this line; then the file is ours after all, without its own allocation.
    if let Some(file) = Arc::into_inner(file) {
        file.handed_over.store(true, Ordering::Release);
        sb.release.hand_over(Arc::new(file));
    }
}

impl Work for File {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    fn run(self: Arc<Self>) {
        fput(self);
    }
}

/// Lets go of an inode; if it has no links and this was the last reference, evicts it before returning. Task context; may sleep;
/// the inode's lock is not held.
pub fn iput(inode: Arc<Inode>) {
    if inode.nlink() != 0 {
        return;
    }
    let sb = inode.sb.clone();
    if let Some(last) = sb.inodes().claim_last(inode) {
        evict(&last);
    }
}

/// Runs the file system's eviction once.
fn evict(inode: &Arc<Inode>) {
    base::anchor!("vfs.evict", inode.ino);
    inode.set_evicted();
    if let Err(error) = inode.ops().evict(inode) {
        log::warn!("inode {} of device {:#x}: eviction failed: {error}", inode.ino, inode.sb.dev);
    }
    inode.sb.inodes().evicted(inode);
}

/// What remains of an unlinked inode whose last reference was dropped somewhere: evicted by the release queue.
pub(super) struct Ghost {
    link: WorkLink,
    inode: Arc<Inode>,
}

impl Ghost {
    /// Takes over the contents of an inode that is being dropped.
    pub(super) fn queue(inode: Arc<Inode>) {
        let sb = inode.sb.clone();
        sb.inodes().claim_ghost(&inode);
        sb.release.hand_over(Arc::new(Ghost { link: WorkLink::new(), inode }));
    }
}

impl Work for Ghost {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    fn run(self: Arc<Self>) {
        evict(&self.inode);
        self.inode.sb.release.leave();
    }
}
