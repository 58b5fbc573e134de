//! The I/O APIC, for the few devices without message-signalled interrupts.
use super::paging::map_mmio;
use super::sync::IrqLock;
use core::ptr::NonNull;

/// Where PC chipsets have the first one.
const PHYS: u64 = 0xfec0_0000;
const WINDOW: usize = 0x10;
const REDIRECTION: u32 = 0x10;

struct IoApic(NonNull<u8>);
// SAFETY: used under the lock below only.
unsafe impl Send for IoApic {}

static IOAPIC: IrqLock<Option<IoApic>> = IrqLock::new(None);

/// Routes an ISA line, which is edge triggered and active high, to a vector of one CPU. ISA lines are the first inputs,
/// one to one, but for line 0 (the PIT), which nobody routes.
pub(super) fn route_isa(isa_irq: u8, vector: u8, apic_id: u8) {
    if isa_irq == 0 || isa_irq >= 16 {
        return;
    }
    let mut ioapic = IOAPIC.lock();
    if ioapic.is_none() {
        *ioapic = map_mmio(PHYS, crate::PAGE_SIZE).map(IoApic);
    }
    if let Some(ioapic) = &*ioapic {
        let entry = REDIRECTION + 2 * u32::from(isa_irq);
        ioapic.write(entry + 1, u32::from(apic_id) << 24);
        ioapic.write(entry, u32::from(vector));
    }
}

impl IoApic {
    fn write(&self, register: u32, value: u32) {
        // SAFETY: the select and window registers, inside the mapped page, under the lock.
        unsafe {
            self.0.cast::<u32>().write_volatile(register);
            self.0.add(WINDOW).cast::<u32>().write_volatile(value);
        }
    }
}
