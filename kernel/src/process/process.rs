//! A process: what its threads share.
use super::pending::Pending;
use super::signal::{Disposition, SigSet, Signal};
use super::{Credentials, Limits, Memory, SigInfo, SignalActions, System, Thread};
use crate::files::FdTable;
use crate::locks::Owner;
use crate::timers::{PosixTimers, Timer};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use base::sched::CpuTimes;
use base::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use base::sync::{Arc, Once, Rank, SpinLock, WaitQueue};
use base::{Errno, Result, time};
use core::sync::atomic::AtomicI32;
use fs::vfs::{File, fput};
use linux_raw_sys::general as abi;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// By `exit` or `exit_group`; the low eight bits count.
    Code(u8),
    /// By a signal.
    Killed(Signal),
}

impl ExitStatus {
    /// What a shell shows: the code, or 128 plus the signal's number.
    pub fn to_code(self) -> u32 {
        match self {
            ExitStatus::Code(code) => u32::from(code),
            ExitStatus::Killed(signal) => 128 + signal.number(),
        }
    }

    /// What wait4 stores: the code in the second byte, or the signal in the first.
    pub fn to_wait_status(self) -> u32 {
        match self {
            ExitStatus::Code(code) => u32::from(code) << 8,
            ExitStatus::Killed(signal) => signal.number(),
        }
    }
}

/// An adjustment that keeps a process from ending for memory.
pub const OOM_NEVER: i32 = -1000;

/// The file a process was started from. It keeps no reference: the file may be unlinked and unmounted.
#[derive(Clone, Debug, Default)]
pub struct ProgramFile {
    /// The path by which it was opened.
    pub path: Vec<u8>,
    /// Device and number of its inode.
    pub dev: u64,
    /// See `dev`.
    pub ino: u64,
}

impl ProgramFile {
    /// That of `file`, opened by `path`.
    pub fn new(path: &[u8], file: &File) -> ProgramFile {
        let (dev, ino) = file.inode.as_ref().map_or((0, 0), |inode| (inode.sb.dev, inode.ino));
        ProgramFile { path: path.to_vec(), dev, ino }
    }
}

/// A running program.
pub struct Process {
    /// The process id; also the thread id of its first thread.
    pub pid: u32,
    /// The process that waits for its end; 0 for the first.
    pub(super) parent_pid: AtomicU32,
    /// What it belongs to.
    pub system: Arc<System>,
    /// Its descriptors.
    pub files: FdTable,
    /// The directory that relative paths start from, as an `O_PATH` file: it keeps its file system from being unmounted.
    /// `None`: the root.
    pub cwd: SpinLock<Option<Arc<File>>>,
    /// Who it acts as.
    pub credentials: SpinLock<Credentials>,
    /// It and its children get no more rights by running a program (`PR_SET_NO_NEW_PRIVS`).
    pub limited: AtomicBool,
    /// What `PR_GET_DUMPABLE` tells: others of its user may look at its memory. There is nothing yet by which they could.
    pub dumpable: AtomicBool,
    /// Resource limits.
    pub limits: SpinLock<Limits>,
    /// What it does about signals.
    pub actions: SpinLock<SignalActions>,
    /// The arguments, for `/proc`.
    pub command: SpinLock<Vec<Vec<u8>>>,
    /// The program, for `/proc`.
    pub program: SpinLock<ProgramFile>,
    /// Mode bits that a newly created file does not get.
    umask: AtomicU64,
    /// Signals for whichever thread does not block them.
    pending: Pending,
    /// Its nice value, -20 to 19. Nothing looks at it but who asks: all tasks share the CPU alike.
    pub nice: AtomicI32,
    /// Thousandths of all memory that it counts as having besides what it has, when somebody must end for memory.
    oom_adjust: AtomicI32,
    /// When it was made, in monotonic nanoseconds.
    pub start_ns: u64,
    times: SpinLock<Times>,
    pub(super) state: SpinLock<State>,
    /// It has, or had, record locks on files.
    record_locks: AtomicBool,
    /// Those that it has made.
    pub timers: PosixTimers,
    /// The timer of `setitimer` and `alarm`, once it was asked for.
    alarm: Once<Arc<Timer>>,
    /// The thread that replaces the program, and for which all others end; 0: none does.
    replacing: AtomicU32,
    /// It is done with the memory that it may share with the one who forked it.
    pub(super) memory_released: AtomicBool,
    /// A thread has ended or has to end, the process goes on after a stop, the memory is released, or the process has ended.
    pub(super) changed: WaitQueue,
    /// A child has changed its state.
    pub children: WaitQueue,
}

