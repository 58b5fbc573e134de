//! Job control: shells and jobs whose programs are scripts, and somebody who types.
use super::tests::{MEMORY, call, process};
use super::*;
use crate::files::{Console, Tty};
use crate::syscall::SyscallContext;
use base::sync::Arc;
use base::{Errno, sched};
use hal::user::{UserContext, UserRegs};
use linux_raw_sys::{general as abi, ioctl as io};
use std::thread::JoinHandle;

const RIP: u64 = 0x1000;

struct NoScreen;
impl Console for NoScreen {
    fn write(&self, _bytes: &[u8]) {}
    fn room_made(&self) {}
    fn has_input(&self) -> bool {
        true
    }
}

/// A process that leads a session with a terminal, which is its descriptor 0.
fn shell() -> (Arc<Process>, Arc<Thread>, Arc<Tty>) {
    let (process, thread) = process();
    let tty = Tty::new(&process.system, 0, Arc::new(NoScreen));
    process.system.family.acquire_terminal(process.pid, &tty, Claim::Asked).unwrap();
    process.install(tty.open(), false).unwrap();
    sched::current().set_data(thread.clone());
    (process, thread, tty)
}

/// A child of `parent`, in its group or in one of its own. It does not run yet.
fn child(parent: &Arc<Process>, own_group: bool) -> (Arc<Process>, Arc<Thread>) {
    let memory = parent.memory().unwrap().fork().unwrap();
    let process = Process::fork(parent, memory, Some(Signal::SIGCHLD)).unwrap();
    let thread = Thread::new(&process, process.pid, SigSet::default()).unwrap();
    process.add_thread(&thread).unwrap();
    if own_group {
        process.system.family.set_group(parent.pid, process.pid, process.pid).unwrap();
    }
    (process, thread)
}

fn context() -> UserContext {
    UserContext::new(RIP, MEMORY + 4096).unwrap()
}

fn run(thread: &Arc<Thread>, user: UserContext) -> JoinHandle<()> {
    let thread = thread.clone();
    std::thread::spawn(move || {
        sched::current().set_data(thread.clone());
        run_thread(&thread, user);
    })
}

/// Waits for something to happen to a child of `parent`, stops and continuations included.
fn news(parent: &Process) -> (u32, Change) {
    let mut found = None;
    parent.children.wait_until(|| {
        found = parent.system.family.reap(parent.pid, Which::Any, Changes::all(), false).unwrap();
        found.is_some()
    });
    found.map(|child| (child.pid, child.change)).unwrap()
}

/// A step that sends `signal` to its own process and makes a call, which finds it there.
fn call_with(
    process: &Arc<Process>,
    signal: Signal,
    number: u32,
    args: [u64; 3],
) -> impl FnMut(&mut UserRegs) -> hal::user::Trap + Send + use<> {
    let process = process.clone();
    move |regs| {
        process.send_signal(signal);
        call(number, args)(regs)
    }
}

/// The call `number` is about to be made again.
fn is_made_again(regs: &UserRegs, number: u32) -> bool {
    regs.rax == u64::from(number) && regs.rip == RIP - 2
}

fn exit(code: u64) -> impl FnMut(&mut UserRegs) -> hal::user::Trap + Send {
    call(abi::__NR_exit_group, [code, 0, 0])
}

