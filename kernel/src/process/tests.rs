//! Threads on the host: programs are scripts of registers and traps.
use super::*;
use crate::mm::{Backing, MapRequest, PAGE, Placement};
use base::sync::Arc;
use base::{Errno, sched, time};
use hal::user::{Prot, Trap, UserContext, UserRegs};
use linux_raw_sys::general as abi;

/// Two pages of the program's memory.
pub(crate) const MEMORY: u64 = 0x40_0000;
const SECOND: u64 = 1_000_000_000;

/// A process with a thread, its memory active on this host thread.
pub(crate) fn process() -> (Arc<Process>, Arc<Thread>) {
    let process = Process::new(&System::new()).unwrap();
    let thread = Thread::new(&process, process.pid, SigSet::default()).unwrap();
    process.add_thread(&thread).unwrap();
    process.memory().unwrap().activate();
    let prot = Prot { read: true, write: true, exec: false };
    let (placement, backing) = (Placement::Fixed(MEMORY), Backing::Anonymous);
    process.memory().unwrap().map(MapRequest { placement, len: 2 * PAGE, prot, shared: false, backing }).unwrap();
    thread.attach(sched::current());
    (process, thread)
}

fn context() -> UserContext {
    UserContext::new(0x1000, MEMORY + 2 * PAGE - 16).unwrap()
}

/// A step that makes a system call.
pub(crate) fn call(number: u32, args: [u64; 3]) -> impl FnMut(&mut UserRegs) -> Trap + Send {
    move |regs| {
        regs.rax = u64::from(number);
        [regs.rdi, regs.rsi, regs.rdx] = args;
        Trap::Syscall
    }
}

#[test]
fn a_program_makes_calls_and_exits() {
    let (process, thread) = process();
    let mut user = context();
    user.step(call(abi::__NR_getpid, [0; 3]));
    let pid = u64::from(process.pid);
    user.step(move |regs| {
        assert_eq!(regs.rax, pid);
        call(499, [0; 3])(regs)
    });
    user.step(|regs| {
        assert_eq!(regs.rax, Errno::ENOSYS.to_ret() as u64);
        call(abi::__NR_exit_group, [7, 0, 0])(regs)
    });
    run_thread(&thread, user);
    assert_eq!(process.wait(), ExitStatus::Code(7));
    assert_eq!(thread.mm.resident_pages(), 0);
    assert!(process.system.process(process.pid).is_none());
}

#[test]
fn a_bad_access_kills_and_a_good_one_is_paged_in() {
    let (process, thread) = process();
    let fault = |addr, write| Trap::PageFault { addr, write, exec: false, present: false };
    let mut user = context();
    user.step(move |_| fault(MEMORY + 8, true));
    let seen = process.clone();
    user.step(move |_| {
        assert_eq!(seen.memory().unwrap().resident_pages(), 1);
        fault(0x10, false)
    });
    run_thread(&thread, user);
    assert_eq!(process.wait().to_code(), 128 + 11);
}

#[test]
fn exceptions_end_in_their_signals() {
    for (vector, code) in [(0, 136), (6, 132), (12, 135), (13, 139), (3, 133)] {
        let (process, thread) = process();
        let mut user = context();
        user.step(move |_| Trap::Exception { vector, error: 0 });
        run_thread(&thread, user);
        assert_eq!(process.wait().to_code(), code);
    }
}

#[test]
fn a_handler_runs_on_a_frame_and_sigreturn_restores_everything() {
    let (process, thread) = process();
    let flags = u64::from(abi::SA_RESTORER | abi::SA_SIGINFO);
    let action = Action { handler: 0x2000, flags, restorer: 0x3000, mask: SigSet::of(Signal::SIGUSR2) };
    process.actions.lock().set(Signal::SIGUSR1, action);
    let tid = u64::from(thread.tid);
    let mut user = context();
    let sp = user.regs.rsp;
    user.step(move |regs| {
        regs.rbx = 42;
        call(abi::__NR_tkill, [tid, 10, 0])(regs)
    });
    let inside = thread.clone();
    user.step(move |regs| {
        assert_eq!((regs.rip, regs.rdi, regs.rax), (0x2000, 10, 0));
        assert_eq!(regs.rsp % 16, 8, "the stack of a function's start");
        assert!(regs.rsp < sp - 128, "the red zone stays");
        assert_eq!(inside.mm.read::<u64>(regs.rsp), Ok(0x3000));
        assert!(inside.blocked().contains(Signal::SIGUSR1) && inside.blocked().contains(Signal::SIGUSR2));
        regs.rbx = 0;
        regs.rsp += 8; // The handler's return.
        call(abi::__NR_rt_sigreturn, [0; 3])(regs)
    });
    let after = thread.clone();
    user.step(move |regs| {
        assert_eq!((regs.rip, regs.rsp, regs.rbx, regs.rax), (0x1000, sp, 42, 0));
        assert_eq!(after.blocked(), SigSet::default());
        call(abi::__NR_exit_group, [0; 3])(regs)
    });
    run_thread(&thread, user);
    assert_eq!(process.wait(), ExitStatus::Code(0));
}

