//! A context, and the table of a process.
use super::completions::{Completions, Waited};
use super::mapped::MappedRing;
use super::poll::Polls;
use super::request::{FreeList, Request};
use super::ring::Event;
use crate::mm::{AddressSpace, Backing, MapRequest, PAGE, Placement};
use crate::process::{Deadline, Thread};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock};
use base::{Errno, Page, Result};
use core::sync::atomic::{AtomicU64, Ordering};
use hal::user::Prot;
use zerocopy::IntoBytes;

/// Most requests of all contexts together: `fs.aio-max-nr` of Linux.
const SYSTEM_LIMIT: u64 = 65536;
/// Most requests of one context that make sense: more is `EINVAL`.
const ABSURD: u32 = 0x1000_0000;

/// Requests that all contexts together have room for.
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// A context: io_setup makes it, io_destroy or the end of the process ends it. It belongs to the process: the thread that submits may
/// end before its requests do (PRC-3).
pub struct AioContext {
    id: u64,
    /// Bytes of the mapping at `id`.
    len: u64,
    capacity: u64,
    pub(super) completions: Arc<Completions>,
    pub(super) polls: Arc<Polls>,
    free: Arc<FreeList>,
}

impl AioContext {
    /// A context for `count` requests, whose ring is mapped into `mm`. Errors: `EINVAL`, `EAGAIN` (system limit), `ENOMEM`.
    fn new(mm: &AddressSpace, count: u32) -> Result<Arc<AioContext>> {
        if count == 0 || count > ABSURD {
            return Err(Errno::EINVAL);
        }
        let capacity = u64::from(count);
        if GIVEN.fetch_add(capacity, Ordering::Relaxed) + capacity > SYSTEM_LIMIT {
            GIVEN.fetch_sub(capacity, Ordering::Relaxed);
            return Err(Errno::EAGAIN);
        }
        // From here on the room is given back by `drop`.
        let lease = Lease(capacity);
        let ring = MappedRing::new(count as usize)?;
        let pages = ring.pages().clone();
        let completions = Arc::new(Completions::new(count as usize, Some(ring))?);
        let free: Arc<FreeList> = Arc::new(SpinLock::new(Vec::new()));
        let len = pages.len() as u64 * PAGE;
        let id = map_ring(mm, pages)?;
        core::mem::forget(lease);
        Ok(Arc::new(AioContext { id, len, capacity, completions, polls: Polls::new(), free }))
    }

    /// A slot's request, made on first use. The slot itself was reserved.
    pub(super) fn request(&self) -> Arc<Request> {
        let reused = self.free.lock().pop();
        reused.unwrap_or_else(|| Request::new(self.completions.clone(), self.free.clone()))
    }

    /// io_cancel of the iocb at `obj` (AIO-10): a POLL ends, and its event comes; nothing else can be cancelled. Errors: `EINPROGRESS`: it is
    /// being cancelled; `EINVAL`. Task context.
    pub fn cancel(&self, obj: u64) -> Errno {
        if self.polls.cancel(obj) { Errno::EINPROGRESS } else { Errno::EINVAL }
    }

    /// io_getevents (AIO-7, AIO-8): at least `min`, at most `most` events to `events`. Errors: `EINVAL`, `EFAULT`, `EINTR`.
    pub fn get_events(
        &self,
        thread: &Thread,
        (min, most): (usize, usize),
        events: u64,
        deadline: Deadline,
    ) -> Result<usize> {
        let mut got = 0;
        loop {
            let waited = match min.saturating_sub(got) {
                0 => Waited::Enough,
                need => self.completions.wait(thread, need, deadline),
            };
            match self.reap_all(&thread.mm, most - got, events + (got * size_of::<Event>()) as u64) {
                Ok(n) => got += n,
                Err(e) if got == 0 => return Err(e),
                Err(_) => return Ok(got),
            }
            let done = got >= min || waited != Waited::Enough;
            match waited {
                Waited::Destroyed if got == 0 => return Err(Errno::EINVAL),
                Waited::Interrupted if got == 0 => return Err(Errno::EINTR),
                _ if done => return Ok(got),
                // Somebody else was faster: wait for the rest.
                _ => {}
            }
        }
    }

    /// Copies what is there, at most `most` events. Errors: `EFAULT`, if not even the first batch could be copied.
    fn reap_all(&self, mm: &AddressSpace, most: usize, events: u64) -> Result<usize> {
        let mut got = 0;
        while got < most {
            let at = events.checked_add((got * size_of::<Event>()) as u64).ok_or(Errno::EFAULT)?;
            match self.completions.reap(most - got, |batch| mm.write_bytes(at, batch.as_bytes())) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if got == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(got)
    }
}

impl Drop for AioContext {
    fn drop(&mut self) {
        drop(Lease(self.capacity));
        // The free slots refer to the list they stand in.
        self.free.lock().clear();
    }
}

struct Lease(u64);

impl Drop for Lease {
    fn drop(&mut self) {
        GIVEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Maps the ring, whose address is the context's id. Errors: `ENOMEM`.
fn map_ring(mm: &AddressSpace, pages: Arc<[Page]>) -> Result<u64> {
    mm.map(MapRequest {
        placement: Placement::Hint(0),
        len: pages.len() as u64 * PAGE,
        prot: Prot { read: true, write: true, exec: false },
        shared: true,
        backing: Backing::Pages { pages, first: 0 },
    })
}

/// The contexts of a process by id.
pub struct AioTable(SpinLock<BTreeMap<u64, Arc<AioContext>>>);

impl AioTable {
    /// No contexts.
    pub fn new() -> AioTable {
        AioTable(SpinLock::new(BTreeMap::new()))
    }

    /// Makes a context and returns its id. Errors: `EINVAL`, `EAGAIN`, `ENOMEM`.
    pub fn create(&self, mm: &AddressSpace, count: u32) -> Result<u64> {
        let context = AioContext::new(mm, count)?;
        let id = context.id;
        // A program that unmaps a context's page may get a second context at the same address: the first one stays.
        let taken = match self.0.lock().entry(id) {
            alloc::collections::btree_map::Entry::Vacant(place) => {
                place.insert(context);
                return Ok(id);
            }
            alloc::collections::btree_map::Entry::Occupied(_) => context,
        };
        mm.unmap(id, taken.len)?;
        drop(taken);
        Err(Errno::EAGAIN)
    }

    /// The context `id`. Errors: `EINVAL`.
    pub fn get(&self, id: u64) -> Result<Arc<AioContext>> {
        self.0.lock().get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// Ends the context `id`: out of the table first, then waits until its requests are finished (AIO-12). Task context; sleeps.
    /// Errors: `EINVAL`.
    pub fn destroy(&self, mm: &AddressSpace, id: u64) -> Result<()> {
        let context = self.0.lock().remove(&id).ok_or(Errno::EINVAL)?;
        context.polls.cancel_all();
        context.completions.destroy()?;
        mm.unmap(id, context.len)
    }

    /// Ends every context, at the end of the process (PRC-2). Task context; sleeps.
    pub fn destroy_all(&self) {
        let contexts = core::mem::take(&mut *self.0.lock());
        for context in contexts.into_values() {
            context.polls.cancel_all();
            // `EINVAL` says that another thread is destroying it and waits itself; here the wait is what matters.
            if context.completions.destroy().is_err() {
                log::debug!("aio context {:#x} ends twice", context.id);
            }
        }
    }
}

impl Default for AioTable {
    fn default() -> Self {
        Self::new()
    }
}
