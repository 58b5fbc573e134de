//! Tasks on the host: threads. A thread that was not spawned here (a test's own) becomes a task when it first acts as one.
use super::task::{Entry, Inner};
use crate::errno::{Errno, Result};
use crate::sync::Arc;
use core::any::Any;

pub(super) struct RunState(hal::thread::Parker);

impl RunState {
    pub(super) fn new() -> Self {
        RunState(hal::thread::Parker::new())
    }
}

pub(super) fn init() -> Result<()> {
    Ok(())
}

pub(super) fn start(inner: &Arc<Inner>, entry: Entry) -> Result<()> {
    let name = crate::trace::thread_name(inner.id()).unwrap_or_default();
    hal::thread::spawn(&name, entry, inner.clone()).ok_or(Errno::ENOMEM)
}

fn task_of(data: Option<&Arc<dyn Any + Send + Sync>>) -> Option<Arc<Inner>> {
    data.and_then(|d| d.clone().downcast::<Inner>().ok())
}

pub(super) fn current() -> Arc<Inner> {
    hal::thread::with_data(task_of).unwrap_or_else(|| {
        let inner = Inner::new("thread", Arc::new(()));
        hal::thread::set_data(inner.clone());
        inner
    })
}

pub(super) fn with_inner<R>(f: impl FnOnce(&Inner) -> R) -> Option<R> {
    Some(f(&current()))
}

pub(super) fn current_id() -> u64 {
    hal::thread::with_data(|d| d.and_then(|d| d.downcast_ref::<Inner>()).map(Inner::id)).unwrap_or(0)
}

pub(super) fn park() {
    current().run.0.park();
}

pub(super) fn park_until(deadline_ns: u64) {
    current().run.0.park_until(deadline_ns);
}

pub(super) fn unpark(inner: &Arc<Inner>) {
    inner.run.0.unpark();
}

pub(super) fn interrupt(inner: &Arc<Inner>) {
    inner.run.0.unpark();
}

pub(super) fn start_other_cpus() -> usize {
    cpus()
}

/// Which of the host's CPUs runs a thread is the host's business.
pub(super) fn cpu() -> usize {
    0
}

pub(super) fn cpus() -> usize {
    1
}

/// The host's scheduler decides.
pub(super) fn allowed(_inner: &Inner) -> u32 {
    1
}

pub(super) fn set_allowed(_inner: &Arc<Inner>, _allowed: u32) {}

pub(super) fn yield_now() {
    hal::thread::yield_now();
}

pub(super) fn preempt_point() {}
