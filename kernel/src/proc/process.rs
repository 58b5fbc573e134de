//! `/proc/self` and `/proc/PID`: what a process finds out about itself, as on Linux.
//!
//! | name | contents |
//! |---|---|
//! | `exe` | link to the program |
//! | `cmdline` | the arguments, each ended by NUL |
//! | `status`, `stat`, `statm` | ids, memory, threads; what is not kept is 0 |
//! | `maps` | the areas of the address space |
//! | `fd` | a link for each open descriptor |
//! | `mounts` | as `/proc/mounts` |
//!
//! A process that is gone leaves empty files: there is one process a boot, and names in `/proc` are only ever added.
use super::fd::FdDirectory;
use crate::mm::{Backing, PAGE, Vma};
use crate::process::{Process, STACK_TOP, Thread};
use crate::syscall::split_device;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base::sync::{Arc, Weak};
use base::{Result, sched};
use core::fmt::Write;
use fs::procfs::{Generate, ProcFs};
use fs::vfs::Vfs;
use linux_raw_sys::general as abi;

/// Appends the text of a file of a process.
type Show = fn(&Process, &mut String);

/// Adds `self`, which leads every task to its own process.
pub(super) fn add_self(proc: &ProcFs) -> Result<()> {
    proc.link("self", Box::new(|target| target.extend(current_pid().map_or(Vec::new(), |pid| pid.to_string().into()))))
}

fn current_pid() -> Option<u32> {
    let thread = sched::current().data()?.downcast::<Thread>().ok()?;
    Some(thread.process.pid)
}

/// Adds the folder of `process`, before it runs. Errors: `ENOMEM`, `ENOTDIR`.
pub(super) fn add(proc: &ProcFs, vfs: &Arc<Vfs>, process: &Arc<Process>) -> Result<()> {
    let pid = process.pid;
    let files: [(&str, Show); 5] =
        [("cmdline", cmdline), ("status", status), ("stat", stat), ("statm", statm), ("maps", maps)];
    for (name, show) in files {
        proc.file(&format!("{pid}/{name}"), of(process, show))?;
    }
    let tree = Arc::downgrade(vfs);
    let mounts = Box::new(move |text: &mut String| tree.upgrade().iter().for_each(|vfs| super::mounts(vfs, text)));
    proc.file(&format!("{pid}/mounts"), mounts)?;
    let weak = Arc::downgrade(process);
    proc.link(
        &format!("{pid}/exe"),
        Box::new(move |target| target.extend(weak.upgrade().map_or(Vec::new(), |p| p.program.lock().path.clone()))),
    )?;
    let weak = Arc::downgrade(process);
    proc.inode(&format!("{pid}/fd"), |sb, ino| FdDirectory::inode(sb, ino, weak))
}

/// The text that `show` makes of the process, while there is one.
fn of(process: &Arc<Process>, show: Show) -> Generate {
    let weak: Weak<Process> = Arc::downgrade(process);
    Box::new(move |text| weak.upgrade().iter().for_each(|process| show(process, text)))
}

/// Formatting into a string does not fail; whoever writes here has nothing to do about it.
macro_rules! put {
    ($($arguments:tt)*) => {
        let _ = write!($($arguments)*);
    };
}

fn cmdline(process: &Process, text: &mut String) {
    for argument in process.command.lock().iter() {
        text.push_str(&String::from_utf8_lossy(argument));
        text.push('\0');
    }
}

/// The name of the program's file, cut as the ABI cuts it.
fn name(process: &Process) -> String {
    let program = process.program.lock();
    let file = program.path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(&file[..file.len().min(15)]).into_owned()
}

/// Pages of all areas together.
fn pages(process: &Process) -> u64 {
    let mut pages = 0;
    process.mm.for_each_area(|vma| pages += (vma.range.end - vma.range.start) / PAGE);
    pages
}

