//! Forked processes and their ends, on the host. What a child does is up to its script, which is empty: `ud2` ends it.
use super::tests::{MEMORY, call, process};
use super::*;
use crate::mm::{Backing, MapRequest, PAGE, Placement};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};
use fs::tmpfs;
use fs::vfs::{File, OpenFlags, Site, Vfs};
use hal::user::{Prot, UserContext};
use linux_raw_sys::general as abi;

fn user() -> UserContext {
    UserContext::new(0x1000, MEMORY + 2 * PAGE - 16).unwrap()
}

/// A child that has ended when this returns: killed by SIGILL.
fn ended_child(thread: &Arc<Thread>) -> u32 {
    let pid = clone_process(thread, &user(), &CloneRequest::default(), &Fork::default()).unwrap();
    let family = &thread.process.system.family;
    thread.process.children.wait_until(|| family.has_ended(pid) || family.get(pid).is_none());
    pid
}

#[test]
fn prc_5_a_forked_child_has_no_aio_contexts() {
    let (_process, thread) = process();
    let id = thread.mm.aio.create(&thread.mm, 4).unwrap();
    let child = thread.mm.fork().unwrap();
    assert_eq!(child.aio.get(id).err(), Some(Errno::EINVAL));
    assert_eq!(child.aio.destroy(&child, id), Err(Errno::EINVAL));
    child.leave();
    assert!(thread.mm.aio.get(id).is_ok(), "the parent's is as before");
}

#[test]
fn a_child_is_waited_for_once() {
    let (process, thread) = process();
    let family = &process.system.family;
    assert_eq!(family.reap(process.pid, Which::Any, Changes::ENDED, false).err(), Some(Errno::ECHILD));
    let pid = ended_child(&thread);
    assert_eq!(family.reap(process.pid, Which::Process(pid + 1), Changes::ENDED, false).err(), Some(Errno::ECHILD));
    for keep in [true, false] {
        let ended = family.reap(process.pid, Which::Group(process.pid), Changes::ENDED, keep).unwrap().unwrap();
        assert_eq!((ended.pid, ended.change), (pid, Change::Ended(ExitStatus::Killed(Signal::SIGILL))));
    }
    assert_eq!(family.reap(process.pid, Which::Any, Changes::ENDED, false).err(), Some(Errno::ECHILD));
    assert!(process.system.process(pid).is_none());
}

#[test]
fn who_ignores_sigchld_has_nothing_to_wait_for() {
    let (process, thread) = process();
    process.actions.lock().set(Signal::SIGCHLD, Action { handler: 1, ..Action::default() });
    let pid = ended_child(&thread);
    assert!(process.system.process(pid).is_none());
    assert_eq!(process.system.family.reap(process.pid, Which::Any, Changes::ENDED, false).err(), Some(Errno::ECHILD));
}

#[test]
fn orphans_become_the_first_process_s() {
    let (first, first_thread) = process();
    let family = &first.system.family;
    let memory = first_thread.mm.fork().unwrap();
    let parent = Process::fork(&first, memory.clone(), Some(Signal::SIGCHLD)).unwrap();
    let thread = Thread::new(&parent, parent.pid, SigSet::default()).unwrap();
    parent.add_thread(&thread).unwrap();
    let orphan = ended_child(&thread);
    assert_eq!(family.get(orphan).unwrap().parent_pid(), parent.pid);
    assert_eq!(family.reap(first.pid, Which::Process(orphan), Changes::ENDED, false).err(), Some(Errno::ECHILD));
    parent.die(ExitStatus::Code(3));
    run_thread(&thread, user());
    assert_eq!(family.get(orphan).unwrap().parent_pid(), first.pid);
    let ended = family.reap(first.pid, Which::Process(orphan), Changes::ENDED, false).unwrap();
    assert_eq!(ended.unwrap().change, Change::Ended(ExitStatus::Killed(Signal::SIGILL)));
    let ended = family.reap(first.pid, Which::Any, Changes::ENDED, false).unwrap();
    assert_eq!(ended.unwrap().change, Change::Ended(ExitStatus::Code(3)));
}

#[test]
fn the_parent_of_a_vfork_sleeps_until_its_memory_is_its_own_again() {
    let (_process, thread) = process();
    let fork = Fork { share_memory: true, vfork: true, ..Fork::default() };
    let pid = clone_process(&thread, &user(), &CloneRequest::default(), &fork).unwrap();
    let released = |child: &Arc<Process>| child.memory_released.load(base::sync::atomic::Ordering::Acquire);
    assert!(thread.process.system.family.get(pid).as_ref().is_some_and(released));
    assert!(thread.mm.read::<u64>(MEMORY).is_ok());
    thread.process.children.wait_until(|| thread.process.system.family.has_ended(pid));
}