#[test]
fn a_stopped_child_is_told_and_goes_on_in_its_call() {
    let (parent, _thread) = process();
    let (job, thread) = child(&parent, false);
    let mut user = context();
    user.step(call_with(&job, Signal::SIGSTOP, abi::__NR_pause, [0; 3]));
    // Its end would be the news instead.
    let (may_end, waits) = std::sync::mpsc::channel();
    user.step(move |regs| {
        assert!(is_made_again(regs, abi::__NR_pause));
        waits.recv().unwrap();
        exit(5)(regs)
    });
    let running = run(&thread, user);
    assert_eq!(news(&parent), (job.pid, Change::Stopped(Signal::SIGSTOP)));
    let family = &parent.system.family;
    assert!(family.is_stopped(job.pid) && thread.interrupted());
    assert!(matches!(family.reap(parent.pid, Which::Any, Changes::all(), false), Ok(None)), "told once");
    job.send_signal(Signal::SIGUSR2);
    assert!(family.is_stopped(job.pid), "only SIGCONT helps");
    job.forget_signals(SigSet::of(Signal::SIGUSR2));
    job.send_signal(Signal::SIGCONT);
    assert_eq!(news(&parent), (job.pid, Change::Continued));
    may_end.send(()).unwrap();
    assert_eq!(news(&parent), (job.pid, Change::Ended(ExitStatus::Code(5))));
    running.join().unwrap();
}

#[test]
fn who_does_not_ask_is_not_told_of_stops() {
    let (parent, _thread) = process();
    let (job, thread) = child(&parent, false);
    let mut user = context();
    user.step(call_with(&job, Signal::SIGTSTP, abi::__NR_pause, [0; 3]));
    // Its group has a parent outside in the same session only if it is a group of its own.
    parent.system.family.set_group(parent.pid, job.pid, job.pid).unwrap();
    let handler = Action { handler: 0x2000, flags: u64::from(abi::SA_NOCLDSTOP), ..Action::default() };
    parent.actions.lock().set(Signal::SIGCHLD, handler);
    let running = run(&thread, user);
    let family = &parent.system.family;
    parent.children.wait_until(|| family.is_stopped(job.pid));
    assert!(matches!(family.reap(parent.pid, Which::Any, Changes::ENDED, false), Ok(None)));
    assert!(!parent.pending().contains(Signal::SIGCHLD));
    job.send_signal(Signal::SIGKILL);
    running.join().unwrap();
    assert_eq!(news(&parent), (job.pid, Change::Ended(ExitStatus::Killed(Signal::SIGKILL))), "stopped or not");
    assert!(parent.pending().contains(Signal::SIGCHLD));
}

#[test]
fn a_process_is_stopped_when_its_last_thread_is_still() {
    let (parent, _thread) = process();
    let (job, first) = child(&parent, false);
    let second = Thread::new(&job, 900, SigSet::default()).unwrap();
    let third = Thread::new(&job, 901, SigSet::default()).unwrap();
    job.add_thread(&second).unwrap();
    job.add_thread(&third).unwrap();
    let mut user = context();
    user.step(call_with(&job, Signal::SIGSTOP, abi::__NR_pause, [0; 3]));
    user.step(exit(0));
    let one = run(&first, user);
    while first.still.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    let family = &parent.system.family;
    assert!(!family.is_stopped(job.pid), "two have not been back");
    let mut user = context();
    user.step(call(abi::__NR_pause, [0; 3]));
    let two = run(&second, user);
    while second.still.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    assert!(!family.is_stopped(job.pid), "one has not been back");
    assert!(!job.remove_thread(third.tid));
    assert_eq!(news(&parent), (job.pid, Change::Stopped(Signal::SIGSTOP)), "the last is gone");
    job.send_signal(Signal::SIGCONT);
    [one, two].into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(job.wait(), ExitStatus::Code(0));
}

#[test]
fn stop_and_continue_take_each_other_away() {
    let (parent, _thread) = process();
    let (job, thread) = child(&parent, true);
    thread.set_blocked(SigSet(u64::MAX));
    job.actions.lock().set(Signal::SIGCONT, Action { handler: 0x2000, ..Action::default() });
    job.send_signal(Signal::SIGTSTP);
    thread.send_signal(Signal::SIGTTIN);
    assert_eq!(thread.pending(), SigSet::of(Signal::SIGTSTP).union(SigSet::of(Signal::SIGTTIN)));
    job.send_signal(Signal::SIGCONT);
    assert_eq!(thread.pending(), SigSet::of(Signal::SIGCONT));
    thread.send_signal(Signal::SIGTTOU);
    assert_eq!(thread.pending(), SigSet::of(Signal::SIGTTOU));
    // A stop whose signal was taken before the process was continued is none.
    let before = job.continued();
    job.send_signal(Signal::SIGCONT);
    job.stop(Signal::SIGSTOP, before);
    assert!(!job.is_stopping());
    job.stop(Signal::SIGSTOP, job.continued());
    assert!(job.is_stopping());
}

