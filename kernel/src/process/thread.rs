//! A thread of a process.
use super::pending::Pending;
use super::signal::{Disposition, SigSet, Signal};
use super::sleep::{Deadline, sleep_interruptible};
use super::{ExitStatus, Memory, Process, SigInfo};
use crate::ipc::SemUndo;
use alloc::boxed::Box;
use base::sched::{CpuTimes, Task};
use base::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use base::sync::{Arc, SpinLock};
use base::{Errno, Result, sched, time};
use fs::caller::Caller;
use hal::user::UserContext;
use linux_raw_sys::general as abi;

/// Where handlers that ask for it run: `stack_t` of the ABI without its flags.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct AltStack {
    pub base: u64,
    pub len: u64,
}

impl AltStack {
    /// Whether the stack pointer `rsp` is on it.
    pub fn contains(&self, rsp: u64) -> bool {
        rsp > self.base && rsp - self.base <= self.len
    }
}

/// A thread: what it has of its own.
pub struct Thread {
    /// The thread id.
    pub tid: u32,
    /// Its process.
    pub process: Arc<Process>,
    /// The memory it runs in. Execve starts another thread in the place of its caller, so that this stays.
    pub mm: Arc<Memory>,
    /// The word to clear, and wake a waiter on, at the end (`CLONE_CHILD_CLEARTID`, `set_tid_address`).
    pub clear_child_tid: AtomicU64,
    /// The list of robust futexes (`set_robust_list`).
    pub robust_list: AtomicU64,
    /// The alternate signal stack.
    pub alt_stack: SpinLock<AltStack>,
    /// The name (`PR_SET_NAME`), NUL padded.
    pub name: SpinLock<[u8; 16]>,
    /// What its end takes back of its operations on semaphores.
    pub sem_undo: SemUndo,
    blocked: AtomicU64,
    /// What it sleeps for (rt_sigtimedwait).
    awaited: AtomicU64,
    /// The mask that a handler's return, or the call's, restores (rt_sigsuspend).
    saved_mask: SpinLock<Option<SigSet>>,
    /// It is still, because its process is stopped: one more than how many times that was continued before; 0: it is not.
    pub(super) still: AtomicU64,
    /// When the last call with a relative time-out was to give up, in monotonic nanoseconds; 0: never.
    deadline: AtomicU64,
    /// The same, for a call that is made again; 0: there is none.
    resumed: AtomicU64,
    mail: Arc<Mail>,
    /// What goes on in this thread's place after it called execve.
    successor: SpinLock<Option<Successor>>,
    /// `exit` was called: its code, plus `EXITING`.
    exit: AtomicU64,
    task: SpinLock<Option<Task>>,
}

/// Marks that a thread has called `exit`.
const EXITING: u64 = 1 << 32;

/// Who takes a thread's place, and its registers.
pub(super) type Successor = (Arc<Thread>, Box<UserContext>);

/// What others leave for a thread. A successor shares it, so that nothing is lost that comes for either of the two.
#[derive(Default)]
struct Mail {
    /// Signals.
    pending: Pending,
    /// Something waits for the thread in the run loop: a signal, or the end of the process.
    attention: AtomicBool,
}

impl Thread {
    /// The one that the current task runs; none if that is a task of the kernel.
    pub fn current() -> Option<Arc<Thread>> {
        sched::current().data()?.downcast().ok()
    }
    /// A thread of `process` in its memory that blocks `blocked`. It does not run yet. Errors: `ESRCH`: the process has ended.
    pub fn new(process: &Arc<Process>, tid: u32, blocked: SigSet) -> Result<Arc<Thread>> {
        let memory = process.memory().ok_or(Errno::ESRCH)?;
        Ok(Self::new_in(process, memory, tid, blocked))
    }
    /// The thread that runs another program in `mm` in the place of this one, when all others have ended. Its mask and the signals that wait
    /// are those of before.
    pub(super) fn successor(&self, mm: Arc<Memory>) -> Arc<Thread> {
        Self::make(&self.process, mm, self.process.pid, self.blocked(), self.mail.clone())
    }
    /// As [`Thread::new`], in memory that will be the process's.
    pub(super) fn new_in(process: &Arc<Process>, mm: Arc<Memory>, tid: u32, blocked: SigSet) -> Arc<Thread> {
        Self::make(process, mm, tid, blocked, Arc::default())
    }
    fn make(process: &Arc<Process>, mm: Arc<Memory>, tid: u32, blocked: SigSet, mail: Arc<Mail>) -> Arc<Thread> {
        Arc::new(Thread {
            tid,
            process: process.clone(),
            mm,
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            alt_stack: SpinLock::new(AltStack::default()),
            name: SpinLock::new([0; 16]),
            sem_undo: SemUndo::default(),
            blocked: AtomicU64::new(blocked.0),
            awaited: AtomicU64::new(0),
            saved_mask: SpinLock::new(None),
            still: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            mail,
            successor: SpinLock::new(None),
            exit: AtomicU64::new(0),
            task: SpinLock::new(None),
        })
    }