#[test]
fn groups_and_sessions() {
    let (process, thread) = process();
    let family = &process.system.family;
    let (own, child) = (process.pid, ended_child(&thread));
    assert_eq!((family.group(child), family.session(child)), (Ok(own), Ok(own)));
    assert_eq!(family.set_group(own, own, own), Err(Errno::EPERM), "a leader of a session stays where it is");
    assert_eq!(family.set_group(own, child, 77), Err(Errno::EPERM), "no such group");
    assert_eq!(family.set_group(own, 77, 77), Err(Errno::ESRCH));
    assert_eq!(family.set_group(own, child, child), Ok(()));
    assert_eq!(family.of_group(child).len(), 1);
    assert_eq!(family.new_session(child), Err(Errno::EPERM), "it leads a group");
    assert_eq!(family.set_group(own, child, own), Ok(()));
    assert_eq!(family.new_session(child), Ok(()));
    assert_eq!(family.session(child), Ok(child));
    family.execed(child);
    assert_eq!(family.set_group(own, child, own), Err(Errno::EACCES));
}

/// A tree with the file `/program` of these bytes.
fn tree_with(thread: &Thread, bytes: &[u8]) -> Arc<File> {
    let vfs = Vfs::new(tmpfs::new(1, 0o755, 64, 64), b"none", None).unwrap();
    let root = vfs.root();
    let site = Site { cwd: &root, caller: thread };
    let flags = OpenFlags::RDWR | OpenFlags::CREAT;
    let file = vfs.open(site, b"/program", flags, 0o755).unwrap();
    fs::vfs::write_at(&file, 0, 0, &mut fs::io::SliceSource::new(bytes), thread).unwrap();
    thread.process.system.set_vfs(vfs);
    file
}

fn program(file: Arc<File>) -> Program {
    Program { file, path: b"/program".to_vec(), argv: [b"name".to_vec(), b"x".to_vec()].to_vec(), envp: Vec::new() }
}

fn no_file(_: &[u8]) -> Result<Arc<File>> {
    Err(Errno::ENOENT)
}

#[test]
fn another_program_takes_the_place_of_the_caller() {
    let (process, thread) = process();
    let file = tree_with(&thread, &super::elf::tests::program());
    let handled = Action { handler: 0x1000, ..Action::default() };
    process.actions.lock().set(Signal::SIGUSR1, handled);
    process.actions.lock().set(Signal::SIGUSR2, Action { handler: 1, ..handled });
    thread.set_blocked(SigSet::of(Signal::SIGTERM));
    thread.send_signal(Signal::SIGTERM);
    for close_on_exec in [false, true] {
        process.install(file.clone(), close_on_exec).unwrap();
    }
    let id = thread.mm.aio.create(&thread.mm, 4).unwrap();
    exec(&thread, program(file), &no_file).unwrap();
    let (next, registers) = thread.take_successor().unwrap();
    assert_eq!((registers.regs.rip, next.tid), (0x40_0200, process.pid));
    next.mm.activate();
    assert_eq!(next.mm.read::<u64>(registers.regs.rsp), Ok(2), "the number of arguments");
    assert_eq!(next.mm.read::<u32>(0x40_2100), Ok(u32::from_le_bytes(*b"data")));
    assert_eq!(next.mm.aio.get(id).err(), Some(Errno::EINVAL));
    assert_eq!(thread.mm.resident_pages(), 0, "nothing of the old program is left");
    assert_eq!(process.actions.lock().get(Signal::SIGUSR1), Action::default());
    assert_eq!(process.actions.lock().get(Signal::SIGUSR2).handler, 1);
    assert!(next.pending().contains(Signal::SIGTERM) && next.blocked().contains(Signal::SIGTERM));
    assert_eq!(process.files.open(), [0]);
    assert_eq!(&process.name()[..8], b"program\0");
}

#[test]
fn a_failed_exec_leaves_everything_as_it_was() {
    let (process, thread) = process();
    thread.mm.write(MEMORY, &7u64).unwrap();
    let mut broken = super::elf::tests::program();
    broken[4] = 1;
    for (bytes, error) in [
        (&broken[..], Errno::ENOEXEC),
        (b"", Errno::ENOEXEC),
        (b"#!/nowhere\n", Errno::ENOENT),
        (b"#! \n", Errno::ENOEXEC),
    ] {
        let file = tree_with(&thread, bytes);
        // Trees are given once: the file is what matters.
        assert_eq!(exec(&thread, program(file), &no_file), Err(error));
        assert!(thread.take_successor().is_none());
        assert_eq!(thread.mm.read::<u64>(MEMORY), Ok(7));
    }
    assert_eq!(process.thread_count(), 1);
}

#[test]
fn scripts_that_are_each_other_s_interpreters_end() {
    let (_process, thread) = process();
    let file = tree_with(&thread, b"#!/program\n");
    let open = |_: &[u8]| Ok(file.clone());
    assert_eq!(exec(&thread, program(file.clone()), &open), Err(Errno::ELOOP));
}