#[test]
fn the_first_process_and_orphaned_groups_are_not_stopped_from_the_terminal() {
    let (parent, _thread) = process();
    parent.stop(Signal::SIGSTOP, 0);
    assert!(!parent.is_stopping(), "nobody could continue it");
    let (job, _) = child(&parent, false);
    job.stop(Signal::SIGTSTP, 0);
    assert!(!job.is_stopping(), "its group has no parent outside");
    job.stop(Signal::SIGSTOP, 0);
    assert!(job.is_stopping());
}

#[test]
fn a_sleep_that_was_stopped_ends_when_it_would_have() {
    let (parent, _thread) = process();
    let (job, thread) = child(&parent, false);
    let time = |seconds: u64, ns: u64| [seconds, ns];
    thread.mm.activate();
    thread.mm.write(MEMORY, &time(0, 1)).unwrap();
    parent.memory().unwrap().activate();
    let mut user = context();
    user.step(call_with(&job, Signal::SIGSTOP, abi::__NR_nanosleep, [MEMORY, 0, 0]));
    let sleeper = thread.clone();
    user.step(move |regs| {
        assert!(is_made_again(regs, abi::__NR_nanosleep));
        // Nobody waits so long: the time is that of the first call.
        sleeper.mm.write(MEMORY, &[9_999_999u64, 0]).unwrap();
        call(abi::__NR_nanosleep, [MEMORY, 0, 0])(regs)
    });
    user.step(|regs| {
        assert_eq!(regs.rax, 0);
        exit(0)(regs)
    });
    let running = run(&thread, user);
    assert_eq!(news(&parent).1, Change::Stopped(Signal::SIGSTOP));
    job.send_signal(Signal::SIGCONT);
    running.join().unwrap();
    assert_eq!(job.wait(), ExitStatus::Code(0));
}

#[test]
fn a_job_in_the_background_is_stopped_when_it_reads_and_reads_in_the_foreground() {
    let (shell, _thread, tty) = shell();
    let (job, thread) = child(&shell, true);
    let mut user = context();
    let read = || call(abi::__NR_read, [0, MEMORY, 10]);
    user.step(read());
    user.step(move |regs| {
        assert!(is_made_again(regs, abi::__NR_read));
        read()(regs)
    });
    let reader = thread.clone();
    user.step(move |regs| {
        assert_eq!((regs.rax, reader.mm.read::<[u8; 3]>(MEMORY)), (3, Ok(*b"hi\n")));
        exit(0)(regs)
    });
    let running = run(&thread, user);
    assert_eq!(news(&shell), (job.pid, Change::Stopped(Signal::SIGTTIN)));
    let family = &shell.system.family;
    family.set_foreground(shell.pid, &tty, job.pid).unwrap();
    assert_eq!(family.standing(shell.pid, &tty), Standing::Background { group: shell.pid, orphaned: true });
    assert_eq!(tty.check(Signal::SIGTTIN), Err(Errno::EIO), "nobody would continue the shell");
    job.send_signal(Signal::SIGCONT);
    assert_eq!(news(&shell), (job.pid, Change::Continued));
    tty.receive(b"hi\r");
    assert_eq!(news(&shell), (job.pid, Change::Ended(ExitStatus::Code(0))));
    running.join().unwrap();
}

