//! The per-CPU area, reached through GS.
//!
//! In kernel mode the GS base always points at the [`PerCpu`] of the CPU; in user mode it is the user's, and `swapgs`
//! at every entry and exit exchanges the two (`super::entry`). A task may move to another CPU only where it switches,
//! so a reference got here is good until the caller sleeps.
use super::thread::Kthread;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase};
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

/// What a CPU keeps for itself. The assembly in `entry` and `user_entry` knows fields by their offsets.
///
/// # Invariants
///
/// Only the CPU it belongs to uses the `Cell`s, which is why they need no lock. Those that interrupt handlers touch as
/// well are single words. Other CPUs look at the atomics only.
#[repr(C)]
pub struct PerCpu {
    /// Points at the area itself: how kernel code finds it.
    this: Cell<*const PerCpu>,
    /// Where the system-call entry keeps the user's stack pointer for three instructions.
    pub(super) user_rsp: Cell<u64>,
    /// The id of the [`super::user::UserContext`] whose FPU and FS base are in the CPU; 0 for none.
    pub(super) bound_context: Cell<u64>,
    /// Asks to leave user mode soon.
    pub(super) need_resched: AtomicBool,
    /// Depth of hard interrupt handlers.
    pub(super) irq_depth: Cell<u32>,
    /// The interrupt that is handled has interrupted user code.
    pub(super) found_user: Cell<bool>,
    /// The task state segment: the stack pointer for entries from ring 3, and the interrupt stacks.
    pub(super) tss: UnsafeCell<TaskStateSegment>,
    /// The segment descriptors, among them that of the TSS.
    pub(super) gdt: UnsafeCell<GlobalDescriptorTable>,
    /// The thread that runs. Owns a count of its `Arc`; null before the boot thread is adopted.
    pub(super) current: Cell<*const Kthread>,
    /// The thread that was switched from and whose registers have just been saved. Owns a count.
    pub(super) previous: Cell<*const Kthread>,
    /// The root of the page tables in CR3; other CPUs look at it, see `shootdown`.
    pub(super) active_root: AtomicU64,
    /// The root that is about to be loaded, or 0.
    pub(super) next_root: AtomicU64,
    /// When the timer is to go off, in nanoseconds; `u64::MAX` for never.
    pub(super) deadline_ns: Cell<u64>,
    /// Non-maskable interrupts seen.
    pub(super) nmi_count: AtomicU64,
    /// The local APIC's id.
    pub(super) apic_id: Cell<u32>,
    /// Which CPU it is: 0 for the one that booted.
    pub(super) index: Cell<u32>,
    /// What the scheduler remembers of the thread that runs: [`super::thread::tag`].
    pub(super) tag: Cell<u64>,
}

/// Offset of the stack pointer that entries from ring 3 begin with. `privilege_stack_table` follows a `u32`.
pub(super) const RSP0: usize = offset_of!(PerCpu, tss) + offset_of!(TaskStateSegment, privilege_stack_table);
pub(super) const USER_RSP: usize = offset_of!(PerCpu, user_rsp);
pub(super) const TAG: usize = offset_of!(PerCpu, tag);

// SAFETY: see the type's invariant. The only `PerCpu`s are reached through GS of their own CPU.
unsafe impl Sync for PerCpu {}

impl PerCpu {
    pub(super) const fn new() -> Self {
        PerCpu {
            this: Cell::new(ptr::null()),
            user_rsp: Cell::new(0),
            bound_context: Cell::new(0),
            need_resched: AtomicBool::new(false),
            irq_depth: Cell::new(0),
            found_user: Cell::new(false),
            tss: UnsafeCell::new(TaskStateSegment::new()),
            gdt: UnsafeCell::new(GlobalDescriptorTable::new()),
            current: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
            active_root: AtomicU64::new(0),
            next_root: AtomicU64::new(0),
            deadline_ns: Cell::new(u64::MAX),
            nmi_count: AtomicU64::new(0),
            apic_id: Cell::new(0),
            index: Cell::new(0),
            tag: Cell::new(0),
        }
    }
}

static BOOT_CPU: PerCpu = PerCpu::new();

/// Sets GS of the boot CPU. First of all: nothing that asks for the CPU works before.
pub(super) fn init_boot_cpu() {
    install(&BOOT_CPU);
}

/// Sets GS of this CPU to `area`, which is no other CPU's.
pub(super) fn install(area: &'static PerCpu) {
    area.this.set(area);
    GsBase::write(VirtAddr::from_ptr(area));
    KernelGsBase::write(VirtAddr::zero());
}

/// The area of this CPU.
#[inline(always)]
pub(super) fn this_cpu() -> &'static PerCpu {
    let area: *const PerCpu;
    // SAFETY: in kernel mode GS points at a `PerCpu` (module invariant), whose first field is its own address. Areas
    // are never freed.
    unsafe {
        core::arch::asm!("mov {}, gs:[0]", out(reg) area, options(nostack, preserves_flags, readonly, pure));
        &*area
    }
}
