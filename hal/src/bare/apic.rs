//! The local APIC: end of interrupt, and the one-shot timer. The legacy controllers are masked.
use super::paging::map_mmio;
use super::percpu::this_cpu;
use core::ptr::NonNull;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

/// The timer's vector: above all devices.
pub(super) const TIMER_VECTOR: u8 = 0xf0;
/// Another CPU wants this one to look at the run queue.
pub(super) const RESCHEDULE_VECTOR: u8 = 0xf1;
/// Another CPU wants this one to forget translations.
pub(super) const FLUSH_VECTOR: u8 = 0xf2;
/// A vector without an interrupt behind it; gets no end of interrupt.
pub(super) const SPURIOUS_VECTOR: u8 = 0xff;

const IA32_APIC_BASE: u32 = 0x1b;
const GLOBAL_ENABLE: u64 = 1 << 11;

/// Register offsets (Intel SDM volume 3, table 11-1).
const ID: usize = 0x20;
const TASK_PRIORITY: usize = 0x80;
const EOI: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const COMMAND: usize = 0x300;
const COMMAND_TARGET: usize = 0x310;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const LVT_ERROR: usize = 0x370;
const INITIAL_COUNT: usize = 0x380;
const CURRENT_COUNT: usize = 0x390;
const DIVIDE: usize = 0x3e0;

/// Commands, and the bit that says that the last one has not been taken yet.
const INIT: u32 = 0x4500;
const START_UP: u32 = 0x4600;
const NON_MASKABLE: u32 = 0x4400;
const FIXED: u32 = 0x4000;
const PENDING: u32 = 1 << 12;

const MASKED: u32 = 1 << 16;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const DIVIDE_BY_16: u32 = 0b0011;

struct LocalApic(NonNull<u8>);
// SAFETY: the registers are this CPU's own, at the same address on every CPU; each access is one word.
unsafe impl Send for LocalApic {}
// SAFETY: as above.
unsafe impl Sync for LocalApic {}

static APIC: spin::Once<LocalApic> = spin::Once::new();

impl LocalApic {
    #[inline]
    fn write(&self, offset: usize, value: u32) {
        // SAFETY: a register inside the mapped page.
        unsafe { self.0.add(offset).cast::<u32>().write_volatile(value) }
    }
    #[inline]
    fn read(&self, offset: usize) -> u32 {
        // SAFETY: as above.
        unsafe { self.0.add(offset).cast::<u32>().read_volatile() }
    }
}

fn apic() -> &'static LocalApic {
    APIC.get().expect("the local APIC is set up at boot")
}

/// Masks the legacy controllers and sets up the APIC of the boot CPU. False if it could not be mapped.
pub(super) fn init() -> bool {
    mask_legacy_controllers();
    let mut base = Msr::new(IA32_APIC_BASE);
    // SAFETY: every 64-bit CPU has this register; enabling the APIC where it is changes no memory.
    let phys = unsafe {
        let value = base.read() | GLOBAL_ENABLE;
        base.write(value);
        value & 0x000f_ffff_ffff_f000
    };
    let Some(registers) = map_mmio(phys, crate::PAGE_SIZE) else { return false };
    APIC.call_once(|| LocalApic(registers));
    init_this_cpu();
    super::smp::note_boot_cpu();
    true
}

/// Sets up the APIC of this CPU, once that of the boot CPU is.
pub(super) fn init_this_cpu() {
    let apic = apic();
    this_cpu().apic_id.set(apic.read(ID) >> 24);
    apic.write(TASK_PRIORITY, 0);
    for lvt in [LVT_LINT0, LVT_LINT1, LVT_ERROR] {
        apic.write(lvt, MASKED);
    }
    apic.write(DIVIDE, DIVIDE_BY_16);
    apic.write(LVT_TIMER, MASKED | u32::from(TIMER_VECTOR));
    apic.write(SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
}

/// Masks both 8259s, after moving their vectors away from the exceptions.
fn mask_legacy_controllers() {
    const COMMANDS: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11), // start of the initialisation sequence
        (0x21, 0x20),
        (0xa1, 0x28), // vectors
        (0x21, 0x04),
        (0xa1, 0x02), // how they are cascaded
        (0x21, 0x01),
        (0xa1, 0x01), // 8086 mode
        (0x21, 0xff),
        (0xa1, 0xff), // all lines masked
    ];
    for (port, value) in COMMANDS {
        // SAFETY: the ports of the interrupt controllers, which nothing else uses.
        unsafe { Port::new(port).write(value) };
    }
}

/// Tells the APIC that the handler of the interrupt in service is done.
#[inline]
pub(super) fn end_of_interrupt() {
    apic().write(EOI, 0);
}

/// Starts the timer: one interrupt after `ticks` of its clock; 0 stops it.
pub(super) fn start_timer(ticks: u32) {
    let apic = apic();
    apic.write(LVT_TIMER, u32::from(TIMER_VECTOR));
    apic.write(INITIAL_COUNT, ticks);
}

/// Lets the timer count down from the top without an interrupt, for calibration.
pub(super) fn start_counting() {
    let apic = apic();
    apic.write(LVT_TIMER, MASKED | u32::from(TIMER_VECTOR));
    apic.write(INITIAL_COUNT, u32::MAX);
}

/// Ticks since [`start_counting`].
pub(super) fn counted() -> u32 {
    u32::MAX - apic().read(CURRENT_COUNT)
}

/// Interrupts the CPU with this APIC id. Any context.
pub(super) fn send(apic_id: u8, vector: u8) {
    command(apic_id, FIXED | u32::from(vector));
}

/// Interrupts the CPU with this APIC id even if it masks interrupts. Any context.
pub(super) fn send_nmi(apic_id: u8) {
    command(apic_id, NON_MASKABLE);
}

/// Resets the CPU with this APIC id: it waits for [`send_start_up`].
pub(super) fn send_init(apic_id: u8) {
    command(apic_id, INIT);
}

/// Starts the CPU with this APIC id in real mode at page number `page`.
pub(super) fn send_start_up(apic_id: u8, page: u8) {
    command(apic_id, START_UP | u32::from(page));
}

fn command(apic_id: u8, command: u32) {
    let apic = apic();
    // An interrupt between the two writes might send as well.
    super::irq::with_disabled(|| {
        while apic.read(COMMAND) & PENDING != 0 {
            core::hint::spin_loop();
        }
        apic.write(COMMAND_TARGET, u32::from(apic_id) << 24);
        apic.write(COMMAND, command);
    });
}

/// Interrupts this CPU by itself.
#[cfg(feature = "ktest")]
pub(super) fn send_to_self(vector: u8) {
    const TO_SELF: u32 = 1 << 18;
    apic().write(COMMAND, TO_SELF | u32::from(vector));
}
