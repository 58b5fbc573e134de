//! Plugging: one kick for a batch of bios.
use super::BlockDevice;
use crate::sched::with_inner;
use crate::sync::Arc;
use arrayvec::ArrayVec;
use core::sync::atomic::{AtomicU32, Ordering};

/// Devices whose kick a task may owe at a time; for one more the kick is not delayed.
const MOST_PENDING: usize = 4;

/// While a plug lives, [`Plug::submitted`] delays the kick; dropping the plug, or sleeping, kicks (LOCK-6).
///
/// The kick is owed by the task, so a plug must not outlive the call that made it. Nested plugs are allowed: the outermost
/// one kicks.
#[must_use = "dropping the plug kicks"]
pub struct Plug {
    _not_send: core::marker::PhantomData<*const ()>,
}

impl Plug {
    /// Starts to collect kicks on the current task.
    pub fn start() -> Plug {
        with_inner(|t| t.plug.depth.fetch_add(1, Ordering::Relaxed));
        Plug { _not_send: core::marker::PhantomData }
    }

    /// Tells that bios were submitted to `device`: kicks now, or when the current task's plug ends or it sleeps.
    pub fn submitted(device: &Arc<dyn BlockDevice>) {
        let delayed = with_inner(|t| t.plug.delay(device)).unwrap_or(false);
        if !delayed {
            device.kick();
        }
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        let outermost = with_inner(|t| t.plug.depth.fetch_sub(1, Ordering::Relaxed) == 1);
        if outermost == Some(true) {
            kick_plugged();
        }
    }
}

/// What each task keeps: only the task itself touches it, the lock is never contended.
pub(crate) struct PlugState {
    depth: AtomicU32,
    owed: AtomicU32,
    pending: hal::sync::SpinLock<ArrayVec<Arc<dyn BlockDevice>, MOST_PENDING>>,
}

impl PlugState {
    pub(crate) fn new() -> Self {
        PlugState {
            depth: AtomicU32::new(0),
            owed: AtomicU32::new(0),
            pending: hal::sync::SpinLock::new(ArrayVec::new()),
        }
    }

    /// Notes the kick for later; false if it has to be given now.
    fn delay(&self, device: &Arc<dyn BlockDevice>) -> bool {
        if self.depth.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut pending = self.pending.lock();
        let known = pending.iter().any(|d| core::ptr::addr_eq(Arc::as_ptr(d), Arc::as_ptr(device)));
        let noted = known || pending.try_push(device.clone()).is_ok();
        self.owed.store(pending.len() as u32, Ordering::Relaxed);
        noted
    }

    fn take(&self) -> ArrayVec<Arc<dyn BlockDevice>, MOST_PENDING> {
        if self.owed.swap(0, Ordering::Relaxed) == 0 {
            return ArrayVec::new();
        }
        core::mem::take(&mut *self.pending.lock())
    }
}

/// Gives the kicks that the current task's plug holds back: before a sleep and at the plug's end.
pub(crate) fn kick_plugged() {
    let owed = with_inner(|t| t.plug.owed.load(Ordering::Relaxed) != 0);
    if owed == Some(true) {
        let devices = with_inner(|t| t.plug.take()).unwrap_or_default();
        devices.iter().for_each(|device| device.kick());
    }
}
