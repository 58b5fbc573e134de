//! The loop that runs user code, and the end of a thread.
use super::delivery::{FETCH, Fault, PAGE_FAULT, STORE, deliver, force};
use super::oom::out_of_memory;
use super::signal::Signal;
use super::{ExitStatus, FUTEX_MATCH_ANY, FutexKey, Memory, Process, SigInfo, Thread, robust};
use crate::mm::{Access, FaultError};
use crate::syscall::{self, SyscallContext};
use base::sched;
use base::sync::Arc;
use base::sync::atomic::Ordering;
use hal::user::{Trap, UserContext};
use linux_raw_sys::general as abi;

/// Runs `user` as `thread` on the current task until the thread ends. Execve lets another thread go on in its place.
pub fn run_thread(thread: &Arc<Thread>, mut user: UserContext) {
    let mut thread = thread.clone();
    loop {
        thread.attach(sched::current());
        thread.mm.activate();
        let code = run(&thread, &mut user);
        let Some((next, registers)) = thread.take_successor() else { return end_thread(&thread, code) };
        sched::current().set_data(next.clone());
        (thread, user) = (next, *registers);
    }
}

/// Runs user code; returns the exit code of the thread.
fn run(thread: &Arc<Thread>, user: &mut UserContext) -> u8 {
    let mut call = None;
    // The next call is one that was interrupted.
    let mut again = false;
    loop {
        // A stop asks for attention too, and must not be found by the next call.
        while thread.attention() {
            thread.clear_attention();
            if thread.exit_code().is_none() {
                again |= deliver(thread, user, call.take());
            }
            if let Some(code) = thread.exit_code() {
                return code;
            }
        }
        call = None;
        match user.run() {
            Trap::Syscall => {
                call = Some(user.regs.rax);
                syscall::dispatch(&mut SyscallContext { thread, user });
                if core::mem::take(&mut again) {
                    thread.call_resumed();
                }
            }
            Trap::PageFault { addr, write, exec, present } => {
                page_fault(thread, user, addr, access(write, exec), present);
            }
            Trap::Exception { vector, error } => exception(thread, user, vector, error),
            Trap::Interrupt => sched::preempt_point(),
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

fn page_fault(thread: &Thread, user: &mut UserContext, addr: u64, access: Access, present: bool) {
    let Err(error) = thread.mm.fault(addr, access) else { return };
    let pid = thread.process.pid;
    log::debug!("process {pid}: {access:?} of {addr:#x} at {:#x}: {error:?}", user.regs.rip);
    let (signal, code) = match error {
        FaultError::NoArea => (Signal::SIGSEGV, abi::SEGV_MAPERR),
        FaultError::Denied => (Signal::SIGSEGV, abi::SEGV_ACCERR),
        FaultError::Bus => (Signal::SIGBUS, abi::BUS_ADRERR),
        FaultError::NoMemory => return out_of_memory(thread),
    };
    let fault = Fault { trap: PAGE_FAULT, error: error_code(access, present), addr };
    force(thread, user, signal, SigInfo::fault(code, addr), fault);
}

/// As the processor tells of a page fault in user mode.
fn error_code(access: Access, present: bool) -> u64 {
    const USER: u64 = 4;
    let of_access = match access {
        Access::Read => 0,
        Access::Write => STORE,
        Access::Exec => FETCH,
    };
    u64::from(present) | of_access | USER
}

fn exception(thread: &Thread, user: &mut UserContext, vector: u8, error: u64) {
    let at = user.regs.rip;
    let (signal, info) = match vector {
        0 => (Signal::SIGFPE, SigInfo::fault(abi::FPE_INTDIV, at)),
        16 | 19 => (Signal::SIGFPE, SigInfo::fault(abi::FPE_FLTUNK, at)),
        1 => (Signal::SIGTRAP, SigInfo::fault(abi::TRAP_TRACE, at)),
        3 => (Signal::SIGTRAP, SigInfo::kernel()),
        6 => (Signal::SIGILL, SigInfo::fault(abi::ILL_ILLOPN, at)),
        11 | 12 => (Signal::SIGBUS, SigInfo::kernel()),
        17 => (Signal::SIGBUS, SigInfo::fault(abi::BUS_ADRALN, 0)),
        _ => (Signal::SIGSEGV, SigInfo::kernel()),
    };
    let pid = thread.process.pid;
    log::debug!("process {pid}: exception {vector} (error {error:#x}) at {at:#x}");
    force(thread, user, signal, info, Fault { trap: u64::from(vector), error, addr: 0 });
}

/// The end of a thread: its robust futexes, the word for who waits for it, its semaphores, then the process, if it was the last.
fn end_thread(thread: &Arc<Thread>, code: u8) {
    let process = thread.process.clone();
    robust::release(thread);
    let word = thread.clear_child_tid.load(Ordering::Relaxed);
    if word != 0
        && thread.mm.write(word, &0u32).is_ok()
        && let Ok(key) = FutexKey::new(&thread.mm, word, false)
    {
        process.system.futexes.wake(key, 1, FUTEX_MATCH_ANY);
    }
    thread.sem_undo.leave(&process.system.semaphores, process.pid);
    if process.remove_thread(thread.tid) {
        end_process(&process, &thread.mm, code);
    }
}

/// Everything a process holds is let go; its aio requests are waited for first (PRC-2). The last thread calls it.
fn end_process(process: &Arc<Process>, memory: &Memory, code: u8) {
    memory.leave();
    process.release_memory();
    process.close_all();
    let cwd = process.cwd.lock().take();
    drop(cwd);
    process.finish(ExitStatus::Code(code));
}

/// The end of a thread that has never run; its process is dying.
pub(super) fn end_unrun(thread: &Arc<Thread>) {
    thread.attach(sched::current());
    end_thread(thread, thread.exit_code().unwrap_or_default());
}

/// Marks the thread as ended by `exit`; it leaves on the way back to user code.
pub fn exit_thread_now(thread: &Thread, code: u8) {
    thread.set_exit_code(code);
}
