//! `/sys`: the few files in which programs look for the CPUs. There are no devices in it.
//!
//! | file | contents |
//! |---|---|
//! | `devices/system/cpu/online`, `possible`, `present` | the numbers of the CPUs, as a range |
//! | `devices/system/cpu/cpuN/cache/index0/coherency_line_size` | bytes of a cache line |
use alloc::boxed::Box;
use alloc::format;
use base::{Result, sched};
use core::fmt::Write;
use fs::procfs::ProcFs;

/// The device number that `stat` shows for files in `/sys`.
const DEV_SYSFS: u64 = 8;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const CPUS: &str = "devices/system/cpu";

/// The tree, once all CPUs run. Errors: those of the tree.
pub fn tree() -> Result<ProcFs> {
    let tree = ProcFs::named(DEV_SYSFS, "sysfs", SYSFS_MAGIC);
    let cpus = sched::cpus();
    for name in ["online", "possible", "present"] {
        tree.file(
            &format!("{CPUS}/{name}"),
            Box::new(move |text| {
                let _ = if cpus > 1 { writeln!(text, "0-{}", cpus - 1) } else { writeln!(text, "0") };
            }),
        )?;
    }
    let line = hal::CpuInfo::read().cache_line;
    (0..cpus).try_for_each(|cpu| {
        let path = format!("{CPUS}/cpu{cpu}/cache/index0/coherency_line_size");
        tree.file(&path, Box::new(move |text| _ = writeln!(text, "{line}")))
    })?;
    Ok(tree)
}
