//! What a pending signal does to a thread on its way back to user code: nothing, the end, or a handler.
//!
//! A handler's frame lies on the user stack below the red zone, or on the alternate stack; from high to low addresses: the FPU
//! state, `siginfo_t`, `ucontext_t`, the return address. `rt_sigreturn` finds it at the stack pointer and restores what it says,
//! of which nothing is trusted: segments are the kernel's, flags are masked, user mode is not entered at an address that is not its own, and
//! FPU state that the CPU would refuse is no frame.
use super::oom::out_of_memory;
use super::signal::{Action, Disposition, SigSet, Signal};
use super::{ExitStatus, SigInfo, Thread};
use crate::mm::{Access, FaultError, PAGE, page_floor};
use base::{Errno, Result};
use core::fmt::{self, Display, Formatter};
use core::ops::Range;
use hal::user::{FpuState, UserContext, UserRegs, fpu_format};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The vector of page faults.
pub(super) const PAGE_FAULT: u64 = 14;
/// Of its error code: what was tried; without both, a load.
pub(super) const STORE: u64 = 2;
/// See [`STORE`].
pub(super) const FETCH: u64 = 16;
/// Bytes below the stack pointer that a leaf function may use.
const RED_ZONE: u64 = 128;
/// The flags user code may have: CF, PF, AF, ZF, SF, TF, DF, OF, AC, ID.
const USER_FLAGS: u64 = 0x24_0dd5;
/// The flags of a handler's start: interrupts on, all else clear.
const START_FLAGS: u64 = 0x202;
/// `uc_flags`: the FPU state is one of XSAVE; the stack segment is in the frame, and is restored whatever it is.
const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
/// Where the FPU state may stand, and the frame below it.
const FPU_ALIGN: u64 = 64;
const FRAME_ALIGN: u64 = 16;

/// `ucontext_t` of the kernel ABI with its `sigcontext`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Frame {
    return_address: u64,
    flags: u64,
    link: u64,
    stack: [u64; 3],
    /// r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags.
    regs: [u64; 18],
    segments: [u16; 4],
    error: u64,
    trap: u64,
    old_mask: u64,
    fault_addr: u64,
    fpu: u64,
    reserved: [u64; 8],
    mask: SigSet,
    info: SigInfo,
}

/// Delivers what is pending, and is where a stopped process is still. Called by the run loop when the thread's attention is asked for;
/// `call` is the number of the system call that it comes from, if it does. Returns whether that is made again with no handler before it.
/// Task context; sleeps.
pub(super) fn deliver(thread: &Thread, user: &mut UserContext, mut call: Option<u64>) -> bool {
    let process = &thread.process;
    loop {
        process.stay_stopped(thread);
        if thread.exit_code().is_some() {
            return false;
        }
        let continued = process.continued();
        let Some((signal, info)) = thread.take_signal() else { break };
        let disposition = process.actions.lock().disposition(signal);
        match disposition {
            Disposition::Ignore => {}
            Disposition::Stop => process.stop(signal, continued),
            Disposition::Terminate => {
                terminate(thread, user, signal, "it was sent");
                return false;
            }
            Disposition::Handle(action) => {
                restart_after(user, action, call.take());
                thread.call_resumed();
                if enter_handler(thread, user, action, &info, Fault::default()).is_err() {
                    terminate(thread, user, Signal::SIGSEGV, NO_STACK);
                    return false;
                }
                // One handler at a time: others that wait are delivered on the way into it, if its mask lets them.
                if !thread.interrupted() {
                    return false;
                }
            }
        }
    }
    thread.take_saved_mask().into_iter().for_each(|mask| thread.set_blocked(mask));
    restart_unseen(thread, user, call)
}

/// What the processor says of a fault, for the frame.
#[derive(Clone, Copy, Default)]
pub(super) struct Fault {
    /// The vector of the exception.
    pub(super) trap: u64,
    /// Its error code.
    pub(super) error: u64,
    /// The address of a page fault.
    pub(super) addr: u64,
}

/// A fault of user code: its handler, unless it has none or blocks it, else the end.
pub(super) fn force(thread: &Thread, user: &mut UserContext, signal: Signal, info: SigInfo, fault: Fault) {
    let disposition = thread.process.actions.lock().disposition(signal);
    match disposition {
        Disposition::Handle(action) if !thread.blocked().contains(signal) => {
            if enter_handler(thread, user, action, &info.of(signal), fault).is_err() {
                terminate(thread, user, signal, NO_STACK);
            }
        }
        _ => terminate(thread, user, signal, format_args!("{fault}")),
    }
}