/// CPU times that are kept.
#[derive(Default)]
struct Times {
    /// Of threads that have ended.
    ended: CpuTimes,
    /// Of children that were waited for, and of theirs.
    children: CpuTimes,
}

pub(super) struct State {
    pub(super) threads: Vec<Arc<Thread>>,
    /// The memory that new threads run in; none once the process has ended.
    memory: Option<Arc<Memory>>,
    /// Set once, by the first that decides that the process must die.
    pub(super) dying: Option<ExitStatus>,
    /// The signal for which all threads are to be still.
    pub(super) stop: Option<Signal>,
    /// How many times a SIGCONT came.
    pub(super) continued: u64,
    /// Set by the last thread, when everything is cleaned up.
    ended: Option<ExitStatus>,
}

impl Process {
    /// A process without threads, with root's rights, that nobody waits for. Errors: `ENOMEM`.
    pub fn new(system: &Arc<System>) -> Result<Arc<Process>> {
        let process = Arc::new(Self::blank(system, 0, Memory::new()?));
        system.family.add_first(&process);
        Ok(process)
    }

    /// A child of `parent`, without threads, which runs in `memory` and has all else as its parent has it now. Errors: `ENOMEM`, `EAGAIN`
    /// (too many processes).
    pub(super) fn fork(parent: &Process, memory: Arc<Memory>, exit_signal: Option<Signal>) -> Result<Arc<Process>> {
        let process = Arc::new(Process {
            files: parent.files.fork()?,
            cwd: SpinLock::new(parent.cwd.lock().clone()),
            credentials: SpinLock::new(parent.credentials.lock().clone()),
            limits: SpinLock::new(parent.limits.lock().clone()),
            actions: SpinLock::new(parent.actions.lock().clone()),
            command: SpinLock::new(parent.command.lock().clone()),
            program: SpinLock::new(parent.program.lock().clone()),
            umask: AtomicU64::new(parent.umask.load(Ordering::Relaxed)),
            limited: AtomicBool::new(parent.limited.load(Ordering::Relaxed)),
            dumpable: AtomicBool::new(parent.dumpable.load(Ordering::Relaxed)),
            nice: AtomicI32::new(parent.nice.load(Ordering::Relaxed)),
            oom_adjust: AtomicI32::new(parent.oom_adjust()),
            ..Self::blank(&parent.system, parent.pid, memory)
        });
        parent.system.family.add_child(&process, parent.pid, exit_signal)?;
        Ok(process)
    }

    /// A process that has inherited nothing, and that nobody knows yet.
    fn blank(system: &Arc<System>, parent_pid: u32, memory: Arc<Memory>) -> Process {
        Process {
            pid: system.new_id(),
            parent_pid: AtomicU32::new(parent_pid),
            system: system.clone(),
            files: FdTable::new(),
            cwd: SpinLock::new(None),
            credentials: SpinLock::new(Credentials::default()),
            limited: AtomicBool::new(false),
            dumpable: AtomicBool::new(true),
            limits: SpinLock::new(Limits::default()),
            actions: SpinLock::new(SignalActions::default()),
            command: SpinLock::new(Vec::new()),
            program: SpinLock::new(ProgramFile::default()),
            umask: AtomicU64::new(0o022),
            pending: Pending::new(),
            nice: AtomicI32::new(0),
            oom_adjust: AtomicI32::new(0),
            start_ns: time::now_ns(),
            times: SpinLock::new(Times::default()),
            state: SpinLock::new(State::new(memory)),
            record_locks: AtomicBool::new(false),
            timers: PosixTimers::new(),
            alarm: Once::new(Rank::Leaf),
            replacing: AtomicU32::new(0),
            memory_released: AtomicBool::new(false),
            changed: WaitQueue::new(),
            children: WaitQueue::new(),
        }
    }