#[test]
fn a_frame_with_registers_that_the_cpu_refuses_ends_its_thread() {
    /// Where a frame has the address of its FPU state, and that its control word of SSE.
    const STATE: u64 = 8 + 40 + 184;
    const MXCSR: u64 = 24;
    for (bits, end) in [(0x1fa0u32, ExitStatus::Code(0)), (0x8000_1fa0, ExitStatus::Killed(Signal::SIGSEGV))] {
        let (process, thread) = process();
        // SIGSEGV is blocked in the handler: the end comes all the same.
        let mask = SigSet::of(Signal::SIGSEGV);
        let action = Action { handler: 0x2000, flags: abi::SA_RESTORER.into(), restorer: 0x3000, mask };
        process.actions.lock().set(Signal::SIGUSR1, action);
        let mut user = context();
        user.step(call(abi::__NR_tkill, [thread.tid.into(), 10, 0]));
        let inside = thread.clone();
        user.step(move |regs| {
            let state = inside.mm.read::<u64>(regs.rsp + STATE).unwrap();
            assert!(state % 64 == 0 && inside.mm.read::<u64>(regs.rsp + 8).unwrap() == 7, "uc_flags");
            inside.mm.write(state + MXCSR, &bits).unwrap();
            regs.rsp += 8;
            call(abi::__NR_rt_sigreturn, [0; 3])(regs)
        });
        user.step(call(abi::__NR_exit_group, [0; 3]));
        run_thread(&thread, user);
        assert_eq!(process.wait(), end, "{bits:#x}");
    }
}

#[test]
fn a_return_from_no_handler_is_the_end_even_with_the_signal_blocked() {
    let (process, thread) = process();
    thread.set_blocked(SigSet::of(Signal::SIGSEGV));
    let mut user = context();
    user.step(|regs| {
        regs.rsp = 0x10;
        call(abi::__NR_rt_sigreturn, [0; 3])(regs)
    });
    run_thread(&thread, user);
    assert_eq!(process.wait(), ExitStatus::Killed(Signal::SIGSEGV));
}

#[test]
fn a_blocked_signal_waits_and_kill_does_not() {
    let (process, thread) = process();
    thread.set_blocked(SigSet(u64::MAX));
    thread.send_signal(Signal::SIGTERM);
    assert!(!thread.interrupted());
    assert!(thread.pending().contains(Signal::SIGTERM));
    process.send_signal(Signal::SIGKILL);
    assert!(thread.interrupted());
    run_thread(&thread, context());
    assert_eq!(process.wait(), ExitStatus::Killed(Signal::SIGKILL));
}

#[test]
fn the_end_of_a_thread_clears_and_wakes_its_word() {
    let (process, thread) = process();
    process.memory().unwrap().write(MEMORY, &thread.tid).unwrap();
    let other = Thread::new(&process, 77, SigSet::default()).unwrap();
    process.add_thread(&other).unwrap();
    let mut user = context();
    user.step(call(abi::__NR_set_tid_address, [MEMORY, 0, 0]));
    user.step(call(abi::__NR_exit, [3, 0, 0]));
    run_thread(&thread, user);
    assert_eq!(thread.mm.read::<u32>(MEMORY), Ok(0));
    assert_eq!(process.thread_count(), 1, "the process lives on with its other thread");
}

