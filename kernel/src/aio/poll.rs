//! POLL: an iocb that ends, once, when a file has something to tell.
//!
//! A request that finds nothing to tell listens to the file. Whoever changes the file queues it to a worker, which looks, and ends it or lets
//! it listen on. A cancelled one is queued too, and ends with nothing to tell. So it is only ever the worker that ends one, and each ends
//! once, whatever comes together: a change, io_cancel, io_destroy.
use super::request::Request;
use crate::files::poll::{ERR, HUP, events};
use alloc::vec::Vec;
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, Listener, SpinLock};
use base::workqueue::{Work, WorkLink, WorkQueue};
use base::{Errno, Result};
use fs::vfs::{File, fput_deferred};

/// The POLL requests in flight of a context.
pub(super) struct Polls(SpinLock<State>);

#[derive(Default)]
struct State {
    waiting: Vec<Arc<Poll>>,
    /// Made on first use.
    worker: Option<Arc<WorkQueue>>,
    /// The context ends: none is started any more.
    dead: bool,
}

/// One of them.
struct Poll {
    request: Arc<Request>,
    polls: Arc<Polls>,
    worker: Arc<WorkQueue>,
    /// Address of the iocb, by which it is cancelled.
    obj: u64,
    asked: u16,
    /// `None`: it has ended.
    file: SpinLock<Option<Arc<File>>>,
    cancelled: AtomicBool,
    link: WorkLink,
}

impl Polls {
    /// None.
    pub fn new() -> Arc<Polls> {
        Arc::new(Polls(SpinLock::new(State::default())))
    }

    /// What the file has to tell of `asked`, errors and hang-ups always; `None`: nothing yet, and the request is in flight. Task context; may
    /// sleep. Errors: `EINVAL` for a file that has nothing to tell and never changes, and where the context ends; `ENOMEM`.
    pub fn start(
        self: &Arc<Self>,
        request: &Arc<Request>,
        obj: u64,
        file: Arc<File>,
        asked: u16,
    ) -> Result<Option<u16>> {
        let asked = asked | ERR | HUP;
        let now = events(&file) & asked;
        if now != 0 {
            return Ok(Some(now));
        }
        let queue = file.ops().poll_queue().ok_or(Errno::EINVAL)?;
        let worker = self.worker()?;
        let poll = Arc::new(Poll {
            request: request.clone(),
            polls: self.clone(),
            worker: worker.clone(),
            obj,
            asked,
            file: SpinLock::new(Some(file.clone())),
            cancelled: AtomicBool::new(false),
            link: WorkLink::new(),
        });
        self.enter(&poll)?;
        if let Err(error) = queue.listen(poll.clone()) {
            self.remove(&poll);
            return Err(error);
        }
        // What has changed since the first look is found by the worker.
        worker.queue(poll);
        Ok(None)
    }

    /// Cancels the request of the iocb at `obj`; its event comes all the same, with nothing to tell. False if there is none. Task context.
    pub fn cancel(&self, obj: u64) -> bool {
        let fits = |poll: &&Arc<Poll>| poll.obj == obj && !poll.cancelled.load(Ordering::Acquire);
        let found = self.0.lock().waiting.iter().find(fits).cloned();
        found.is_some_and(|poll| poll.cancel())
    }

    /// Cancels all of them: the context ends (AIO-12). Task context.
    pub fn cancel_all(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.dead = true;
            state.waiting.clone()
        };
        waiting.into_iter().for_each(|poll| _ = poll.cancel());
    }

    fn worker(&self) -> Result<Arc<WorkQueue>> {
        if let Some(worker) = &self.0.lock().worker {
            return Ok(worker.clone());
        }
        let fresh = WorkQueue::new("aio-poll", 1)?;
        // Of two first users one drops its own, behind the lock.
        let worker = self.0.lock().worker.get_or_insert_with(|| fresh.clone()).clone();
        Ok(worker)
    }

    fn enter(&self, poll: &Arc<Poll>) -> Result<()> {
        let mut state = self.0.lock();
        if state.dead {
            return Err(Errno::EINVAL);
        }
        state.waiting.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        state.waiting.push(poll.clone());
        Ok(())
    }

    fn remove(&self, poll: &Arc<Poll>) {
        let mut state = self.0.lock();
        let at = state.waiting.iter().position(|other| Arc::ptr_eq(other, poll));
        let gone = at.map(|at| state.waiting.swap_remove(at));
        drop(state);
        drop(gone);
    }
}

impl Poll {
    /// False if it was cancelled before.
    fn cancel(self: Arc<Self>) -> bool {
        let first = !self.cancelled.swap(true, Ordering::AcqRel);
        if first {
            self.worker.clone().queue(self);
        }
        first
    }
}

impl Listener for Poll {
    fn changed(self: Arc<Self>) {
        // The queue of the file keeps another reference: here none is the last.
        self.worker.queue(self.clone());
    }
}

impl Work for Poll {
    fn link(&self) -> &WorkLink {
        &self.link
    }

    fn run(self: Arc<Self>) {
        let Some(file) = self.file.lock().clone() else { return };
        let cancelled = self.cancelled.load(Ordering::Acquire);
        let told = if cancelled { 0 } else { events(&file) & self.asked };
        if told == 0 && !cancelled {
            return;
        }
        let own = self.file.lock().take();
        if let Some(queue) = file.ops().poll_queue() {
            queue.leave(&self);
        }
        self.polls.remove(&self);
        own.into_iter().chain([file]).for_each(fput_deferred);
        self.request.finish(Ok(told.into()));
    }
}