    /// Names the task that runs this thread. The task calls it before anything else; a kick that came earlier is not lost.
    pub(super) fn attach(&self, task: Task) {
        *self.task.lock() = Some(task.clone());
        if self.attention() {
            task.interrupt();
        }
    }

    /// The task that runs this thread, once it has begun.
    pub fn task(&self) -> Option<Task> {
        self.task.lock().clone()
    }
    /// How long it has run; nothing before it runs for the first time.
    pub fn cpu_times(&self) -> CpuTimes {
        self.task.lock().as_ref().map_or(CpuTimes::default(), Task::cpu_times)
    }

    /// Whether the run loop must look at signals and at the process's state. One load: it is asked after every system call.
    #[inline]
    pub fn attention(&self) -> bool {
        self.mail.attention.load(Ordering::Acquire)
    }
    /// Takes the mark back, before the reasons for it are looked at.
    pub(super) fn clear_attention(&self) {
        // Acquire too: who set the mark had left the reason before, and it is looked for after this.
        self.mail.attention.swap(false, Ordering::AcqRel);
        if let Some(task) = self.task.lock().as_ref() {
            task.clear_interrupt();
        }
    }
    /// Makes the thread look: it leaves interruptible sleeps. Any task.
    pub fn kick(&self) {
        self.mail.attention.store(true, Ordering::Release);
        if let Some(task) = self.task.lock().as_ref() {
            task.interrupt();
        }
    }
    /// Whether an interruptible sleep must end: a signal that is not blocked, or the stop or end of the process.
    pub fn interrupted(&self) -> bool {
        self.attention() && (self.process.ends(self.tid) || self.process.is_stopping() || self.deliverable().0 != 0)
    }

