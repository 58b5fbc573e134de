//! Segments and the task state segment.
use super::percpu::this_cpu;
use super::stack::Stack;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::model_specific::Star;
use x86_64::structures::gdt::{Descriptor, SegmentSelector};
use x86_64::{PrivilegeLevel, structures::gdt::DescriptorFlags};

/// The order that SYSCALL and SYSRET want: kernel code, kernel data, user data, user code.
pub(super) const KERNEL_CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);
const KERNEL_DATA: SegmentSelector = SegmentSelector::new(2, PrivilegeLevel::Ring0);
pub(super) const USER_DATA: SegmentSelector = SegmentSelector::new(3, PrivilegeLevel::Ring3);
pub(super) const USER_CODE: SegmentSelector = SegmentSelector::new(4, PrivilegeLevel::Ring3);

/// Exceptions that come at any time get a stack of their own: the index of each in the TSS.
#[derive(Clone, Copy)]
pub(super) enum InterruptStack {
    DoubleFault = 0,
    Nmi = 1,
    MachineCheck = 2,
}

/// Loads the segments of this CPU.
pub(super) fn init() {
    let cpu = this_cpu();
    // SAFETY: this CPU's own table, filled once, before it is loaded; later nobody writes it but the CPU.
    let gdt = unsafe { &mut *cpu.gdt.get() };
    gdt.append(Descriptor::kernel_code_segment());
    gdt.append(Descriptor::UserSegment(DescriptorFlags::KERNEL_DATA.bits()));
    gdt.append(Descriptor::UserSegment(DescriptorFlags::USER_DATA.bits()));
    gdt.append(Descriptor::user_code_segment());
    // SAFETY: the TSS is part of a per-CPU area, which is never freed.
    gdt.append(unsafe { Descriptor::tss_segment_unchecked(cpu.tss.get()) });
    // SAFETY: as above: the table is never freed or changed.
    unsafe { gdt.load_unsafe() };
    // SAFETY: the selectors are those of the table above, whose code segment is 64-bit code for ring 0.
    unsafe {
        CS::set_reg(KERNEL_CODE);
        DS::set_reg(SegmentSelector::NULL);
        ES::set_reg(SegmentSelector::NULL);
        SS::set_reg(KERNEL_DATA);
        load_tss(SegmentSelector::new(5, PrivilegeLevel::Ring0));
    }
    Star::write(USER_CODE, USER_DATA, KERNEL_CODE, KERNEL_DATA).expect("the table has the order that STAR needs");
}

/// Gives a CPU that is not the boot CPU its interrupt stacks; false when memory is short. The two exceptions that are the
/// end share one.
pub(super) fn set_interrupt_stacks_of_other() -> bool {
    let (Some(end), Some(nmi)) = (Stack::new(), Stack::new()) else { return false };
    set_top(InterruptStack::MachineCheck, end.top());
    set_interrupt_stack(InterruptStack::DoubleFault, end);
    set_interrupt_stack(InterruptStack::Nmi, nmi);
    true
}

/// Gives the CPU a guarded stack for `which`. Before the interrupt table refers to it.
pub(super) fn set_interrupt_stack(which: InterruptStack, stack: Stack) {
    set_top(which, stack.top());
    // The stack is the CPU's for ever.
    core::mem::forget(stack);
}

fn set_top(which: InterruptStack, top: u64) {
    let top = VirtAddr::new(top);
    let tss = this_cpu().tss.get();
    // SAFETY: the TSS of this CPU, written by this CPU alone, before an interrupt uses the entry. The field may be
    // unaligned, so no reference to it is made.
    unsafe { (&raw mut (*tss).interrupt_stack_table[which as usize]).write_unaligned(top) };
}