#[test]
fn who_ignores_or_blocks_the_signal_writes_and_does_not_read() {
    let (shell, _thread, tty) = shell();
    let (job, thread) = child(&shell, true);
    let family = &shell.system.family;
    assert_eq!(family.standing(job.pid, &tty), Standing::Background { group: job.pid, orphaned: false });
    sched::current().set_data(thread.clone());
    thread.set_blocked(SigSet::of(Signal::SIGTTOU));
    job.actions.lock().set(Signal::SIGTTIN, Action { handler: 1, ..Action::default() });
    assert_eq!(tty.check(Signal::SIGTTOU), Ok(()));
    assert_eq!(tty.check(Signal::SIGTTIN), Err(Errno::EIO));
    thread.set_blocked(SigSet::default());
    assert_eq!(tty.check(Signal::SIGTTOU), Err(Errno::EINTR));
    assert!(thread.pending().contains(Signal::SIGTTOU));
}

#[test]
fn keys_reach_the_foreground_and_nobody_else() {
    let (shell, _thread, tty) = shell();
    let [(front, _), (back, _)] = [child(&shell, true), child(&shell, true)];
    shell.system.family.set_foreground(shell.pid, &tty, front.pid).unwrap();
    tty.receive(b"\x03\x1c");
    let both = SigSet::of(Signal::SIGINT).union(SigSet::of(Signal::SIGQUIT));
    assert_eq!((front.pending(), back.pending(), shell.pending()), (both, SigSet::default(), SigSet::default()));
    let handler = Action { handler: 0x2000, ..Action::default() };
    [&front, &back].iter().for_each(|job| job.actions.lock().set(Signal::SIGWINCH, handler));
    let mut window = tty.window();
    tty.set_window(window);
    assert_eq!(front.pending(), both, "the same size is no news");
    window.rows = 50;
    tty.set_window(window);
    assert!(front.pending().contains(Signal::SIGWINCH) && back.pending() == SigSet::default());
}

/// Makes an ioctl of descriptor 0 as `thread`.
fn ioctl(thread: &Arc<Thread>, command: u32, arg: u64) -> Result<u64, Errno> {
    sched::current().set_data(thread.clone());
    thread.mm.activate();
    let mut user = context();
    let _trap = call(abi::__NR_ioctl, [0, u64::from(command), arg])(&mut user.regs);
    crate::syscall::dispatch(&mut SyscallContext { thread, user: &mut user });
    match user.regs.rax as i64 {
        error @ -4095..=-1 => Err(Errno::from_number(-error as u16).unwrap()),
        value => Ok(value as u64),
    }
}

