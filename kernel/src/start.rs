//! The stages of the boot, in order. Each leaves one line with the time it was reached.
//!
//! machine ─ scheduler ─ disks ─ other CPUs ─ root file system ─ tree (/dev, /proc, /tmp) ─ first program ─ unmount ─ power off
use crate::files::Tty;
use crate::process::System;
use crate::{cmdline, console, init, proc, tree};
use alloc::string::String;
use alloc::vec::Vec;
use base::sync::Arc;
use fs::page_cache::{CacheLimits, PageCache};
use fs::vfs::{OpenFlags, Site, Vfs};
use hal::bare::{self, BootInfo};
use hal::{mem, time};
use log::{error, info, warn};

/// The part of all frames that programs leave to the kernel, and its bounds: 1 MiB to 16 MiB.
const RESERVE_SHARE: u64 = 16;
const RESERVE: core::ops::Range<u64> = 256..4096;

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
        let status = run();
        info!("power off");
        bare::power::exit(if status.is_ok() { bare::power::SUCCESS } else { bare::power::FAILURE })
    }
}

/// From the disks to the end of the first program. Says what went wrong; the error is only that something did.
#[cfg_attr(feature = "ktest", expect(dead_code))]
fn run() -> Result<(), ()> {
    let memory = mem::stats();
    let cache = PageCache::new(CacheLimits::for_pages(memory.free_frames as usize / 2));
    let _clean_pages = cache.share_memory();
    base::memory::set_reserve((memory.total_frames / RESERVE_SHARE).clamp(RESERVE.start, RESERVE.end));
    crate::mm::limit_pins(memory.total_frames as usize / 4);
    start_flusher(&cache);
    let disks = tree::find_disks(&cache);
    start_other_cpus();
    let vfs = tree::mount(&disks)?;
    let system = System::new();
    system.set_vfs(vfs.clone());
    system.set_disks(disks);
    let proc = proc::register(&vfs, &cache)?;
    proc::show_processes(&proc, &vfs, &system)?;
    tree::mount_sys(&vfs);
    let console = console::start(&system);
    tree::add_terminals(&vfs, &console);
    let result = first_program(&system, &vfs, &console);
    system.family.end_all();
    drop(system);
    let unmounted = vfs.unmount_all();
    match unmounted {
        Ok(()) => info!("unmounted"),
        Err(error) => error!("unmount: {error}"),
    }
    result.and(unmounted.map_err(drop))
}

/// After the devices were brought up: finding out how large a device's registers are moves them for a moment, and no other CPU touches
/// device memory meanwhile (QEMU before 8.2 can send such an access to the wrong device).
pub(crate) fn start_other_cpus() {
    if let Some(limit) = cmdline::value("watchdog") {
        match limit.parse() {
            Ok(seconds @ 1..=3600) => _ = bare::watchdog::set_limit_ns(1_000_000_000 * seconds),
            _ => warn!("watchdog={limit}: not a number of seconds, 1 to 3600"),
        }
    }
    match (base::sched::start_other_cpus(), bare::smp::present()) {
        (1, 1) => {}
        (running, present) => info!("scheduler: running on {running} of {present} CPUs"),
    }
}

fn start_flusher(cache: &Arc<PageCache>) {
    let cache = cache.clone();
    let started = base::sched::spawn("flusher", alloc::boxed::Box::new(move || fs::iomap::run_flusher(&cache)));
    if started.is_err() {
        warn!("no memory for the flusher: writers write back themselves");
    }
}

/// Runs what the command line names (`init=/path -- arguments`) and leaves the record that the runner looks for.
fn first_program(system: &Arc<System>, vfs: &Arc<Vfs>, console: &Arc<Tty>) -> Result<(), ()> {
    let words = cmdline::words();
    if !words.closed {
        error!("command line: a quote has no end");
        return Err(());
    }
    let path = String::from(words.value("init").unwrap_or("/bin/init"));
    let root = vfs.root();
    let site = Site { cwd: &root, caller: &fs::caller::KernelCaller };
    let file = vfs
        .open(site, path.as_bytes(), OpenFlags::empty(), 0)
        .map_err(|error| error!("init={path}: {error}: the first program is not there"))?;
    let mut argv: Vec<Vec<u8>> = alloc::vec![path.clone().into_bytes()];
    argv.extend(words.arguments.iter().map(|word| word.clone().into_bytes()));
    info!("first program: {path}");
    let envp = init::environment(words.variables());
    let status = init::run_program(system, file, path.as_bytes(), (argv, envp), console)
        .map_err(|error| error!("init={path}: {error}"))?;
    console.fresh_line();
    hal::bare::console::write_fmt(format_args!("sluice: init exited with status {status}\n"));
    Ok(())
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
