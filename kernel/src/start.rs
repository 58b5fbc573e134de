//! The stages of the boot, in order. Each leaves one line with the time it was reached.
use crate::cmdline;
use hal::bare::{self, BootInfo};
use hal::{mem, time};
use log::{info, warn};

/// The kernel's entry, for every loader: on the loader's stack, interrupts off.
pub fn kernel_main(boot_info: &'static mut BootInfo) -> ! {
    bare::start(boot_info, main)
}

/// On a guarded stack, with memory, interrupts and clocks.
fn main() -> ! {
    report_machine();
    base::sched::init().unwrap_or_else(|error| panic!("no scheduler: {error:?}"));
    info!("scheduler: running");
    if let Some(line) = cmdline::get() {
        info!("command line: {line}");
    }
    #[cfg(feature = "ktest")]
    crate::ktest::run();
    #[cfg(not(feature = "ktest"))]
    {
        info!("nothing to run: power off");
        bare::power::exit(bare::power::SUCCESS)
    }
}

fn report_machine() {
    let platform = bare::platform();
    let features = &platform.features;
    let memory = mem::stats();
    info!("Sluice {}", env!("CARGO_PKG_VERSION"));
    info!("memory: {} KiB free of {} KiB", memory.free_frames * 4, memory.total_frames * 4);
    info!("cpu: TSC {} kHz, SMEP {}, SMAP {}, UMIP {}", time::tsc_khz(), features.smep, features.smap, features.umip);
    if !platform.random_is_good {
        warn!("the CPU has no source of randomness: random bytes can be guessed");
    }
}
