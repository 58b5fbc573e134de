//! `/proc`: what the kernel tells about itself.
//!
//! | file | contents |
//! |---|---|
//! | `sluice/counters` | event counters, a name and a number a line; heap and interrupt figures among them |
//! | `sluice/gauges` | what exists now and must be gone when the system is quiet (CTX-9) |
//! | `sluice/in-flight` | the most requests that a disk had at once; a 0 written to it begins anew |
//! | `sluice/trace` | the trace ring, oldest first; a number written to it becomes a mark |
//! | `sluice/lab` | commands of an experiment, and what is held or stopped now (feature `lab`) |
//! | `sluice/durability` | what the device of each mount promises (DUR-3), and flushes and commits so far |
//! | `cpuinfo` | the CPUs that run |
//! | `meminfo` | memory and page cache |
//! | `mounts` | what is mounted where |
//! | `sys/vm/drop_caches` | 1 or 3 written to it lets clean pages of files go |
//! | `stat`, `loadavg`, `uptime`, `version`, `cmdline`, `filesystems`, `sys/` | see `machine` |
//! | `self`, `PID/` | the processes: see `process` and `fd` |
mod fd;
#[cfg(feature = "lab")]
pub mod lab;
mod machine;
mod process;
pub mod sysfs;

use crate::process::System;
use crate::syscall::split_device;
use crate::tree::mount_on;
use alloc::boxed::Box;
use alloc::string::String;
use base::Errno;
use base::block::Durability;
use base::stats;
use base::sync::Arc;
use base::trace::{self, Kind};
use core::fmt::Write;
use fs::page_cache::PageCache;
use fs::procfs::ProcFs;
use fs::vfs::Vfs;
use log::error;

/// The device number that `stat` shows for files in `/proc`.
const DEV_PROCFS: u64 = 4;

/// Fills `/proc` and mounts it. Failures are told.
pub fn register(vfs: &Arc<Vfs>, cache: &Arc<PageCache>) -> Result<ProcFs, ()> {
    let proc = ProcFs::new(DEV_PROCFS);
    let filled = proc
        .file("sluice/counters", Box::new(counters))
        .and_then(|()| proc.file("sluice/gauges", Box::new(gauges)))
        .and_then(|()| proc.writable_file("sluice/in-flight", Box::new(in_flight), Box::new(begin_anew)))
        .and_then(|()| proc.file("cpuinfo", Box::new(cpuinfo)))
        .and_then(|()| proc.writable_file("sluice/trace", Box::new(show_trace), Box::new(mark)))
        .and_then(|()| {
            let cache = cache.clone();
            proc.file("meminfo", Box::new(move |text| meminfo(&cache, text)))
        })
        .and_then(|()| {
            let vfs = Arc::downgrade(vfs);
            proc.file(
                "sluice/durability",
                Box::new(move |text| vfs.upgrade().iter().for_each(|vfs| durability(vfs, text))),
            )
        })
        .and_then(|()| {
            let vfs = Arc::downgrade(vfs);
            proc.file("mounts", Box::new(move |text| vfs.upgrade().iter().for_each(|vfs| mounts(vfs, text))))
        })
        .and_then(|()| {
            let cache = cache.clone();
            let nothing = Box::new(|text: &mut String| text.push_str("0\n"));
            proc.writable_file("sys/vm/drop_caches", nothing, Box::new(move |bytes| drop_caches(&cache, bytes)))
        })
        .and_then(|()| process::add_self(&proc));
    #[cfg(feature = "lab")]
    let filled = filled.and_then(|()| lab::register(&proc, vfs, cache));
    filled.map_err(|error| error!("/proc: {error}"))?;
    mount_on(vfs, "/proc", b"proc", Ok(proc.root()));
    Ok(proc)
}

/// Shows the folders of the processes of `system`. Failures are told.
pub fn show_processes(proc: &ProcFs, vfs: &Arc<Vfs>, system: &Arc<System>) -> Result<(), ()> {
    let pids = process::Pids { system: Arc::downgrade(system), vfs: Arc::downgrade(vfs) };
    machine::register(proc, system)
        .and_then(|()| proc.set_names(Box::new(pids)))
        .map_err(|error| error!("/proc: {error}"))
}

/// A name and a number a line. Formatting into a string does not fail.
fn line(text: &mut String, name: &str, value: u64) {
    let _ = writeln!(text, "{name} {value}");
}

fn counters(text: &mut String) {
    let memory = hal::mem::stats();
    stats::ALL.iter().for_each(|(counter, name)| line(text, name, stats::get(*counter)));
    for (name, value) in [
        ("heap_allocs", memory.heap_allocs),
        ("heap_frees", memory.heap_frees),
        ("irq_allocs", memory.irq_allocs),
        ("irq_frees", memory.irq_frees),
    ] {
        line(text, name, value);
    }
}

fn gauges(text: &mut String) {
    stats::GAUGES.iter().for_each(|(gauge, name)| line(text, name, stats::level(*gauge)));
}

