//! New threads and new processes: both go on where their creator made the call, with 0 as its result.
use super::signal::Signal;
use super::{Process, Thread, run_thread};
use alloc::boxed::Box;
use base::sync::Arc;
use base::sync::atomic::Ordering;
use base::{Errno, Result, sched};
use hal::user::UserContext;
use linux_raw_sys::general as abi;

/// What `clone` asks for the registers and ids of the new thread, of this process or of a new one.
#[derive(Default)]
pub struct CloneRequest {
    /// Its stack pointer; 0: that of the caller.
    pub stack: u64,
    /// Its FS base, if one is given.
    pub tls: Option<u64>,
    /// Where its id is stored for the parent.
    pub parent_tid: Option<u64>,
    /// Where its id is stored for itself.
    pub child_tid: Option<u64>,
    /// What it and its creator do with semaphores is taken back when both have ended.
    pub share_undo: bool,
    /// The word to clear at its end.
    pub clear_child_tid: Option<u64>,
}

/// What a new process has of its own.
pub struct Fork {
    /// It runs in its parent's memory, not in a copy.
    pub share_memory: bool,
    /// The parent sleeps until the child runs another program or ends.
    pub vfork: bool,
    /// What the parent is sent at the child's end.
    pub exit_signal: Option<Signal>,
    /// It starts with the default action for every signal that has a handler.
    pub reset_handlers: bool,
}

/// Makes a thread of the caller's process. Returns its id. Task context. Errors: `ENOMEM`, `EAGAIN`, `EFAULT`, `EPERM` (FS base).
pub fn clone_thread(thread: &Arc<Thread>, user: &UserContext, request: &CloneRequest) -> Result<u32> {
    let process = &thread.process;
    process.check_task_limit()?;
    let child_user = copy_registers(user, request)?;
    let tid = process.system.new_id();
    for addr in request.parent_tid.into_iter().chain(request.child_tid) {
        thread.mm.write(addr, &tid)?;
    }
    let child = Thread::new_in(process, thread.mm.clone(), tid, thread.blocked());
    inherit(&child, thread, request);
    process.add_thread(&child)?;
    start(child, child_user, None).inspect_err(|_| {
        process.remove_thread(tid);
    })?;
    Ok(tid)
}

/// Makes a child process with one thread, a copy of the caller. Returns its id. Task context; sleeps. Errors: `ENOMEM`, `EAGAIN`, `EFAULT`,
/// `EPERM` (FS base).
pub fn clone_process(thread: &Arc<Thread>, user: &UserContext, request: &CloneRequest, fork: &Fork) -> Result<u32> {
    let parent = &thread.process;
    parent.check_task_limit()?;
    let child_user = copy_registers(user, request)?;
    let memory = if fork.share_memory { thread.mm.join() } else { thread.mm.fork()? };
    let process = Process::fork(parent, memory.clone(), fork.exit_signal).inspect_err(|_| memory.leave())?;
    let pid = process.pid;
    let child = Thread::new_in(&process, memory.clone(), pid, thread.blocked());
    inherit(&child, thread, request);
    *child.alt_stack.lock() = if fork.share_memory { Default::default() } else { *thread.alt_stack.lock() };
    if fork.reset_handlers {
        process.actions.lock().reset_handlers();
    }
    let told = request.parent_tid.map_or(Ok(()), |addr| thread.mm.write(addr, &pid));
    let started =
        told.and_then(|()| process.add_thread(&child)).and_then(|()| start(child, child_user, request.child_tid));
    if let Err(error) = started {
        process.remove_thread(pid);
        memory.leave();
        process.system.family.remove(pid);
        return Err(error);
    }
    if fork.vfork {
        process.wait_for_release(parent);
    }
    Ok(pid)
}

/// The registers of the caller, as the new thread gets them. Errors: `ENOMEM`, `EPERM` (FS base).
fn copy_registers(user: &UserContext, request: &CloneRequest) -> Result<UserContext> {
    let mut child = UserContext::new(user.regs.rip, user.regs.rsp).ok_or(Errno::ENOMEM)?;
    child.regs = user.regs;
    child.regs.rax = 0;
    if request.stack != 0 {
        child.regs.rsp = request.stack;
    }
    if !child.set_fs_base(request.tls.unwrap_or(user.fs_base())) {
        return Err(Errno::EPERM);
    }
    child.set_fpu(&user.fpu());
    Ok(child)
}

impl Process {
    /// Whether it may make one more process or thread. Errors: `EAGAIN`: there are as many as the machine bears ([`super::most_tasks`]), or
    /// its user has as many as `RLIMIT_NPROC` allows, which does not bind root; `ENOMEM`. Sleeps.
    fn check_task_limit(&self) -> Result<()> {
        self.make_room()?;
        let all = self.system.all();
        // One that has ended and was not waited for counts as well.
        let tasks = |process: &Arc<Process>| process.thread_count().max(1) as u64;
        if all.iter().map(tasks).sum::<u64>() >= super::most_tasks() {
            return Err(Errno::EAGAIN);
        }
        let (uid, privileged) = {
            let who = self.credentials.lock();
            (who.uid, who.uid == 0 || who.euid == 0)
        };
        let limit = self.soft_limit(abi::RLIMIT_NPROC);
        if privileged || limit == u64::MAX {
            return Ok(());
        }
        let own = all.iter().filter(|process| process.credentials.lock().uid == uid);
        if own.map(tasks).sum::<u64>() >= limit { Err(Errno::EAGAIN) } else { Ok(()) }
    }
}

fn inherit(child: &Thread, parent: &Thread, request: &CloneRequest) {
    *child.name.lock() = *parent.name.lock();
    child.clear_child_tid.store(request.clear_child_tid.unwrap_or(0), Ordering::Relaxed);
    if request.share_undo {
        parent.sem_undo.share(&child.sem_undo, &parent.process.system.semaphores);
    }
}

/// Starts a task that runs `user` as `thread`, which its process has taken in; first it stores its id at `store_id` of its own memory.
/// Errors: `ENOMEM`.
pub(super) fn start(thread: Arc<Thread>, user: UserContext, store_id: Option<u64>) -> Result<()> {
    let data = thread.clone();
    let entry = Box::new(move || {
        thread.mm.activate();
        if let Some(addr) = store_id
            && thread.mm.write(addr, &thread.tid).is_err()
        {
            // As on Linux: the program finds out when it looks.
            log::debug!("thread {}: its id cannot be stored at {addr:#x}", thread.tid);
        }
        run_thread(&thread, user);
    });
    sched::spawn_with("user", data, entry).map(|_| ())
}

impl Default for Fork {
    fn default() -> Self {
        Fork { share_memory: false, vfork: false, exit_signal: Some(Signal::SIGCHLD), reset_handlers: false }
    }
}