#[test]
fn the_other_threads_end_before_the_new_program() {
    let (process, thread) = process();
    let file = tree_with(&thread, &super::elf::tests::program());
    let other = Thread::new(&process, 77, SigSet::default()).unwrap();
    process.add_thread(&other).unwrap();
    let mut waits = user();
    waits.step(call(abi::__NR_pause, [0; 3]));
    let runner = std::thread::spawn(move || run_thread(&other, waits));
    exec(&thread, program(file), &no_file).unwrap();
    assert_eq!(process.thread_count(), 1);
    runner.join().unwrap();
    assert!(!process.is_dying());
}

#[test]
fn a_mapping_of_the_old_program_is_not_the_new_one_s() {
    let (_process, thread) = process();
    let file = tree_with(&thread, &super::elf::tests::program());
    let prot = Prot { read: true, write: true, exec: false };
    let (placement, backing) = (Placement::Fixed(0x70_0000), Backing::Anonymous);
    thread.mm.map(MapRequest { placement, len: PAGE, prot, shared: true, backing }).unwrap();
    exec(&thread, program(file), &no_file).unwrap();
    let (next, _) = thread.take_successor().unwrap();
    let mut areas = Vec::new();
    next.mm.for_each_area(|vma| areas.push(vma.range.start));
    assert!(!areas.is_empty() && !areas.contains(&0x70_0000), "{areas:x?}");
}

/// What the auxiliary vector at the stack pointer says under `key`.
fn auxv(thread: &Thread, sp: u64, key: u32) -> u64 {
    let read = |at: u64| thread.mm.read::<u64>(at).unwrap();
    // The arguments with their null pointer, then the environment with its own.
    let mut at = sp + 8 * (read(sp) + 2);
    while read(at) != 0 {
        at += 8;
    }
    at += 8;
    while read(at) != u64::from(key) {
        at += 16;
    }
    read(at + 8)
}

/// Who acts after a user (7, group 7) has run a program of user 8 and group 9 with this mode, and what `AT_SECURE` says.
fn run_as_user(mode: u16, limited: bool, nosuid: bool, script: bool) -> (Credentials, u64) {
    let (process, thread) = process();
    let file = tree_with(&thread, &super::elf::tests::program());
    let inode = file.inode.clone().unwrap();
    inode.sb.ignore_setid(nosuid);
    let marked = match script {
        false => inode,
        true => tree_with(&thread, b"#!/interpreter\n").inode.clone().unwrap(),
    };
    fs::vfs::chown(&marked, Some(8), Some(9), &*thread).unwrap();
    fs::vfs::chmod(&marked, mode, &*thread).unwrap();
    *process.credentials.lock() =
        Credentials { uid: 7, euid: 7, suid: 1, gid: 7, egid: 7, sgid: 1, ..Credentials::default() };
    process.limited.store(limited, base::sync::atomic::Ordering::Relaxed);
    let started = if script { open_again(&marked) } else { file.clone() };
    exec(&thread, program(started), &|_| Ok(file.clone())).unwrap();
    let (next, registers) = thread.take_successor().unwrap();
    next.mm.activate();
    let secure = auxv(&next, registers.regs.rsp, linux_raw_sys::auxvec::AT_SECURE);
    let who = process.credentials.lock().clone();
    assert_eq!(auxv(&next, registers.regs.rsp, linux_raw_sys::auxvec::AT_EUID), who.euid.into());
    assert_eq!(process.dumpable.load(base::sync::atomic::Ordering::Relaxed), secure == 0);
    (who, secure)
}

fn open_again(inode: &Arc<fs::vfs::Inode>) -> Arc<File> {
    File::new(Some(inode.clone()), OpenFlags::empty(), inode.ops().open(inode).unwrap())
}

#[test]
fn a_set_id_program_acts_as_its_owner() {
    let ids = |euid, egid| Credentials { uid: 7, euid, suid: euid, gid: 7, egid, sgid: egid, ..Credentials::default() };
    for (mode, euid, egid) in [(0o755, 7, 7), (0o4755, 8, 7), (0o2755, 7, 9), (0o6755, 8, 9), (0o2745, 7, 7)] {
        let secure = u64::from((euid, egid) != (7, 7));
        assert_eq!(run_as_user(mode, false, false, false), (ids(euid, egid), secure), "{mode:o}");
    }
    assert_eq!(run_as_user(0o6755, true, false, false), (ids(7, 7), 0), "no new privileges");
    assert_eq!(run_as_user(0o6755, false, true, false), (ids(7, 7), 0), "mounted so");
    assert_eq!(run_as_user(0o6755, false, false, true), (ids(7, 7), 0), "the bits of a script");
}
