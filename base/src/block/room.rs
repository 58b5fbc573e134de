//! Room on a device that was set aside: for a submitter that must not sleep (NOW-1).
use super::{Bio, BlockDevice};
use crate::sync::Arc;
use alloc::boxed::Box;

/// A device's word that it has room for one bio, and in which of its queues. It is kept by [`BlockDevice::submit_reserved`] or given
/// back by [`BlockDevice::unreserve`], on whatever CPU.
#[must_use = "a promise that is forgotten takes room for ever"]
#[derive(Debug)]
pub struct Promise {
    /// The device's number for the queue.
    pub queue: u16,
}

/// Room for one bio. Dropping it gives the room back.
#[must_use = "dropping it gives the room back"]
pub struct Room(Option<(Arc<dyn BlockDevice>, Promise)>);

impl Room {
    /// Sets room aside on `device`, if there is some now. Any task; no sleep.
    pub fn reserve(device: &Arc<dyn BlockDevice>) -> Option<Room> {
        device.reserve().map(|promise| Room(Some((device.clone(), promise))))
    }

    /// Submits `bio` to the device; the completion comes later, exactly once. Task context; no sleep.
    pub fn submit(mut self, bio: Box<Bio>) {
        if let Some((device, promise)) = self.0.take() {
            bio.submit_reserved_to(&*device, promise);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((device, promise)) = self.0.take() {
            device.unreserve(promise);
        }
    }
}