/// Why a process dies of a signal that it handles.
const NO_STACK: &str = "no stack for its handler";

/// A fault that the thread cannot go on after, whatever it does about its signal: its handler, or else the end.
fn force_fault(thread: &Thread, signal: Signal) {
    let process = &thread.process;
    let blocked = thread.blocked();
    let is_handled = matches!(process.actions.lock().disposition(signal), Disposition::Handle(_));
    if blocked.contains(signal) || !is_handled {
        process.actions.lock().set(signal, Action::default());
        thread.set_blocked(blocked.without(SigSet::of(signal)));
    }
    thread.send_signal(signal);
}

/// The end, and why: a line on the log.
fn terminate(thread: &Thread, user: &UserContext, signal: Signal, why: impl Display) {
    let process = &thread.process;
    // Somebody's wish is no news: a shell that ends its jobs shall not be answered by the log.
    let level = if signal.is_fault() { log::Level::Warn } else { log::Level::Debug };
    let (pid, name, rip) = (process.pid, process.shown_name(), user.regs.rip);
    log::log!(level, "process {pid} ({name}) killed by {signal:?}: {why}, at {rip:#x}");
    process.die(ExitStatus::Killed(signal));
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Fault { trap, error, addr } = *self;
        let what = match error {
            _ if trap != PAGE_FAULT => return write!(f, "exception {trap} (error {error:#x})"),
            _ if error & FETCH != 0 => "jump to",
            _ if error & STORE != 0 => "store to",
            _ => "load from",
        };
        write!(f, "{what} {addr:#x}")
    }
}

/// An interrupted call whose handler asks for it is made again after the handler.
fn restart_after(user: &mut UserContext, action: Action, call: Option<u64>) {
    let Some(number) = call.filter(|_| was_interrupted(user)) else { return };
    if is_restartable(number as u32, user.regs.r10) && action.flags & u64::from(abi::SA_RESTART) != 0 {
        make_again(user, number);
    }
}

/// Whether a handler with `SA_RESTART` makes a call again: reads, writes, opens and waits, but none with a time-out, and none that waits
/// for signals. `fourth` is the call's fourth argument.
fn is_restartable(number: u32, fourth: u64) -> bool {
    match number {
        abi::__NR_read | abi::__NR_readv | abi::__NR_preadv2 => true,
        abi::__NR_write | abi::__NR_writev | abi::__NR_pwritev2 => true,
        abi::__NR_sendfile | abi::__NR_ioctl => true,
        abi::__NR_open | abi::__NR_openat | abi::__NR_creat => true,
        abi::__NR_wait4 | abi::__NR_waitid => true,
        // Of fcntl only the commands that wait for a lock are ever interrupted.
        abi::__NR_fcntl | abi::__NR_flock => true,
        abi::__NR_futex => fourth == 0,
        _ => false,
    }
}

/// An interrupted call for which no handler runs is made again, whatever it is: the program was only stopped, or the signal was ignored.
/// Waiting for events of aio, signals or semaphores ends, as it does on Linux. Says whether it does so.
fn restart_unseen(thread: &Thread, user: &mut UserContext, call: Option<u64>) -> bool {
    // What rt_sigreturn leaves in rax is not its result.
    const NEVER: [u32; 6] = [
        abi::__NR_rt_sigreturn,
        abi::__NR_rt_sigtimedwait,
        abi::__NR_io_getevents,
        abi::__NR_io_pgetevents,
        abi::__NR_semop,
        abi::__NR_semtimedop,
    ];
    let Some(number) = call.filter(|_| was_interrupted(user)) else { return false };
    let again = !NEVER.iter().any(|&never| u64::from(never) == number);
    if again {
        make_again(user, number);
        thread.resume_call();
    }
    again
}

fn was_interrupted(user: &UserContext) -> bool {
    user.regs.rax == Errno::EINTR.to_ret() as u64
}

/// Two bytes are the length of the `syscall` instruction.
fn make_again(user: &mut UserContext, number: u64) {
    user.regs.rax = number;
    user.regs.rip = user.regs.rip.wrapping_sub(2);
}

