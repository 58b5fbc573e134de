//! The clocks of the CPU: the time-stamp counter, and how fast it and the APIC's timer run.
use super::apic;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use x86_64::instructions::port::Port;

/// The PIT's clock.
const PIT_HZ: u64 = 1_193_182;
/// How long a measurement lasts: 10 ms. The PIT counts down from 65,536, which takes 55 ms.
const PIT_TICKS: u64 = PIT_HZ / 100;
/// Looks at the clocks, of which the quickest counts: a CPU that is taken away between two clocks, as hosts of virtual machines do, spoils one.
const LOOKS: usize = 8;
/// A measurement is good when the time that its two looks took is no more than this part of it.
const GOOD: u64 = 500;
/// Measurements; if none is good, the best one counts.
const MEASUREMENTS: usize = 5;
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

/// The three clocks at one moment.
#[derive(Clone, Copy)]
struct Look {
    tsc: u64,
    /// TSC ticks that it took.
    took: u64,
    timer: u32,
    pit: u16,
}

/// How far the TSC and the APIC's timer ran in a number of PIT ticks.
struct Measurement {
    pit_ticks: u64,
    tsc_ticks: u64,
    timer_ticks: u64,
    /// TSC ticks that it may be wrong by.
    uncertain: u64,
}

impl Measurement {
    fn is_good(&self) -> bool {
        self.uncertain.saturating_mul(GOOD) <= self.tsc_ticks
    }
    fn is_better_than(&self, other: &Measurement) -> bool {
        u128::from(self.uncertain) * u128::from(other.tsc_ticks)
            < u128::from(other.uncertain) * u128::from(self.tsc_ticks)
    }
}

/// Measures both clocks against the PIT, again until one measurement is good. The PIT counts virtual time too when QEMU counts instructions, so
/// the result holds under `-icount`.
pub(super) fn calibrate() {
    let mut best: Option<Measurement> = None;
    for _ in 0..MEASUREMENTS {
        let Some(measured) = measure() else { continue };
        if best.as_ref().is_none_or(|best| measured.is_better_than(best)) {
            best = Some(measured);
        }
        if best.as_ref().is_some_and(Measurement::is_good) {
            break;
        }
    }
    apic::start_timer(0);
    // Without a PIT that counts, a tick stays a nanosecond.
    let Some(best) = best else { return };
    let ns = best.pit_ticks * NS_PER_S / PIT_HZ;
    NS_PER_TICK.store(((u128::from(ns) << SHIFT) / u128::from(best.tsc_ticks.max(1))) as u64, Relaxed);
    TIMER_PER_NS.store((best.timer_ticks << SHIFT) / ns.max(1), Relaxed);
}

/// One measurement; none if the PIT came to its end meanwhile.
fn measure() -> Option<Measurement> {
    start_pit();
    apic::start_counting();
    let first = look();
    // A PIT that never counts must not hang the boot.
    let mut patience = 10_000_000u32;
    while !pit_expired() && u64::from(first.pit.wrapping_sub(read_pit())) < PIT_TICKS {
        patience = patience.checked_sub(1)?;
    }
    let last = look();
    if pit_expired() {
        return None;
    }
    let pit_ticks = u64::from(first.pit.wrapping_sub(last.pit));
    Some(Measurement {
        pit_ticks,
        tsc_ticks: last.tsc - first.tsc,
        timer_ticks: u64::from(last.timer.wrapping_sub(first.timer)),
        uncertain: first.took + last.took,
    })
}

/// The quickest of some looks.
fn look() -> Look {
    let once = || {
        let before = read();
        let (pit, timer) = (read_pit(), apic::counted());
        let took = read() - before;
        Look { tsc: before + took / 2, took, timer, pit }
    };
    (1..LOOKS).fold(once(), |best, _| {
        let look = once();
        if look.took < best.took { look } else { best }
    })
}

/// The TSC's rate in kilohertz.
pub fn khz() -> u64 {
    (1_000_000u64 << SHIFT) / NS_PER_TICK.load(Relaxed).max(1)
}

/// Lets channel 2 count down once, from its top. Its gate and its output are bits of port 0x61; the speaker stays off.
fn start_pit() {
    let (mut control, mut command, mut data) = (Port::<u8>::new(0x61), Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    // SAFETY: the ports of the PIT and its gate, which nothing else uses. A count of 0 means the top.
    unsafe {
        let value = control.read() & 0xfc;
        control.write(value);
        command.write(0b1011_0000u8);
        data.write(0);
        data.write(0);
        control.write(value | 1);
    }
}

/// What channel 2 still has to count.
fn read_pit() -> u16 {
    let (mut command, mut data) = (Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    // SAFETY: as above: the count is latched, and its two halves are read.
    unsafe {
        command.write(0b1000_0000u8);
        u16::from_le_bytes([data.read(), data.read()])
    }
}

fn pit_expired() -> bool {
    // SAFETY: as above; reading has no effect.
    unsafe { Port::<u8>::new(0x61).read() & 0x20 != 0 }
}