#[test]
fn the_ioctls_of_a_terminal() {
    let (shell, thread, tty) = shell();
    let mm = &thread.mm;
    assert_eq!(ioctl(&thread, io::TCGETS, MEMORY), Ok(0));
    assert_eq!(mm.read::<u32>(MEMORY), Ok(abi::ICRNL | abi::IXON));
    mm.write(MEMORY, &0u32).unwrap();
    assert_eq!(ioctl(&thread, io::TCSETSF, MEMORY), Ok(0));
    assert_eq!((tty.settings().input, tty.settings().input_speed), (0, 115_200));
    assert_eq!(ioctl(&thread, io::TCGETS2, MEMORY), Ok(0));
    assert_eq!(mm.read::<[u32; 2]>(MEMORY + 36), Ok([115_200; 2]));
    assert_eq!(ioctl(&thread, io::TIOCGWINSZ, MEMORY), Ok(0));
    assert_eq!(mm.read::<[u16; 4]>(MEMORY), Ok([24, 80, 0, 0]));
    for (command, value) in
        [(io::TIOCGPGRP, shell.pid), (io::TIOCGSID, shell.pid), (io::FIONREAD, 0), (io::TIOCOUTQ, 0)]
    {
        assert_eq!((ioctl(&thread, command, MEMORY), mm.read::<u32>(MEMORY)), (Ok(0), Ok(value)));
    }
    tty.receive(b"four\n");
    assert_eq!((ioctl(&thread, io::FIONREAD, MEMORY), mm.read::<u32>(MEMORY)), (Ok(0), Ok(5)));
    assert_eq!(ioctl(&thread, io::TCFLSH, 7), Err(Errno::EINVAL));
    assert_eq!(ioctl(&thread, io::TCFLSH, u64::from(abi::TCIFLUSH)), Ok(0));
    assert_eq!(tty.readable_bytes(), 0);
    assert_eq!(ioctl(&thread, io::TCXONC, u64::from(abi::TCOOFF)), Err(Errno::EINVAL));
    assert_eq!(ioctl(&thread, io::TCSBRK, 1), Ok(0));
    assert_eq!(ioctl(&thread, io::TIOCSTI, MEMORY), Err(Errno::ENOTTY));
    assert_eq!(ioctl(&thread, io::TCGETS, 8), Err(Errno::EFAULT));

    let (other, other_thread) = child(&shell, true);
    for (group, result) in [(77, Err(Errno::ESRCH)), (u32::MAX, Err(Errno::EINVAL)), (other.pid, Ok(0))] {
        mm.activate();
        mm.write(MEMORY, &group).unwrap();
        assert_eq!(ioctl(&thread, io::TIOCSPGRP, MEMORY), result);
    }
    assert_eq!(ioctl(&thread, io::TCSETS, MEMORY), Err(Errno::EIO), "in the background now");
    let family = &shell.system.family;
    family.new_session(other.pid).unwrap_err();
    let (third, third_thread) = child(&other, false);
    family.new_session(third.pid).unwrap();
    assert_eq!(ioctl(&third_thread, io::TIOCGPGRP, MEMORY), Err(Errno::ENOTTY));
    assert_eq!(ioctl(&third_thread, io::TIOCSCTTY, 0), Err(Errno::EPERM), "it belongs to the shell's session");
    assert_eq!(ioctl(&third_thread, io::TIOCSCTTY, 1), Ok(0), "root may steal it");
    assert_eq!(family.foreground(&tty), Some(third.pid));
    assert_eq!(ioctl(&other_thread, io::TIOCNOTTY, 0), Err(Errno::ENOTTY));
    assert_eq!(ioctl(&third_thread, io::TIOCNOTTY, 0), Ok(0));
    assert!(third.pending().contains(Signal::SIGHUP));
    assert_eq!(family.foreground(&tty), None);
    family.acquire_terminal(shell.pid, &tty, Claim::Given).unwrap();
    assert_eq!(family.acquire_terminal(third.pid, &tty, Claim::Opened), Err(Errno::EPERM));
    assert_eq!(ioctl(&third_thread, io::TIOCSCTTY, 0), Ok(0), "the shell has never asked for it");
}

#[test]
fn the_end_of_a_shell_hangs_its_foreground_up_and_leaves_no_job_stopped() {
    let (_first, _) = process();
    let system = _first.system.clone();
    let (shell, shell_thread) = child(&_first, false);
    let tty = Tty::new(&system, 0, Arc::new(NoScreen));
    system.family.new_session(shell.pid).unwrap();
    system.family.acquire_terminal(shell.pid, &tty, Claim::Asked).unwrap();
    let [(front, front_thread), (back, back_thread)] = [child(&shell, true), child(&shell, true)];
    system.family.set_foreground(shell.pid, &tty, front.pid).unwrap();
    let mut user = context();
    user.step(call(abi::__NR_pause, [0; 3]));
    let in_front = run(&front_thread, user);
    let mut user = context();
    user.step(call_with(&back, Signal::SIGTSTP, abi::__NR_pause, [0; 3]));
    let behind = run(&back_thread, user);
    assert_eq!(news(&shell), (back.pid, Change::Stopped(Signal::SIGTSTP)));
    let mut user = context();
    user.step(exit(0));
    run(&shell_thread, user).join().unwrap();
    [in_front, behind].into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(front.wait(), ExitStatus::Killed(Signal::SIGHUP));
    assert_eq!(back.wait(), ExitStatus::Killed(Signal::SIGHUP));
    assert_eq!(system.family.foreground(&tty), None);
}
