//! Who is whose child; and how a parent learns that a child has ended, has stopped or goes on.
//!
//! One lock orders it all, and groups, sessions and their terminals too. A process that has ended stays until its parent has waited for
//! it, unless the parent does not want to know (`SIGCHLD` ignored, `SA_NOCLDWAIT`) or there is none. The children of a process that ends
//! become those of the first process.
use super::jobs::Control;
use super::signal::Signal;
use super::{ExitStatus, Process, SigInfo};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sched::CpuTimes;
use base::sync::{Arc, SpinLock, WaitQueue};
use base::{Errno, Result};
use linux_raw_sys::general as abi;

/// The id of the first process, which inherits orphans and with which everything ends.
const FIRST: u32 = 1;
/// Processes that there may be at a time, ended ones that nobody has waited for included.
const MOST: usize = 4096;

pub(super) struct Member {
    pub(super) process: Arc<Process>,
    pub(super) parent: u32,
    /// Its parent has ended, and the one it has now knows nothing of it.
    pub(super) adopted: bool,
    pub(super) group: u32,
    pub(super) session: u32,
    /// It has given the terminal of its session up.
    pub(super) detached: bool,
    /// What the parent is sent at the end.
    exit_signal: Option<Signal>,
    /// It has run another program since it was forked.
    pub(super) has_execed: bool,
    pub(super) ended: Option<ExitStatus>,
    /// All its threads are still.
    pub(super) stopped: bool,
    /// What its parent has not been told: `Stopped` or `Continued`.
    news: Option<Change>,
}

/// What can happen to a child that its parent may want to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It has ended.
    Ended(ExitStatus),
    /// This signal has stopped it.
    Stopped(Signal),
    /// It goes on.
    Continued,
}

bitflags::bitflags! {
    /// Kinds of changes.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Changes: u8 {
        #[allow(missing_docs)]
        const ENDED = 1;
        #[allow(missing_docs)]
        const STOPPED = 2;
        #[allow(missing_docs)]
        const CONTINUED = 4;
    }
}

impl Change {
    fn kind(self) -> Changes {
        match self {
            Change::Ended(_) => Changes::ENDED,
            Change::Stopped(_) => Changes::STOPPED,
            Change::Continued => Changes::CONTINUED,
        }
    }
}

/// Which children a wait is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Any.
    Any,
    /// The one of this id.
    Process(u32),
    /// Those of this process group.
    Group(u32),
}

/// A child with whom something has happened.
pub struct Child {
    /// Its id.
    pub pid: u32,
    /// Whose it was: its real user id.
    pub uid: u32,
    /// What it is.
    pub change: Change,
    /// The CPU times of the child, and of the children that it has waited for.
    pub times: CpuTimes,
}

impl Child {
    fn new(process: &Process, change: Change) -> Child {
        let mut times = process.cpu_times();
        times += process.children_times();
        Child { pid: process.pid, uid: process.credentials.lock().uid, change, times }
    }
}

/// The processes.
pub struct Family {
    pub(super) members: SpinLock<Members>,
    /// A process is gone.
    gone: WaitQueue,
}

/// The processes by their ids, and the terminals of the sessions.
#[derive(Default)]
pub(super) struct Members {
    by_pid: BTreeMap<u32, Member>,
    pub(super) terminals: BTreeMap<u32, Control>,
}

impl core::ops::Deref for Members {
    type Target = BTreeMap<u32, Member>;
    fn deref(&self) -> &Self::Target {
        &self.by_pid
    }
}

impl core::ops::DerefMut for Members {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.by_pid
    }
}

impl Family {
    /// No processes.
    pub fn new() -> Family {
        Family { members: SpinLock::new(Members::default()), gone: WaitQueue::new() }
    }