    /// The process that waits for its end; 0: none does.
    pub fn parent_pid(&self) -> u32 {
        self.parent_pid.load(Ordering::Relaxed)
    }
    pub(super) fn set_parent(&self, pid: u32) {
        self.parent_pid.store(pid, Ordering::Relaxed);
    }
    /// Its memory; none once it has ended.
    pub fn memory(&self) -> Option<Arc<Memory>> {
        self.state.lock().memory.clone()
    }

    /// Mode bits that a newly created file does not get.
    pub fn umask(&self) -> u16 {
        self.umask.load(Ordering::Relaxed) as u16
    }
    /// Sets the umask and returns the old one.
    pub fn set_umask(&self, umask: u16) -> u16 {
        self.umask.swap(u64::from(umask & 0o777), Ordering::Relaxed) as u16
    }
    /// Thousandths of all memory that it counts as having besides what it has (`oom_score_adj`); -1000: it does not end for
    /// memory.
    pub fn oom_adjust(&self) -> i32 {
        self.oom_adjust.load(Ordering::Relaxed)
    }
    /// See [`Self::oom_adjust`].
    pub fn set_oom_adjust(&self, thousandths: i32) {
        self.oom_adjust.store(thousandths, Ordering::Relaxed);
    }
    /// The soft limit of kind `resource` (`RLIMIT_*`).
    pub fn soft_limit(&self, resource: u32) -> u64 {
        self.limits.lock().get(resource).map_or(u64::MAX, |limit| limit.soft)
    }
    /// Gives `file` the lowest free descriptor. Errors: `EMFILE`, `ENOMEM`.
    pub fn install(&self, file: Arc<fs::vfs::File>, close_on_exec: bool) -> Result<u32> {
        self.files.insert(file, close_on_exec, 0, self.soft_limit(abi::RLIMIT_NOFILE))
    }

    /// Notes that it is about to have record locks.
    pub fn has_record_locks(&self) {
        self.record_locks.store(true, Ordering::SeqCst);
    }
    /// Lets go of `file`, of which a descriptor was taken out of the table, and of all record locks that the process has on it, whichever
    /// descriptor they came by. Task context; may sleep in the release of the file.
    pub fn closed(&self, file: Arc<File>) {
        if self.record_locks.load(Ordering::SeqCst) {
            self.system.locks.release(&file, Owner::Process(self.pid));
        }
        fput(file);
    }
    /// Lets go of all descriptors, record locks and timers. Task context; may sleep.
    pub fn close_all(&self) {
        self.alarm.get().into_iter().for_each(|alarm| alarm.disarm());
        self.timers.clear();
        if self.record_locks.load(Ordering::SeqCst) {
            self.system.locks.release_all(Owner::Process(self.pid));
        }
        self.files.close_all();
    }

    /// The timer that sends it SIGALRM. Errors: `ENOMEM`. Task context.
    pub fn alarm(self: &Arc<Self>) -> Result<&Arc<Timer>> {
        self.alarm.get_or_try_init(|| {
            let process = Arc::downgrade(self);
            let told = move || process.upgrade().into_iter().for_each(|process| process.send_signal(Signal::SIGALRM));
            self.system.timers.add(false, Box::new(told))
        })
    }
    /// That timer, if it was ever asked for.
    pub fn alarm_if_any(&self) -> Option<&Arc<Timer>> {
        self.alarm.get()
    }

    /// The CPU times of its threads, ended ones included.
    pub fn cpu_times(&self) -> CpuTimes {
        // Under the lock, so that none ends in between and counts twice or not at all.
        let state = self.state.lock();
        let mut times = self.times.lock().ended;
        state.threads.iter().for_each(|thread| times += thread.cpu_times());
        times
    }
    /// The CPU times of its children that were waited for, and of theirs.
    pub fn children_times(&self) -> CpuTimes {
        self.times.lock().children
    }
    /// It has waited for a child with these times.
    pub(super) fn add_child_times(&self, times: CpuTimes) {
        self.times.lock().children += times;
    }

