//! `/proc/self` and `/proc/PID`: what a process finds out about itself, as on Linux.
//!
//! | name | contents |
//! |---|---|
//! | `exe`, `cwd` | links to the program and the current directory |
//! | `cmdline`, `comm` | the arguments, each ended by NUL; the name |
//! | `status`, `stat`, `statm` | ids, memory, threads; what is not kept is 0 |
//! | `maps` | the areas of the address space |
//! | `fd` | a link for each open descriptor |
//! | `mounts`, `mountinfo` | as `/proc/mounts`; the same with numbers |
//! | `oom_score_adj` | how much sooner or later than others it ends when there is no memory left, -1000 (never) to 1000 |
//!
//! The folders are made as somebody looks at them. A file that was opened while its process lived is empty afterwards.
use super::fd::FdDirectory;
use crate::mm::{Backing, PAGE, Vma};
use crate::process::{Credentials, Process, STACK_TOP, System, TICK_NS, Thread};
use crate::syscall::split_device;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base::sync::atomic::Ordering;
use base::sync::{Arc, Weak};
use base::{Errno, Result, sched};
use core::any::Any;
use core::fmt::Write;
use fs::procfs::{self, FIRST_OWN_INO, Generate, Names, ProcFs};
use fs::vfs::{Attr, DirEntry, FileOps, FileType, Inode, InodeOps, SuperBlock, Timespec, Vfs};
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

/// The folders of the processes that there are now.
pub(super) struct Pids {
    /// What the processes belong to.
    pub(super) system: Weak<System>,
    /// For `mounts`.
    pub(super) vfs: Weak<Vfs>,
}

/// Inode numbers from here on are those of processes: a run of [`INOS`] for each.
const FIRST_INO: u64 = FIRST_OWN_INO << 8;
const INOS: u64 = 16;

fn first_ino(pid: u64) -> u64 {
    FIRST_INO + pid * INOS
}

impl Names for Pids {
    fn find(&self, sb: &Arc<SuperBlock>, name: &[u8]) -> Option<Arc<Inode>> {
        let pid = core::str::from_utf8(name).ok()?.parse::<u32>().ok()?;
        let process = Arc::downgrade(&self.system.upgrade()?.process(pid)?);
        let ino = first_ino(pid.into());
        let folder = || Ok(Folder { process, vfs: self.vfs.clone() }.inode(sb, ino));
        sb.inodes().get_or_load(ino, folder).ok()
    }
    fn next(&self, from: u64) -> Option<(u64, u64)> {
        let pid = self.system.upgrade()?.family.first_from(u32::try_from(from).ok()?)?;
        Some((pid.into(), first_ino(pid.into())))
    }
}

/// What stands in the folder of a process, and what shows it.
enum Entry {
    Text(Show),
    Exe,
    Cwd,
    Fd,
    Mounts(ShowMounts),
    OomAdjust,
}

/// Appends the text of a file about all mounts.
type ShowMounts = fn(&Vfs, &mut String);

const ENTRIES: [(&str, Entry); 12] = [
    ("cmdline", Entry::Text(cmdline)),
    ("comm", Entry::Text(comm)),
    ("status", Entry::Text(status)),
    ("stat", Entry::Text(stat)),
    ("statm", Entry::Text(statm)),
    ("maps", Entry::Text(maps)),
    ("exe", Entry::Exe),
    ("cwd", Entry::Cwd),
    ("fd", Entry::Fd),
    ("mounts", Entry::Mounts(super::mounts)),
    ("mountinfo", Entry::Mounts(super::mount_info)),
    ("oom_score_adj", Entry::OomAdjust),
];

/// The folder of a process.
struct Folder {
    process: Weak<Process>,
    vfs: Weak<Vfs>,
}

impl Folder {
    fn inode(self, sb: &Arc<SuperBlock>, ino: u64) -> Arc<Inode> {
        let attr = Attr::new(0o555, Timespec::now());
        Inode::new(sb.clone(), ino, FileType::Directory, attr, 0, Box::new(self))
    }

