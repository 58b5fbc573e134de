//! The loop that runs user code, and the end of a thread.
use super::delivery::{deliver, force};
use super::signal::Signal;
use super::{ExitStatus, FUTEX_MATCH_ANY, FutexKey, Process, Thread};
use crate::mm::{Access, FaultError};
use crate::syscall::{self, SyscallContext};
use alloc::boxed::Box;
use base::sync::Arc;
use base::sync::atomic::Ordering;
use base::{Errno, Result, sched};
use hal::user::{Trap, UserContext};

/// Starts a task that runs `user` as `thread`, which its process has taken in. Errors: `ENOMEM`.
pub(super) fn spawn_thread(thread: Arc<Thread>, user: UserContext) -> Result<()> {
    let data = thread.clone();
    sched::spawn_with("user", data, Box::new(move || run_thread(&thread, user))).map(|_| ())
}

/// Runs `user` as `thread` on the current task until the thread ends.
pub fn run_thread(thread: &Arc<Thread>, mut user: UserContext) {
    thread.attach(sched::current());
    thread.process.mm.activate();
    let code = run(thread, &mut user);
    end_thread(thread, code);
}

/// Runs user code; returns the exit code of the thread.
fn run(thread: &Arc<Thread>, user: &mut UserContext) -> u8 {
    loop {
        let mut call = None;
        match user.run() {
            Trap::Syscall => {
                call = Some(user.regs.rax);
                syscall::dispatch(&mut SyscallContext { thread, user });
            }
            Trap::PageFault { addr, write, exec, present: _ } => page_fault(thread, user, addr, access(write, exec)),
            Trap::Exception { vector, error } => exception(thread, user, vector, error),
            Trap::Interrupt => sched::preempt_point(),
        }
        if thread.attention() {
            thread.clear_attention();
            if !thread.process.is_dying() && !thread.is_exiting() {
                deliver(thread, user, call);
            }
            if let Some(code) = thread.exit_code() {
                return code;
            }
        }
    }
}

fn access(write: bool, exec: bool) -> Access {
    match (write, exec) {
        (true, _) => Access::Write,
        (false, true) => Access::Exec,
        (false, false) => Access::Read,
    }
}

fn page_fault(thread: &Thread, user: &mut UserContext, addr: u64, access: Access) {
    let Err(error) = thread.process.mm.fault(addr, access) else { return };
    let pid = thread.process.pid;
    log::debug!("process {pid}: {access:?} of {addr:#x} at {:#x}: {error:?}", user.regs.rip);
    match error {
        FaultError::NoArea | FaultError::Denied => force(thread, user, Signal::SIGSEGV),
        FaultError::Bus => force(thread, user, Signal::SIGBUS),
        FaultError::NoMemory => {
            log::error!("out of memory: process {pid} is killed ({} pages)", thread.process.mm.resident_pages());
            thread.process.die(ExitStatus::Killed(Signal::SIGKILL));
        }
    }
}

fn exception(thread: &Thread, user: &mut UserContext, vector: u8, error: u64) {
    let signal = match vector {
        0 | 16 | 19 => Signal::SIGFPE,
        1 | 3 => Signal::SIGTRAP,
        6 => Signal::SIGILL,
        17 => Signal::SIGBUS,
        _ => Signal::SIGSEGV,
    };
    let pid = thread.process.pid;
    log::debug!("process {pid}: exception {vector} (error {error:#x}) at {:#x}", user.regs.rip);
    force(thread, user, signal);
}

/// The end of a thread: the word for who waits for it, then the process, if it was the last.
fn end_thread(thread: &Arc<Thread>, code: u8) {
    let process = thread.process.clone();
    let word = thread.clear_child_tid.load(Ordering::Relaxed);
    if word != 0
        && process.mm.write(word, &0u32).is_ok()
        && let Ok(key) = FutexKey::new(&process.mm, word)
    {
        process.system.futexes.wake(key, 1, FUTEX_MATCH_ANY);
    }
    if process.remove_thread(thread.tid) {
        end_process(&process, code);
    }
}

/// Everything a process holds is let go; its aio requests are waited for first (PRC-2). The last thread calls it.
fn end_process(process: &Arc<Process>, code: u8) {
    process.aio.destroy_all();
    process.files.close_all();
    process.mm.clear();
    let cwd = process.cwd.lock().take();
    drop(cwd);
    process.finish(ExitStatus::Code(code));
}

/// Marks the thread as ended by `exit`; it leaves on the way back to user code.
pub fn exit_thread_now(thread: &Thread, code: u8) {
    thread.set_exit_code(code);
}

/// What `clone` asks for a new thread.
pub struct CloneThread {
    /// Its stack pointer; 0: that of the caller.
    pub stack: u64,
    /// Its FS base, if one is given.
    pub tls: Option<u64>,
    /// Where its id is stored for the parent.
    pub parent_tid: Option<u64>,
    /// Where its id is stored for itself.
    pub child_tid: Option<u64>,
    /// The word to clear at its end.
    pub clear_child_tid: Option<u64>,
}

/// Makes a thread that goes on where the caller is, with 0 as the result of the call. Returns its id. Errors: `ENOMEM`, `EAGAIN`,
/// `EFAULT`, `EPERM` (FS base).
pub fn clone_thread(thread: &Arc<Thread>, user: &UserContext, request: &CloneThread) -> Result<u32> {
    let process = &thread.process;
    let mut child_user = UserContext::new(user.regs.rip, user.regs.rsp);
    child_user.regs = user.regs;
    child_user.regs.rax = 0;
    if request.stack != 0 {
        child_user.regs.rsp = request.stack;
    }
    if !child_user.set_fs_base(request.tls.unwrap_or(user.fs_base())) {
        return Err(Errno::EPERM);
    }
    child_user.set_fpu(&user.fpu());
    let tid = process.system.new_id();
    for addr in request.parent_tid.into_iter().chain(request.child_tid) {
        process.mm.write(addr, &tid)?;
    }
    let child = Thread::new(process, tid, thread.blocked());
    *child.name.lock() = *thread.name.lock();
    child.clear_child_tid.store(request.clear_child_tid.unwrap_or(0), Ordering::Relaxed);
    process.add_thread(&child)?;
    if let Err(e) = spawn_thread(child, child_user) {
        process.remove_thread(tid);
        return Err(e);
    }
    Ok(tid)
}
