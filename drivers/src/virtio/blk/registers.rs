//! What is done with the device's registers, for all of its queues. The lock of the registers is held, and is taken before that of a queue.
use super::device::{BlkTransport, VirtioBlk};
use super::queue::Phase;
use base::errno::{Errno, Result};
use virtio_drivers::transport::DeviceStatus;

impl<T: BlkTransport> VirtioBlk<T> {
    /// Sets the queues up and starts the negotiated device. Errors: `EIO`.
    pub(super) fn run(&self, registers: &mut T) -> Result<()> {
        registers.bind_config()?;
        for queue in &self.queues {
            let mut core = queue.core.lock();
            core.doorbell = Some(registers.bind_queue(queue.number)?);
            let (descriptors, avail, used) = core.ring.addresses();
            registers.queue_set(queue.number, core.ring.size().into(), descriptors, avail, used);
            if !registers.queue_used(queue.number) {
                return Err(Errno::EIO);
            }
        }
        registers.finish_init();
        if !registers.get_status().contains(DeviceStatus::DRIVER_OK) {
            return Err(Errno::EIO);
        }
        self.set_phase(registers, Phase::Live);
        Ok(())
    }

    /// Where the device stands. Only the first queue is asked: what it knows alone is nobody's business but the device's task's.
    pub(super) fn phase(&self) -> Phase {
        self.first().core.lock().phase
    }

    /// Says to all queues where the device stands. The registers are asked for, although they are not needed, because their lock keeps two
    /// such announcements apart.
    pub(super) fn set_phase(&self, _registers: &mut T, phase: Phase) {
        self.queues.iter().for_each(|queue| queue.core.lock().phase = phase);
    }
}