    /// The process `pid`; also one that has ended.
    pub fn get(&self, pid: u32) -> Option<Arc<Process>> {
        self.members.lock().get(&pid).map(|member| member.process.clone())
    }
    /// All of them, in order of their ids.
    pub fn all(&self) -> Vec<Arc<Process>> {
        self.members.lock().values().map(|member| member.process.clone()).collect()
    }
    /// The lowest id from `pid` on that a process has.
    pub fn first_from(&self, pid: u32) -> Option<u32> {
        self.members.lock().range(pid..).next().map(|(&pid, _)| pid)
    }
    /// Takes in a process without a parent: a session and a group of its own.
    pub(super) fn add_first(&self, process: &Arc<Process>) {
        let mut member = Member::new(process, 0, (process.pid, process.pid), None);
        member.has_execed = true;
        self.members.lock().insert(process.pid, member);
    }

    /// Takes in a child of `parent`, in its group and session. Errors: `EAGAIN`: there are too many, or the parent is none.
    pub(super) fn add_child(&self, process: &Arc<Process>, parent: u32, exit_signal: Option<Signal>) -> Result<()> {
        let mut members = self.members.lock();
        let of = members.get(&parent).ok_or(Errno::EAGAIN)?;
        let (group, session, detached) = (of.group, of.session, of.detached);
        if members.len() >= MOST {
            return Err(Errno::EAGAIN);
        }
        let mut member = Member::new(process, parent, (group, session), exit_signal);
        member.detached = detached;
        members.insert(process.pid, member);
        Ok(())
    }

    /// Takes a child out that never ran.
    pub(super) fn remove(&self, pid: u32) {
        let gone = self.members.lock().remove(&pid);
        drop(gone);
        self.gone.wake_all();
    }

    /// `pid` has ended with `status`: its parent is told, its children are given to the first process, and its jobs are not left stopped.
    /// The last thread calls it.
    pub(super) fn ended(&self, pid: u32, status: ExitStatus) {
        let mut members = self.members.lock();
        let heir = if pid == FIRST { None } else { members.get(&FIRST).map(|member| member.process.clone()) };
        let orphans: Vec<u32> = members.iter().filter(|(_, m)| m.parent == pid).map(|(&orphan, _)| orphan).collect();
        let links = members.links_of(pid);
        let mut gone = Vec::new();
        for orphan in orphans {
            let Some(member) = members.get_mut(&orphan) else { continue };
            member.parent = heir.as_ref().map_or(0, |heir| heir.pid);
            member.adopted = true;
            member.process.set_parent(member.parent);
            if member.ended.is_some() && heir.is_none() {
                gone.extend(members.remove(&orphan));
            }
        }
        let mut told = None;
        if let Some(member) = members.get_mut(&pid) {
            let child = Child::new(&member.process, Change::Ended(status));
            member.ended = Some(status);
            (member.stopped, member.news) = (false, None);
            let signal = member.exit_signal;
            let parent = member.parent;
            let parent = members.get(&parent).map(|member| member.process.clone());
            if parent.as_ref().is_none_or(|parent| signal == Some(Signal::SIGCHLD) && parent.ignores_children()) {
                gone.extend(members.remove(&pid));
            }
            told = parent.map(|parent| (parent, signal.map(|signal| (signal, child))));
        }
        let left = members.left_alone(&links);
        let hung_up = members.terminals.remove(&pid);
        drop(members);
        drop(gone);
        left.into_iter().chain(hung_up.map(|control| control.foreground)).for_each(|group| self.hang_up(group));
        self.gone.wake_all();
        heir.into_iter().for_each(|heir| heir.child_changed(None));
        told.into_iter().for_each(|(parent, signal)| parent.child_changed(signal));
    }

    /// The process has become stopped or goes on: its parent is told, if that is news. Task context.
    pub(super) fn stop_changed(&self, process: &Process) {
        let mut members = self.members.lock();
        // Looked at under the lock, so that of two who come here the later has it right.
        let now = process.stopped_by();
        let Some(member) = members.get_mut(&process.pid) else { return };
        if member.stopped == now.is_some() || member.ended.is_some() {
            return;
        }
        member.stopped = now.is_some();
        let change = now.map_or(Change::Continued, Change::Stopped);
        member.news = Some(change);
        let parent = member.parent;
        let parent = members.get(&parent).map(|member| member.process.clone());
        drop(members);
        if let Some(parent) = parent {
            let child = Child::new(process, change);
            parent.child_changed((!parent.ignores_stops()).then_some((Signal::SIGCHLD, child)));
        }
    }

