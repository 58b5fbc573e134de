//! One I/O in flight, from its first bio to its outcome.
//!
//! A context (CTX-1) is shared by the bios of one write-through or direct I/O. Its life (SEMANTICS A7):
//!
//! | # | state | who owns it | encoded by |
//! |---|---|---|---|
//! | 1 | collecting | the submitter | `refs` = 1 + bios in flight, `stage` empty |
//! | 2 | handed over | nobody alone: bios and the submitter | `stage` is `Finish` |
//! | 3 | ended | whoever got `true` from [`CtxRefs::put`] | `refs` = 0 |
//! | 4 | finishing, F1 to F4 | the submitter (inline, sync) or the completion queue (aio) | `stage` taken |
//! | 5 | waiting for durability, F5 | the submitter (sync) or the second queue (aio) | `stage` is `Second`, then taken |
//! | 6 | done, F6 | the same; frees the context (CTX-6) | dropped |
//!
//! What runs where is decided in one place, [`IoCtx::last_put`]; what the finish does, and in which order, in another,
//! [`super::ioend`].
use super::ctx::{CtxRefs, Done, FirstError, wait_for_stragglers};
use super::ioend::{Finished, Owed};
use crate::kiocb::Outcome;
use alloc::boxed::Box;
use base::block::{Bio, BioEnd, BlockDevice, Room};
use base::stats::Gauge;
use base::sync::{Arc, IrqLock, SpinLock};
use base::workqueue::{Work, WorkLink, WorkQueue};
use base::{Errno, Result, stats};

/// How the outcome reaches its issuer. Fixed before the first bio is submitted (CTX-4).
enum Kind {
    /// The submitter waits.
    Sync(Done),
    /// Two workers finish: the superblock's completion queue, and the queue that waits for log and device (QUE-5).
    Aio {
        first: Arc<WorkQueue>,
        second: Arc<WorkQueue>,
        /// The submitter may finish if the last bio has ended before it leaves (CMP-7).
        inline: bool,
    },
}

/// What is still to be done, and by which queue.
enum Stage {
    /// F1 to F4, then what is left.
    Finish(Owed),
    /// What may wait for long, F5 among it, and F6.
    Second(Finished),
}

/// The context of one I/O.
pub struct IoCtx {
    refs: CtxRefs,
    error: FirstError,
    kind: Kind,
    /// Ended bios wait here for a task to free them: interrupts do not free.
    ended: IrqLock<Option<Box<Bio>>>,
    stage: SpinLock<Option<Stage>>,
    work: WorkLink,
}

impl IoCtx {
    /// A context whose submitter will wait. Allocates.
    pub fn new_sync() -> Arc<Self> {
        Self::new(Kind::Sync(Done::new()))
    }

    /// A context that workers finish. The queues exist before any bio is submitted (QUE-1). Allocates.
    pub fn new_aio(first: Arc<WorkQueue>, second: Arc<WorkQueue>) -> Arc<Self> {
        Self::new(Kind::Aio { first, second, inline: true })
    }

    /// The same for a submitter that must not sleep, as a finish does: workers finish it, whoever drops the last reference (NOW-1).
    pub fn new_nowait([first, second]: [Arc<WorkQueue>; 2]) -> Arc<Self> {
        Self::new(Kind::Aio { first, second, inline: false })
    }

    fn new(kind: Kind) -> Arc<Self> {
        stats::raise(Gauge::LiveContexts);
        Arc::new(IoCtx {
            refs: CtxRefs::new(),
            error: FirstError::new(),
            kind,
            ended: IrqLock::new(None),
            stage: SpinLock::new(None),
            work: WorkLink::new(),
        })
    }

    /// An error that was reported so far: no further bio is submitted then (SUB-5).
    pub fn error(&self) -> Option<Errno> {
        self.error.get()
    }

    /// Sends `bio`, whose end is this context, with a reference of its own (S-9). Sleeps while the device's ring is full.
    pub fn submit(&self, bio: Box<Bio>, device: &Arc<dyn BlockDevice>) {
        self.refs.get();
        bio.submit_to(&**device);
    }

    /// As [`Self::submit`], into room that was set aside: does not sleep.
    pub fn submit_into(&self, bio: Box<Bio>, room: Room) {
        self.refs.get();
        room.submit(bio);
    }

