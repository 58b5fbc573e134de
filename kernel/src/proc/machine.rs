//! `/proc`: what programs ask of the machine and the kernel as a whole.
//!
//! Numbers that nothing here keeps are 0, and so are the load averages.
use crate::process::{System, TICK_NS, most_tasks};
use crate::syscall::NAMES;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use base::sched;
use base::stats::{self, Counter};
use base::sync::{Arc, Weak};
use base::{Result, time};
use core::fmt::Write;
use fs::procfs::ProcFs;

const NS_PER_S: u64 = 1_000_000_000;
/// Requests of aio that a system may have, as far as a program can ask: memory sets the limit.
const AIO_MAX: u32 = 65536;

type Show = fn(&System, &mut String);

const FILES: &[(&str, Show)] = &[
    ("stat", stat),
    ("loadavg", loadavg),
    ("uptime", uptime),
    ("version", version),
    ("filesystems", |_, text| text.push_str("nodev\tproc\nnodev\tsysfs\nnodev\ttmpfs\n\text4\n")),
    ("cmdline", |_, text| put(text, format_args!("{}\n", crate::cmdline::get().unwrap_or_default()))),
    ("sys/kernel/ostype", |_, text| put(text, format_args!("{}\n", NAMES[0]))),
    ("sys/kernel/hostname", |_, text| put(text, format_args!("{}\n", NAMES[1]))),
    ("sys/kernel/osrelease", |_, text| put(text, format_args!("{}\n", NAMES[2]))),
    ("sys/kernel/version", |_, text| put(text, format_args!("{}\n", NAMES[3]))),
    ("sys/kernel/pid_max", |_, text| put(text, format_args!("{}\n", u32::MAX / 2))),
    ("sys/kernel/threads-max", |_, text| put(text, format_args!("{}\n", most_tasks()))),
    ("sys/fs/aio-max-nr", |_, text| put(text, format_args!("{AIO_MAX}\n"))),
    ("sys/vm/overcommit_memory", |_, text| text.push_str("1\n")),
];

/// Registers the files. Errors: those of the tree.
pub fn register(proc: &ProcFs, system: &Arc<System>) -> Result<()> {
    FILES.iter().try_for_each(|&(path, show)| {
        let system: Weak<System> = Arc::downgrade(system);
        proc.file(path, Box::new(move |text| system.upgrade().iter().for_each(|system| show(system, text))))
    })
}

/// Formatting into a string does not fail.
fn put(text: &mut String, arguments: core::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// Times in ticks: user, nice, system, idle, and six kinds that are not told apart from these. They are kept for all CPUs together: each is
/// shown with its share.
fn stat(system: &System, text: &mut String) {
    let cpus = sched::cpus() as u64;
    let (busy, idle_ns) = sched::usage(cpus);
    let mut line = |name: &str, number: &str, share: u64| {
        let [user, kernel, idle] = [busy.user_ns, busy.system_ns, idle_ns].map(|ns| ns / TICK_NS / share);
        put(text, format_args!("{name}{number} {user} 0 {kernel} {idle} 0 0 0 0 0 0\n"));
    };
    line("cpu", " ", 1);
    (0..cpus).for_each(|cpu| line("cpu", &format!("{cpu}"), cpus));
    let since = (time::wall_clock_ns() - time::now_ns()) / NS_PER_S;
    put(text, format_args!("ctxt {}\nbtime {since}\n", stats::get(Counter::Switches)));
    put(text, format_args!("processes {}\nprocs_running 1\nprocs_blocked 0\n", system.last_id()));
}

fn loadavg(system: &System, text: &mut String) {
    let tasks: usize = system.all().iter().map(|process| process.thread_count()).sum();
    put(text, format_args!("0.00 0.00 0.00 1/{tasks} {}\n", system.last_id()));
}

/// Seconds since boot, and seconds of all CPUs together without work.
fn uptime(_system: &System, text: &mut String) {
    let (_, idle_ns) = sched::usage(sched::cpus() as u64);
    let hundredths = |ns: u64| (ns / NS_PER_S, ns % NS_PER_S / TICK_NS);
    let ((up_s, up), (idle_s, idle)) = (hundredths(time::now_ns()), hundredths(idle_ns));
    put(text, format_args!("{up_s}.{up:02} {idle_s}.{idle:02}\n"));
}

fn version(_system: &System, text: &mut String) {
    put(text, format_args!("{} version {} {}\n", NAMES[0], NAMES[2], NAMES[3]));
}