/// Clean pages go, what else there is to drop comes back as it is asked for and has no cache worth the name.
fn drop_caches(cache: &PageCache, bytes: &[u8]) -> base::Result<()> {
    match bytes.trim_ascii() {
        b"1" | b"3" => _ = cache.drop_caches(),
        b"2" => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn in_flight(text: &mut String) {
    line(text, "most_in_flight", stats::most_in_flight());
}

fn begin_anew(bytes: &[u8]) -> base::Result<()> {
    if bytes.trim_ascii() != b"0" {
        return Err(Errno::EINVAL);
    }
    stats::forget_most_in_flight();
    Ok(())
}

/// One event a line: number, nanoseconds, thread, name of the thread, event, two words.
fn show_trace(text: &mut String) {
    for event in trace::snapshot() {
        let name = trace::thread_name(event.thread);
        let name = name.as_ref().map_or("?", |n| n.as_str());
        let name = name.replace(' ', "_");
        let (number, ns, thread, kind) = (event.number, event.time_ns, event.thread, event.kind.name());
        let _ = writeln!(text, "{number} {ns} {thread} {name} {kind} {} {}", event.a, event.b);
    }
}

fn mark(bytes: &[u8]) -> base::Result<()> {
    let value = core::str::from_utf8(bytes).ok().and_then(|t| t.trim().parse().ok()).ok_or(Errno::EINVAL)?;
    trace::record(Kind::Mark, value, 0);
    Ok(())
}

fn meminfo(cache: &PageCache, text: &mut String) {
    let (memory, cached) = (hal::mem::stats(), cache.figures());
    for (name, pages) in [
        ("MemTotal:", memory.total_frames),
        ("MemFree:", memory.free_frames),
        ("Cached:", cached.pages as u64),
        ("Dirty:", cached.dirty as u64),
        ("Writeback:", cached.writeback as u64),
    ] {
        let _ = writeln!(text, "{name:<16}{:>8} kB", pages * 4);
    }
}

/// A block for each CPU, with an empty line behind it. They are all of one kind.
fn cpuinfo(text: &mut String) {
    let info = hal::CpuInfo::read();
    for cpu in 0..base::sched::cpus() {
        let _ = writeln!(text, "processor\t: {cpu}\nvendor_id\t: {}\ncpu family\t: {}", info.vendor(), info.family);
        let _ = writeln!(text, "model\t\t: {}\nmodel name\t: {}", info.model, info.model_name());
        let _ = write!(text, "stepping\t: {}\nflags\t\t:", info.stepping);
        info.features().for_each(|name| {
            let _ = write!(text, " {name}");
        });
        text.push_str("\n\n");
    }
}

fn mounts(vfs: &Vfs, text: &mut String) {
    for mount in vfs.mounts() {
        let mode = if mount.root.sb.is_read_only() { "ro" } else { "rw" };
        let nosuid = if mount.root.sb.ignores_setid() { ",nosuid" } else { "" };
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kind = mount.root.sb.ops().type_name();
        let _ = writeln!(text, "{} {} {kind} {mode}{nosuid} 0 0", show(&mount.source), show(&mount.path));
    }
}

/// As `mounts`, with numbers: those of the mount and of the one it stands on, and that of the device.
fn mount_info(vfs: &Vfs, text: &mut String) {
    let mounts = vfs.mounts();
    let below = |path: &[u8]| {
        let holds = |outer: &[u8]| outer == b"/" || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with(b"/"));
        let outer = mounts.iter().enumerate().filter(|(_, mount)| mount.path != path && holds(&mount.path));
        outer.max_by_key(|(_, mount)| mount.path.len()).map_or(0, |(number, _)| number + 1)
    };
    for (number, mount) in mounts.iter().enumerate() {
        let sb = &mount.root.sb;
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (major, minor) = split_device(sb.dev);
        let mode = if sb.is_read_only() { "ro" } else { "rw" };
        let nosuid = if sb.ignores_setid() { ",nosuid" } else { "" };
        let _ = writeln!(
            text,
            "{} {} {major}:{minor} / {} {mode}{nosuid} - {} {} {mode}",
            number + 1,
            below(&mount.path),
            show(&mount.path),
            sb.ops().type_name(),
            show(&mount.source),
        );
    }
}

/// A mount a line: its path, its source, what a completed write is worth there, and what a power cut could cost now.
fn durability(vfs: &Vfs, text: &mut String) {
    for mount in vfs.mounts() {
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let _ = write!(text, "{} {} ", show(&mount.path), show(&mount.source));
        let Some(report) = mount.root.sb.ops().durability() else {
            let _ = writeln!(text, "memory only");
            continue;
        };
        let promise = match report.promise {
            Durability::OnCompletion => "durable on completion",
            Durability::OnFlush => "durable on flush: volatile write cache",
            Durability::Unknown => "unknown: the device offers no flush, the promise of O_DSYNC is not kept",
        };
        let journal = if report.journal { "journal" } else { "no journal" };
        let _ = writeln!(
            text,
            "{promise}; {journal}; {} bytes volatile, {} blocks of metadata uncommitted, {} flushes, {} commits",
            report.volatile_bytes, report.uncommitted_blocks, report.flushes, report.commits
        );
    }
}