    /// Takes the news of a child of `parent` that is one of `which` and to whom something `wanted` has happened, or only looks with `keep`.
    /// An ended child is gone afterwards. `None`: there are such children, but no such news. Errors: `ECHILD`: there are none.
    pub fn reap(&self, parent: u32, which: Which, wanted: Changes, keep: bool) -> Result<Option<Child>> {
        let mut members = self.members.lock();
        let asked = |(pid, member): &(&u32, &Member)| {
            let hit = match which {
                Which::Any => true,
                Which::Process(wanted) => **pid == wanted,
                Which::Group(group) => member.group == group,
            };
            hit && member.parent == parent
        };
        let mut candidates = members.iter().filter(asked).peekable();
        candidates.peek().ok_or(Errno::ECHILD)?;
        let found = candidates.find_map(|(&pid, member)| {
            let change = member.ended.map(Change::Ended).or(member.news)?;
            wanted.contains(change.kind()).then(|| (pid, Child::new(&member.process, change)))
        });
        let Some((pid, child)) = found else { return Ok(None) };
        let parent = members.get(&parent).map(|member| member.process.clone());
        let mut gone = None;
        match child.change {
            _ if keep => {}
            Change::Ended(_) => gone = members.remove(&pid),
            _ => members.get_mut(&pid).into_iter().for_each(|member| member.news = None),
        }
        drop(members);
        if gone.take().is_some() {
            parent.into_iter().for_each(|parent| parent.add_child_times(child.times));
            self.gone.wake_all();
        }
        Ok(Some(child))
    }

    /// Whether `pid` has ended and was not waited for yet.
    pub fn has_ended(&self, pid: u32) -> bool {
        self.members.lock().get(&pid).is_some_and(|member| member.ended.is_some())
    }

    /// Whether `pid` is stopped.
    pub fn is_stopped(&self, pid: u32) -> bool {
        self.members.lock().get(&pid).is_some_and(|member| member.stopped)
    }

    /// Notes that `pid` has run another program.
    pub(super) fn execed(&self, pid: u32) {
        self.members.lock().get_mut(&pid).into_iter().for_each(|member| member.has_execed = true);
    }

    /// The first process has ended: everything else is killed and waited for. Task context; sleeps.
    pub fn end_all(&self) {
        self.all().iter().for_each(|process| process.die(ExitStatus::Killed(Signal::SIGKILL)));
        self.gone.wait_until(|| self.members.lock().is_empty());
    }
}

impl Default for Family {
    fn default() -> Self {
        Self::new()
    }
}

impl Member {
    fn new(process: &Arc<Process>, parent: u32, (group, session): (u32, u32), exit_signal: Option<Signal>) -> Member {
        Member {
            process: process.clone(),
            parent,
            adopted: false,
            group,
            session,
            detached: false,
            exit_signal,
            has_execed: false,
            ended: None,
            stopped: false,
            news: None,
        }
    }
}

impl Process {
    /// Whether it is not to be sent SIGCHLD when a child stops or goes on.
    fn ignores_stops(&self) -> bool {
        self.actions.lock().get(Signal::SIGCHLD).flags & u64::from(abi::SA_NOCLDSTOP) != 0
    }
    /// Whether it does not want to wait for its children.
    fn ignores_children(&self) -> bool {
        let action = self.actions.lock().get(Signal::SIGCHLD);
        action.handler == 1 || action.flags & u64::from(abi::SA_NOCLDWAIT) != 0
    }
    /// Something has happened to a child.
    fn child_changed(&self, told: Option<(Signal, Child)>) {
        self.children.wake_all();
        if let Some((signal, child)) = told {
            // It is told where it is waited for, too.
            let _ = self.send(signal, SigInfo::child(&child));
        }
    }
}
