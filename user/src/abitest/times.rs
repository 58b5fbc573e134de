//! CPU times, and the files of `/proc` about the machine.
use crate::{Check, Outcome, call, fork, same, sys};
use linux_raw_sys::general as abi;
use std::fs;
use std::time::Duration;
use user::sys::{EINVAL, Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("CPU time counts work and not sleep", cpu_time),
    ("the CPU time of a child", of_child),
    ("/proc tells of the machine", machine),
    ("/proc tells of a process and takes what is said of it", process),
];

const MS: u64 = 1_000_000;

fn clock(id: u32) -> Result<u64, String> {
    let memory = Memory::new(PAGE);
    sys(abi::__NR_clock_gettime, [id.into(), memory.addr(0)]).map_err(call("clock_gettime"))?;
    Ok(memory.word(0) * 1000 * MS + memory.word(8))
}

/// Works until the clock of CPU time has gone on by this much.
fn work(ns: u64) -> Outcome {
    let end = clock(abi::CLOCK_PROCESS_CPUTIME_ID)? + ns;
    while clock(abi::CLOCK_PROCESS_CPUTIME_ID)? < end {}
    Ok(())
}

/// User and system time of a `struct rusage`.
fn usage(memory: Memory) -> u64 {
    let part = |at: usize| memory.word(at) * 1000 * MS + memory.word(at + 8) * 1000;
    part(0) + part(16)
}

fn cpu_time() -> Outcome {
    // The clock of time is read around that of CPU time.
    let (real, before) = (clock(abi::CLOCK_MONOTONIC)?, clock(abi::CLOCK_PROCESS_CPUTIME_ID)?);
    work(20 * MS)?;
    let (used, passed) = (clock(abi::CLOCK_PROCESS_CPUTIME_ID)? - before, clock(abi::CLOCK_MONOTONIC)? - real);
    same("no more CPU time than time", used <= passed, true)?;
    let before = clock(abi::CLOCK_THREAD_CPUTIME_ID)?;
    std::thread::sleep(Duration::from_millis(200));
    let slept = clock(abi::CLOCK_THREAD_CPUTIME_ID)? - before;
    same("sleep costs next to nothing", slept < 100 * MS, true)?;
    let memory = Memory::new(PAGE);
    sys(abi::__NR_getrusage, [abi::RUSAGE_SELF.into(), memory.addr(0)]).map_err(call("getrusage"))?;
    same("getrusage has it", usage(memory) >= 20 * MS, true)
}

fn of_child() -> Outcome {
    let memory = Memory::new(PAGE);
    let child = fork(|| u8::from(work(30 * MS).is_err()))?;
    sys(abi::__NR_wait4, [child, memory.addr(0), 0, memory.addr(64)]).map_err(call("wait4"))?;
    same("its status", memory.word(0) & 0xffff, 0)?;
    let usage_at = Memory::of_kernel(memory.addr(64), PAGE - 64);
    same("wait4 tells it", usage(usage_at) >= 29 * MS, true)?;
    sys(abi::__NR_getrusage, [abi::RUSAGE_CHILDREN as u64, memory.addr(0)]).map_err(call("getrusage"))?;
    same("so does getrusage", usage(memory) >= 29 * MS, true)
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn machine() -> Outcome {
    let names = Memory::new(PAGE);
    sys(abi::__NR_uname, [names.addr(0)]).map_err(call("uname"))?;
    let release = names.get(130, 65).split(|&byte| byte == 0).next().map(<[u8]>::to_vec).unwrap_or_default();
    same("osrelease", read("/proc/sys/kernel/osrelease")?.trim_end().as_bytes(), &release)?;
    let stat = read("/proc/stat")?;
    let cpu: Vec<u64> = stat.lines().next().into_iter().flat_map(|line| line.split(' ')).flat_map(str::parse).collect();
    same("/proc/stat has ten kinds of times", cpu.len(), 10)?;
    same("and some of it was used", cpu.iter().take(3).sum::<u64>() > 0, true)?;
    let uptime = read("/proc/uptime")?;
    let up: Vec<f64> = uptime.split_whitespace().flat_map(str::parse).collect();
    same("/proc/uptime has two numbers", up.len(), 2)?;
    same("/proc/loadavg", read("/proc/loadavg")?.split(' ').count(), 5)?;
    let own = read("/proc/self/stat")?;
    let fields: Vec<&str> = own.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields.get(11..13).unwrap_or_default().iter().flat_map(|field| field.parse::<u64>()).sum::<u64>();
    same("/proc/self/stat has the time", ticks >= 2, true)?;
    for path in ["/proc/cpuinfo", "/proc/version", "/proc/filesystems", "/proc/sys/fs/aio-max-nr"] {
        same(path, read(path)?.is_empty(), false)?;
    }
    Ok(())
}

fn process() -> Outcome {
    const ADJUST: &str = "/proc/self/oom_score_adj";
    let before = read(ADJUST)?;
    let set = |value: &str| fs::write(ADJUST, value).map_err(|error| error.raw_os_error());
    same("an adjustment", set("500"), Ok(()))?;
    same("what is told of it", read(ADJUST)?.as_str(), "500\n")?;
    same("one that is too large", set("1001"), Err(Some(EINVAL.0)))?;
    same("as before", set(before.trim_end()), Ok(()))?;
    let mounts = read("/proc/self/mountinfo")?;
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    same("the root among the mounts", root.is_some_and(|line| line.contains(" - ")), true)
}
