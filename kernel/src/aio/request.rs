//! A slot: what a request in flight carries, and how it completes.
use super::completions::Completions;
use super::ring::Event;
use crate::files::EventFd;
use base::Result;
use base::sync::{Arc, SpinLock};
use base::workqueue::{Work, WorkLink};
use fs::kiocb::KiocbComplete;
use fs::vfs::{self, File, SyncKind, fput_deferred};

/// Free slots of a context, shared with its requests.
pub(super) type FreeList = SpinLock<alloc::vec::Vec<Arc<Request>>>;

/// A request. It is made once for each slot and used again and again.
pub struct Request {
    completions: Arc<Completions>,
    free: Arc<FreeList>,
    carried: SpinLock<Carried>,
    link: WorkLink,
}

#[derive(Default)]
struct Carried {
    data: u64,
    obj: u64,
    eventfd: Option<Arc<File>>,
    /// For a sync request: what to do on the worker.
    sync: Option<(Arc<File>, SyncKind)>,
    /// The slot's own handle, kept while it is in flight and given to the free list afterwards: no allocation.
    slot: Option<Arc<Request>>,
}

impl Request {
    pub(super) fn new(completions: Arc<Completions>, free: Arc<FreeList>) -> Arc<Request> {
        Arc::new(Request { completions, free, carried: SpinLock::new(Carried::default()), link: WorkLink::new() })
    }

    /// Loads the slot for a request. The iocb's memory is not looked at again (AIO-5).
    pub(super) fn start(self: &Arc<Self>, data: u64, obj: u64, eventfd: Option<Arc<File>>) {
        let slot = Some(self.clone());
        *self.carried.lock() = Carried { data, obj, eventfd, sync: None, slot };
    }

    /// Makes it a sync request, to be queued as work.
    pub(super) fn set_sync(&self, file: Arc<File>, kind: SyncKind) {
        self.carried.lock().sync = Some((file, kind));
    }

    /// Ends a request in flight: event, eventfd, slot, destroyer, in this order.
    pub(super) fn finish(&self, result: Result<usize>) {
        let carried = core::mem::take(&mut *self.carried.lock());
        let res = match result {
            Ok(n) => n as i64,
            Err(e) => e.to_ret(),
        };
        // The slot goes back before the event is visible: who reaps the event and submits again finds it (R68).
        if let Some(slot) = carried.slot {
            self.free.lock().push(slot);
        }
        // The count, of an append too (APP-4).
        self.completions.post(Event { data: carried.data, obj: carried.obj, res, res2: 0 });
        if let Some(file) = carried.eventfd {
            EventFd::signal(&file);
            // This may be a completion queue: the last reference is let go elsewhere (PRC-4).
            fput_deferred(file);
        }
        self.completions.tell_destroyer();
    }

    /// Takes the request back before it was in flight, its validation having failed.
    pub(super) fn abandon(&self) {
        let carried = core::mem::take(&mut *self.carried.lock());
        if let Some(slot) = carried.slot {
            self.free.lock().push(slot);
        }
        self.completions.unreserve();
    }
}

impl KiocbComplete for Request {
    fn complete(&self, result: Result<usize>) {
        self.finish(result);
    }
}

impl Work for Request {
    fn link(&self) -> &WorkLink {
        &self.link
    }
    /// Runs a sync request.
    fn run(self: Arc<Self>) {
        let sync = self.carried.lock().sync.take();
        let Some((file, kind)) = sync else { return };
        let result = vfs::fsync(&file, kind).map(|()| 0);
        fput_deferred(file);
        self.finish(result);
    }
}
