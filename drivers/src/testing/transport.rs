//! The device's registers, as the driver reaches them.
use super::device::ScriptedDisk;
use super::rings::Rings;
use crate::virtio::blk::{BlkTransport, Doorbell, Features};
use base::errno::Result;
use std::cell::Cell;
use std::sync::Arc;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A transport to a scripted device.
pub struct ScriptedTransport(pub Arc<ScriptedDisk>);

std::thread_local! {
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// From here on this thread is on CPU number `cpu`.
pub fn move_to_cpu(cpu: usize) {
    CPU.set(cpu);
}

/// The doorbell of one queue.
pub struct ScriptedDoorbell {
    device: Arc<ScriptedDisk>,
    queue: u16,
}

impl Doorbell for ScriptedDoorbell {
    fn ring(&self) {
        self.device.kick(self.queue);
    }
}

impl BlkTransport for ScriptedTransport {
    type Doorbell = ScriptedDoorbell;

    fn bind_config(&mut self) -> Result<()> {
        Ok(())
    }
    fn bind_queue(&mut self, queue: u16) -> Result<ScriptedDoorbell> {
        Ok(ScriptedDoorbell { device: self.0.clone(), queue })
    }
    fn cpu() -> usize {
        CPU.get()
    }
}

impl Transport for ScriptedTransport {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }
    fn read_device_features(&mut self) -> u64 {
        self.0.state().config.features.bits()
    }
    fn write_driver_features(&mut self, driver_features: u64) {
        self.0.state().accepted = Features::from_bits_retain(driver_features);
    }
    fn max_queue_size(&mut self, queue: u16) -> u32 {
        let config = &self.0.state().config;
        if queue < config.queues { config.queue_max } else { 0 }
    }
    fn notify(&mut self, queue: u16) {
        self.0.kick(queue);
    }
    fn get_status(&self) -> DeviceStatus {
        self.0.state().status
    }
    fn set_status(&mut self, status: DeviceStatus) {
        let mut state = self.0.state();
        if status.is_empty() {
            return state.reset();
        }
        state.status = status;
        if state.config.refuse_features {
            state.status -= DeviceStatus::FEATURES_OK;
        }
    }
    fn set_guest_page_size(&mut self, _guest_page_size: u32) {}
    fn requires_legacy_layout(&self) -> bool {
        false
    }
    fn queue_set(&mut self, queue: u16, size: u32, descriptors: u64, driver_area: u64, device_area: u64) {
        let mut state = self.0.state();
        assert!(!state.status.contains(DeviceStatus::DRIVER_OK), "the queue is set up before DRIVER_OK");
        let event_idx = state.accepted.contains(Features::EVENT_IDX);
        assert!(queue < state.config.queues && size <= state.config.queue_max, "there is such a queue");
        state.rings.insert(queue, Rings::new(size as u16, descriptors, driver_area, device_area, event_idx));
    }
    fn queue_unset(&mut self, _queue: u16) {}
    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.state().rings.contains_key(&queue)
    }
    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }
    fn read_config_generation(&self) -> u32 {
        0
    }
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<T> {
        let bytes = self.0.state().config_bytes();
        let field = bytes.get(offset..offset + size_of::<T>()).ok_or(virtio_drivers::Error::ConfigSpaceTooSmall)?;
        T::read_from_bytes(field).map_err(|_| virtio_drivers::Error::ConfigSpaceTooSmall)
    }
    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, _value: T) -> virtio_drivers::Result<()> {
        panic!("the driver wrote configuration byte {offset}");
    }
}