    /// The deadline of a call that gives up after `timeout_ns`. When a call is made again because no handler ran, its time goes on.
    pub fn deadline_after(&self, timeout_ns: Option<u64>) -> Deadline {
        let deadline = match self.resumed.load(Ordering::Relaxed) {
            0 => timeout_ns.map(|ns| time::now_ns().saturating_add(ns)),
            at_ns => Some(at_ns),
        };
        self.deadline.store(deadline.unwrap_or(0), Ordering::Relaxed);
        deadline
    }
    /// The call that was interrupted is the next that is made.
    pub(super) fn resume_call(&self) {
        self.resumed.store(self.deadline.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    /// That call is made, or a handler comes first.
    pub(super) fn call_resumed(&self) {
        self.resumed.store(0, Ordering::Relaxed);
    }

    /// Ends the thread on its way back to user code.
    pub(super) fn set_exit_code(&self, code: u8) {
        self.exit.store(EXITING | u64::from(code), Ordering::Relaxed);
        self.mail.attention.store(true, Ordering::Release);
    }
    /// Lets `next` run in this thread's place.
    pub(super) fn set_successor(&self, next: Successor) {
        *self.successor.lock() = Some(next);
        self.set_exit_code(0);
    }
    /// What is left for it is looked at before it runs.
    pub(super) fn take_successor(&self) -> Option<Successor> {
        let next = self.successor.lock().take();
        self.mail.attention.store(true, Ordering::Release);
        next
    }
    /// The code to end with, if the thread must end: by its own `exit` or with its process.
    pub(super) fn exit_code(&self) -> Option<u8> {
        let exit = self.exit.load(Ordering::Relaxed);
        (exit != 0 || self.process.ends(self.tid)).then_some(exit as u8)
    }

    /// Signals that are not delivered now.
    pub fn blocked(&self) -> SigSet {
        SigSet(self.blocked.load(Ordering::Acquire))
    }
    /// Sets the mask. The thread itself calls it; what is no longer blocked is delivered on the way back to user code.
    pub fn set_blocked(&self, blocked: SigSet) {
        self.blocked.store(blocked.blockable().0, Ordering::Release);
        if self.deliverable().0 != 0 {
            self.mail.attention.store(true, Ordering::Release);
        }
    }
    /// Keeps the mask of now until the signal that ended a sleep is delivered; then `saved` is the mask again.
    pub fn restore_after_signal(&self, saved: SigSet) {
        *self.saved_mask.lock() = Some(saved);
        self.mail.attention.store(true, Ordering::Release);
    }
    pub(super) fn take_saved_mask(&self) -> Option<SigSet> {
        self.saved_mask.lock().take()
    }
    /// Signals that wait for the thread, blocked ones included.
    pub fn pending(&self) -> SigSet {
        self.mail.pending.set().union(self.process.pending())
    }
    fn deliverable(&self) -> SigSet {
        self.pending().without(self.blocked())
    }
    /// Whether `signal` waits for it although it is ignored: it is blocked, and may no longer be ignored when it is not.
    pub(super) fn keeps(&self, signal: Signal) -> bool {
        self.blocked().contains(signal) || self.awaits(signal)
    }
    /// Whether it sleeps until `signal` comes.
    pub(super) fn awaits(&self, signal: Signal) -> bool {
        SigSet(self.awaited.load(Ordering::Acquire)).contains(signal)
    }
    /// Sends `signal` to this thread, from the kernel. Any task.
    pub fn send_signal(&self, signal: Signal) {
        // As in `Process::send_signal`.
        let _ = self.send(signal, SigInfo::kernel());
    }
    /// Sends `signal` to this thread. Any task. Errors: as [`Process::send`].
    pub fn send(&self, signal: Signal, info: SigInfo) -> Result<()> {
        self.process.prepare(signal);
        let disposition = self.process.actions.lock().disposition(signal);
        match disposition {
            Disposition::Ignore if !self.keeps(signal) => return Ok(()),
            Disposition::Terminate if signal == Signal::SIGKILL => {
                self.process.die(ExitStatus::Killed(signal));
                return Ok(());
            }
            _ => {}
        }
        let result = self.mail.pending.add(signal, info);
        self.kick();
        result
    }
    /// Sends `signal` to this thread because of what it has done itself: a write to a pipe that nobody reads. The thread itself calls it.
    pub fn send_own(&self, signal: Signal) {
        let uid = self.process.credentials.lock().uid;
        // As above.
        let _ = self.send(signal, SigInfo::sent(abi::SI_USER as i32, self.process.pid, uid));
    }
    /// Sleeps until a signal of `set` waits for the thread, and takes it. The thread itself calls it; task context. `None`: the deadline has
    /// passed. Errors: `EINTR`: another signal came.
    pub fn await_signal(&self, set: SigSet, deadline: Deadline) -> Result<Option<(Signal, SigInfo)>> {
        self.awaited.store(set.0, Ordering::Release);
        let result = sleep_interruptible(self, deadline, || self.take_not_in(SigSet(!set.0)));
        self.awaited.store(0, Ordering::Release);
        match result {
            // One that came meanwhile was meant for this thread, and nobody else was told.
            Ok(None) | Err(_) => self.take_not_in(SigSet(!set.0)).map_or(result, |taken| Ok(Some(taken))),
            taken => taken,
        }
    }
    /// Takes `signals` away.
    pub(super) fn forget_signals(&self, signals: SigSet) {
        self.mail.pending.forget(signals);
    }
    /// Takes a signal that is to be delivered now.
    pub(super) fn take_signal(&self) -> Option<(Signal, SigInfo)> {
        self.take_not_in(self.blocked())
    }
    fn take_not_in(&self, blocked: SigSet) -> Option<(Signal, SigInfo)> {
        let (signal, info) = self.mail.pending.take(blocked).or_else(|| self.process.take_signal(blocked))?;
        let timer = info.timer_id().and_then(|id| self.process.timers.get(id).ok());
        Some((signal, timer.map_or(info, |timer| info.after(timer.taken()))))
    }
    /// Whether a signal of the process's timer `id` waits for this thread.
    pub fn timer_signal_waits(&self, id: u32) -> bool {
        self.mail.pending.has_timer(id)
    }
}

#[expect(clippy::misnamed_getters, reason = "the file system asks for the effective ids")]
impl Caller for Thread {
    fn uid(&self) -> u32 {
        self.process.credentials.lock().euid
    }
    fn gid(&self) -> u32 {
        self.process.credentials.lock().egid
    }
    fn in_group(&self, gid: u32) -> bool {
        self.process.credentials.lock().in_group(gid)
    }
    fn umask(&self) -> u16 {
        self.process.umask()
    }
    fn file_size_limit(&self) -> u64 {
        self.process.soft_limit(abi::RLIMIT_FSIZE)
    }
    fn file_size_exceeded(&self) {
        self.send_own(Signal::SIGXFSZ);
    }
    fn fatal_signal_pending(&self) -> bool {
        self.attention() && self.process.ends(self.tid)
    }
}
