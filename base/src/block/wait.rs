//! One request, waited for: for metadata and other rare I/O.
use super::{Bio, BioEnd, BioOp, BlockDevice, Plug, Sector};
use crate::errno::Result;
use crate::sync::{Arc, IrqLock, WaitQueue};
use alloc::boxed::Box;

/// Submits `bio` to `device` and sleeps until it has ended; gives the bio back. Whatever end the bio had is replaced.
/// Errors: those of the device. Task context.
pub fn submit_and_wait(device: &Arc<dyn BlockDevice>, mut bio: Box<Bio>) -> Result<Box<Bio>> {
    let end = Arc::new(WaitEnd { ended: IrqLock::new(None), wait: WaitQueue::new() });
    bio.set_end(end.clone());
    bio.submit_to(&**device);
    Plug::submitted(device);
    let mut ended = None;
    end.wait.wait_until(|| {
        ended = end.ended.lock().take();
        ended.is_some()
    });
    // The interrupt on another CPU may still be on its way out with its reference, and must not be the one to free.
    while Arc::strong_count(&end) > 1 {
        crate::sched::yield_now();
    }
    let bio = ended.expect("the wait ended with the bio");
    bio.status().map(|()| bio)
}

/// Makes every write that has completed before durable (DUR-3). Errors: those of the device. Task context.
pub fn flush_and_wait(device: &Arc<dyn BlockDevice>) -> Result<()> {
    submit_and_wait(device, Bio::for_wait(BioOp::Flush, Sector(0))).map(drop)
}

struct WaitEnd {
    ended: IrqLock<Option<Box<Bio>>>,
    wait: WaitQueue,
}

impl BioEnd for WaitEnd {
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        *self.ended.lock() = Some(bio);
        self.wait.wake_all();
    }
}
