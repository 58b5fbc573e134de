//! The device's registers, as the driver reaches them.
use super::device::ScriptedDisk;
use super::rings::Rings;
use crate::virtio::blk::{BlkTransport, Features};
use base::errno::Result;
use std::sync::Arc;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A transport to a scripted device.
pub struct ScriptedTransport(pub Arc<ScriptedDisk>);

impl BlkTransport for ScriptedTransport {
    fn bind_interrupts(&mut self, _queue: u16) -> Result<()> {
        Ok(())
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
    fn max_queue_size(&mut self, _queue: u16) -> u32 {
        self.0.state().config.queue_max
    }
    fn notify(&mut self, _queue: u16) {
        self.0.kick();
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
    fn queue_set(&mut self, _queue: u16, size: u32, descriptors: u64, driver_area: u64, device_area: u64) {
        let mut state = self.0.state();
        assert!(!state.status.contains(DeviceStatus::DRIVER_OK), "the queue is set up before DRIVER_OK");
        let event_idx = state.accepted.contains(Features::EVENT_IDX);
        state.rings = Some(Rings::new(size as u16, descriptors, driver_area, device_area, event_idx));
    }
    fn queue_unset(&mut self, _queue: u16) {}
    fn queue_used(&mut self, _queue: u16) -> bool {
        self.0.state().rings.is_some()
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
