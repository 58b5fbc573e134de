//! Last words: what happened, where, in what state; then the machine ends with a failure status. It never hangs.
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};
use hal::bare::{backtrace, console, power, smp};
use hal::{irq, mem, time};

/// The number of the CPU that panics, plus one.
static PANICKING: AtomicUsize = AtomicUsize::new(0);
/// Return addresses printed at most.
const MAX_ADDRESSES: usize = 32;
/// Events of the trace ring printed at most.
const MAX_EVENTS: u64 = 16;

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let interrupts = irq::disable();
    let me = smp::cpu() + 1;
    match PANICKING.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => smp::stop_others(),
        // A panic while the last words are said: nothing more can be trusted.
        Err(first) if first == me => power::exit(power::FAILURE),
        // Another CPU was first, says its last words and ends the machine.
        Err(_) => power::halt(),
    }
    let at_ns = time::now_ns();
    console::write_fmt_unlocked(format_args!("\nPANIC at {at_ns} ns: {info}\n"));
    let memory = mem::stats_unlocked();
    console::write_fmt_unlocked(format_args!(
        "state: in interrupt {}, interrupts on {interrupts}, {memory:?}\n",
        irq::in_interrupt()
    ));
    base::sync::rank::for_each_held(|rank, key| {
        console::write_fmt_unlocked(format_args!("held: {rank:?} lock, key {key}\n"));
    });
    let mut left = MAX_ADDRESSES;
    backtrace::scan(|address| {
        if left > 0 {
            left -= 1;
            console::write_fmt_unlocked(format_args!("  at {address:#x}\n"));
        }
    });
    let last = base::trace::latest();
    for event in base::trace::since(last.saturating_sub(MAX_EVENTS)) {
        let (kind, us) = (event.kind.name(), event.time_ns / 1000);
        console::write_fmt_unlocked(format_args!(
            "trace: {us} us, task {}, {kind} {:#x} {:#x}\n",
            event.thread, event.a, event.b
        ));
    }
    #[cfg(feature = "ktest")]
    crate::ktest::report_failure();
    power::exit(power::FAILURE)
}
