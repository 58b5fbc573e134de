//! The transport of `virtio-drivers` with what it lacks: interrupts bound by MSI-X entry, and a cheap doorbell.
//!
//! The crate's own `notify` costs three register accesses (select the queue, read its notify offset, ring); on a virtual
//! machine each is an exit to the host. The offset never changes, so it is read once and a kick is one store.
use super::blk::{BlkTransport, Doorbell};
use base::errno::{Errno, Result};
use hal::mmio::Mmio;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// MSI-X entry of configuration changes.
pub const CONFIG_ENTRY: u16 = 0;

/// MSI-X entry of the request queue number `queue`.
pub fn queue_entry(queue: u16) -> u16 {
    1 + queue
}

/// Offsets in the common configuration (VIRTIO 1.2, section 4.1.4.3).
mod common {
    pub const MSIX_CONFIG: usize = 16;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_MSIX_VECTOR: usize = 26;
    pub const QUEUE_NOTIFY_OFF: usize = 30;
    pub const LEN: usize = 32;
}

/// A transport whose device interrupts by the MSI-X entries [`CONFIG_ENTRY`] and [`queue_entry`].
///
/// `common` aliases registers that `inner` maps too. Both are only touched with the lock of the device's registers held, or
/// before the device is shared.
pub struct MsixTransport<T> {
    inner: T,
    common: Mmio,
    notify: Mmio,
    notify_multiplier: u32,
}

/// The doorbell of one queue: a word in the notification area.
pub struct MmioDoorbell {
    notify: Mmio,
    offset: usize,
    queue: u16,
}

impl Doorbell for MmioDoorbell {
    #[inline]
    fn ring(&self) {
        self.notify.write_u16(self.offset, self.queue);
    }
}

impl<T: Transport> MsixTransport<T> {
    /// Wraps `inner`, whose common configuration and notification area are mapped as `common` and `notify`. Errors: `EINVAL`
    /// if `common` is too short.
    pub fn new(inner: T, common: Mmio, notify: Mmio, notify_multiplier: u32) -> Result<MsixTransport<T>> {
        if common.len_bytes() < common::LEN {
            return Err(Errno::EINVAL);
        }
        Ok(MsixTransport { inner, common, notify, notify_multiplier })
    }

    /// Where the doorbell of `queue` lies in the notification area. Errors: `EIO` if outside.
    fn find_doorbell(&self, queue: u16) -> Result<usize> {
        self.common.write_u16(common::QUEUE_SELECT, queue);
        let offset = usize::from(self.common.read_u16(common::QUEUE_NOTIFY_OFF));
        let bytes = offset.checked_mul(self.notify_multiplier as usize).ok_or(Errno::EIO)?;
        let inside = bytes.is_multiple_of(2) && bytes.checked_add(2).is_some_and(|end| end <= self.notify.len_bytes());
        if inside { Ok(bytes) } else { Err(Errno::EIO) }
    }
}

impl<T: Transport + Send> BlkTransport for MsixTransport<T> {
    type Doorbell = MmioDoorbell;

    fn bind_config(&mut self) -> Result<()> {
        self.common.write_u16(common::MSIX_CONFIG, CONFIG_ENTRY);
        // A device short of resources answers 0xffff, "no vector" (VIRTIO 1.2, section 4.1.5.1.2).
        if self.common.read_u16(common::MSIX_CONFIG) == CONFIG_ENTRY { Ok(()) } else { Err(Errno::EIO) }
    }

    fn bind_queue(&mut self, queue: u16) -> Result<MmioDoorbell> {
        let entry = queue_entry(queue);
        self.common.write_u16(common::QUEUE_SELECT, queue);
        self.common.write_u16(common::QUEUE_MSIX_VECTOR, entry);
        if self.common.read_u16(common::QUEUE_MSIX_VECTOR) != entry {
            return Err(Errno::EIO);
        }
        Ok(MmioDoorbell { notify: self.notify.clone(), offset: self.find_doorbell(queue)?, queue })
    }
}

impl<T: Transport> Transport for MsixTransport<T> {
    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }
    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }
    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }
    fn write_driver_features(&mut self, driver_features: u64) {
        self.inner.write_driver_features(driver_features);
    }
    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }
    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }
    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }
    fn set_guest_page_size(&mut self, guest_page_size: u32) {
        self.inner.set_guest_page_size(guest_page_size);
    }
    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }
    fn queue_set(&mut self, queue: u16, size: u32, descriptors: u64, driver_area: u64, device_area: u64) {
        self.inner.queue_set(queue, size, descriptors, driver_area, device_area);
    }
    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }
    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }
    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }
    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }
    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<V> {
        self.inner.read_config_space(offset)
    }
    fn write_config_space<V: IntoBytes + Immutable>(&mut self, offset: usize, value: V) -> virtio_drivers::Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