    fn entry(&self, sb: &Arc<SuperBlock>, ino: u64, entry: &Entry) -> Arc<Inode> {
        let (process, vfs) = (self.process.clone(), self.vfs.clone());
        match *entry {
            Entry::Text(show) => procfs::text(sb, ino, of(process, show)),
            Entry::Fd => FdDirectory::inode(sb, ino, process),
            Entry::Mounts(show) => {
                procfs::text(sb, ino, Box::new(move |text| vfs.upgrade().iter().for_each(|vfs| show(vfs, text))))
            }
            Entry::OomAdjust => {
                let shown = of(process.clone(), oom_adjust);
                procfs::writable_text(sb, ino, shown, Box::new(move |bytes| set_oom_adjust(&process, bytes)))
            }
            Entry::Exe => procfs::link(
                sb,
                ino,
                Box::new(move |target| {
                    target.extend(process.upgrade().map_or(Vec::new(), |p| p.program.lock().path.clone()));
                }),
            ),
            Entry::Cwd => procfs::link(
                sb,
                ino,
                Box::new(move |target| {
                    let (Some(process), Some(vfs)) = (process.upgrade(), vfs.upgrade()) else { return };
                    let cwd = process.cwd.lock().as_ref().and_then(|file| file.inode.clone());
                    target.extend(vfs.path_of(&cwd.unwrap_or_else(|| vfs.root())).unwrap_or_default());
                }),
            ),
        }
    }
}

impl InodeOps for Folder {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn open(&self, _inode: &Arc<Inode>) -> Result<Arc<dyn FileOps>> {
        Err(Errno::ENXIO)
    }
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let found = ENTRIES.iter().position(|(entry, _)| entry.as_bytes() == name).ok_or(Errno::ENOENT)?;
        let ino = dir.ino + 1 + found as u64;
        dir.sb.inodes().get_or_load(ino, || Ok(self.entry(&dir.sb, ino, &ENTRIES[found].1)))
    }
    fn caches_names(&self) -> bool {
        false
    }
    fn readdir(&self, dir: &Arc<Inode>, pos: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let parent = dir.parent().map_or(dir.ino, |parent| parent.ino);
        let dots = [(dir.ino, FileType::Directory, "."), (parent, FileType::Directory, "..")];
        let entries = ENTRIES.iter().enumerate().map(|(at, (name, entry))| {
            let kind = match entry {
                Entry::Text(_) | Entry::Mounts(_) | Entry::OomAdjust => FileType::Regular,
                Entry::Exe | Entry::Cwd => FileType::Symlink,
                Entry::Fd => FileType::Directory,
            };
            (dir.ino + 1 + at as u64, kind, *name)
        });
        for (at, (ino, kind, name)) in dots.into_iter().chain(entries).enumerate().skip(pos as usize) {
            if !emit(DirEntry { ino, kind, name: name.as_bytes(), next_pos: at as u64 + 1 }) {
                break;
            }
        }
        Ok(())
    }
}

/// The text that `show` makes of the process, while there is one.
fn of(process: Weak<Process>, show: Show) -> Generate {
    Box::new(move |text| process.upgrade().iter().for_each(|process| show(process, text)))
}

/// Formatting into a string does not fail; whoever writes here has nothing to do about it.
macro_rules! put {
    ($($arguments:tt)*) => {
        let _ = write!($($arguments)*);
    };
}

fn oom_adjust(process: &Process, text: &mut String) {
    put!(text, "{}\n", process.oom_adjust());
}

/// Errors: `ESRCH`, `EINVAL`, `EACCES`: it is another user's process, or would end later than now.
fn set_oom_adjust(process: &Weak<Process>, bytes: &[u8]) -> Result<()> {
    let process = process.upgrade().ok_or(Errno::ESRCH)?;
    let number = core::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
    let value: i32 = number.filter(|value| (-1000..=1000).contains(value)).ok_or(Errno::EINVAL)?;
    let who = Thread::current().ok_or(Errno::EACCES)?.process.credentials.lock().euid;
    let allowed = who == 0 || (who == process.credentials.lock().uid && value >= process.oom_adjust());
    allowed.then(|| process.set_oom_adjust(value)).ok_or(Errno::EACCES)
}

fn cmdline(process: &Process, text: &mut String) {
    for argument in process.command.lock().iter() {
        text.push_str(&String::from_utf8_lossy(argument));
        text.push('\0');
    }
}

