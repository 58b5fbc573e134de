//! The interrupt descriptor table: every vector goes to its stub in `entry`.
use super::entry::stub_address;
use super::gdt::InterruptStack;
use x86_64::structures::idt::{EntryOptions, InterruptDescriptorTable};
use x86_64::{PrivilegeLevel, VirtAddr};

static IDT: spin::Once<InterruptDescriptorTable> = spin::Once::new();

/// First vector that is not an exception.
pub(super) const FIRST_INTERRUPT: u8 = 32;

/// Builds the table once and loads it on this CPU. After `gdt::init` and after the interrupt stacks are in the TSS.
pub(super) fn init() {
    IDT.call_once(build).load();
}

fn build() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    macro_rules! set {
        ($($entry:expr => $vector:expr),* $(,)?) => {$({
            let address = VirtAddr::new(stub_address($vector));
            // SAFETY: the stub is made for exactly this vector: it knows whether the CPU pushes an error code.
            let _: &mut EntryOptions = unsafe { $entry.set_handler_addr(address) };
        })*};
    }
    set! {
        idt.divide_error => 0, idt.debug => 1, idt.non_maskable_interrupt => 2, idt.breakpoint => 3, idt.overflow => 4,
        idt.bound_range_exceeded => 5, idt.invalid_opcode => 6, idt.device_not_available => 7, idt.double_fault => 8,
        idt.invalid_tss => 10, idt.segment_not_present => 11, idt.stack_segment_fault => 12,
        idt.general_protection_fault => 13, idt.page_fault => 14, idt.x87_floating_point => 16,
        idt.alignment_check => 17, idt.machine_check => 18, idt.simd_floating_point => 19, idt.virtualization => 20,
        idt.cp_protection_exception => 21,
    }
    for vector in FIRST_INTERRUPT..=u8::MAX {
        set! { idt[vector] => vector }
    }
    // User programs may raise these two themselves.
    for vector in [3, 4] {
        let entry = VirtAddr::new(stub_address(vector));
        // SAFETY: as above.
        unsafe {
            if vector == 3 {
                idt.breakpoint.set_handler_addr(entry).set_privilege_level(PrivilegeLevel::Ring3);
            } else {
                idt.overflow.set_handler_addr(entry).set_privilege_level(PrivilegeLevel::Ring3);
            }
        }
    }
    // SAFETY: the TSS has a stack at each of these indices, used by nothing else.
    unsafe {
        let address = |vector| VirtAddr::new(stub_address(vector));
        idt.double_fault.set_handler_addr(address(8)).set_stack_index(InterruptStack::DoubleFault as u16);
        idt.non_maskable_interrupt.set_handler_addr(address(2)).set_stack_index(InterruptStack::Nmi as u16);
        idt.machine_check.set_handler_addr(address(18)).set_stack_index(InterruptStack::MachineCheck as u16);
    }
    idt
}
