//! Interrupts: masking, the mark of interrupt context, and registration of handlers.
use alloc::boxed::Box;
use x86_64::instructions::interrupts;

/// True while this CPU runs a hard interrupt handler.
pub fn in_interrupt() -> bool {
    false
}

/// True if this CPU takes interrupts now.
pub fn enabled() -> bool {
    interrupts::are_enabled()
}

/// Masks interrupts on this CPU; says whether they were on, for [`restore`].
pub fn disable() -> bool {
    let was_enabled = enabled();
    interrupts::disable();
    was_enabled
}

/// Undoes a [`disable`].
pub fn restore(was_enabled: bool) {
    if was_enabled {
        interrupts::enable();
    }
}

/// Runs `f` with interrupts masked on this CPU.
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
pub fn register(handler: Box<dyn Fn() + Send + Sync>) -> Option<u8> {
    let _ = handler;
    None
}

/// Routes the interrupt line `isa_irq` (0..16, edge triggered) to `vector` on this CPU. Task context.
pub fn route_isa(isa_irq: u8, vector: u8) {
    let _ = (isa_irq, vector);
}

/// The local APIC's id of this CPU: the destination of a message-signalled interrupt is `0xfee0_0000 | id << 12`.
pub fn apic_id() -> u8 {
    0
}