    /// The thread `tid` of this process.
    pub fn thread(&self, tid: u32) -> Option<Arc<Thread>> {
        self.state.lock().threads.iter().find(|thread| thread.tid == tid).cloned()
    }
    /// The name of the first thread that still runs, NUL padded; of an ended process it is that of its program.
    pub fn name(&self) -> [u8; 16] {
        let first = self.state.lock().threads.first().cloned();
        first.map_or_else(|| super::exec::thread_name(&self.program.lock().path), |thread| *thread.name.lock())
    }
    /// The name as text.
    pub fn shown_name(&self) -> String {
        let name = self.name();
        String::from_utf8_lossy(name.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
    }
    /// How many threads run.
    pub fn thread_count(&self) -> usize {
        self.state.lock().threads.len()
    }

    /// Takes a new thread in. Errors: `EAGAIN`: the process is dying, or another program is about to replace it.
    pub(super) fn add_thread(&self, thread: &Arc<Thread>) -> Result<()> {
        let mut state = self.state.lock();
        if state.dying.is_some() || self.replacing.load(Ordering::Relaxed) != 0 {
            return Err(Errno::EAGAIN);
        }
        state.threads.push(thread.clone());
        if state.stop.is_some() {
            thread.kick();
        }
        Ok(())
    }

    /// Takes a thread out; true for the last one.
    pub(super) fn remove_thread(&self, tid: u32) -> bool {
        let mut state = self.state.lock();
        let at = state.threads.iter().position(|thread| thread.tid == tid);
        let gone = at.map(|at| state.threads.swap_remove(at));
        if let Some(thread) = &gone {
            self.times.lock().ended += thread.cpu_times();
        }
        let last = state.threads.is_empty();
        let stopping = state.stop.is_some();
        drop(state);
        drop(gone);
        self.changed.wake_all();
        if stopping && !last {
            self.system.family.stop_changed(self);
        }
        last
    }

    /// Ends all threads but `tid`, which is going to replace the program, and waits until they are gone. Errors: `EINTR`: the process is
    /// dying, or another thread was first, and the caller is one of those that end.
    pub(super) fn become_single(&self, tid: u32) -> Result<()> {
        {
            let state = self.state.lock();
            if state.dying.is_some() || self.replacing.load(Ordering::Relaxed) != 0 {
                return Err(Errno::EINTR);
            }
            self.replacing.store(tid, Ordering::Relaxed);
            state.threads.iter().filter(|thread| thread.tid != tid).for_each(|thread| thread.kick());
        }
        self.changed.wake_all();
        self.changed.wait_until(|| {
            let state = self.state.lock();
            state.threads.len() == 1 || state.dying.is_some()
        });
        if self.is_dying() { Err(Errno::EINTR) } else { Ok(()) }
    }

    /// `thread`, in new memory, takes the place of the only one there is. Returns the memory before. Errors: `EINTR`: the process is dying.
    pub(super) fn replace(&self, thread: &Arc<Thread>) -> Result<Option<Arc<Memory>>> {
        let mut state = self.state.lock();
        if state.dying.is_some() {
            return Err(Errno::EINTR);
        }
        let before = core::mem::replace(&mut state.threads, alloc::vec![thread.clone()]);
        let memory = state.memory.replace(thread.mm.clone());
        self.replacing.store(0, Ordering::Relaxed);
        drop(state);
        drop(before);
        Ok(memory)
    }

    /// Whether the thread `tid` has to end: the process dies, or another of its threads replaces the program. One look at the lock.
    pub(super) fn ends(&self, tid: u32) -> bool {
        let state = self.state.lock();
        let replacing = self.replacing.load(Ordering::Relaxed);
        state.dying.is_some() || (replacing != 0 && replacing != tid)
    }

    /// The memory it shares with the one who forked it is no longer in use.
    pub(super) fn release_memory(&self) {
        self.memory_released.store(true, Ordering::Release);
        self.changed.wake_all();
    }
    /// Sleeps until the process no longer uses the memory of `parent`, which lent it (vfork), or `parent` dies. Task context.
    pub(super) fn wait_for_release(&self, parent: &Process) {
        self.changed.wait_until(|| self.memory_released.load(Ordering::Acquire) || parent.is_dying());
    }

    /// Decides that the process dies with `status`, unless it does already, and interrupts its threads. Any task.
    pub fn die(&self, status: ExitStatus) {
        let mut state = self.state.lock();
        if state.dying.is_none() {
            state.dying = Some(status);
        }
        // Under the lock: no thread can join after the decision and miss it.
        state.threads.iter().for_each(|thread| thread.kick());
        drop(state);
        self.changed.wake_all();
    }
    /// Whether the process must die.
    pub fn is_dying(&self) -> bool {
        self.state.lock().dying.is_some()
    }

    /// Marks the process as ended, everything cleaned up. The last thread calls it.
    pub(super) fn finish(&self, code: ExitStatus) {
        let mut state = self.state.lock();
        let status = state.dying.unwrap_or(code);
        state.ended = Some(status);
        let memory = state.memory.take();
        drop(state);
        drop(memory);
        self.changed.wake_all();
        self.system.family.ended(self.pid, status);
    }
    /// Sleeps until the process has ended, or the caller is interrupted. Task context.
    pub(super) fn wait_until_gone(&self) {
        let _interrupted = self.changed.wait_interruptible(|| self.state.lock().ended.is_some());
    }
    /// Sleeps until the process has ended, and says how. Task context.
    pub fn wait(&self) -> ExitStatus {
        let mut status = None;
        self.changed.wait_until(|| {
            status = self.state.lock().ended;
            status.is_some()
        });
        status.unwrap_or(ExitStatus::Code(0))
    }

    /// Sends `signal` to the process, from the kernel. Any task.
    pub fn send_signal(&self, signal: Signal) {
        // That it has no room for where it came from is no loss: it does not say.
        let _ = self.send(signal, SigInfo::kernel());
    }
    /// Sends `signal` to the process: to any thread that does not block it, or that waits for it. One that is ignored is kept only while it is
    /// blocked. Any task. Errors: `EAGAIN`: it is sent without `info`, or if it waits already, not once more.
    pub fn send(&self, signal: Signal, info: SigInfo) -> Result<()> {
        self.prepare(signal);
        let disposition = self.actions.lock().disposition(signal);
        if disposition == Disposition::Terminate && signal == Signal::SIGKILL {
            self.die(ExitStatus::Killed(signal));
            return Ok(());
        }
        let state = self.state.lock();
        let threads = &state.threads;
        if disposition == Disposition::Ignore && !threads.iter().any(|thread| thread.keeps(signal)) {
            return Ok(());
        }
        let result = self.pending.add(signal, info);
        let waits = threads.iter().find(|thread| thread.awaits(signal));
        let taker = waits.or_else(|| threads.iter().find(|thread| !thread.blocked().contains(signal)));
        if let Some(thread) = taker.or(threads.first()) {
            thread.kick();
        }
        result
    }
    /// Takes a pending signal that is not in `blocked`.
    pub(super) fn take_signal(&self, blocked: SigSet) -> Option<(Signal, SigInfo)> {
        self.pending.take(blocked)
    }
    /// Takes `signal` away from all threads: it is ignored from now on.
    pub fn forget_ignored(&self, signal: Signal) {
        let state = self.state.lock();
        self.forget_signals(SigSet::of(signal));
        state.threads.iter().for_each(|thread| thread.forget_signals(SigSet::of(signal)));
    }
    /// Whether `signal` is ignored on purpose.
    pub fn ignores(&self, signal: Signal) -> bool {
        self.actions.lock().disposition(signal) == Disposition::Ignore
    }
    /// Takes `signals` away.
    pub(super) fn forget_signals(&self, signals: SigSet) {
        self.pending.forget(signals);
    }
    /// Whether a signal of its timer `id` waits for some thread.
    pub fn timer_signal_waits(&self, id: u32) -> bool {
        self.pending.has_timer(id)
    }
    /// Signals that wait for some thread.
    pub fn pending(&self) -> SigSet {
        self.pending.set()
    }
}

impl State {
    fn new(memory: Arc<Memory>) -> State {
        State { threads: Vec::new(), memory: Some(memory), dying: None, stop: None, continued: 0, ended: None }
    }
}
