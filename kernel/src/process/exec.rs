//! A program in a process of its own, and in the place of another program (execve).
//!
//! Execve lays the new program out in memory of its own before anything of the old one is given up, so that every error reaches the caller.
//! Then the other threads end, and what is left cannot fail.
use super::load::{Loaded, Open, Program, Runner, load};
use super::robust;
use super::run::{end_unrun, run_thread};
use super::signal::SigSet;
use super::{Claim, ExitStatus, Memory, Process, ProgramFile, System, Thread};
use crate::files::Tty;
use alloc::boxed::Box;
use alloc::string::String;
use base::sync::Arc;
use base::sync::atomic::Ordering;
use base::{Result, sched};
use fs::caller::KernelCaller;
use fs::vfs::{File, OpenFlags, Site};
use linux_raw_sys::general as abi;

/// The terminal of the first program.
const CONSOLE: &[u8] = b"/dev/console";

/// Makes a process for `program`, and starts it: the leader of a session whose terminal is `console`, which its descriptors 0, 1 and 2
/// are. A file that is no program ends the process with code 126 and a line on the log. Errors: `ENOMEM`. Task context.
pub fn start_program(system: &Arc<System>, mut program: Program, console: &Arc<Tty>) -> Result<Arc<Process>> {
    let process = Process::new(system)?;
    system.family.acquire_terminal(process.pid, console, Claim::Given)?;
    let stdio = open_console(system).unwrap_or_else(|_| console.open());
    for _ in 0..3 {
        let fd = process.install(stdio.clone(), false)?;
        process.files.set_path(fd, CONSOLE.to_vec());
    }
    let thread = Thread::new(&process, process.pid, SigSet::default())?;
    process.add_thread(&thread)?;
    let data = thread.clone();
    let task_name = String::from_utf8_lossy(base_name(&program.path)).into_owned();
    let entry = Box::new(move || {
        // In its own task, because loading writes to the new address space.
        thread.mm.activate();
        let loaded = load_first(&thread, &mut program);
        if let Err(e) = &loaded {
            log::error!("cannot run {}: {e}", String::from_utf8_lossy(&program.path));
            thread.process.die(ExitStatus::Code(126));
        }
        drop(program);
        match loaded {
            Ok(loaded) => run_thread(&thread, loaded.user),
            Err(_) => end_unrun(&thread),
        }
    });
    sched::spawn_with(&task_name, data, entry)?;
    Ok(process)
}

/// By its name, so that programs find the device; an image without `/dev` has none. Errors: those of open.
fn open_console(system: &System) -> Result<Arc<File>> {
    let vfs = system.vfs()?;
    let root = vfs.root();
    vfs.open(Site { cwd: &root, caller: &KernelCaller }, CONSOLE, OpenFlags::RDWR, 0)
}

fn load_first(thread: &Thread, program: &mut Program) -> Result<Loaded> {
    let process = &thread.process;
    let open = |path: &[u8]| {
        let vfs = process.system.vfs()?;
        let root = vfs.root();
        vfs.open(Site { cwd: &root, caller: thread }, path, OpenFlags::empty(), 0)
    };
    name_process(thread, program, &program.path);
    load(&thread.mm, program, &open, &process.runner())
}

/// Lets `program` go on in the place of the caller's. The registers of the caller are done with when this succeeds. Task context;
/// sleeps. Errors: those of loading; `EINTR`: the process is dying.
pub fn exec(thread: &Arc<Thread>, mut program: Program, open: Open<'_>) -> Result<()> {
    let process = &thread.process;
    let script = program.path.clone();
    let runner = process.runner();
    process.make_room()?;
    let memory = Memory::new()?;
    memory.activate();
    let loaded = load(&memory, &mut program, open, &runner);
    thread.mm.activate();
    let Loaded { user, credentials } = loaded?;
    process.become_single(thread.tid)?;
    robust::release(thread);
    let successor = thread.successor(memory);
    let before = process.replace(&successor)?;
    thread.sem_undo.hand_on(&successor.sem_undo);
    // Others may look at the memory of a program only if it acts as who runs it.
    process.dumpable.store(!credentials.is_raised(), Ordering::Relaxed);
    *process.credentials.lock() = credentials;
    name_process(&successor, &program, &script);
    process.actions.lock().reset_handlers();
    process.timers.clear();
    process.files.take_close_on_exec().into_iter().for_each(|file| process.closed(file));
    process.system.family.execed(process.pid);
    before.into_iter().for_each(|memory| memory.leave());
    process.release_memory();
    thread.set_successor((successor, Box::new(user)));
    Ok(())
}

/// What `/proc` tells: the program, its arguments, and the name of the thread, which is that of a script if it is one.
fn name_process(thread: &Thread, program: &Program, name: &[u8]) {
    let process = &thread.process;
    *process.command.lock() = program.argv.clone();
    *process.program.lock() = ProgramFile::new(&program.path, &program.file);
    *thread.name.lock() = thread_name(name);
}

/// What a thread that runs the file of this path is called, NUL padded.
pub(super) fn thread_name(path: &[u8]) -> [u8; 16] {
    let mut padded = [0; 16];
    padded.iter_mut().zip(base_name(path).iter().take(15)).for_each(|(to, from)| *to = *from);
    padded
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

impl Process {
    fn runner(&self) -> Runner {
        Runner {
            credentials: self.credentials.lock().clone(),
            limited: self.limited.load(Ordering::Relaxed),
            stack_limit: self.soft_limit(abi::RLIMIT_STACK),
        }
    }
}
