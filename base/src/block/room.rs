//! Room on a device that was set aside: for a submitter that must not sleep (NOW-1).
use super::{Bio, BlockDevice};
use crate::sync::Arc;
use alloc::boxed::Box;

/// Room for one bio. Dropping it gives the room back.
#[must_use = "dropping it gives the room back"]
pub struct Room(Option<Arc<dyn BlockDevice>>);

impl Room {
    /// Sets room aside on `device`, if there is some now. Any task; no sleep.
    pub fn reserve(device: &Arc<dyn BlockDevice>) -> Option<Room> {
        device.reserve().then(|| Room(Some(device.clone())))
    }

    /// Submits `bio` to the device; the completion comes later, exactly once. Task context; no sleep.
    pub fn submit(mut self, bio: Box<Bio>) {
        if let Some(device) = self.0.take() {
            bio.submit_reserved_to(&*device);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(device) = self.0.take() {
            device.unreserve();
        }
    }
}
