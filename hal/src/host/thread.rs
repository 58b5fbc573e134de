//! Threads of the host, as `base::sched` sees them: the host's own or those of the checker that is chosen.
//!
//! The checkers run all threads of a model on few threads of the host, so per-thread state goes through their own
//! thread-locals, and a parked thread through their own condition variables.
use super::time;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::cell::{Cell, RefCell};

#[cfg(loom)]
use loom::{sync as backend_sync, thread as backend, thread_local};
#[cfg(shuttle)]
use shuttle::{sync as backend_sync, thread as backend, thread_local};
#[cfg(not(any(loom, shuttle)))]
use std::{sync as backend_sync, thread as backend, thread_local};

pub use backend::yield_now;

/// What this crate keeps for each thread.
pub(super) struct Local {
    /// How deep this thread stands in played interrupts.
    pub(super) interrupt_depth: Cell<u32>,
    /// How many masks of interrupts it holds.
    pub(super) mask_depth: Cell<u32>,
    data: RefCell<Option<Arc<dyn Any + Send + Sync>>>,
}

thread_local! {
    static LOCAL: Local =
        Local { interrupt_depth: Cell::new(0), mask_depth: Cell::new(0), data: RefCell::new(None) };
}

/// Runs `f` on the state of the current thread.
pub(super) fn local<R>(f: impl FnOnce(&Local) -> R) -> R {
    LOCAL.with(f)
}

/// Starts a thread that runs `entry` and carries `data`; `None` if the host has no more threads.
pub fn spawn(name: &str, entry: Box<dyn FnOnce() + Send>, data: Arc<dyn Any + Send + Sync>) -> Option<()> {
    let body = move || {
        set_data(data);
        entry();
    };
    backend::Builder::new().name(String::from(name)).spawn(body).ok().map(drop)
}

/// Runs `f` on the value that the current thread carries, if [`spawn`] or [`set_data`] gave it one.
pub fn with_data<R>(f: impl FnOnce(Option<&Arc<dyn Any + Send + Sync>>) -> R) -> R {
    local(|l| f(l.data.borrow().as_ref()))
}

/// Lets the current thread carry `data`.
pub fn set_data(data: Arc<dyn Any + Send + Sync>) {
    local(|l| drop(l.data.replace(Some(data))));
}

/// Where one thread sleeps. It holds at most one token: [`unpark`](Parker::unpark) leaves it, [`park`](Parker::park) takes
/// it, waiting for it if need be.
pub struct Parker {
    token: backend_sync::Mutex<bool>,
    left: backend_sync::Condvar,
}

impl Parker {
    /// A parker without a token.
    pub fn new() -> Self {
        Parker { token: backend_sync::Mutex::new(false), left: backend_sync::Condvar::new() }
    }

    /// Waits for the token and takes it. Only the thread that the parker belongs to.
    pub fn park(&self) {
        let mut token = self.lock();
        while !*token {
            token = self.left.wait(token).unwrap_or_else(|e| e.into_inner());
        }
        *token = false;
    }

    /// Waits for the token until [`time::now_ns`] is past `deadline_ns`.
    ///
    /// The checkers know no time: there the deadline comes at once after giving the others a chance to run, which is one of
    /// the orders that a real clock allows.
    pub fn park_until(&self, deadline_ns: u64) {
        let mut token = self.lock();
        while !*token {
            let left_ns = deadline_ns.saturating_sub(time::now_ns());
            if left_ns == 0 {
                break;
            }
            if cfg!(any(loom, shuttle)) {
                drop(token);
                yield_now();
                time::advance_to(deadline_ns);
                token = self.lock();
                continue;
            }
            let timeout = core::time::Duration::from_nanos(left_ns);
            token = self.left.wait_timeout(token, timeout).unwrap_or_else(|e| e.into_inner()).0;
        }
        *token = false;
    }

    /// Leaves the token and wakes the thread that waits for it. Any thread.
    pub fn unpark(&self) {
        *self.lock() = true;
        self.left.notify_one();
    }

    fn lock(&self) -> backend_sync::MutexGuard<'_, bool> {
        self.token.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}