    /// S-10: the submitter hands over what the finish owes and drops its reference. The three fates of that reference:
    /// * it was the last one: every bio has ended, or none was sent. The finish runs here, inline (CMP-7), unless it must not sleep
    ///   here: then on a worker all the same;
    /// * not the last, synchronous: sleep until the last bio ended, then finish here;
    /// * not the last, asynchronous: a worker finishes; nothing of the context may be touched from here on (CTX-3), and no lock is
    ///   held for it (LOCK-4). It waits for no flush and no commit either (DUR-6).
    ///
    /// `unlock` lets go of the inode lock; it is called before any sleep on the device or on a flush (S-11).
    pub fn hand_over(self: Arc<Self>, owed: Owed, unlock: impl FnOnce()) -> Result<Outcome> {
        base::anchor!("S-10", owed.ino());
        *self.stage.lock() = Some(Stage::Finish(owed));
        let last = self.refs.put();
        match &self.kind {
            Kind::Aio { .. } if !last => {
                unlock();
                Ok(Outcome::Queued)
            }
            Kind::Aio { first, inline: false, .. } => {
                unlock();
                first.queue(self.clone());
                Ok(Outcome::Queued)
            }
            Kind::Aio { first, second, .. } => {
                let finished = self.finish();
                unlock();
                if finished.owes_second_stage() {
                    self.queue_second(finished, first, second);
                    return Ok(Outcome::Queued);
                }
                self.settle(1);
                finished.conclude_inline()
            }
            Kind::Sync(done) => {
                let finished = if last {
                    let finished = self.finish();
                    unlock();
                    finished
                } else {
                    base::mistake!("R73", done.wait());
                    unlock();
                    base::anchor!("S-11", 0);
                    done.wait();
                    self.finish()
                };
                self.settle(1);
                finished.second_stage().conclude_inline()
            }
        }
    }

    /// Takes what the submitter handed over and runs F1 to F4.
    fn finish(&self) -> Finished {
        // The guard falls before the finish, which sleeps.
        let stage = self.stage.lock().take();
        match stage {
            Some(Stage::Finish(owed)) => self.finish_owed(owed),
            _ => unreachable!("a finish runs once, after the hand-over (WT-5)"),
        }
    }

    /// F1 to F4, every bio having ended: first they are freed, and with them their handles to the pages.
    fn finish_owed(&self, owed: Owed) -> Finished {
        let ended = self.ended.lock().take();
        drop(ended);
        owed.finish(self.error())
    }

    /// A bio's reference is dropped; the last one decides how the finish runs.
    fn put(self: Arc<Self>) {
        base::anchor!("bio.end.before_drop", 0);
        if self.refs.put() {
            self.last_put();
        }
        base::anchor!("bio.end.after_drop", 0);
    }

    /// The last bio has ended. Hard-IRQ context: only wakes or queues embedded work (LOCK-10).
    fn last_put(self: &Arc<Self>) {
        match &self.kind {
            // The submitter sleeps, or is about to look: it finishes in its own context.
            Kind::Sync(done) => done.signal(),
            // Nobody waits: the finish may sleep, so it needs a worker (CMP-6: the link is embedded). The event is posted from there also where there is
            // nothing to convert, so that it always comes from the same context (CMP-3).
            Kind::Aio { first, .. } => {
                first.queue(self.clone());
            }
        }
    }

    /// Queues what waits for log and device on the second queue: on the first it would stand before the finishes of others (QUE-5).
    fn queue_second(self: &Arc<Self>, finished: Finished, first: &Arc<WorkQueue>, second: &Arc<WorkQueue>) {
        *self.stage.lock() = Some(Stage::Second(finished));
        let queue = if base::guard!("R46", true) { second } else { first };
        queue.queue(self.clone());
    }

    /// Makes sure that the context will be freed by a task (CTX-7). `tasks` is how many references tasks hold here: this one, and on a worker
    /// also its queue's.
    fn settle(self: &Arc<Self>, tasks: usize) {
        wait_for_stragglers(self, tasks);
    }
}

impl BioEnd for IoCtx {
    /// CMP-1, CMP-2: writeback is left to the finish. Record the status, keep the bio for a task to free, drop the reference.
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        if let Err(error) = bio.status() {
            self.error.set(error);
        }
        bio.chain(&mut self.ended.lock());
        self.put();
    }
}

impl Work for IoCtx {
    fn link(&self) -> &WorkLink {
        &self.work
    }

    /// First on the completion queue (F1 to F4), then, if durability is owed, on the second queue (F5); F6 ends it.
    fn run(self: Arc<Self>) {
        let Kind::Aio { first, second, .. } = &self.kind else { unreachable!("only asynchronous contexts are queued") };
        let stage = self.stage.lock().take();
        let finished = match stage {
            Some(Stage::Finish(owed)) => self.finish_owed(owed),
            Some(Stage::Second(finished)) => finished.second_stage(),
            None => unreachable!("a queued context has a stage"),
        };
        if finished.owes_second_stage() {
            return self.queue_second(finished, first, second);
        }
        self.settle(2);
        finished.conclude();
    }
}

impl Drop for IoCtx {
    fn drop(&mut self) {
        stats::lower(Gauge::LiveContexts);
    }
}
