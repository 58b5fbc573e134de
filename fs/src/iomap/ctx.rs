//! The shared words of an I/O context: references, first error, the waiter's flag (SEMANTICS A7, A8).
//!
//! These are the parts that the submitter, interrupts on several CPUs and a worker touch at once; they stand alone so that the
//! model checkers can try every interleaving of them (models M1 and M2).
use base::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering, fence};
use base::sync::{Arc, WaitQueue};
use base::{Errno, sched};

/// References to a context: one of the submitter and one of each bio in flight (CTX-2).
pub struct CtxRefs(AtomicU32);

impl CtxRefs {
    /// One reference: the submitter's.
    pub fn new() -> Self {
        CtxRefs(AtomicU32::new(1))
    }
    /// One more, before a bio is submitted. The caller holds a reference.
    pub fn get(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    /// One less. Exactly one caller gets `true`, after everything that the others did before their `put` (CMP-1); whoever gets
    /// `false` must not touch the context any more (CTX-3).
    #[must_use]
    pub fn put(&self) -> bool {
        let before = self.0.fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "context reference dropped twice");
        if base::guard!("R38", before != 1) {
            return false;
        }
        fence(Ordering::Acquire);
        true
    }
}

impl Default for CtxRefs {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits until interrupt handlers on other CPUs that have done their part have let go of their references too, so that `own` remain: a
/// handler must not find itself to be the last, because what `this` holds ends with it (CTX-6, CTX-7). A matter of a few instructions.
pub(super) fn wait_for_stragglers<T>(this: &Arc<T>, own: usize) {
    while base::guard!("R39", Arc::strong_count(this) > own) {
        sched::yield_now();
    }
}

/// The error of a context: the first one wins, later ones are dropped (CTX-5).
pub struct FirstError(AtomicU16);

impl FirstError {
    /// No error.
    pub fn new() -> Self {
        FirstError(AtomicU16::new(0))
    }
    /// Records `error` unless there is one already. Any context.
    pub fn set(&self, error: Errno) {
        base::mistake!("R41", return self.0.store(error.number(), Ordering::Relaxed));
        let _ = self.0.compare_exchange(0, error.number(), Ordering::Relaxed, Ordering::Relaxed);
    }
    /// The error, if any. Final once the last reference is gone.
    pub fn get(&self) -> Option<Errno> {
        Errno::from_number(self.0.load(Ordering::Relaxed))
    }
}

impl Default for FirstError {
    fn default() -> Self {
        Self::new()
    }
}

/// "All I/O has ended", for the one task that waits for it (CMP-4, CMP-5).
///
/// The waker holds a counted reference to the context while it wakes, so that a waiter that sees the flag before it sleeps
/// can go on, finish and let go of its own reference without pulling the queue from under the waker (R39).
pub struct Done {
    flag: AtomicBool,
    waiter: WaitQueue,
}

impl Done {
    /// Not yet done.
    pub fn new() -> Self {
        Done { flag: AtomicBool::new(false), waiter: WaitQueue::new() }
    }
    /// Makes it true, then wakes (R40: in this order, or the waiter sleeps for ever). Any context.
    pub fn signal(&self) {
        base::mistake!("R40", return (self.waiter.wake_all(), self.flag.store(true, Ordering::Release)).1);
        self.flag.store(true, Ordering::Release);
        self.waiter.wake_all();
    }
    /// Sleeps until [`signal`](Self::signal). Not interruptible.
    pub fn wait(&self) {
        self.waiter.wait_until(|| self.flag.load(Ordering::Acquire));
    }
}

impl Default for Done {
    fn default() -> Self {
        Self::new()
    }
}
