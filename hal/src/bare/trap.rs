//! What happens on an exception or interrupt in kernel mode.
use super::entry::TrapFrame;
use super::idt::FIRST_INTERRUPT;
use super::{image, irq, stack};
use x86_64::registers::control::Cr2;

/// Names of the exceptions, by vector.
const NAMES: [&str; 22] = [
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "no FPU",
    "double fault",
    "9",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection fault",
    "page fault",
    "15",
    "x87 fault",
    "alignment check",
    "machine check",
    "SIMD fault",
    "virtualization",
    "control protection",
];

pub(super) const PAGE_FAULT: u8 = 14;
const NMI: u8 = 2;

/// Handles an exception or interrupt that came in kernel mode. Called by the entry stub with interrupts off.
pub(super) extern "C" fn kernel_trap(frame: &mut TrapFrame) {
    let vector = frame.vector as u8;
    if vector >= FIRST_INTERRUPT {
        irq::dispatch(vector);
    } else if !recover(frame) {
        die(frame);
    }
}

/// An exception at an instruction of the exception table goes on where the table says.
fn recover(frame: &mut TrapFrame) -> bool {
    let fixup = image::exception_table().iter().find(|entry| entry[0] == frame.rip);
    if let Some(&[_, resume]) = fixup {
        frame.rip = resume;
    }
    fixup.is_some()
}

/// Handles what came on an interrupt stack. An NMI is a message of another CPU; the others are the end.
pub(super) extern "C" fn paranoid_trap(frame: &mut TrapFrame) {
    if frame.vector as u8 == NMI {
        super::smp::non_maskable(frame);
    } else {
        die(frame);
    }
}

fn die(frame: &TrapFrame) -> ! {
    let name = NAMES.get(frame.vector as usize).unwrap_or(&"?");
    let fault_address = Cr2::read_raw();
    let overflow = if stack::is_guard(fault_address) { " (kernel stack overflow)" } else { "" };
    let ring = frame.cs & 3;
    panic!(
        "{name} in ring {ring} at {:#x}, error {:#x}, address {fault_address:#x}{overflow}, rsp {:#x}, rflags {:#x}, \
         registers {:x?}",
        frame.rip, frame.error, frame.rsp, frame.rflags, frame.saved
    )
}
