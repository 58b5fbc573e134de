//! Message-signalled interrupts (PCI 3.0, section 6.8.2, "MSI-X").
//!
//! A table entry is an address and a word the device writes there. A wrong one would let a device write anywhere, so the
//! entries are made here and only point at an interrupt controller.
use super::mmio::Mmio;
use super::pci::{ConfigSpace, message_address};
use super::smp;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};

const CAPABILITY: u8 = 0x11;
const ENABLE: u32 = 1 << 31;
const MASK_ALL: u32 = 1 << 30;
const ENTRY_BYTES: usize = 16;

/// The MSI-X table of one function.
pub struct MsixTable {
    function: DeviceFunction,
    capability: u8,
    entries: u16,
    table: Mmio,
}

impl MsixTable {
    /// Finds and maps the table of `function`; `None` if it has none or it lies nowhere. Task context.
    pub fn find(root: &mut PciRoot<ConfigSpace>, function: DeviceFunction) -> Option<MsixTable> {
        let capability = root.capabilities(function).find(|c| c.id == CAPABILITY)?;
        let entries = (capability.private_header & 0x7ff) + 1;
        let place = ConfigSpace.read_word(function, capability.offset.checked_add(4)?);
        let (bar, bar_size) = root.bar_info(function, (place & 7) as u8).ok()??.memory_address_size()?;
        let (offset, len) = (u64::from(place & !7), usize::from(entries) * ENTRY_BYTES);
        if bar == 0 || offset.checked_add(len as u64)? > bar_size {
            return None;
        }
        let table = Mmio::map(bar.checked_add(offset)?, len)?;
        Some(MsixTable { function, capability: capability.offset, entries, table })
    }

    /// How many entries there are.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Makes entry `index` an interrupt with `vector` (of [`super::irq::register`]) on the CPU with the number `cpu`, which may not have
    /// started yet: the caller gives the device no reason to use the entry before. False if there is no such entry, or no such CPU
    /// is expected ([`smp::expected`]), or the entry does not read back. Task context.
    pub fn bind(&self, index: u16, vector: u8, cpu: usize) -> bool {
        let Some(apic_id) = smp::apic_id_of_expected(cpu).filter(|_| index < self.entries) else { return false };
        let at = usize::from(index) * ENTRY_BYTES;
        let words = [message_address(apic_id), 0, u32::from(vector), 0];
        for (i, word) in words.into_iter().enumerate() {
            self.table.write_u32(at + 4 * i, word);
        }
        words.iter().enumerate().all(|(i, &word)| self.table.read_u32(at + 4 * i) == word)
    }

    /// Switches the function from interrupt lines to this table. Task context.
    pub fn enable(&self) {
        let header = ConfigSpace.read_word(self.function, self.capability);
        ConfigSpace.write_word(self.function, self.capability, header & !MASK_ALL | ENABLE);
    }
}
