//! The clocks of the CPU: the time-stamp counter, and how fast it and the APIC's timer run.
use super::apic;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use x86_64::instructions::port::Port;

/// The PIT's clock.
const PIT_HZ: u64 = 1_193_182;
/// How long the calibration lasts: 5 ms.
const PIT_TICKS: u64 = PIT_HZ / 200;
const NS_PER_S: u64 = 1_000_000_000;
/// Fixed-point scale of the factors below.
const SHIFT: u32 = 32;

/// The counter's value at boot.
static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per TSC tick, scaled by 2^32.
static NS_PER_TICK: AtomicU64 = AtomicU64::new(1 << SHIFT);
/// APIC timer ticks per nanosecond, scaled by 2^32.
static TIMER_PER_NS: AtomicU64 = AtomicU64::new(0);

/// The counter.
#[inline]
pub(super) fn read() -> u64 {
    // SAFETY: every 64-bit CPU has it.
    unsafe { _rdtsc() }
}

/// Remembers when the system started.
pub(super) fn mark_start() {
    START.store(read(), Relaxed);
}

/// Nanoseconds since [`mark_start`]; before the calibration a tick counts as one.
#[inline]
pub(super) fn ns_since_start() -> u64 {
    let ticks = read().wrapping_sub(START.load(Relaxed));
    ((u128::from(ticks) * u128::from(NS_PER_TICK.load(Relaxed))) >> SHIFT) as u64
}

/// The timer's ticks in `ns` nanoseconds, at least 1 and at most what its register holds.
pub(super) fn timer_ticks(ns: u64) -> u32 {
    let ticks = (u128::from(ns) * u128::from(TIMER_PER_NS.load(Relaxed))) >> SHIFT;
    ticks.clamp(1, u128::from(u32::MAX)) as u32
}

/// Measures both clocks against the PIT. The PIT counts virtual time too when QEMU counts instructions, so the result
/// holds under `-icount`.
pub(super) fn calibrate() {
    start_pit();
    apic::start_counting();
    let start = read();
    while !pit_expired() {
        core::hint::spin_loop();
    }
    let tsc_ticks = read() - start;
    let timer_ticks = u64::from(apic::counted());
    apic::start_timer(0);
    let ns = PIT_TICKS * NS_PER_S / PIT_HZ;
    NS_PER_TICK.store((ns << SHIFT) / tsc_ticks.max(1), Relaxed);
    TIMER_PER_NS.store((timer_ticks << SHIFT) / ns, Relaxed);
}

/// The TSC's rate in kilohertz.
pub fn khz() -> u64 {
    (1_000_000u64 << SHIFT) / NS_PER_TICK.load(Relaxed).max(1)
}

/// Lets channel 2 count down once. Its gate and its output are bits of port 0x61; the speaker stays off.
fn start_pit() {
    let (mut control, mut command, mut data) = (Port::<u8>::new(0x61), Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    // SAFETY: the ports of the PIT and its gate, which nothing else uses.
    unsafe {
        let value = control.read() & 0xfc;
        control.write(value);
        command.write(0b1011_0000u8);
        data.write(PIT_TICKS as u8);
        data.write((PIT_TICKS >> 8) as u8);
        control.write(value | 1);
    }
}

fn pit_expired() -> bool {
    // SAFETY: as above; reading has no effect.
    unsafe { Port::<u8>::new(0x61).read() & 0x20 != 0 }
}