fn comm(process: &Process, text: &mut String) {
    put!(text, "{}\n", name(process));
}

/// The name of the first thread: of the program's file, cut as the ABI cuts it, until the thread gives itself another.
fn name(process: &Process) -> String {
    let padded = process.name();
    let end = padded.iter().position(|&byte| byte == 0).unwrap_or(padded.len());
    String::from_utf8_lossy(padded.get(..end).unwrap_or_default()).into_owned()
}

/// Pages of all areas together.
fn pages(process: &Process) -> u64 {
    let mut pages = 0;
    if let Some(memory) = process.memory() {
        memory.for_each_area(|vma| pages += (vma.range.end - vma.range.start) / PAGE);
    }
    pages
}

fn resident(process: &Process) -> usize {
    process.memory().map_or(0, |memory| memory.resident_pages())
}

/// The letter and word of the state.
fn state(process: &Process) -> (char, &'static str) {
    let family = &process.system.family;
    match process.pid {
        pid if family.has_ended(pid) => ('Z', "zombie"),
        pid if family.is_stopped(pid) => ('T', "stopped"),
        _ => ('R', "running"),
    }
}

fn status(process: &Process, text: &mut String) {
    let (pid, parent) = (process.pid, process.parent_pid());
    let state = state(process);
    put!(text, "Name:\t{}\nUmask:\t{:04o}\nState:\t{} ({})\n", name(process), process.umask(), state.0, state.1);
    put!(text, "Tgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\nTracerPid:\t0\n");
    let Credentials { uid, euid, suid, gid, egid, sgid, .. } = process.credentials.lock().clone();
    put!(text, "Uid:\t{uid}\t{euid}\t{suid}\t{euid}\nGid:\t{gid}\t{egid}\t{sgid}\t{egid}\n");
    put!(text, "FDSize:\t{}\n", process.files.open().last().map_or(0, |fd| fd + 1));
    let kib = PAGE / 1024;
    put!(text, "VmSize:\t{:8} kB\n", pages(process) * kib);
    put!(text, "VmRSS:\t{:8} kB\n", resident(process) as u64 * kib);
    put!(text, "Threads:\t{}\nShdPnd:\t{:016x}\n", process.thread_count(), process.pending().0);
}

/// 52 fields, with the terminal and the group in its foreground as the seventh and eighth; those from the 26th on are addresses and counts that are not kept.
fn stat(process: &Process, text: &mut String) {
    let (pid, parent, threads) = (process.pid, process.parent_pid(), process.thread_count());
    let family = &process.system.family;
    let (group, session) = (family.group(pid).unwrap_or(0), family.session(pid).unwrap_or(0));
    let (terminal, foreground) = family.terminal(pid).map_or((0, -1), |(tty, group)| (tty.rdev, i64::from(group)));
    put!(
        text,
        "{pid} ({}) {} {parent} {group} {session} {terminal} {foreground} 0 0 0 0 0",
        name(process),
        state(process).0
    );
    let (own, children) = (process.cpu_times(), process.children_times());
    for ns in [own.user_ns, own.system_ns, children.user_ns, children.system_ns] {
        put!(text, " {}", ns / TICK_NS);
    }
    let nice = process.nice.load(Ordering::Relaxed);
    put!(text, " {} {nice} {threads} 0 {}", 20 + nice, process.start_ns / TICK_NS);
    let limit = process.soft_limit(abi::RLIMIT_RSS);
    put!(text, " {} {} {limit}", pages(process) * PAGE, resident(process));
    (26..=52).for_each(|_| text.push_str(" 0"));
    text.push('\n');
}

fn statm(process: &Process, text: &mut String) {
    let (mut code, mut data) = (0, 0);
    let Some(memory) = process.memory() else { return };
    memory.for_each_area(|vma| {
        let sum = if vma.prot.exec { &mut code } else { &mut data };
        *sum += (vma.range.end - vma.range.start) / PAGE;
    });
    put!(text, "{} {} 0 {code} 0 {data} 0\n", code + data, resident(process));
}

fn maps(process: &Process, text: &mut String) {
    let Some(memory) = process.memory() else { return };
    let heap = memory.heap();
    memory.for_each_area(|vma| {
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
