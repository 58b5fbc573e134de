//! The completion path: from the device's interrupt to the end of its bios.
//!
//! Message-signalled interrupts are edges and need no acknowledgement at the device; one that is raised while the handler
//! runs stays pending in the interrupt controller and runs it again. What the drain does not see is therefore either
//! announced by another interrupt or found by the last look of `SplitQueue::arm`; `queue/kick.rs` has the argument.
use super::config;
use super::device::{BlkTransport, VirtioBlk};
use super::queue::{Core, Doorbell, Fault, Phase, RequestQueue};
use arrayvec::ArrayVec;
use base::block::SubmittedBio;
use base::errno::Result;
use base::stats::{self, Counter};
use base::trace;
use virtio_drivers::transport::DeviceStatus;

/// How many bios are ended between two times under the lock. It bounds the handler's stack, not its work.
const BATCH: usize = 32;

/// Bios that were taken out of the ring and must be completed.
pub(super) type Batch = ArrayVec<(SubmittedBio, Result<()>), BATCH>;

/// What is to be done once the lock is released.
#[derive(Default)]
pub(super) struct After {
    /// The ring was not drained to the end: come back.
    pub more: bool,
    /// There is room for those who found none.
    pub wake: bool,
    /// The device's task has something to do.
    pub attention: bool,
}

impl<T: BlkTransport> VirtioBlk<T> {
    /// The interrupt of queue number `queue`. Hard-IRQ context: neither allocates nor sleeps.
    pub fn interrupt(&self, queue: u16) {
        stats::count(Counter::Interrupts);
        trace::record(trace::Kind::Irq, 0, 0);
        if let Some(queue) = self.queues.get(usize::from(queue)) {
            self.reap(queue);
        }
    }

    /// Ends everything the device has returned. Hard-IRQ context or a task.
    pub(super) fn reap(&self, queue: &RequestQueue<T::Doorbell>) {
        loop {
            let mut batch = Batch::new();
            let after = queue.core.lock().drain(&mut batch);
            for (bio, result) in batch {
                bio.complete(result);
            }
            if after.wake {
                self.room.wake_all();
            }
            if after.attention {
                self.call_task();
            }
            if !after.more {
                return;
            }
        }
    }

    /// The interrupt of configuration changes. Hard-IRQ context. Looks whether the device asks for a reset and whether its
    /// write cache was switched; a new capacity is not taken up.
    pub fn config_changed(&self) {
        stats::count(Counter::Interrupts);
        let mut registers = self.registers.lock();
        if self.phase() != Phase::Live {
            return;
        }
        if registers.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            self.set_phase(&mut registers, Phase::Broken(Fault::NeedsReset));
            drop(registers);
            return self.call_task();
        }
        self.set_durability(config::durability(&*registers, self.agreement.features));
    }
}

impl<D: Doorbell> Core<D> {
    /// Moves returned bios from the used ring to `batch`, until the ring is empty and the next interrupt armed, or the
    /// batch full.
    pub(super) fn drain(&mut self, batch: &mut Batch) -> After {
        let mut after = After::default();
        while self.phase == Phase::Live {
            if batch.is_full() {
                after.more = true;
                break;
            }
            match self.ring.next_used() {
                Ok(Some(used)) => {
                    batch.extend(self.retire(used));
                    after.wake = true;
                }
                Ok(None) if self.ring.arm() => break,
                Ok(None) => {}
                Err(broken) => {
                    self.phase = Phase::Broken(Fault::Ring(broken));
                    after.attention = true;
                }
            }
        }
        after.wake = after.wake && core::mem::take(&mut self.starved);
        after
    }
}
