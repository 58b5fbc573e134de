//! Interrupts: masking, the mark of interrupt context, and registration of handlers.
use super::percpu::this_cpu;
use super::{apic, ioapic, shootdown, smp};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicUsize, Ordering};
use x86_64::instructions::interrupts;

/// First vector for devices.
const FIRST_DEVICE: u8 = 0x30;
/// How many device vectors there are.
const DEVICES: usize = 0xc0;

type Handler = Box<dyn Fn() + Send + Sync>;

static HANDLERS: [spin::Once<Handler>; DEVICES] = [const { spin::Once::new() }; DEVICES];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// True while this CPU runs a hard interrupt handler.
#[inline]
pub fn in_interrupt() -> bool {
    this_cpu().irq_depth.get() > 0
}

/// True while this CPU handles an interrupt that came from user code.
pub fn found_user() -> bool {
    this_cpu().found_user.get()
}

/// True if this CPU takes interrupts now.
#[inline]
pub fn enabled() -> bool {
    interrupts::are_enabled()
}

/// Masks interrupts on this CPU; says whether they were on, for [`restore`].
#[inline]
#[must_use]
pub fn disable() -> bool {
    let was_enabled = enabled();
    disable_now();
    was_enabled
}

/// Undoes a [`disable`].
#[inline]
pub fn restore(was_enabled: bool) {
    if was_enabled {
        enable_now();
    }
}

#[inline]
pub(super) fn disable_now() {
    interrupts::disable();
}

#[inline]
pub(super) fn enable_now() {
    interrupts::enable();
}

/// Runs `f` with interrupts masked on this CPU.
#[inline]
pub fn with_disabled<R>(f: impl FnOnce() -> R) -> R {
    let was_enabled = disable();
    let result = f();
    restore(was_enabled);
    result
}

/// Waits for an interrupt. Called with interrupts off; turns them on and halts in one step, so that no wake-up falls
/// between, and returns with them off again.
pub fn wait_for_interrupt() {
    interrupts::enable_and_hlt();
    interrupts::disable();
}

/// Gives `handler` a free interrupt vector, or `None` if there is no more. The handler stays for ever. It runs in hard
/// interrupt context: interrupts off, no allocation, no sleep; the end of interrupt is signalled for it.
pub fn register(handler: Handler) -> Option<u8> {
    let index = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < DEVICES).then_some(n + 1)).ok()?;
    HANDLERS[index].call_once(|| handler);
    Some(FIRST_DEVICE + index as u8)
}

/// How many vectors [`register`] has to give.
pub fn free_vectors() -> usize {
    DEVICES - NEXT.load(Ordering::Relaxed)
}

/// Routes the interrupt line `isa_irq` (0..16, edge triggered) to `vector` on this CPU. Task context.
pub fn route_isa(isa_irq: u8, vector: u8) {
    ioapic::route_isa(isa_irq, vector, apic_id());
}

/// The local APIC's id of this CPU.
pub(super) fn apic_id() -> u8 {
    this_cpu().apic_id.get() as u8
}

/// Runs the handler of a vector from 32 up, with interrupts off.
pub(super) fn dispatch(vector: u8) {
    if vector == apic::SPURIOUS_VECTOR {
        return;
    }
    let depth = &this_cpu().irq_depth;
    depth.set(depth.get() + 1);
    if vector == apic::TIMER_VECTOR {
        super::time::timer_interrupt();
    } else if vector == apic::RESCHEDULE_VECTOR {
        smp::reschedule_interrupt();
    } else if vector == apic::FLUSH_VECTOR {
        shootdown::answer();
    } else if let Some(handler) =
        HANDLERS.get(usize::from(vector).wrapping_sub(usize::from(FIRST_DEVICE))).and_then(spin::Once::get)
    {
        handler();
    }
    // After the handler: with interrupts off until then, the order is only felt by a device that raises the next one.
    apic::end_of_interrupt();
    depth.set(depth.get() - 1);
}