fn status(process: &Process, text: &mut String) {
    let (pid, parent) = (process.pid, process.parent_pid);
    put!(text, "Name:\t{}\nUmask:\t{:04o}\nState:\tR (running)\n", name(process), process.umask());
    put!(text, "Tgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\nTracerPid:\t0\n");
    let (uid, euid, gid, egid) = {
        let ids = process.credentials.lock();
        (ids.uid, ids.euid, ids.gid, ids.egid)
    };
    put!(text, "Uid:\t{uid}\t{euid}\t{euid}\t{euid}\nGid:\t{gid}\t{egid}\t{egid}\t{egid}\n");
    put!(text, "FDSize:\t{}\n", process.files.open().last().map_or(0, |fd| fd + 1));
    let kib = PAGE / 1024;
    put!(text, "VmSize:\t{:8} kB\n", pages(process) * kib);
    put!(text, "VmRSS:\t{:8} kB\n", process.mm.resident_pages() as u64 * kib);
    put!(text, "Threads:\t{}\nShdPnd:\t{:016x}\n", process.thread_count(), process.pending().0);
}

/// 52 fields; those from the 26th on are addresses and counts that are not kept.
fn stat(process: &Process, text: &mut String) {
    let (pid, parent, threads) = (process.pid, process.parent_pid, process.thread_count());
    put!(text, "{pid} ({}) R {parent} {pid} {pid} 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 0", name(process));
    let limit = process.soft_limit(abi::RLIMIT_RSS);
    put!(text, " {} {} {limit}", pages(process) * PAGE, process.mm.resident_pages());
    (26..=52).for_each(|_| text.push_str(" 0"));
    text.push('\n');
}

fn statm(process: &Process, text: &mut String) {
    let (mut code, mut data) = (0, 0);
    process.mm.for_each_area(|vma| {
        let sum = if vma.prot.exec { &mut code } else { &mut data };
        *sum += (vma.range.end - vma.range.start) / PAGE;
    });
    put!(text, "{} {} 0 {code} 0 {data} 0\n", code + data, process.mm.resident_pages());
}

fn maps(process: &Process, text: &mut String) {
    let heap = process.mm.heap();
    process.mm.for_each_area(|vma| {
        let start = text.len();
        let right = |on: bool, letter: char| if on { letter } else { '-' };
        let (read, write, exec) = (right(vma.prot.read, 'r'), right(vma.prot.write, 'w'), right(vma.prot.exec, 'x'));
        let (offset, dev, ino) = match &vma.backing {
            Backing::File { file, offset } => {
                let inode = file.inode.as_ref();
                (*offset, inode.map_or(0, |i| i.sb.dev), inode.map_or(0, |i| i.ino))
            }
            Backing::Anonymous | Backing::Pages { .. } => (0, 0, 0),
        };
        let shared = if vma.shared { 's' } else { 'p' };
        let (major, minor) = split_device(dev);
        put!(text, "{:08x}-{:08x} {read}{write}{exec}{shared} ", vma.range.start, vma.range.end);
        put!(text, "{offset:08x} {major:02x}:{minor:02x} {ino}");
        let name = area_name(process, vma, &heap);
        if !name.is_empty() {
            let width = 72usize.saturating_sub(text.len() - start);
            put!(text, "{:width$} {name}", "");
        }
        text.push('\n');
    });
}

/// What stands at the end of an area's line: the path by which a file was opened, if it still is, or what the memory is.
fn area_name(process: &Process, vma: &Vma, heap: &core::ops::Range<u64>) -> String {
    match &vma.backing {
        Backing::File { file, .. } => {
            let Some(inode) = &file.inode else { return String::new() };
            let program = process.program.lock();
            let path = if (program.dev, program.ino) == (inode.sb.dev, inode.ino) {
                Some(program.path.clone())
            } else {
                process.files.path_of(inode)
            };
            path.map_or(String::new(), |path| String::from_utf8_lossy(&path).into_owned())
        }
        Backing::Pages { .. } => "/[aio]".into(),
        Backing::Anonymous if vma.range.contains(&(STACK_TOP - 1)) => "[stack]".into(),
        Backing::Anonymous if heap.contains(&vma.range.start) => "[heap]".into(),
        Backing::Anonymous => String::new(),
    }
}