#[test]
fn a_futex_wait_compares_times_out_and_is_woken() {
    let (process, thread) = process();
    let futexes = &process.system.futexes;
    process.memory().unwrap().write(MEMORY, &5u32).unwrap();
    let word = |addr| (FutexKey::new(&thread.mm, addr, true).unwrap(), addr);
    assert_eq!(FutexKey::new(&thread.mm, MEMORY + 1, false), Err(Errno::EINVAL));
    assert_eq!(futexes.wait(&thread, word(MEMORY), 4, FUTEX_MATCH_ANY, None), Err(Errno::EAGAIN));
    assert_eq!(futexes.wait(&thread, word(0x10), 5, FUTEX_MATCH_ANY, None), Err(Errno::EFAULT));
    let past = Some(time::now_ns());
    assert_eq!(futexes.wait(&thread, word(MEMORY), 5, FUTEX_MATCH_ANY, past), Err(Errno::ETIMEDOUT));
    let key = FutexKey::new(&process.memory().unwrap(), MEMORY, true).unwrap();
    assert_eq!(futexes.wake(key, 1, FUTEX_MATCH_ANY), 0, "who timed out is gone");

    let (waiter_process, system) = (process.clone(), process.system.clone());
    let waiter = std::thread::spawn(move || {
        waiter_process.memory().unwrap().activate();
        let me = Thread::new(&waiter_process, 99, SigSet::default()).unwrap();
        me.attach(sched::current());
        system.futexes.wait(&me, (key, MEMORY), 5, 2, Some(time::now_ns() + 60 * SECOND))
    });
    while futexes.wake(key, 9, 2) == 0 {
        assert_eq!(futexes.wake(key, 9, 1), 0, "the bitset does not match");
        std::thread::yield_now();
    }
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

#[test]
fn requeued_waiters_are_woken_on_the_other_word() {
    let (process, _thread) = process();
    let futexes = &process.system.futexes;
    let keys = [MEMORY, MEMORY + 64].map(|addr| FutexKey::new(&process.memory().unwrap(), addr, true).unwrap());
    let shared = process.clone();
    let waiter = std::thread::spawn(move || {
        shared.memory().unwrap().activate();
        let me = Thread::new(&shared, 98, SigSet::default()).unwrap();
        me.attach(sched::current());
        shared.system.futexes.wait(&me, (keys[0], MEMORY), 0, FUTEX_MATCH_ANY, None)
    });
    assert_eq!(
        futexes.requeue(&process.memory().unwrap(), (keys[0], keys[1]), (0, 1), Some((MEMORY, 1))),
        Err(Errno::EAGAIN)
    );
    while futexes.requeue(&process.memory().unwrap(), (keys[0], keys[1]), (0, 1), Some((MEMORY, 0))) == Ok(0) {
        std::thread::yield_now();
    }
    assert_eq!(futexes.wake(keys[0], 1, FUTEX_MATCH_ANY), 0);
    assert_eq!(futexes.wake(keys[1], 1, FUTEX_MATCH_ANY), 1);
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

/// What a handler of `signal` finds in its `siginfo_t`, and in the frame's trap, error and fault address, after the program's first step.
fn told(signal: Signal, first: impl FnMut(&mut UserRegs) -> Trap + Send + 'static) -> ([u32; 7], [u64; 3]) {
    let (process, thread) = process();
    let flags = u64::from(abi::SA_RESTORER | abi::SA_SIGINFO);
    process.actions.lock().set(signal, Action { handler: 0x2000, flags, restorer: 0x3000, ..Action::default() });
    let mut user = context();
    user.step(first);
    let (tell, told) = std::sync::mpsc::channel();
    let inside = thread.clone();
    user.step(move |regs| {
        let [error, trap, _mask, addr] = inside.mm.read::<[u64; 4]>(regs.rdx + 40 + 18 * 8 + 8).unwrap();
        tell.send((inside.mm.read(regs.rsi).unwrap(), [trap, error, addr])).unwrap();
        call(abi::__NR_exit_group, [0; 3])(regs)
    });
    run_thread(&thread, user);
    told.recv().unwrap()
}

#[test]
fn a_handler_is_told_where_a_fault_was_and_who_sent_a_signal() {
    let fault = |addr, write| move |_: &mut UserRegs| Trap::PageFault { addr, write, exec: false, present: write };
    let (info, frame) = told(Signal::SIGSEGV, fault(0x1_2345_6789, false));
    assert_eq!((info, frame), ([11, 0, 1, 0, 0x2345_6789, 1, 0], [14, 4, 0x1_2345_6789]));
    let (info, frame) = told(Signal::SIGFPE, |_| Trap::Exception { vector: 0, error: 0 });
    assert_eq!((&info[..5], frame), (&[8, 0, abi::FPE_INTDIV, 0, 0x1000][..], [0; 3]));
    let (info, _) = told(Signal::SIGUSR1, |regs| call(abi::__NR_kill, [1, 10, 0])(regs));
    assert_eq!(info, [10, 0, abi::SI_USER, 0, 1, 0, 0]);
    let (info, _) = told(Signal::SIGUSR1, |regs| call(abi::__NR_tgkill, [1, 1, 10])(regs));
    assert_eq!(info, [10, 0, abi::SI_TKILL as u32, 0, 1, 0, 0]);
}

#[test]
fn a_signal_that_is_ignored_is_kept_for_who_waits_for_it() {
    let (process, thread) = process();
    let set = SigSet::of(Signal::SIGCHLD);
    process.send_signal(Signal::SIGCHLD);
    assert_eq!(thread.pending(), SigSet::default());
    assert_eq!(thread.await_signal(set, Some(time::now_ns())), Ok(None));
    thread.set_blocked(set);
    process.send(Signal::SIGCHLD, SigInfo::sent(abi::CLD_EXITED as i32, 7, 0)).unwrap();
    process.send(Signal::SIGCHLD, SigInfo::sent(abi::CLD_EXITED as i32, 8, 0)).unwrap();
    let (signal, info) = thread.await_signal(set, None).unwrap().unwrap();
    assert_eq!((signal, info.words()[4]), (Signal::SIGCHLD, 7), "the first of the two");
    assert_eq!(thread.await_signal(set, Some(time::now_ns())), Ok(None), "they are one");

    let waiting = thread.clone();
    let waiter = std::thread::spawn(move || {
        waiting.attach(sched::current());
        waiting.await_signal(SigSet::of(Signal::SIGUSR1), None)
    });
    while !thread.awaits(Signal::SIGUSR1) {
        std::thread::yield_now();
    }
    process.send_signal(Signal::SIGUSR1);
    assert_eq!(waiter.join().unwrap().unwrap().unwrap().0, Signal::SIGUSR1, "no handler, and not the end");
    thread.send_signal(Signal::SIGCHLD);
    process.forget_ignored(Signal::SIGCHLD);
    assert_eq!(thread.pending(), SigSet::default());
}