/// Builds the frame and points the registers at the handler. Errors: `EFAULT`: the stack cannot take it.
fn enter_handler(thread: &Thread, user: &mut UserContext, action: Action, info: &SigInfo, fault: Fault) -> Result<()> {
    let signal = info.signal().ok_or(Errno::EINVAL)?;
    let flag = |bit: u32| action.flags & u64::from(bit) != 0;
    if !flag(abi::SA_RESTORER) {
        return Err(Errno::EFAULT);
    }
    let alt = *thread.alt_stack.lock();
    let use_alt = flag(abi::SA_ONSTACK) && alt.len > 0 && !alt.contains(user.regs.rsp);
    let top = if use_alt { alt.base.wrapping_add(alt.len) } else { user.regs.rsp.wrapping_sub(RED_ZONE) };
    let format = fpu_format();
    let fpu = top.wrapping_sub(format.frame_len() as u64) & !(FPU_ALIGN - 1);
    // At a function's start the stack pointer is 8 below a multiple of 16.
    let at = (fpu.wrapping_sub(size_of::<Frame>() as u64) & !(FRAME_ALIGN - 1)).wrapping_sub(8);
    let blocked = thread.blocked();
    let frame = Frame {
        return_address: action.restorer,
        flags: UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | if format.components() == 0 { 0 } else { UC_FP_XSTATE },
        link: 0,
        stack: [alt.base, 0, alt.len],
        regs: frame_regs(&user.regs),
        segments: [0x33, 0, 0, 0x2b],
        error: fault.error,
        trap: fault.trap,
        old_mask: blocked.0,
        fault_addr: fault.addr,
        fpu,
        reserved: [0; 8],
        mask: thread.take_saved_mask().unwrap_or(blocked),
        info: *info,
    };
    let mm = &thread.mm;
    make_present(thread, at..top);
    user.fpu().store_frame(format, |offset, bytes| mm.write_bytes(fpu.wrapping_add(offset), bytes))?;
    mm.write(at, &frame)?;
    let own = if flag(abi::SA_NODEFER) { SigSet::default() } else { SigSet::of(signal) };
    thread.set_blocked(blocked.union(action.mask).union(own));
    if flag(abi::SA_RESETHAND) {
        thread.process.actions.lock().set(signal, Action::default());
    }
    user.regs = UserRegs {
        rip: action.handler,
        rsp: at,
        rdi: u64::from(signal.number()),
        rsi: at + core::mem::offset_of!(Frame, info) as u64,
        rdx: at + core::mem::offset_of!(Frame, flags) as u64,
        rax: 0,
        rflags: START_FLAGS,
        ..user.regs
    };
    Ok(())
}

/// The most bytes of stack that a handler's start takes, for the auxiliary vector.
pub(super) fn min_signal_stack() -> u64 {
    let most = size_of::<Frame>() as u64 + FRAME_ALIGN + fpu_format().frame_len() as u64 + FPU_ALIGN;
    most.next_multiple_of(FRAME_ALIGN)
}

/// Gives a frame its pages, if they can be had at all: a signal is no reason to die for lack of memory that another can give.
fn make_present(thread: &Thread, range: Range<u64>) {
    for page in (page_floor(range.start)..range.end).step_by(PAGE as usize) {
        while thread.mm.fault(page, Access::Write) == Err(FaultError::NoMemory) && !thread.process.is_dying() {
            out_of_memory(thread);
        }
    }
}

/// Restores what the frame at the stack pointer says. A thread without a frame, or with one that cannot be, gets SIGSEGV.
pub fn sigreturn(thread: &Thread, user: &mut UserContext) {
    if restore(thread, user).is_err() {
        force_fault(thread, Signal::SIGSEGV);
    }
}

/// Without FPU state in the frame, that is initial. Errors: `EFAULT`: there is no frame, it leads out of user memory, or its FPU state is
/// none that the CPU takes.
fn restore(thread: &Thread, user: &mut UserContext) -> Result<()> {
    // The handler's `ret` has popped the return address.
    let mm = &thread.mm;
    let frame: Frame = mm.read(user.regs.rsp.wrapping_sub(8))?;
    let fpu = if frame.fpu == 0 {
        FpuState::new()
    } else {
        let get = |offset, bytes: &mut [u8]| mm.read_bytes(frame.fpu.wrapping_add(offset), bytes).is_ok();
        FpuState::from_frame(fpu_format(), get).ok_or(Errno::EFAULT)?
    };
    user.set_fpu(&fpu);
    // Where it goes on may be no address of its own: whoever jumped there and handles the fault is back where he was, and faults again.
    user.regs = user_regs(&frame.regs);
    thread.set_blocked(frame.mask);
    Ok(())
}

fn frame_regs(r: &UserRegs) -> [u64; 18] {
    [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp,
        r.rip, r.rflags,
    ]
}

fn user_regs(frame: &[u64; 18]) -> UserRegs {
    let [r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags] = *frame;
    let rflags = rflags & USER_FLAGS | START_FLAGS;
    UserRegs { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
}
